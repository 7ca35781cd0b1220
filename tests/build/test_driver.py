"""`pltvm build` as a compiler: what it takes, what it passes on, what it says; and what C and C++ may use."""

import io
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pltvm import EnclaveType, Machine
from pltvm.build import arguments, guest, library, objects, zig
from pltvm.build.enclave import build_enclave
from pltvm.errors import BuildError
from tests.cli.command import pltvm

HEAD = '#include <stdio.h>\n#include "eapp.h"\n'


def run(elf: Path) -> tuple[int, list[str]]:
    """What it returns, and the lines that it prints."""
    result = Machine().create(elf).run()
    assert result.fault is None, str(result.fault)
    return result.retval, result.output.splitlines()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Builds and runs a program; gives its value, and the lines that it prints."""

    def make(text: str, name: str = "program.c", *flags: str) -> tuple[int, list[str]]:
        source = tmp_path / name
        source.write_text(text)
        return run(build_enclave([source], tmp_path / "program.elf", flags=flags))

    return make


# -- the command line ----------------------------------------------------------------------------------------


def test_arguments_are_taken_apart() -> None:
    asked = arguments.parse(
        [
            *("a.c", "-I", "inc", "-DX=1", "-UY", "b.o", "-lfoo", "-L", "lib", "-lm", "-O", "-O3", "-g"),
            *("-Wextra", "-o", "out/x.elf", "-std=c11", "-u", "f", "--", "-fwrapv"),
        ]
    )
    assert asked.inputs == ("a.c", "b.o", "-lfoo", "-L", "lib", "-u", "f")
    assert asked.flags == ("-I", "inc", "-DX=1", "-UY", "-Wextra", "-std=c11", "-fwrapv")
    assert (asked.output, asked.opt, asked.debug, asked.mode) == (Path("out/x.elf"), "-O3", "-g", "")
    assert arguments.parse(["x/a.c"]).default_output() == Path("x/a.elf")
    assert arguments.parse(["a.c", "-O", "s"]).opt == "-Os"
    for words in (["a.txt"], ["-O2"], ["a.c", "-I"]):
        with pytest.raises(BuildError):
            arguments.parse(words)


def test_everything_that_a_compiler_takes(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "mine.h").write_text(
        "int in_c(void), in_asm(void), in_object(void), in_archive(void);\n"
    )
    (tmp_path / "main.cpp").write_text(
        HEAD + 'extern "C" {\n#include <mine.h>\n}\n'
        "int EAPP_ENTRY main() { return in_c() + in_asm() + in_object() + in_archive(); }\n"
    )
    (tmp_path / "c.c").write_text(
        "#ifdef GONE\n#error -U comes too late\n#endif\n"
        "int in_c(void) { return VALUE + (-1 >> 31 == -1) + (__STDC_VERSION__ == 201112L); }\n"
    )
    (tmp_path / "asm.S").write_text(".globl in_asm\nin_asm: li a0, TEN\n ret\n")
    (tmp_path / "object.c").write_text("int in_object(void) { return 100; }\n")
    (tmp_path / "archive.c").write_text("int in_archive(void) { return 1000; }\n")
    for name in ("object", "archive"):
        made = pltvm("build", "-c", f"{name}.c", cwd=tmp_path)
        assert (made.returncode, made.stderr) == (0, "")
    (tmp_path / "lib").mkdir()
    archive = zig.command("ar", "rcs", "lib/libarchive.a", "archive.o")
    subprocess.run(archive, cwd=tmp_path, check=True)
    made = pltvm(
        *("build", "main.cpp", "c.c", "asm.S", "object.o", "-larchive", "-Llib", "-I", "inc", "-DVALUE=1"),
        *("-DTEN=10", "-DGONE", "-UGONE", "-O1", "-g", "-o", "all.elf", "--", "-Wno-unused"),
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    assert run(tmp_path / "all.elf")[0] == 1112
    made = pltvm("build", "-std=c11", "-DVALUE=1", "-E", "c.c", cwd=tmp_path)
    assert "__STDC_VERSION__ == 201112L" in made.stdout or "201112L == 201112L" in made.stdout
    assert pltvm("build", "-S", "object.c", "-o", "o.s", cwd=tmp_path).returncode == 0
    assert "in_object:" in (tmp_path / "o.s").read_text()
    assert "clang version" in pltvm("build", "--version").stdout
    assert pltvm("build", "--print-sdk").stdout == f"{guest.guest_dir()}\n"


def test_warnings_are_on_and_shown_each_time(tmp_path: Path) -> None:
    (tmp_path / "w.c").write_text(HEAD + "int EAPP_ENTRY main() { int unused; return 0; }\n")
    for _ in range(2):
        made = pltvm("build", "w.c", cwd=tmp_path)
        assert made.returncode == 0
        assert "w.c:3:29: warning: unused variable 'unused'" in made.stderr
    assert "warning" not in pltvm("build", "-Wno-unused-variable", "w.c", cwd=tmp_path).stderr
    refused = pltvm("build", "-Werror", "w.c", cwd=tmp_path)
    assert refused.returncode == 1
    assert re.search(r"^\S*w\.c:3:29: error: ", refused.stderr, re.MULTILINE), "lines are the compiler's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.c", "w.elf"]


def test_full_debug_information(tmp_path: Path) -> None:
    source = tmp_path / "d.c"
    source.write_text(HEAD + "int EAPP_ENTRY main() { volatile int kept = 3; return kept; }\n")
    names = {}
    for flag in ("-g1", "-g"):
        elf = build_enclave([source], tmp_path / "d.elf", flags=[flag])
        dwarf = ELFFile(io.BytesIO(elf.read_bytes())).get_dwarf_info()
        dies = (die for unit in dwarf.iter_CUs() for die in unit.iter_DIEs())
        names[flag] = {die.attributes["DW_AT_name"].value for die in dies if "DW_AT_name" in die.attributes}
    assert b"kept" in names["-g"] - names["-g1"]


def test_an_object_with_another_abi_gets_the_options_to_use(tmp_path: Path) -> None:
    (tmp_path / "e.c").write_text(HEAD + "int one(void); int EAPP_ENTRY main() { return one(); }\n")
    (tmp_path / "o.c").write_text("int one(void) { return 1; }\n")
    command = zig.command("cc", "-target", "riscv64-linux-musl", "-c", "o.c")
    subprocess.run(command, cwd=tmp_path, check=True)
    made = pltvm("build", "e.c", "o.o", cwd=tmp_path)
    assert made.returncode == 1
    assert made.stderr.endswith(": compile objects with -march=rv64imac -mabi=lp64\n")


def test_what_takes_long_the_first_time_is_said_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.zig").write_text("export fn one() u8 { return 1; }\n")
    cache = tmp_path / "cache"
    cache.mkdir()
    end, terminal = pty.openpty()
    with open(terminal, "w", buffering=1) as errors:
        monkeypatch.setattr(sys, "stderr", errors)
        for name in ("first.o", "again.o"):
            library._of_zig(
                ["build-obj", *library.TARGET], tmp_path, "one", tmp_path / name, tmp_path / "x.elf", cache
            )
        assert os.read(end, 1000) == b"compiling libraries, once for all programs: some seconds\r\n"
    os.close(end)


# -- before main, and behind it ------------------------------------------------------------------------------


def test_constructors_threads_variables_and_errno(program: Callable[..., tuple[int, list[str]]]) -> None:
    value, lines = program(
        HEAD + "#include <errno.h>\n#include <stdlib.h>\n#include <string.h>\n"
        '_Thread_local int five = 5, zero; _Thread_local char text[] = "tls";\n'
        '__attribute__((constructor(200))) static void b(void) { puts("second"); }\n'
        '__attribute__((constructor(101))) static void a(void) { puts("first"); zero++; }\n'
        '__attribute__((destructor)) static void z(void) { puts("last"); }\n'
        'static void asked(void) { puts("asked"); }\n'
        "int EAPP_ENTRY main() { atexit(asked); five += zero; errno = 0;\n"
        'strtol("9999999999999999999", 0, 10);\n'
        'printf("%d %s %s\\n", five, text, strerror(errno)); return 3; }\n'
    )
    assert (value, lines) == (3, ["first", "second", "6 tls Result out of range", "asked", "last"])


def test_the_loader_sees_no_header_of_the_linker(tmp_path: Path) -> None:
    source = tmp_path / "t.c"
    source.write_text(HEAD + "_Thread_local int one = 1; int EAPP_ENTRY main() { return one; }\n")
    elf = ELFFile(io.BytesIO(build_enclave([source], tmp_path / "t.elf").read_bytes()))
    assert {segment["p_type"] for segment in elf.iter_segments()} == {"PT_LOAD"}
    assert not any(segment["p_flags"] & 3 == 3 for segment in elf.iter_segments())


def test_a_server_is_constructed_once_and_keeps_its_variables(tmp_path: Path) -> None:
    server, client = tmp_path / "server.c", tmp_path / "client.c"
    server.write_text(
        HEAD + "_Thread_local int calls; static int begun;\n"
        "__attribute__((constructor)) static void begin(void) { begun++; }\n"
        "int EAPP_ENTRY main() { struct call_enclave_arg_t r = {0};\n"
        "calls++; r.resp_val = begun * 10 + calls; SERVER_RETURN(&r); }\n"
    )
    client.write_text(
        HEAD + 'int EAPP_ENTRY main() { long s = acquire_enclave("s"); unsigned long sum = 0;\n'
        "for (int i = 0; i < 3; i++) { struct call_enclave_arg_t a = {0}; call_enclave(s, &a);\n"
        "sum = sum * 100 + a.resp_val; } return sum; }\n"
    )
    machine = Machine()
    machine.create(build_enclave([server], tmp_path / "server.elf"), name="s", type=EnclaveType.SERVER)
    assert machine.create(build_enclave([client], tmp_path / "client.elf")).run().retval == 111213


CXX = r"""
#include <algorithm>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>
#include <cmath>
#include <cstdio>
#include "eapp.h"
#include "print.h"
struct Loud { int x; Loud(int x) : x(x) { printf("make %d\n", x); } ~Loud() { printf("end %d\n", x); } };
static Loud global(1);
static Loud &local() { static Loud one(2); return one; }
struct Shape { virtual int corners() = 0; virtual ~Shape() = default; };
struct Square : Shape { int corners() override { return 4; } };
int EAPP_ENTRY main()
{
    local(); local();
    delete new Loud(3);
    std::unique_ptr<Shape> shape(new Square);
    std::vector<int> numbers{3, 1, 2};
    std::sort(numbers.begin(), numbers.end());
    std::map<std::string, int> map;
    map["a long key that lies on the heap"] = 6;
    int *none = new (std::nothrow) int[1UL << 40];
    printf("%d %d %d ", shape->corners(), numbers[2], map.begin()->second);
    printf("%d %.3f\n", none == nullptr, std::sqrt(2.0));
    return 7;
}
"""


def test_cxx(program: Callable[..., tuple[int, list[str]]]) -> None:
    value, lines = program(CXX, "program.cpp")
    assert (value, lines) == (7, ["make 1", "make 2", "make 3", "end 3", "4 3 6 1 1.414", "end 2", "end 1"])


@pytest.mark.parametrize("header", ["iostream", "fstream", "sstream"])
def test_streams_get_a_warning_that_says_what_to_use(header: str, tmp_path: Path) -> None:
    (tmp_path / "s.cpp").write_text(f"#include <{header}>\n" + HEAD + "int EAPP_ENTRY main() { return 7; }\n")
    made = pltvm("build", "s.cpp", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("warning: ") == 1
    assert 'warning: "enclaves have no C++ streams: print with printf of <cstdio>' in made.stderr
    assert "s.cpp:1:\n" in made.stderr
    assert run(tmp_path / "s.elf")[0] == 7


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O0", "--check")], ids=" ".join)
def test_cxx_with_aligned_types(flags: tuple[str, ...], tmp_path: Path) -> None:
    """At -O0 all containers allocate by an alignment, which the optimiser knows to be small."""
    (tmp_path / "a.cpp").write_text(
        '#include <map>\n#include <new>\n#include <string>\n#include <vector>\n#include "eapp.h"\n'
        "struct alignas(256) Line { char text[256]; };\n"
        "static unsigned long low(void *at) { return (unsigned long)at % 256; }\n"
        "int EAPP_ENTRY main() { unsigned long all = 0; std::map<std::string, std::vector<Line>> lines;\n"
        "for (int i = 0; i < 20; i++) { auto &one = lines[std::to_string(i)]; one.resize(i + 1);\n"
        "all |= low(one.data()); one[i].text[255] = 1; Line *own = new Line, *more = new Line[3];\n"
        "all |= low(own) | low(more); more[2].text[255] = 1; delete own; delete[] more; }\n"
        "Line *none = new (std::nothrow) Line[1UL << 40]; delete[] none;\n"
        "return all == 0 && !none && lines.size() == 20 ? 7 : 1; }\n"
    )
    made = pltvm("build", *flags, "a.cpp", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert run(tmp_path / "a.elf")[0] == 7


def test_destructors_of_the_variables_of_a_thread(program: Callable[..., tuple[int, list[str]]]) -> None:
    text = CXX.partition("static Loud &local")[0] + (
        'thread_local Loud own(4); thread_local std::string text = "a long text that lies on the heap";\n'
        'int EAPP_ENTRY main() { own.x++; text += "!"; return text.size(); }\n'
    )
    assert program(text, "own.cpp") == (34, ["make 1", "make 4", "end 5", "end 1"])


def test_the_variables_of_a_slot_are_made_at_each_call(tmp_path: Path) -> None:
    (tmp_path / "s.cpp").write_text(
        '#include <string>\n#include "eapp.h"\n#include "threads.h"\n'
        'thread_local std::string text = "a long text that lies on the heap";\n'
        'int EAPP_ENTRY main() { struct call_enclave_arg_t r = {}; text += "!";\n'
        "r.resp_val = text.size() + slot_id(); SERVER_RETURN(&r); }\n"
    )
    elf = build_enclave([tmp_path / "s.cpp"], tmp_path / "s.elf")
    server = Machine().create(elf, name="s", type=EnclaveType.CONCURRENT, slots=2)
    assert [server.call().value for _ in range(2)] == [34, 34]


# -- floating point and the rest of the library --------------------------------------------------------------

VALUES = (0.0, -0.0, 1.0, 0.1, -2.5, 1e-7, 123456.789, 1e22, 2.0**-1074, 1.7976931348623157e308, 3.5e-310)
FORMATS = ("%f", "%.3f", "%10.2f|", "%-12.4e|", "%+g", "%#.3g", "%015.5f", "%G", "%.0f", "%.20g", "% e", "%E")


def test_printf_of_floats_is_that_of_c(program: Callable[..., tuple[int, list[str]]]) -> None:
    prints = [f'printf("{form}\\n", {value.hex()});' for value in VALUES for form in FORMATS]
    more = (
        'printf("%a %A %.2a\\n", 0.1, -2.5, 1.0); printf("%g %F %f\\n", 1 / zero, -1 / zero, zero / zero);'
        'printf("%Lf %.3Lg %d\\n", 2.5L, 1e300L, 7); printf("%*.*f|%d\\n", -8, 1, 2.25, 5);'
    )
    _, lines = program(
        HEAD
        + "int EAPP_ENTRY main() { volatile double zero = 0;\n"
        + "\n".join(prints)
        + more
        + "return 0; }\n"
    )
    assert lines[: len(prints)] == [form % value for value in VALUES for form in FORMATS]
    assert lines[len(prints) :][:1] == ["0x1.999999999999ap-4 -0X1.4P+1 0x1.00p+0"]
    assert lines[len(prints) + 1].replace("-nan", "nan") == "inf -INF nan"
    assert lines[len(prints) + 2 :] == ["2.500000 1e+300 7", "2.2     |5"]


def test_math_and_strtod(program: Callable[..., tuple[int, list[str]]]) -> None:
    one = ("sin", "cos", "tan", "exp", "log", "log2", "log10", "sqrt", "asin", "acos", "atan", "sinh", "cosh",
           "tanh", "expm1", "log1p", "erf", "tgamma", "floor", "ceil", "fabs", "cbrt")  # fmt: skip
    two = ("pow", "atan2", "fmod", "hypot", "copysign")
    calls = [f"{name}(x)" for name in one] + [f"{name}(x, 0.3)" for name in two]
    _, lines = program(
        HEAD + "#include <math.h>\n#include <stdlib.h>\n"
        "int EAPP_ENTRY main() { volatile double x = 0.7; double d; float f; int n; char *end;\n"
        + "".join(f'printf("%.17g\\n", {call});' for call in calls)
        + 'printf("%g %g %d\\n", strtod("1e400", 0), strtod("0x1.8p1x", &end), *end);'
        'n = sscanf("1.5 -2.25e1 7", "%lf %f %d", &d, &f, (int *)&end); printf("%d %g %g\\n", n, d, f);'
        "return 0; }\n"
    )
    expected = [getattr(math, "gamma" if name == "tgamma" else name)(0.7) for name in one if name != "cbrt"]
    expected += [0.7 ** (1 / 3)] + [getattr(math, name)(0.7, 0.3) for name in two]
    assert [float(line) for line in lines[: len(calls)]] == pytest.approx(expected, rel=1e-15)
    assert lines[len(calls) :] == ["inf 3 120", "3 1.5 -22.5"]


def test_time_and_setjmp(program: Callable[..., tuple[int, list[str]]]) -> None:
    value, lines = program(
        HEAD + "#include <setjmp.h>\n#include <time.h>\n"
        "static jmp_buf back; static void jump(int n) { longjmp(back, n); }\n"
        "int EAPP_ENTRY main() { time_t when = 1e9; char text[80];\n"
        'strftime(text, sizeof text, "%F %T %a %j", gmtime(&when)); puts(text);\n'
        'printf("%s", asctime(gmtime(&when)));\n'
        'printf("%d %d\\n", mktime(gmtime(&when)) == when, time(0) == -1 && clock() <= clock());\n'
        "int n = setjmp(back); if (n < 3) jump(n + 1); return n; }\n"
    )
    assert (value, lines) == (3, ["2001-09-09 01:46:40 Sun 252", "Sun Sep  9 01:46:40 2001", "1 1"])


def test_an_unknown_conversion_takes_its_argument(program: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = program(
        HEAD + '#pragma clang diagnostic ignored "-Wformat"\n'
        'int EAPP_ENTRY main() { printf("%k %d %hhd %hu\\n", 1, 2, 257, 65537); return 0; }\n'
    )
    assert lines == ["%k 2 1 1"]


def test_floating_point_is_linked_where_it_is_printed(tmp_path: Path) -> None:
    sizes = {}
    for name, form in {"without": "%d %u%% 10%d", "with": "%.2f"}.items():
        source = tmp_path / f"{name}.c"
        source.write_text(HEAD + f'int EAPP_ENTRY main() {{ return printf("{form}\\n", 1, 2, 3); }}\n')
        elf = build_enclave([source], tmp_path / f"{name}.elf", flags=["-Wno-format"])
        sizes[name] = ELFFile(io.BytesIO(elf.read_bytes())).get_section_by_name(".text")["sh_size"]
        made = pltvm("build", "-c", source.name, "-w", cwd=tmp_path)
        assert made.returncode == 0
        assert objects.print_floats([tmp_path / f"{name}.o"]) == (name == "with")
    assert sizes["without"] < 5_000 < sizes["with"]
