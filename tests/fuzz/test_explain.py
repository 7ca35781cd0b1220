"""Findings in words: the same bug has the same signature, others have others; the report says where."""

import re
from pathlib import Path

import lief
import pytest

from pltvm.fuzz.explain import kind_of
from pltvm.fuzz.options import Options
from pltvm.fuzz.results import POINTER, STACK, Finding
from pltvm.fuzz.worker import Worker
from tests.fuzz.conftest import Build
from tests.fuzz_targets.test_targets import call

SEVERAL = """
#include <stdint.h>
#include <string.h>
#include "eapp.h"

static volatile unsigned long state;

static __attribute__((noinline)) void store(unsigned long address) { *(volatile unsigned long *)address = 1; }
static __attribute__((noinline)) void other_store(unsigned long address) { *(volatile char *)address = 1; }

static __attribute__((noinline)) void one(unsigned long address) { store(address); state++; }
static __attribute__((noinline)) void two(unsigned long address) { store(address); state += 2; }

static __attribute__((noinline)) int endless(int depth)
{
    volatile char room[100];
    room[depth % 100] = 1;
    return endless(depth + 1) + room[0];
}

static __attribute__((noinline)) void large(void)
{
    volatile char room[70000];
    for (int at = 0; at < 70000; at += 100)
        room[at] = 1;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    unsigned long numbers[2] = {0, 0};

    if (args[11])
        memcpy(numbers, (void *)args[11], sizeof numbers);
    switch (args[10]) {
    case 1: one(8); break;
    case 2: two(8); break;
    case 3: other_store(8); break;
    case 4: one(numbers[0]); break;
    case 5: endless(0); break;
    case 6: large(); break;
    case 7: ((void (*)(void))numbers[1])(); break;
    case 8: for (;;) state++; break;
    case 9: for (;;) state += 3; break;
    case 10: __asm__ volatile("unimp"); break;
    case 11: one(numbers[0] + 4000); break;
    case 12: one(0x2000000000); break;
    }
    SERVER_RETURN(&ret);
}
"""


@pytest.fixture(scope="module")
def worker(built: Build) -> Worker:
    """A worker for the server above."""
    return Worker(Options(str(built(SEVERAL, name="several")), blocks=50_000))


def finding(worker: Worker, order: int, memory: bytes = b"") -> Finding:
    result = worker.explain(call(order, memory))
    assert result is not None
    return result


def test_same_bug_same_signature(worker: Worker) -> None:
    """Whatever else is in the input, and wherever a wild jump or pointer goes."""
    assert finding(worker, 1).signature == finding(worker, 1, b"noise" * 100).signature
    numbers = [number.to_bytes(8, "little") for number in (0x2222_0000, 0x3333_0008)]
    wild = [finding(worker, 7, bytes(8) + number) for number in numbers]
    assert wild[0].signature == wild[1].signature
    pointers = [finding(worker, 4, number) for number in numbers]
    assert pointers[0].signature == pointers[1].signature
    depths = [finding(worker, 5, bytes(count)) for count in (0, 100)]
    assert depths[0].signature == depths[1].signature


def test_different_bugs_differ(worker: Worker) -> None:
    """By the function, by who called it, and by the kind."""
    signatures = {finding(worker, order).signature for order in (1, 2, 3, 5, 6, 8, 10)}
    assert len(signatures) == 7


@pytest.mark.parametrize(
    ("order", "memory", "kind"),
    [
        (1, b"", "fault"),
        (4, (0x2222_0000).to_bytes(8, "little"), POINTER),
        (4, bytes(8), "fault"),  # null is nobody's pointer
        (11, (0x2222_0000).to_bytes(8, "little"), POINTER),  # near it
        (12, b"", "fault"),
        (5, b"", STACK),
        (6, b"", STACK),
        (8, b"", "hang"),
        (10, b"", "fault"),
    ],
)
def test_kinds(order: int, memory: bytes, kind: str, worker: Worker) -> None:
    assert finding(worker, order, memory).kind == kind


def test_kind_of_a_problem_without_a_fault(worker: Worker) -> None:
    problem = worker.target.execute(call(8, b""), keep=False, detail=True).problem
    assert problem is not None
    assert kind_of(worker.target, call(8, b""), problem) == "hang"


def test_the_report(worker: Worker) -> None:
    """A summary, the fault with functions and lines, who called whom, and the input."""
    data = call(2, b"text of the input")
    report = finding(worker, 2, b"text of the input").report
    first = report.splitlines()[0]
    assert first.startswith("fault: store to a page that is not mapped")
    assert re.search(r" at store\+0x[0-9a-f]+ \(.*\.c:8\)$", first)
    assert re.search(r"^    two\+0x[0-9a-f]+ \(.*\.c:12\)$", report, re.MULTILINE)
    assert re.search(r"^    main\+0x[0-9a-f]+ \(.*\.c:\d+\)$", report, re.MULTILINE)
    assert f"input, {len(data)} bytes, layout call:" in report
    assert "text of " in report
    assert "call chain client 0" in report
    assert all(len(line) < 120 for line in report.splitlines())
    for _ in range(3):
        finding(worker, 5)
        finding(worker, 8)
        assert finding(worker, 2, b"text of the input").report == report


def test_report_on_a_hang(worker: Worker) -> None:
    result = finding(worker, 8)
    assert "50,000 blocks" in result.summary
    assert " at " not in result.summary  # where it is when the budget ends says little
    assert "main+" in result.report


def test_long_inputs_are_cut(worker: Worker) -> None:
    report = finding(worker, 1, bytes(1000)).report
    assert "input, 1008 bytes" in report
    assert "… 752 more" in report


def test_without_symbols(worker: Worker) -> None:
    target = worker.target
    symbols, target.created.inner.symbols = target.created.inner.symbols, None
    try:
        result = finding(worker, 1)
    finally:
        target.created.inner.symbols = symbols
    assert re.search(r"at 0x[0-9a-f]+$", result.summary)


def test_signatures_without_symbols(built: Build, tmp_path: Path) -> None:
    """Where it is and who called whom tell bugs apart then, and where a wild jump went still says nothing."""
    stripped = tmp_path / "stripped.elf"
    elf = lief.ELF.parse(str(built(SEVERAL, name="several")))
    assert elf is not None
    elf.strip()
    elf.write(str(stripped))
    worker = Worker(Options(str(stripped), blocks=50_000))
    assert "+" not in finding(worker, 1).summary
    assert len({finding(worker, order).signature for order in (1, 2, 3, 5, 10)}) == 5
    assert finding(worker, 1).signature == finding(worker, 1, b"noise" * 100).signature
    wild = [
        finding(worker, 7, bytes(8) + number.to_bytes(8, "little")).signature
        for number in (0x2222_0000, 0x3333_0008)
    ]
    assert wild[0] == wild[1]
