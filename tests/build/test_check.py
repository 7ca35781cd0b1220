"""`pltvm build --check`: what it finds, in words, by a run and by the fuzzer; and what it leaves alone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from tests.cli.command import pltvm
from tests.fuzz_targets import Target
from tests.fuzz_targets.__main__ import Hunt

PLANTED = Path(__file__).parent / "planted"
PROGRAM = r"""
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eapp.h"
#define APART __attribute__((noinline)) static
static int table[10]; static char name[5];
static int *kept; static jmp_buf back;
enum colour { RED, GREEN } colour;
APART int *local(void) { int a[4]; for (int i = 0; i < 4; i++) a[i] = i; kept = a; return kept; }
APART int *make(int n) { int *p = malloc(n * sizeof *p); memset(p, 0, n * sizeof *p); return p; }
APART void drop(int *p) { free(p); puts("dropped"); }
APART void jump(void) { char text[32]; memset(text, 0, 32); kept = (int *)text; longjmp(back, 1); }
APART int deep(int n) { char text[100]; memset(text, n, sizeof text); return n ? deep(n - 1) + text[0] : 0; }
APART int value(int n) { if (n == 0) return 1; __builtin_unreachable(); }
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile int ten = 10, *p = make(10), null = 0;
    char on_stack[6];
    int *q = table;
    switch (*(char *)args[10]) {
    case 'a': q[ten] = 1; break;
    case 'b': drop((int *)p); return p[3];
    case 'c': return p[ten];
    case 'd': return p[-1];
    case 'e': return *local();
    case 'f': memset(on_stack, 0, ten); return on_stack[0];
    case 'g': drop((int *)p); drop((int *)p); break;
    case 'h': free((int *)p + 1); break;
    case 'i': free(table); break;
    case 'j': strcpy(name, "hello"); break;
    case 'k': { int *r; { int z = ten; r = &z; kept = r; } return *kept; }
    case 'l': p = realloc((int *)p, 80); q = (int *)p; p = realloc((int *)p, 20); return q[0];
    case 'm': { char many[ten]; memset(many, 0, ten); kept = (int *)many; return ((char *)kept)[ten]; }
    case 'A': return INT_MAX + ten;
    case 'B': return 1 << (ten + 30);
    case 'C': return ten / null;
    case 'D': return table[ten];
    case 'E': q = (int *)args[5]; return *q;
    case 'F': q = (int *)((char *)p + ten / 10); return *q;
    case 'G': return *(_Bool *)&ten;
    case 'H': return value(ten);
    case 'z':
        if (!setjmp(back)) jump();
        for (int i = 0; i < 300; i++) { char *t = malloc(i * 16); memset(t, 1, i * 16); free(t); }
        p = calloc(3, 4); q = realloc((int *)p, 400); memset(q, 0, 400); free(q);
        on_stack[5] = 0; name[4] = table[9] = make(1)[0];
        return deep(50) > 0;
    }
    return 99;
}
"""
LARGE = r"""
#include <stdlib.h>
#include <string.h>
#include "eapp.h"
int EAPP_ENTRY main()
{
    int blocks = 0;
    for (size_t size = 3; size < 16 << 20; size = size * 9 / 8 + 1, blocks++) {
        char *large = malloc(size), *small = malloc(100);
        if (!large || !small || large[size - 1] || small[99]) return -1;
        memset(large, 1, size);
        memset(small, 2, 100);
    }
    while (malloc(1 << 20)) blocks++;
    return blocks > 200 ? 7 : blocks;
}
"""
ENDS = {
    "a": (
        "global_buffer_overflow",
        r"write of 4 bytes.*\n  in main.*\n  0 bytes behind the global table of 40 bytes, in p\.c",
    ),
    "b": (
        "heap_use_after_free",
        r"read of 4 bytes.*\n  in main.*\n  12 bytes into a block of 40 bytes\n"
        r"  freed in drop\S* \(p\.c:13\) < main\S* \(p\.c:\d+\).*\n  allocated in make\S* \(p\.c:12\) < main",
    ),
    "c": ("heap_buffer_overflow", r"0 bytes behind a block of 40 bytes\n  allocated in make"),
    "d": ("heap_buffer_overflow", r"4 bytes before a block of 40 bytes"),
    "e": ("stack_use_after_return", r"in the variable a:11 of 16 bytes"),
    "f": ("stack_buffer_overflow", r"in memset.* < main.*\n  behind the variable on_stack:22 of 6 bytes"),
    "g": ("freed_twice", r"double-free: .*\n  in drop.*\n.*\n  freed in drop"),
    "h": ("bad_free", r"4 bytes into a block of 40 bytes"),
    "i": ("bad_free", r"bad-free"),
    "j": ("global_buffer_overflow", r"0 bytes behind the global name of 5 bytes"),
    "k": ("stack_use_after_scope", r"in the variable z:\d+ of 4 bytes"),
    "l": ("heap_use_after_free", r"0 bytes into a block of 80 bytes"),
    "m": ("stack_buffer_overflow", r"read of 1 bytes"),
    "A": (
        "undefined_behaviour",
        r"p\.c:38:\d+: undefined behaviour: 2147483647 \+ 10 does not fit into 'int'",
    ),
    "B": ("undefined_behaviour", r"1 of 'int' is shifted by 40"),
    "C": ("undefined_behaviour", r"10 / 0 does not fit"),
    "D": ("undefined_behaviour", r"index 10 is out of bounds of 'int\[10\]'"),
    "E": ("undefined_behaviour", r"read through a null pointer to '(volatile )?int'"),
    "F": ("undefined_behaviour", r"read of 'int' at 0x\w+, which is not aligned to 4 bytes"),
    "G": ("undefined_behaviour", r"10 is no value of '(_Bool|bool)'"),
    "H": ("undefined_behaviour", r"a place is reached that cannot be"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    (folder / "p.c").write_text(PROGRAM.lstrip())
    built = pltvm("build", "--check", "-g", "-w", "p.c", cwd=folder)
    assert built.returncode == 0, built.stderr
    return folder / "p.elf"


@pytest.mark.parametrize("letter", ENDS)
def test_it_is_named_with_where(program: Path, letter: str) -> None:
    function, words = ENDS[letter]
    result = Machine().create(program, shm=letter.encode()).run()
    assert result.fault is not None, result.output
    assert re.search(words, result.output), result.output
    assert re.match(rf"{function}\+\S+ \(stop\.S:\d+\)", result.fault.location)
    assert result.fault.fault.reason == "breakpoint"


def test_what_is_right_is_left_alone(program: Path) -> None:
    result = Machine().create(program, shm=b"z").run()
    assert (result.fault, result.retval) == (None, 1), result.output


def test_examples_have_nothing_to_find(tmp_path: Path) -> None:
    elves = {
        name: build_enclave([guest.examples()[name].source], tmp_path / f"{name}.elf", checked=True)
        for name in ("fs-server", "fs-client")
    }
    machine = Machine()
    machine.create(elves["fs-server"], name="filesystem", type=EnclaveType.SERVER)
    result = machine.create(elves["fs-client"]).run()
    assert (result.fault, result.retval) == (None, 0), result.output


def test_large_blocks_are_all_memory_that_it_got(tmp_path: Path) -> None:
    (tmp_path / "large.c").write_text(LARGE)
    elf = build_enclave([tmp_path / "large.c"], tmp_path / "large.elf", checked=True)
    result = Machine().create(elf).run()
    assert (result.fault, result.retval) == (None, 7), result.output


def test_cxx_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "x.cpp").write_text(
        '#include <vector>\n#include "eapp.h"\nstatic std::vector<int> v(4);\n'
        "int EAPP_ENTRY main() { int *p = v.data(); v.resize(100); return *p; }\n"
    )
    built = pltvm("build", "--check", "x.cpp", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    ran = pltvm("run", "x.elf", cwd=tmp_path)
    assert ran.returncode == 1
    assert re.search(
        r"heap-use-after-free: .*\n  in main\S* \(x\.cpp:4\).*\n  0 bytes into a block of 16", ran.stdout
    )
    assert "x.elf (eid 0) at heap_use_after_free" in ran.stderr


DEQUE = r"""
#include <deque>
#include <stack>
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    std::deque<long> line;
    for (int round = 0; round < 3; round++) {
        for (long i = 0; i < 2000; i++) i % 3 ? line.push_back(i) : line.push_front(i);
        while (line.size() > 5) line.size() % 2 ? line.pop_front() : line.pop_back();
    }
    std::stack<char> stack;
    for (int i = 0; i < 20; i++) stack.push(i);
    long *first = &line.front(), *last = &line.back();
    switch (*(char *)args[10]) {
    case 'f': line.pop_front(); return *first;
    case 'b': line.pop_back(); return *last;
    }
    return *first != *last && stack.top() == 19 ? 7 : 0;
}
"""


def test_elements_that_a_deque_has_no_more(tmp_path: Path) -> None:
    (tmp_path / "d.cpp").write_text(DEQUE)
    elf = build_enclave([tmp_path / "d.cpp"], tmp_path / "d.elf", checked=True)
    for letter in (b"f", b"b"):
        assert "container-overflow: read of 8 bytes" in Machine().create(elf, shm=letter).run().output
    result = Machine().create(elf, shm=b"-").run()
    assert (result.fault, result.retval) == (None, 7), result.output


# -- and by the fuzzer ---------------------------------------------------------------------------------------

ROUND = 2_000_000  # instructions, about


@pytest.fixture
def hunt(tmp_path: Path) -> Callable[..., Hunt]:
    """A hunt in a planted bug, or in its fixed twin, with and without the checker."""

    def build(name: str, checked: bool, fixed: bool = False, work: int = ROUND) -> Hunt:
        elf, source = tmp_path / f"{name}-{checked}-{fixed}.elf", PLANTED / f"{name}.c"
        build_enclave([source], elf, defines={"FIXED": None} if fixed else None, checked=checked)
        return Hunt(Target(name, source, ("--as", "server"), ("fault",), elf), seed=1, work=work)

    return build


@pytest.mark.parametrize(
    ("name", "end"), [("palette", "global_buffer_overflow"), ("journal", "heap_use_after_free")]
)
def test_the_fuzzer_finds_what_it_did_not_see(hunt: Callable[..., Hunt], name: str, end: str) -> None:
    checked = hunt(name, True, work=10 * ROUND)
    while not checked.found and checked.rounds < 30:
        checked.round()
    assert checked.found, f"not in {checked.executions} executions"
    finding = checked.findings[0]
    assert finding.summary.startswith(f"breakpoint at {end}+")
    assert "  called from\n    main+" in finding.report
    said = finding.details["checker"]
    assert said[0].startswith(f"{end.replace('_', '-')}: ")
    assert said[1].startswith("  in ")
    places = ("freed in ", "allocated in ") if name == "journal" else ("behind the global ",)
    assert all(any(place in line for line in said) for place in places)
    assert "\n".join(said) in finding.report
    assert checked.worker.explain(finding.data) == finding

    plain = hunt(name, False)
    for _ in range(3):
        plain.round()
    assert not plain.findings
    assert plain.worker.explain(finding.data) is None, "without the checker that input shows nothing"

    fixed = hunt(name, True, fixed=True)
    for _ in range(3):
        fixed.round()
    assert [one.report for one in fixed.findings] == []
    assert fixed.worker.explain(finding.data) is None
