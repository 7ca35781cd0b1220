"""The C host library: same bytes every time, programs of the original SDK compile, the examples run."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pltvm import Machine
from pltvm.build import guest
from pltvm.build import zig as compiler
from pltvm.build.enclave import build_enclave
from pltvm.build.guest import Libc
from pltvm.build.host import build_host, toolchain
from pltvm.build.rebuild import rebuild_hosts
from pltvm.errors import BuildError
from pltvm.host.linux.runner import LinuxResult, run_program

EXAMPLES = guest.host_examples()
ELFS = {f"{libc}/{name}": elf for name, example in EXAMPLES.items() for libc, elf in example.elfs.items()}
REBUILD = "run python -m pltvm.build hosts"
LOOP = guest.host_elf_dir() / "loop-enclave.elf"


def zig(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = compiler.command("cc", "-target", "riscv64-linux-musl", *arguments)
    return subprocess.run(command, capture_output=True, text=True)


# -- building ----------------------------------------------------------------------------------------------


def test_all_examples_are_there() -> None:
    assert set(EXAMPLES) == {"test-caller", "host", "fork-host", "test-stop", "relay-host"}
    assert all(elf.is_file() for elf in [*ELFS.values(), LOOP])


def test_rebuild_gives_the_committed_musl_bytes(tmp_path: Path) -> None:
    built = rebuild_hosts(tmp_path, ["musl"])

    assert len(built) == len(EXAMPLES) + 1
    for elf in built:
        committed = guest.host_elf_dir() / elf.relative_to(tmp_path)
        assert elf.read_bytes() == committed.read_bytes(), f"{committed}: {REBUILD}"


def test_rebuild_gives_the_committed_glibc_bytes(tmp_path: Path) -> None:
    recorded = (guest.host_elf_dir() / "glibc" / "TOOLCHAIN").read_text()
    found = toolchain()
    if found != recorded:
        pytest.skip(f"the ELFs were made with {recorded!r}; here is {found!r}")
    for elf in rebuild_hosts(tmp_path, ["glibc"]):
        committed = guest.host_elf_dir() / elf.relative_to(tmp_path)
        assert elf.read_bytes() == committed.read_bytes(), f"{committed}: {REBUILD}"


@pytest.mark.parametrize("libc", guest.LIBCS)
def test_bytes_do_not_depend_on_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libc: Libc
) -> None:
    if libc == "glibc" and toolchain() is None:
        pytest.skip("no riscv64-linux-gnu-gcc")
    for name in ("test-caller.c", "common.h"):
        shutil.copyfile(guest.host_dir() / "examples" / name, tmp_path / name)
    shutil.copytree(guest.guest_dir() / "host", tmp_path / "elsewhere" / "host")
    here = build_host([EXAMPLES["test-caller"].source], tmp_path / "here", libc)
    monkeypatch.setattr(guest, "guest_dir", lambda: tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)

    there = build_host([Path("test-caller.c")], tmp_path / "out" / "there", libc)

    assert there.read_bytes() == here.read_bytes()


@pytest.mark.parametrize("name", ELFS)
def test_elf_is_static_small_and_has_symbols(name: str) -> None:
    data = ELFS[name].read_bytes()
    elf = ELFFile(io.BytesIO(data))

    assert elf["e_type"] == "ET_EXEC"
    assert not {"PT_INTERP", "PT_DYNAMIC"} & {segment["p_type"] for segment in elf.iter_segments()}
    float_abi = elf["e_flags"] & 6
    assert float_abi == (4 if name.startswith("glibc") else 0), "glibc is lp64d, musl lp64"
    assert len(data) < (700_000 if name.startswith("glibc") else 80_000)
    assert not [section.name for section in elf.iter_sections() if section.name.startswith(".debug")]
    for segment in elf.iter_segments():
        assert segment["p_offset"] + segment["p_filesz"] <= len(data)
    symbols = elf.get_section_by_name(".symtab")
    (main,) = symbols.get_symbol_by_name("main")
    section = elf.get_section(main["st_shndx"])
    assert section.name.startswith(".text")
    assert section["sh_addr"] <= main["st_value"] < section["sh_addr"] + section["sh_size"]
    local = [symbol["st_info"]["bind"] == "STB_LOCAL" for symbol in symbols.iter_symbols()]
    assert symbols["sh_info"] == sum(local)
    assert all(local[: sum(local)])


def test_all_of_it_is_small() -> None:
    assert sum(file.stat().st_size for file in guest.host_elf_dir().rglob("*")) < 6_000_000


def test_errors_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "broken.c"
    source.write_text('#include "penglai-enclave.h"\n\nint main() { return nothing; }\n')

    with pytest.raises(BuildError, match=r"broken\.c:3:\d+: error: .*nothing"):
        build_host([source], tmp_path / "broken", "musl")
    assert not (tmp_path / "broken").exists()
    with pytest.raises(BuildError, match=r"no such source file: .*absent\.c"):
        build_host([tmp_path / "absent.c"], tmp_path / "absent", "musl")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r"pip install 'pltvm\[build\]'"):
        build_host([source], tmp_path / "broken", "musl")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"apt-get install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"):
        build_host([source], tmp_path / "broken", "glibc")


@pytest.mark.skipif(toolchain() is None, reason="needs Debian's cross compiler")
def test_glibc_needs_no_ziglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = guest.host_examples()["test-caller"].source
    before = build_host([source], tmp_path / "before", "glibc").read_bytes()
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert build_host([source], tmp_path / "after", "glibc").read_bytes() == before


# -- the header --------------------------------------------------------------------------------------------

ORIGINAL_STYLE = """
#include "penglai-enclave-elfloader.h"
#include "penglai-enclave-param.h"
#include "penglai-enclave.h"
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(struct penglai_enclave_user_param) == 112, "user_param");
_Static_assert(sizeof(struct penglai_enclave_attest_param) == 344, "attest_param");
_Static_assert(sizeof(struct penglai_shmget_param) == 24, "get");
_Static_assert(sizeof(struct penglai_shmat_param) == 32, "attach");
_Static_assert(NORMAL_ENCLAVE == 0 && SERVER_ENCLAVE == 1 && SHADOW_ENCLAVE == 2, "types");
_Static_assert((PENGLAI_ENCLAVE_IOC_CREATE_ENCLAVE & 0xffffffff) == 0x8070a400, "create");
_Static_assert((PENGLAI_ENCLAVE_IOC_ATTEST_ENCLAVE & 0xffffffff) == 0x8158a402, "attest");
_Static_assert((PENGLAI_ENCLAVE_IOC_DESTROY_ENCLAVE & 0xffffffff) == 0x4070a405, "destroy");
_Static_assert((PENGLAI_IOC_ATTACH(PENGLAI_SCHRODINGER) & 0xffffffff) == 0x8020a415, "attach");

void printHex(unsigned char *c, LENGTH n)
{
    for (LENGTH i = 0; i < n; i++)
        printf("0x%02X, ", c[i]);
}

int main(int argc, char **argv)
{
    struct elf_args *file = malloc(sizeof(struct elf_args));
    struct enclave_args *params = malloc(sizeof(struct enclave_args));
    struct PLenclave *enclave = malloc(sizeof(struct PLenclave));
    char *eapp = argv[argc - 1];

    elf_args_init(file, eapp);
    if (!elf_valid(file))
        return 1;
    PLenclave_init(enclave);
    enclave_args_init(params);
    params->type = NORMAL_ENCLAVE;
    if (PLenclave_create(enclave, file, params) < 0)
        return 1;
    PLenclave_attest(enclave, 0);
    printHex(enclave->attest_param.report.enclave.signature, 2);
    if (PLenclave_run(enclave) < 0)
        return 1;
    PLenclave_finalize(enclave);
    elf_args_destroy(file);
    return 0;
}
"""


@pytest.mark.parametrize("standard", ["gnu99", "c11", "gnu2x"])
@pytest.mark.parametrize("compiler", ["zig", "riscv64-linux-gnu-gcc"])
def test_header_compiles_without_warning(tmp_path: Path, compiler: str, standard: str) -> None:
    flags = ["-Wall", "-Wextra", "-Werror", f"-std={standard}", "-I", str(guest.host_dir() / "include")]
    source = tmp_path / "program.c"
    length = "int" if standard == "c11" else "unsigned int"
    source.write_text(ORIGINAL_STYLE.replace("LENGTH", length))
    if compiler == "zig":
        # clang warns of the program's printHex, which has a prototype, after the header's without one.
        result = zig(*flags, "-Wno-deprecated-non-prototype", "-c", str(source), "-o", str(tmp_path / "o"))
    elif shutil.which(compiler):
        command = [compiler, *flags, "-c", str(source), "-o", str(tmp_path / "o")]
        result = subprocess.run(command, capture_output=True, text=True)
    else:
        pytest.skip(f"no {compiler}")
    assert (result.returncode, result.stderr) == (0, "")


def test_header_alone_compiles_as_c_and_cpp(tmp_path: Path) -> None:
    header = str(guest.host_dir() / "include" / "penglai-enclave.h")
    for language in ("-xc", "-xc++"):
        flags = ["-Wall", "-Wextra", "-Werror", "-Wno-pragma-once-outside-header", "-c", "-o"]
        result = zig(*flags, str(tmp_path / "o"), language, header)
        assert (result.returncode, result.stderr) == (0, "")


def test_a_number_of_slots_is_a_type_in_c_and_cpp(tmp_path: Path) -> None:
    source = tmp_path / "type.c"
    source.write_text('#include "penglai-enclave.h"\nenclave_type_t type = CONCURRENT_SERVER_OF(8);\n')
    for language in ("-xc", "-xc++"):
        flags = ["-Wall", "-Wextra", "-Werror", "-I", str(guest.host_dir() / "include"), "-c", "-o"]
        result = zig(*flags, str(tmp_path / "o"), language, str(source))
        assert (result.returncode, result.stderr) == (0, "")


def test_library_and_examples_compile_without_warning(tmp_path: Path) -> None:
    host = guest.host_dir()
    flags = ["-Wall", "-Wextra", "-Werror", "-std=gnu11", "-I", str(host / "include"), "-c", "-o"]
    sources = [*host.glob("lib/*.c"), *(example.source for example in EXAMPLES.values())]
    for source in sources:
        quiet = "-Wno-deprecated-non-prototype"
        result = zig(quiet, *flags, str(tmp_path / "o"), str(source))
        assert (result.returncode, result.stderr) == (0, "")


# -- running -----------------------------------------------------------------------------------------------


def run(program: Path, root: Path, *arguments: str) -> LinuxResult:
    machine = Machine()
    result = run_program(machine.driver, program, arguments, root=root, timeout=60)
    assert (result.end, result.timed_out, result.missing) == ("", False, {})
    return result


def text(result: LinuxResult) -> str:
    return result.output.decode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the prebuilt enclaves, which is all that a program sees."""
    for elf in [*guest.guest_dir().glob("elf/*.elf"), LOOP]:
        shutil.copyfile(elf, tmp_path / elf.name)
    return tmp_path


@pytest.mark.parametrize("libc", guest.LIBCS)
class TestExamples:
    def test_caller_with_a_chain(self, root: Path, libc: Libc) -> None:
        elf = EXAMPLES["test-caller"].elfs[libc]
        result = run(elf, root, "caller.elf", "server.elf", "server1.elf")

        assert result.exit_code == 0, text(result)
        assert text(result).splitlines()[3:5] == [
            "[caller] shared memory starts with 11111",
            "[caller] relay page starts with 22222",
        ]
        assert "[caller] value 0x3\n" in text(result)
        assert text(result).endswith(
            "run returned 0\ntest-caller: the enclave returned 0\ntest-caller: all is destroyed\n"
        )

    def test_caller_with_one_server(self, root: Path, libc: Libc) -> None:
        result = run(EXAMPLES["test-caller"].elfs[libc], root, "caller.elf", "server.elf")

        assert result.exit_code == 0, text(result)
        assert "[caller] value 0x2\n" in text(result)

    def test_host_in_threads(self, root: Path, libc: Libc) -> None:
        result = run(EXAMPLES["host"].elfs[libc], root, "hello-world.elf", "3")

        assert result.exit_code == 0, text(result)
        hashes = re.findall(r"^host \d: report ([0-9a-f]{64})$", text(result), re.MULTILINE)
        assert len(hashes) == 3
        assert len(set(hashes)) == 1, "the same program and nonce give the same hash"
        assert text(result).count("hello world\n") == 3
        assert text(result).endswith("host: 3 of 3 enclaves ran\n")

    def test_fork_host(self, root: Path, libc: Libc) -> None:
        result = run(EXAMPLES["fork-host"].elfs[libc], root, "hello-world.elf", "2")

        assert result.exit_code == 0, text(result)
        assert text(result).count("hello world\n") == 4
        instances = re.findall(r"(?:run|thread) \d: instance (0x\w+) returned 0", text(result))
        assert sorted(instances) == ["0x1001", "0x1002", "0x1003", "0x1004"]

    def test_stop(self, root: Path, libc: Libc) -> None:
        result = run(EXAMPLES["test-stop"].elfs[libc], root, "loop-enclave.elf")

        assert result.exit_code == 0, text(result)
        for line in (
            "test-stop: stopped, the counter stands still",
            "test-stop: resumed, the counter moves",
            "test-stop: run ended with the enclave",
        ):
            assert line in text(result).splitlines()

    def test_relay_host(self, root: Path, libc: Libc) -> None:
        source = root / "relay.c"
        source.write_text(
            '#include "eapp.h"\n'
            "int EAPP_ENTRY main()\n{\n    unsigned long *args;\n    EAPP_RESERVE_REG;\n"
            "    int *page = (int *)args[13];\n    int round;\n"
            "    for (round = 0; round < 3; round++) {\n"
            "        if (*page != round)\n            EAPP_RETURN(100 + round);\n"
            "        *page = 1000 + round;\n        eapp_return_relay_page();\n    }\n"
            "    EAPP_RETURN(*page);\n}\n"
        )
        build_enclave([source], root / "relay.elf")
        result = run(EXAMPLES["relay-host"].elfs[libc], root, "relay.elf")

        assert result.exit_code == 0, text(result)
        assert text(result).splitlines() == [
            *(f"relay-host: round {i}: the page came back with {1000 + i}" for i in range(3)),
            "relay-host: after 4 rounds the enclave returned 3",
        ]

    def test_wrong_files_are_named(self, root: Path, libc: Libc) -> None:
        (root / "text").write_text("no ELF file, and that is all there is to say about this one, is it not\n")
        host = EXAMPLES["host"].elfs[libc]

        for file, line in (
            ("absent", "penglai: cannot read the enclave absent: No such file or directory\n"),
            (".", "penglai: cannot read the enclave .: Is a directory\n"),
            ("text", "text is not a RISC-V ELF file\n"),
        ):
            result = run(host, root, file)
            assert (result.exit_code, text(result), result.errors.decode()) == (1, "", line)


@pytest.mark.parametrize("libc", guest.LIBCS)
def test_program_in_the_original_style_runs(root: Path, libc: Libc) -> None:
    if libc == "glibc" and toolchain() is None:
        pytest.skip("no riscv64-linux-gnu-gcc")
    source = root / "program.c"
    source.write_text(ORIGINAL_STYLE.replace("LENGTH", "int"))
    program = build_host([source], root / "program", libc)
    result = run(program, root, "hello-world.elf")

    assert result.exit_code == 0
    assert re.fullmatch(r"hello world\n(0x[0-9A-F]{2}, ){2}|(0x[0-9A-F]{2}, ){2}hello world\n", text(result))


FAILURES = r"""
#include "penglai-enclave.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A call that must fail leaves a cause, and one line on stderr. */
#define FAILS(call) \
    do { \
        errno = 0; \
        if ((long)(call) >= 0 || !errno) { printf("did not fail: " #call "\n"); return 1; } \
    } while (0)
#define WORKS(call) do { if ((long)(call) < 0) { printf("failed: " #call "\n"); return 1; } } while (0)

int main(int argc, char **argv)
{
    struct elf_args elf, bad = {"no ELF", 6};
    struct enclave_args args;
    struct PLenclave one, two;

    (void)argc;
    WORKS(elf_args_init(&elf, argv[1]));
    WORKS(PLenclave_init(&one));
    WORKS(PLenclave_init(&two));
    enclave_args_init(&args);
    if (args.type != NORMAL_ENCLAVE || args.stack_size != 65536 || args.shmid || args.name[0])
        return 1;
    memcpy(args.name, "exactly16letters", NAME_LEN);
    FAILS(PLenclave_run(&one));
    FAILS(PLenclave_destruct(&one));
    FAILS(PLenclave_attest(&one, 1));
    FAILS(PLenclave_create(&one, &bad, &args));
    args.type = SERVER_ENCLAVE;
    WORKS(PLenclave_create(&one, &elf, &args));
    FAILS(PLenclave_create(&two, &elf, &args)); /* the name is taken */
    FAILS(PLenclave_run(&one));                 /* a server */
    FAILS(PLenclave_stop(&one));
    FAILS(PLenclave_resume(&one));
    WORKS(PLenclave_destruct(&one));
    FAILS(PLenclave_destruct(&one));
    args.type = NORMAL_ENCLAVE;
    args.shmid = 99; /* there is no such: the enclave has none */
    WORKS(PLenclave_create(&one, &elf, &args));
    WORKS(PLenclave_destruct(&one));

    FAILS(PLenclave_shmget(0));
    FAILS(PLenclave_shmget(-1UL));
    FAILS(PLenclave_shmat(99, 0));
    FAILS(PLenclave_schrodinger_at(99, 0));
    FAILS(PLenclave_shmctl(99));
    FAILS(PLenclave_persistency_init(99));
    int id = PLenclave_shmget(5000);
    char *memory = PLenclave_shmat(id, (void *)0x1550000000);

    WORKS(id);
    if (memory != (char *)0x1550000000)
        return 1;
    memory[8191] = 1;
    FAILS(PLenclave_schrodinger_dt(id, memory));
    char *again = PLenclave_shmat(id, 0);

    if (again == memory || again[8191] != 1)
        return 1;
    WORKS(PLenclave_shmdt(id, again));
    WORKS(PLenclave_shmdt(id, memory));
    FAILS(PLenclave_shmdt(id, memory));
    WORKS(eapp_persistency_init(id));
    WORKS(PLenclave_shmctl(id));
    FAILS(PLenclave_shmctl(id));

    args.shmid = 0;
    WORKS(PLenclave_create(&one, &elf, &args));
    WORKS(PLenclave_attest(&one, 1));
    WORKS(PLenclave_set_mem_arg(&one, 99, 0, 4096));
    FAILS(PLenclave_run(&one)); /* no such relay pages; the enclave is still there */
    WORKS(PLenclave_set_mem_arg(&one, 0, 0, 0));
    WORKS(PLenclave_run(&one));
    FAILS(PLenclave_run(&one)); /* it has ended */
    WORKS(PLenclave_destruct(&one));
    WORKS(PLenclave_finalize(&one));
    FAILS(PLenclave_create(&one, &elf, &args)); /* the device is closed */
    unsigned char bytes[] = {0, 255, 16};
    printHex(bytes, 3);
    return 0;
}
"""


def test_failures_are_reported(root: Path) -> None:
    source = root / "failures.c"
    source.write_text(FAILURES)
    program = build_host([source], root / "failures", "musl")
    result = run(program, root, "hello-world.elf")

    assert result.exit_code == 0, text(result)
    assert text(result).splitlines() == ["hello world", "00ff10"]
    reports = result.errors.decode().splitlines()
    assert len(reports) == len(re.findall(r"^ +FAILS\(", FAILURES, re.MULTILINE))
    assert all(re.fullmatch(r"penglai: cannot [^:]+: [A-Z][^:]+", line) for line in reports), reports
    assert 'penglai: cannot run enclave "exactly16letters": Bad address' in reports
    driver = [request for request in result.failed_requests if request.name == "run"]
    assert "it is a server" in str(driver[0])
