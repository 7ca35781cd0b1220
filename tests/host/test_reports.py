"""Reports that explain: who called whom, what is near, and what may have caused it."""

import re
import subprocess
import sys
from collections.abc import Callable
from html import escape
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine
from pltvm.host.backtrace import MOST_FRAMES, walk
from pltvm.host.causes import notes
from pltvm.host.extensions import extension_of
from pltvm.host.report import FaultReport
from pltvm.host.symbols import Symbols
from pltvm.monitor.fault import Activation, Fault
from tests.limits import stopped_in

SOURCE = (Path(__file__).parents[1] / "guest" / "wrong.c").read_text().splitlines()
Build = Callable[[str], bytes]

PLUGIN = "pltvm.testing.plugin"


def line_of(mark: str) -> str:
    number = next(number for number, text in enumerate(SOURCE, 1) if f"/* {mark} */" in text)
    return f"(wrong.c:{number})"


@pytest.fixture
def report(build_guest: Build) -> Callable[[str], FaultReport]:
    """Runs the program, and gives the report."""

    def run(way: str) -> FaultReport:
        fault = Machine(64 << 20).create(build_guest("wrong"), name="wrong", shm=way).run().fault
        assert fault is not None
        return fault

    return run


def frames_of(fault: FaultReport, number: int = 0) -> list[str]:
    """Function and line of each frame."""
    return [f"{frame.split('+')[0]} {frame.rpartition(' ')[2]}" for frame in fault.stacks[number].frames]


def test_who_called_whom(report: Callable[[str], FaultReport]) -> None:
    fault = report("o")
    functions = ["inner", "outer", "main"]
    assert frames_of(fault)[:3] == [f"{name} {line_of(name)}" for name in functions]
    assert frames_of(fault)[3].startswith("_start (start.S:")
    assert len(fault.stacks) == 1
    assert str(fault).startswith("fault: wrong (eid 0) at inner+0x")
    assert "\n  called from\n    outer+0x" in str(fault)
    assert "nearest: .bss (0x" in str(fault) or "nearest: .rodata (0x" in str(fault)
    assert "nearest: the stack (0x37ffff0000–0x3800000000 rw-), 219.4 GiB above" in str(fault)


@pytest.mark.parametrize("way", ["a", "b"])
def test_abort_and_assertions_say_where(way: str, report: Callable[[str], FaultReport]) -> None:
    names = [frame.split()[0] for frame in frames_of(report(way))]
    assert names == ["abort", *["__assert_failed"] * (way == "a"), "main", "_start"]


def test_a_stack_that_is_used_up(report: Callable[[str], FaultReport]) -> None:
    fault = report("d")
    assert "the stack of 64 KiB ends here; --stack-size gives it more" in str(fault)
    assert "nothing is mapped there" not in str(fault)
    assert fault.stacks[0].more
    assert fault.stacks[0].frames[-1].endswith(f"{line_of('deep')}, {MOST_FRAMES - 1} times")


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("w", "it stores to read-only data of its own: .rodata, mapped r-x"),
        ("n", "a null pointer, or a member of what one points to"),
        ("v", "the instruction is of the vector extension (V)"),
        ("z", "the instruction is zeros: no code"),
        ("j", "the pc is in .rodata, which is read-only data and no code"),
        ("f", "free got what malloc did not give, or was freed before"),
        ("x", 'the address is the text "umberuon": it was written over a pointer'),
        ("y", "no page can have this address (Sv39)"),
        ("l", "65 is readv for Linux: is this a host program"),
        ("l", "an enclave has no call 65; it has 99 exit, 98 ocall"),
        ("t", "tp is 0: the code uses variables of each thread"),
        ("r", "SERVER_RETURN (call 95) was refused: nobody called"),
        ("r", "a server runs when an enclave calls it: pltvm run CALLER --server NAME=FILE"),
    ],
)
def test_what_may_have_caused_it(way: str, words: str, report: Callable[[str], FaultReport]) -> None:
    fault = report(way)
    assert any(words in note for note in fault.notes), fault.notes
    assert words in str(fault)
    assert fault.to_dict()["notes"] == list(fault.notes)


def test_every_enclave_of_a_chain(build_guest: Build) -> None:
    machine = Machine(64 << 20)
    elf = build_guest("wrong")
    machine.create(elf, name="wrong", type=EnclaveType.SERVER)
    result = machine.create(elf, name="caller", shm="c").run()
    fault = result.fault
    assert fault is not None
    assert [stack.who for stack in fault.stacks] == ["wrong (eid 0)", "caller (eid 1)"]
    assert frames_of(fault)[:2] == [f"inner {line_of('inner')}", f"outer {line_of('outer')}"]
    assert f"main {line_of('calls')}" in frames_of(fault, 1)
    assert "\n  called by caller (eid 1)\n    " in str(fault)
    assert [stack["who"] for stack in fault.to_dict()["backtrace"]] == ["wrong (eid 0)", "caller (eid 1)"]


def test_a_server_that_exits(build_guest: Build) -> None:
    """Exit is refused; the library then stops at a breakpoint."""
    program = (
        '#include "eapp.h"\nint EAPP_ENTRY main()\n{\n    unsigned long *args;\n    EAPP_RESERVE_REG;\n'
        "    struct call_enclave_arg_t call = {0};\n    if (args[10])\n"
        '        call_enclave(acquire_enclave("one"), &call);\n    EAPP_RETURN(1);\n}\n'
    )
    elf = build_text(program)
    machine = Machine(64 << 20)
    machine.create(elf, name="one", type="server")
    fault = machine.create(elf, shm="x").run().fault
    assert fault is not None
    assert fault.fault.reason == "breakpoint"
    assert any(
        note.startswith("exit (call 99) was refused: a server ends a call with") for note in fault.notes
    )


def build_text(program: str, suffix: str = ".c", opt: str = "-O2") -> bytes:
    """An enclave of this source."""
    import tempfile

    from pltvm.build.enclave import build_enclave

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"program{suffix}"
        source.write_text(program)
        return build_enclave([source], source.with_suffix(".elf"), opt=opt).read_bytes()


def test_where_a_time_limit_found_it(build_guest: Build) -> None:
    enclave = Machine(64 << 20).create(build_guest("wrong"), name="wrong", shm="i")
    assert enclave.place is None
    result = stopped_in(enclave, line_of("spins"))
    assert result.place is not None
    assert result.place.place.splitlines()[0].startswith("wrong (eid 0) at main+0x")
    assert line_of("spins") in result.place.place
    assert enclave.place is not None
    assert enclave.place.location == result.place.location
    assert result.to_dict()["place"]["location"] == result.place.location
    assert enclave.resume(timeout=0.1).status == "interrupted"
    enclave.destroy()
    assert enclave.place is None


def test_how_it_shows(report: Callable[[str], FaultReport]) -> None:
    fault = report("o")
    assert repr(fault) == f"<FaultReport: {str(fault).splitlines()[0].removeprefix('fault: ')}>"
    html = fault._repr_html_()
    assert html == f"<pre>{escape(str(fault))}</pre>"


def test_the_whole_report_in_a_failed_test(build_guest: Build, tmp_path: Path) -> None:
    (tmp_path / "wrong.elf").write_bytes(build_guest("wrong"))
    (tmp_path / "test_it.py").write_text(
        "from pltvm import Machine\n\n"
        "def run():\n    return Machine(64 << 20).create('wrong.elf', shm='o').run()\n\n"
        "def test_fault():\n    assert run().fault is None\n\ndef test_ok():\n    assert run().ok\n"
    )
    installed = any(one.value == PLUGIN for one in entry_points(group="pytest11"))
    load = [] if installed else ["-p", PLUGIN]  # of an installation that is older than the plugin
    command = [sys.executable, "-m", "pytest", *load, "-p", "no:cacheprovider", "-q", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    fault, ok = done.stdout.split("test_ok", 1)
    for part in (fault, ok):
        assert "nearest: " in part
        assert "_start+0x" in part
    assert "fault reports" in ok


@pytest.mark.parametrize(
    ("word", "words"),
    [
        (0xCD027057, "vector extension"), (0x0000100B, "custom-0"), (0x30200073, "an instruction of the ker"),
        (0x10500073, "an instruction of the kernel"), (0x18002573, "CSR 0x180"), (0x0A051533, "Zbc"),
        (0x10251513, "SHA-2"), (0x0015200F, "cbo.clean (Zicbom)"), (0x2800202F, "Zacas"), (0x04000053, "Zfh"),
        (0xFFFFFFFF, "all ones"), (0x0000B882, "Zcmp"), (0x00000013, ""), (0x00000000, "zeros"),
    ],
)  # fmt: skip
def test_extensions(word: int, words: str) -> None:
    what = extension_of(word.to_bytes(4, "little"))
    assert words in what
    assert bool(what) == bool(words)


def test_nothing_raises_for_what_a_guest_makes_up() -> None:
    """Registers and stacks of any content, with the symbols of any bytes."""
    import random

    rng = random.Random(1)
    for symbols in (None, Symbols(b""), Symbols(b"\x7fELF" + bytes(100))):
        for _ in range(200):
            numbers = [
                rng.choice((0, 1, 8, 0x1000, 1 << 38, (1 << 64) - 1, rng.getrandbits(64))) for _ in range(5)
            ]
            stack = rng.randbytes(rng.choice((0, 1, 8, 4096)))
            walk(Activation(0, "", *numbers, stack), symbols)
            registers = {name: rng.choice(numbers) for name in ("sp", "a0", "a6", "a7", "tp", "gp")}
            fault = Fault(
                0, "", "illegal instruction", numbers[0], "x", registers, numbers[1], 8, code="0000"
            )
            list(notes(fault, symbols))
    assert extension_of(b"") == extension_of(b"\x13") == ""


INLINED = """\
#include "eapp.h"
static inline __attribute__((always_inline)) void poke(volatile int *at) { *at = 1; }
static inline __attribute__((always_inline)) void twice(volatile int *at)
{
    poke(at + 1);
}
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    twice((int *)(args[11] + 0x100000000));
    EAPP_RETURN(0);
}
"""


def test_functions_that_are_inlined() -> None:
    fault = Machine(64 << 20).create(build_text(INLINED)).run().fault
    assert fault is not None
    assert "\n  inlined here: poke from line 5, twice from line 11\n" in str(fault)
    assert fault.stacks[0].frames[0].endswith("(program.c:2) [poke from line 5, twice from line 11]")


NAMES_OF_CXX = """\
#include "eapp.h"
namespace store {
namespace { int twice(int n) { if (n > 2) *(volatile int *)8 = n; return n * 2; } }
struct queue {
    int items[4];
    struct cursor { int at; __attribute__((noinline)) int next(queue &q) { return q.take(at + 3); } };
    __attribute__((noinline)) int take(int i);
    int operator[](int i) { return take(i); }
};
template <typename T> __attribute__((noinline)) T sum(T a, queue &q) { return a + q[3]; }
}
__attribute__((noinline)) int store::queue::take(int i) { return twice(items[i]) + 1; }
__attribute__((noinline)) static int plain(store::queue &q) { return store::sum<long>(2, q) + 1; }
extern "C" int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    store::queue q{{0, 1, 2, (int)args[12] + 3}};
    store::queue::cursor last{!MEMBER};
    EAPP_RETURN((MEMBER ? last.next(q) : plain(q)) + 1);
}
"""


def frames_of_cxx(opt: str, member: int) -> list[str]:
    elf = build_text(f"#define MEMBER {member}\n{NAMES_OF_CXX}", ".cpp", opt)
    fault = Machine(64 << 20).create(elf).run().fault
    assert fault is not None
    here = fault.location.partition(" (")[0]
    return [re.sub(r"\+0x\w+", "", one.partition(" (")[0]) for one in (here, *fault.stacks[0].frames)]


def test_names_of_cxx_are_those_of_the_source() -> None:
    """Not those of symbols, as _ZN5store5queue4takeEi."""
    whole = frames_of_cxx("-O0", member=0)
    assert whole[0] == "store::(anonymous)::twice"
    assert whole[-6:] == [
        "store::queue::take", "store::queue::operator[]", "store::sum<long>", "plain", "main", "_start"
    ]  # fmt: skip
    assert "store::queue::cursor::next" in frames_of_cxx("-O0", member=1)


def test_a_unit_of_too_many_functions_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them would take hundreds of MiB; those of the unit before are there."""
    import struct

    from pltvm.host import line_tables
    from pltvm.host.functions import read_functions

    def unit(functions: int) -> bytes:
        entries = b"".join(b"\x03" + struct.pack("<IQ", 0, address) for address in range(functions))
        content = struct.pack("<HIB", 4, 0, 8) + b"\x01\x02" + struct.pack("<I", 0) + entries
        return struct.pack("<I", len(content)) + content

    # a unit; a namespace with a name; a function with a name and an address
    abbreviations = b"\1\x11\1\0\0" + b"\2\x39\1\3\x0e\0\0" + b"\3\x2e\0\3\x0e\x11\1\0\0" + b"\0"
    sections = {".debug_info": unit(3) + unit(5000), ".debug_abbrev": abbreviations, ".debug_str": b"one\0"}
    monkeypatch.setattr(line_tables, "MAX_STEPS", 50_000)
    known = read_functions({name: memoryview(data) for name, data in sections.items()})
    assert known.names == {0: "one::one", 1: "one::one", 2: "one::one"}


@pytest.mark.parametrize(
    ("program", "suffix"), [(INLINED, ".c"), (f"#define MEMBER 0\n{NAMES_OF_CXX}", ".cpp")]
)
def test_damaged_debug_information_raises_nothing(program: str, suffix: str) -> None:
    """Of a file whose sections about functions hold anything."""
    import random

    from pltvm.host.debug_sections import FUNCTIONS as NAMES
    from pltvm.host.debug_sections import line_sections
    from pltvm.host.elf_headers import read_headers
    from pltvm.host.functions import read_functions

    elf = read_headers(build_text(program, suffix))
    whole = {name: bytes(data) for name, data in line_sections(elf, NAMES).items()}
    known = read_functions({name: memoryview(data) for name, data in whole.items()})
    names = {one.name.rpartition(":")[2] for one in known.inlined}
    assert names & {"poke", "operator[]"}
    assert "twice" in names
    assert "main" in known.names.values()
    rng = random.Random(7)
    for _ in range(300):
        changed = {name: bytearray(data) for name, data in whole.items()}
        for _ in range(rng.randrange(1, 6)):
            data = changed[rng.choice(sorted(changed))]
            if data:
                data[rng.randrange(len(data))] = rng.choice(
                    (0, 1, 0x1D, 0x2E, 0x39, 0x7F, 0x80, 0xFF, rng.randrange(256))
                )
        read_functions({name: memoryview(data) for name, data in changed.items()})
