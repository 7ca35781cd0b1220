"""The SDK: same bytes every time, ELFs suit both loaders, errors are clear, the C library works."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import unicorn
import unicorn.riscv_const as riscv
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

import pltvm
from pltvm.build import guest, zig
from pltvm.build.enclave import build_enclave
from pltvm.build.rebuild import rebuild_examples
from pltvm.errors import BuildError

EXAMPLES = guest.examples()
PAGE = 4096


def test_all_examples_are_there() -> None:
    calls = {"hello-world", "caller", "server", "server1", "memory"}
    services = {"fs-server", "fs-client", "kv-server", "kv-client", "wordcount"}
    concurrent = {"counter", "counter-front", "count-client", "kv-threads"}
    assert set(EXAMPLES) == calls | services | concurrent | {
        *("relay", "secure-shm", "sectors", "shadow", "random"),
    }
    assert all(example.elf.is_file() for example in EXAMPLES.values())


def test_rebuild_gives_the_committed_bytes(tmp_path: Path) -> None:
    for elf in rebuild_examples(tmp_path):
        committed = guest.guest_dir() / "elf" / elf.name
        assert elf.read_bytes() == committed.read_bytes(), f"{committed}: run python -m pltvm.build enclaves"


def test_bytes_do_not_depend_on_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = (copy for copy in guest.copy_examples(tmp_path / "copies") if copy.name == "caller.c")
    (tmp_path / "tmp").mkdir()
    shutil.copytree(guest.guest_dir(), tmp_path / "elsewhere" / "guest")
    monkeypatch.setattr(guest, "guest_dir", lambda: tmp_path / "elsewhere" / "guest")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(source.parent)

    elf = build_enclave([Path("caller.c")], tmp_path / "out" / "caller.elf")

    assert elf.read_bytes() == EXAMPLES["caller"].elf.read_bytes()
    assert {path.suffix for path in source.parent.iterdir() if path.is_file()} == {".c", ".h"}, (
        "building leaves nothing in the cwd"
    )
    assert not list((tmp_path / "tmp").iterdir())

    # What the compiler has made of the SDK, it does not make again for a program in another folder.
    made = sorted((tmp_path / "cache").rglob("print.o"))
    assert made
    shutil.copytree(source.parent, tmp_path / "more")
    again = build_enclave([tmp_path / "more" / "caller.c"], tmp_path / "again.elf")
    assert again.read_bytes() == elf.read_bytes()
    assert sorted((tmp_path / "cache").rglob("print.o")) == made


WITH_LIBRARIES = """
#include <vector>
#include <math.h>
#include <stdio.h>
#include "eapp.h"
extern "C" int EAPP_ENTRY main() {
    std::vector<int> numbers{1, 2};
    volatile double two = 2;
    volatile __int128 of_a_library = 7, too = 3;
    printf("%.3f %d\\n", sqrt(two) * two / 3, (int)(of_a_library / too) + numbers[1]);
    return 0;
}
"""


def test_no_place_of_this_machine_is_in_the_bytes(tmp_path: Path) -> None:
    """Also none of the compiler's: its cache may have been filled by one that was installed elsewhere."""
    source = tmp_path / "all.cpp"
    source.write_text(WITH_LIBRARIES)
    elf = build_enclave([source], tmp_path / "all.elf").read_bytes()
    assert b"ziglang/libcxx/include" in elf, "there are line tables of headers"
    for place in (tmp_path, zig.library_dir(), guest.guest_dir(), Path.home() / ".cache"):
        assert str(place).encode() not in elf
        assert str(place.resolve()).encode() not in elf
    assert pltvm.Machine(64 << 20).create(elf).run().ok


@pytest.mark.parametrize("name", EXAMPLES)
def test_elf_suits_the_original_loader(name: str) -> None:
    elf = ELFFile(io.BytesIO(EXAMPLES[name].elf.read_bytes()))
    segments = list(elf.iter_segments())

    assert {segment["p_type"] for segment in segments} == {"PT_LOAD"}, (
        "no PT_RISCV_ATTRIBUTES, no PT_GNU_STACK"
    )
    for segment in segments:
        assert segment["p_vaddr"] % PAGE == 0
        assert segment["p_offset"] % PAGE == 0
        assert segment["p_flags"] & (P_FLAGS.PF_W | P_FLAGS.PF_X) != P_FLAGS.PF_W | P_FLAGS.PF_X
    for section in elf.iter_sections():
        if section["sh_type"] == "SHT_NOBITS":
            assert section["sh_addr"] % PAGE == 0
            assert section["sh_addr"] != 0
    assert len(EXAMPLES[name].elf.read_bytes()) < 64_000


@pytest.mark.parametrize("name", EXAMPLES)
def test_entry_is_start_at_the_beginning_of_text(name: str) -> None:
    elf = ELFFile(io.BytesIO(EXAMPLES[name].elf.read_bytes()))
    symbols = elf.get_section_by_name(".symtab")
    (start,) = symbols.get_symbol_by_name("_start")

    assert elf["e_entry"] == start["st_value"] == elf.get_section_by_name(".text")["sh_addr"] == 0x1000
    assert symbols.get_symbol_by_name("main")
    local = [symbol["st_info"]["bind"] == "STB_LOCAL" for symbol in symbols.iter_symbols()]
    assert local == sorted(local, reverse=True), "sh_info is right only if the local symbols come first"
    assert symbols["sh_info"] == sum(local)


def test_line_tables_name_relative_files() -> None:
    dwarf = ELFFile(io.BytesIO(EXAMPLES["caller"].elf.read_bytes())).get_dwarf_info()
    names = {unit.get_top_DIE().get_full_path() for unit in dwarf.iter_CUs()}

    assert {"./caller.c", "./lib/print.c", "./lib/start.S"} <= names


def test_without_debug_there_are_symbols_but_no_line_tables(tmp_path: Path) -> None:
    elf = ELFFile(build_enclave([EXAMPLES["caller"].source], tmp_path / "a.elf", debug=False).open("rb"))
    with elf.stream:
        assert not elf.has_dwarf_info()
        assert elf.get_section_by_name(".symtab").get_symbol_by_name("main")


def test_compile_error_names_file_and_line(tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    source.write_text('#include "eapp.h"\n\nint EAPP_ENTRY main() { return nothing; }\n')

    with pytest.raises(BuildError, match=r"broken\.c:3:\d+: error: .*nothing"):
        build_enclave([source], tmp_path / "broken.elf")
    assert not (tmp_path / "broken.elf").exists()


def test_missing_entry_function_is_explained(tmp_path: Path) -> None:
    source = tmp_path / "no_entry.c"
    source.write_text("int main() { return 0; }\n")

    with pytest.raises(BuildError, match="mark one with EAPP_ENTRY"):
        build_enclave([source], tmp_path / "no_entry.elf")


def test_missing_source_and_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match=r"no such source file: .*absent\.c"):
        build_enclave([tmp_path / "absent.c"], tmp_path / "absent.elf")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r"pip install 'pltvm\[build\]'"):
        build_enclave([EXAMPLES["caller"].source], tmp_path / "caller.elf")


def test_copy_examples_overwrites_nothing(tmp_path: Path) -> None:
    copies = guest.copy_examples(tmp_path / "new")

    assert sorted(
        copy.stem for copy in copies if copy.suffix == ".c" and copy.parent.name == "new"
    ) == sorted(EXAMPLES)
    assert "fs-image.h" in {copy.name for copy in copies}, "what they include comes with them"
    with pytest.raises(BuildError, match="exists already"):
        guest.copy_examples(tmp_path / "new")


def test_import_is_light() -> None:
    heavy = {"lief", "unicorn", "elftools", "ziglang"}
    code = f"import sys, pltvm.build.rebuild; print({heavy} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(Path(guest.__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


STACK_TOP, KBUFFER, HEAP = 0x38_0000_0000, 0xFFFF_FFE0_0000_0000, 0x10_0000_0000
ENCLAVE_CALL, EXIT, OCALL, WRITE, SBRK = 0x100101, 99, 98, 3, 4


def run(elf: Path, **registers: int) -> tuple[int, list[str]]:
    """Run an enclave on flat memory with exit, write and sbrk only; return its value and what it printed."""
    cpu = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    cpu.ctl_set_tlb_mode(unicorn.UC_TLB_VIRTUAL)
    with elf.open("rb") as file:
        image = ELFFile(file)
        entry = image["e_entry"]
        for segment in image.iter_segments():
            cpu.mem_map(segment["p_vaddr"], -(-segment["p_memsz"] // PAGE) * PAGE)
            cpu.mem_write(segment["p_vaddr"], segment.data())
    cpu.mem_map(STACK_TOP - 16 * PAGE, 16 * PAGE)
    cpu.mem_map(KBUFFER, PAGE)
    heap, value = HEAP, None
    printed: list[str] = []

    def trap(*_: object) -> None:
        nonlocal heap, value
        a0, a1, a6, a7 = (cpu.reg_read(getattr(riscv, f"UC_RISCV_REG_A{number}")) for number in (0, 1, 6, 7))
        result = 0
        if a6 == ENCLAVE_CALL and a7 == OCALL and a0 == WRITE:
            printed.append(bytes(cpu.mem_read(KBUFFER, PAGE)).split(b"\0")[0].decode())
        elif a6 == ENCLAVE_CALL and a7 == OCALL and a0 == SBRK:
            pages = (1 << (a1 // PAGE).bit_length()) - 1 if a1 else 0
            if pages > 1 << 16:
                result = -1
            else:
                if pages:
                    cpu.mem_map(heap, pages * PAGE)
                heap += pages * PAGE
                result = heap
        else:
            value = a0 if (a6, a7) == (ENCLAVE_CALL, EXIT) else -1
            cpu.emu_stop()
        cpu.reg_write(riscv.UC_RISCV_REG_A0, result % 2**64)

    cpu.hook_add(unicorn.UC_HOOK_INTR, trap)
    cpu.reg_write(riscv.UC_RISCV_REG_SP, STACK_TOP)
    for name, content in registers.items():
        cpu.reg_write(getattr(riscv, f"UC_RISCV_REG_{name.upper()}"), content)
    cpu.emu_start(entry, 0)
    assert value is not None
    return value, printed


def build_text(text: str, directory: Path, opt: str = "-O2") -> Path:
    source = directory / "program.c"
    source.write_text(text)
    return build_enclave([source], directory / "program.elf", opt=opt, defines={"ANSWER": 42})


@pytest.mark.parametrize("opt", ["-O0", "-O2"])
def test_original_style_program(tmp_path: Path, opt: str) -> None:
    elf = build_text(
        """
        #include "eapp.h"
        #include "print.h"
        #include <string.h>
        #include <stdlib.h>
        static int counter = 1;
        int hello(unsigned long *args) {
          eapp_print("%d x2=%lx a0=%lx x31=%lx\\n", counter, args[2], args[10], args[31]);
          EAPP_RETURN(ANSWER);
        }
        int EAPP_ENTRY main(){
          unsigned long * args;
          EAPP_RESERVE_REG;
          hello(args);
          return 0;
        }
        """,
        tmp_path,
        opt,
    )
    assert run(elf, a0=0x1234, t6=0x5678) == (42, [f"1 x2={STACK_TOP:x} a0=1234 x31=5678\n"])


def test_returning_from_the_entry_function_exits(tmp_path: Path) -> None:
    elf = build_text('#include "eapp.h"\nint EAPP_ENTRY begin() { return 7; }\n', tmp_path)
    assert run(elf) == (7, [])


def test_printf(tmp_path: Path) -> None:
    formats = [
        ('"%d|%5d|%-5d|%05d|%+d|% d|%.3d", -1, 2, 3, -4, 5, 6, 7', "-1|    2|3    |-0004|+5| 6|007"),
        ('"%u|%lu|%hhu|%hd|%zu", -1, -1L, 257, 65535, sizeof(int)', f"{2**32 - 1}|{2**64 - 1}|1|-1|4"),
        (
            '"%x|%#X|%#x|%08x|%lx|%#o|%o", 255, 255, 0, 255, -1L, 8, 8',
            f"ff|0XFF|0|000000ff|{'f' * 16}|010|10",
        ),
        ('"%p|%p", (void *)4096, (void *)0', "0x1000|0x0"),
        ('"%s|%5s|%-5s|%.2s|%.*s|%s", "a", "b", "c", "def", 1, "gh", (char *)0', "a|    b|c    |de|g|(null)"),
        ('"%c|%3c|%-3c|%%|%*d|%*d", 65, 66, 67, 3, 1, -3, 2', "A|  B|C  |%|  1|2  "),
        ('"%ld|%lld|%.0d|%k", 1L << 63, (long long)-5, 0', f"{-(2**63)}|-5||%k"),
    ]
    prints = "".join(f"eapp_print({arguments});" for arguments, _ in formats)
    elf = build_text(
        f"""
        #include "eapp.h"
        #include "print.h"
        #pragma clang diagnostic ignored "-Wformat"
        int EAPP_ENTRY main() {{ {prints} EAPP_RETURN(0); }}
        """,
        tmp_path,
    )
    assert run(elf) == (0, [text for _, text in formats])


def test_long_text_takes_several_ocalls(tmp_path: Path) -> None:
    elf = build_text(
        """
        #include <stdio.h>
        #include <string.h>
        #include "eapp.h"
        int EAPP_ENTRY main() {
          static char text[1100], cut[8];
          memset(text, 'x', 1023);
          puts(text);
          memset(text, 'y', 511);
          text[511] = 0;
          printf("%s", text);
          printf("%d %s %d", snprintf(cut, sizeof cut, "%s!", "0123456789"), cut, snprintf(0, 0, "abc"));
          EAPP_RETURN(0);
        }
        """,
        tmp_path,
    )
    assert run(elf) == (0, ["x" * 511, "x" * 511, "x\n", "y" * 511, "11 0123456 3"])


def test_string_and_memory_functions(tmp_path: Path) -> None:
    elf = build_text(
        """
        #include <stdlib.h>
        #include <string.h>
        #include "eapp.h"
        #include "print.h"
        #define CHECK(c) do { if (!(c)) { eapp_print("%d: %s", __LINE__, #c); EAPP_RETURN(1); } } while (0)
        static unsigned char a[200], b[200], expected[200];
        static void moves(void) {
          for (int from = 0; from < 20; from++)
            for (int to = 0; to < 20; to++)
              for (int size = 0; size < 60; size++) {
                for (int i = 0; i < 200; i++) a[i] = b[i] = expected[i] = i;
                for (int i = 0; i < size; i++) expected[to + i] = from + i;
                memmove(a + to, a + from, size);
                CHECK(memcmp(a, expected, 200) == 0);
                memcpy(b + 100 + to, b + from, size);
                CHECK(memcmp(b + 100 + to, b + from, size) == 0 && b[100 + to + size] == 100 + to + size);
                memset(a + to, 7, size);
                CHECK(size == 0 || (a[to] == 7 && a[to + size - 1] == 7));
                CHECK(a[to + size] == expected[to + size]);
              }
        }
        static unsigned random(void) {
          static unsigned long state = 1;
          state = state * 6364136223846793005 + 1;
          return state >> 33;
        }
        static void heap(void) {
          static unsigned char *blocks[50];
          static unsigned sizes[50];
          for (int round = 0; round < 20000; round++) {
            int i = random() % 50;
            for (unsigned k = 0; k < sizes[i]; k += 97) CHECK(blocks[i][k] == (unsigned char)(i + k));
            unsigned old = sizes[i], size = random() % (random() % 50 ? 500 : 30000);
            if (random() % 3 == 0) { blocks[i] = realloc(blocks[i], size);
              for (unsigned k = 0; k < old && k < size; k += 97)
                CHECK(blocks[i][k] == (unsigned char)(i + k));
            } else { free(blocks[i]); blocks[i] = malloc(size); }
            CHECK(blocks[i] && (unsigned long)blocks[i] % 16 == 0);
            sizes[i] = size;
            for (unsigned k = 0; k < size; k += 97) blocks[i][k] = i + k;
          }
          for (int i = 0; i < 50; i++) free(blocks[i]);
          char *top = eapp_sbrk(0);
          /* All in one piece again: */
          CHECK(malloc(top - (char *)0x1000000000 - 16) == (char *)0x1000000000 + 16);
          CHECK(eapp_sbrk(0) == top);
        }
        int EAPP_ENTRY main() {
          char text[32] = "abc";
          moves();
          heap();
          CHECK(strlen("") == 0 && strlen("abc") == 3 && strnlen("abc", 2) == 2);
          CHECK(strcmp("a", "b") < 0 && strcmp("b", "a") > 0 && strcmp("a", "a") == 0);
          CHECK(strcmp("\\xff", "a") > 0);
          CHECK(strncmp("abc", "abd", 2) == 0 && strncmp("abc", "abd", 3) < 0 && strncmp("a", "a", 9) == 0);
          CHECK(strcmp(strcat(text, "def"), "abcdef") == 0 && strcmp(strcpy(text, "x"), "x") == 0);
          CHECK(memcmp(strncpy(text, "yz", 5), "yz\\0\\0\\0", 5) == 0);
          CHECK(strchr("abca", 'a')[1] == 'b' && strrchr("abca", 'a')[1] == 0 && !strchr("abc", 'x'));
          CHECK(*strchr("abc", 0) == 0 && *strstr("hello", "ll") == 'l' && !strstr("a", "ab"));
          CHECK(strstr("a", ""));
          CHECK(memchr("abc", 'c', 2) == 0 && *(char *)memchr("abc", 'c', 3) == 'c');
          eapp_print("%d", (int)(ANSWER * 0.5));  /* floating point in software */
          EAPP_RETURN(0);
        }
        """,
        tmp_path,
    )
    assert run(elf) == (0, ["21"])


def test_text_numbers_and_sorting(tmp_path: Path) -> None:
    elf = build_text(
        r"""
        #include <assert.h>
        #include <ctype.h>
        #include <errno.h>
        #include <inttypes.h>
        #include <limits.h>
        #include <stdbool.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <strings.h>
        #include "eapp.h"
        #define CHECK(c) do { if (!(c)) { printf("%d: %s", __LINE__, #c); _Exit(1); } } while (0)
        static int by_value(const void *a, const void *b) {
          return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
        }
        static void text(void) {
          char line[] = ";;a;b,,c", copy[16] = "ab", *rest, *other = strdup("dup");
          CHECK(!strcmp(strtok_r(line, ";,", &rest), "a") && !strcmp(strtok_r(NULL, ";,", &rest), "b"));
          CHECK(!strcmp(strtok_r(NULL, ";,", &rest), "c") && !strtok_r(NULL, ";,", &rest));
          CHECK(!strtok_r(NULL, ";,", &rest) && !strtok((char[]){""}, " "));
          CHECK(!strcmp(strncat(copy, "cdef", 2), "abcd") && strspn("aab", "a") == 2);
          CHECK(strcspn("aab", "b") == 2 && strcspn("a", "") == 1 && *strpbrk("xyz", "zy") == 'y');
          CHECK(!strpbrk("xyz", "a"));
          CHECK(!strcmp(other, "dup") && !strcasecmp("HeLLo", "hEllO") && strncasecmp("ab", "AC", 2) < 0);
          CHECK(!strcmp(strerror(ENOENT), "No such file") && !strcmp(strerror(999), "Unknown error"));
          CHECK(isalpha('z') && !isalpha('1') && isspace('\v') && ispunct('!') && toupper('q') == 'Q');
          CHECK(!isalpha(EOF) && !isprint(200) && isxdigit('F') && !isxdigit('g') && tolower('Q') == 'q');
          CHECK(sprintf(copy, "%s-%" PRIu64, "x", UINT64_C(7)) == 3 && !strcmp(copy, "x-7"));
        }
        static void numbers(void) {
          char *end;
          CHECK(strtol(" -42x", &end, 10) == -42 && *end == 'x' && strtol("0x1f", NULL, 0) == 31);
          CHECK(strtol("077", NULL, 0) == 63 && strtol("zz", NULL, 36) == 1295 && atoi("12a") == 12);
          CHECK(strtol("0xg", &end, 16) == 0 && *end == 'x' && strtol("x", &end, 10) == 0 && *end == 'x');
          CHECK(strtoul("-1", NULL, 10) == ULONG_MAX && errno == 0);
          CHECK(strtol("-9223372036854775808", NULL, 10) == LONG_MIN && errno == 0);
          CHECK(strtol("9223372036854775808", NULL, 10) == LONG_MAX && errno == ERANGE);
          errno = 0;
          CHECK(strtoul("18446744073709551616", &end, 10) == ULONG_MAX && errno == ERANGE && !*end);
          CHECK(strtol("1", &end, 37) == 0 && errno == EINVAL && abs(-3) == 3 && labs(LONG_MIN + 1) > 0);
        }
        static void scanning(void) {
          int a = 0, b = 0, n = 0; long l; unsigned char byte; char word[8], set[8], c;
          CHECK(sscanf("12 -0x1f", "%d%i%n", &a, &b, &n) == 2 && a == 12 && b == -31 && n == 8);
          CHECK(sscanf("1234567", "%3d%ld", &a, &l) == 2 && a == 123 && l == 4567);
          CHECK(sscanf("key = value", "%7s = %7[a-z]", word, set) == 2 && !strcmp(set, "value"));
          CHECK(sscanf("a,b", "%[^,],%c", word, &c) == 2 && !strcmp(word, "a") && c == 'b');
          CHECK(sscanf("]-x", "%[]-]%c", word, &c) == 2 && !strcmp(word, "]-") && c == 'x');
          CHECK(sscanf("300 ff", "%hhu %*d", &byte) == 1 && byte == 44 && sscanf("", "%d", &a) == EOF);
          CHECK(sscanf("x", "%d", &a) == 0 && sscanf("5%", "%d%%%n", &a, &n) == 1 && n == 2);
          CHECK(sscanf("ab", "%3c", word) == 0 && sscanf("ff 17", "%x %o", &a, &b) == 2 && b == 15);
        }
        static void sorting(void) {
          static int values[1000];
          srand(5);
          for (int count = 0; count < 40; count++) {
            for (int i = 0; i < count; i++) values[i] = rand() % 20;
            qsort(values, count, sizeof *values, by_value);
            for (int i = 1; i < count; i++) CHECK(values[i - 1] <= values[i]);
          }
          for (int i = 0; i < 1000; i++) values[i] = 2 * ((i * 7) % 1000);
          qsort(values, 1000, sizeof *values, by_value);
          for (int key = -1; key < 2001; key++) {
            int *found = bsearch(&key, values, 1000, sizeof *values, by_value);
            CHECK(key % 2 || key < 0 || key >= 2000 ? !found : found == values + key / 2);
          }
        }
        static void second(void) { printf("second "); }
        static void first(void) { printf("first "); }
        int EAPP_ENTRY main() {
          text();
          numbers();
          scanning();
          sorting();
          CHECK(atexit(second) == 0 && atexit(first) == 0 && !getenv("HOME"));
          assert(true);
          exit(3);
        }
        """,
        tmp_path,
    )
    assert run(elf) == (3, ["first second "])


def test_stdout_is_line_buffered(tmp_path: Path) -> None:
    """The host ends each message with a newline: what has none yet waits for its line."""
    elf = build_text(
        r"""
        #include <stdio.h>
        #include "eapp.h"
        #include "print.h"
        int EAPP_ENTRY main() {
          printf("a"); putchar('b'); fputs("c", stdout); printf("d\ne"); fprintf(stderr, "f\n");
          printf("g"); fflush(stdout); printf("h"); eapp_print("i"); eapp_print("j\n");
          for (int i = 0; i < 200; i++) printf("%d,", i % 10);
          printf("\n");
          for (int i = 0; i < 60; i++) printf("line %4d\n", i);
          printf("the end");
          return 0;
        }
        """,
        tmp_path,
    )
    value, messages = run(elf)
    assert (value, messages[:5]) == (0, ["abcd\n", "ef\n", "g", "hi", "j\n"])
    assert messages[5] == ",".join(str(i % 10) for i in range(200)) + ",\n"
    assert messages[6:-1] == [f"line {i:4}\n" for i in range(60)]
    assert messages[-1] == "the end"
