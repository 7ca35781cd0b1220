"""What chains touch: the same with and without the core; the points of a run, and its races."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine, native
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.coverage.recorder import Recorder
from pltvm.explore.accesses import (
    ACQUIRE,
    ATOMIC,
    CALL,
    ENTER,
    EXCLUSIVE,
    RELEASE,
    WRITE,
    Accesses,
    Log,
    Row,
    _State,
)  # fmt: skip
from pltvm.explore.races import races_of
from pltvm.explore.strategies import points_of
from pltvm.explore.subject import Enclaves
from pltvm.host.schedule import RoundRobin
from tests.native_headers import fields_of, structs

SOURCE = """
#include "eapp.h"
struct shared { unsigned long plain, atomic, flag, only; unsigned char bytes[8]; };
static unsigned long mine[4];
int EAPP_ENTRY main()
{
    volatile struct shared *shared = eapp_shm_get(5, PAGE_SIZE, 0);
    unsigned long me = __atomic_fetch_add(&shared->atomic, 1, __ATOMIC_SEQ_CST);
    mine[me & 3] = me;
    shared->bytes[me & 7] = 1;
    KIND
    EAPP_RETURN(mine[0]);
}
"""
FAR = r"""
    unsigned long one = 1, seen = 0;
    if (!me) {
        shared->plain = 1;
        __atomic_thread_fence(__ATOMIC_RELEASE);
        __asm__ volatile("li t0, 1\n c.li t1, 3\n add t0, t0, zero\n c.sd %0, 0(%1)"
                         :: "cr"(one), "cr"(&shared->flag) : "t0", "t1", "memory");
    } else {
        while (!seen) {
            eapp_yield();
            __asm__ volatile("c.ld %0, 0(%1)\n c.li t1, 3\n add t0, t1, zero\n fence r, rw"
                             : "=cr"(seen) : "cr"(&shared->flag) : "t0", "t1", "memory");
        }
        shared->plain = 2;
    }
"""
KINDS = {
    "plain": "shared->plain = shared->plain + 1;",
    "flag": "if (!me) { shared->plain = 1; __atomic_store_n(&shared->flag, 1, __ATOMIC_RELEASE); }"
    " else { while (!__atomic_load_n(&shared->flag, __ATOMIC_ACQUIRE)) eapp_yield(); shared->plain = 2; }",
    "relaxed": "if (!me) { shared->plain = 1; shared->flag = 1; }"
    " else { while (!shared->flag) eapp_yield(); shared->plain = 2; }",
    "far": FAR,
    "lock": "while (__atomic_exchange_n(&shared->only, 1, __ATOMIC_ACQUIRE)) eapp_yield();"
    " shared->plain++; __atomic_store_n(&shared->only, 0, __ATOMIC_RELEASE);",
}


def watched(kind: str, folder: Path, core: bool = True, quantum: int = 40) -> tuple[Log, Machine]:
    source, elf = folder / f"{kind}.c", folder / f"{kind}.elf"
    if not elf.exists():
        source.write_text(SOURCE.replace("KIND", KINDS[kind]))
        build_enclave([source], elf)
    machine = Machine(32 << 20, native=core)
    subject, accesses = Enclaves(machine, [machine.create(elf) for _ in range(2)]), Accesses(machine)
    for log in (False, True):
        results = subject.run(
            RoundRobin(quantum), around=lambda turns, log=log: accesses.watching(turns, log)
        )
    assert [one.status for one in results] == ["exited"] * 2
    return accesses.log(), machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accesses")


def test_it_is_laid_out_as_in_the_header() -> None:
    before = "struct hart; struct counter;"
    declared = structs("explore/native/accesses.h", before)
    names = [name for name, *_ in _State._fields_]
    assert [one[0] for one in fields_of(declared, "accesses")] == names
    assert ctypes.sizeof(_State) == 8 * len(names)


@pytest.mark.skipif(native.core is None, reason=native.status)
@pytest.mark.parametrize("kind", KINDS)
def test_the_core_sees_what_python_sees(kind: str, folder: Path) -> None:
    (log, _), (other, _) = watched(kind, folder), watched(kind, folder, core=False)
    assert log.rows == other.rows
    assert len(log.rows) > 10


def test_others_hear_of_the_enclaves_meanwhile_and_afterwards(folder: Path) -> None:
    """Coverage of the machine has both runs and what comes after; a debugger hears of each start."""
    machine, recorder, heard = Machine(32 << 20), Recorder(), list[str]()
    recorder.watch(machine)
    hello = guest.examples()["hello-world"].elf
    subject = Enclaves(machine, [machine.create(hello) for _ in range(2)])
    accesses, driver = Accesses(machine), machine.driver
    driver.started = started = lambda: heard.append(driver.running.label if driver.running else "")
    listeners = list(driver.table.on_added), list(driver.table.on_removed)

    def times() -> int:
        """How often the program has begun."""
        return sum(one.blocks[one.entry][1] for one in recorder.modules())

    subject.run(RoundRobin(1000), around=lambda turns: accesses.watching(turns, log=True))
    assert heard == [str(hello)] * 2
    assert times() == 2
    assert (driver.table.on_added, driver.table.on_removed, driver.started) == (*listeners, started)
    assert machine.create(hello).run().ok
    assert times() == 3


def test_what_is_seen_of_an_instruction(folder: Path) -> None:
    log, _ = watched("flag", folder)
    kinds = [row.kind for row in log.rows]
    for kind in (ATOMIC, ATOMIC | WRITE, WRITE, RELEASE | WRITE, ACQUIRE, ENTER, CALL):
        assert kind in kinds
    assert all(row.chain in (0, 1) and 0 <= row.done <= row.total for row in log.rows)
    assert [row.total for row in log.rows] == sorted(row.total for row in log.rows)


def test_stacks_and_what_is_one_chains_own_is_no_point(folder: Path) -> None:
    """Points are in the shared page, before an access to a word that both touch; or before a call."""
    log, _ = watched("plain", folder)
    words = log.shared
    pages = {word >> 9 for word in words}
    assert len(pages) == 1
    assert len(words) == 3  # plain, atomic, and the word of bytes
    points = {(one.chain, one.count) for one in points_of(log)}
    expected = {(row.chain, row.done) for row in log.rows if row.kind & CALL or row.pa >> 3 in words}
    assert points == expected


def races(kind: str, folder: Path, **options: Any) -> int:
    log, _ = watched(kind, folder, **options)
    return len(races_of(log.rows, 2))


@pytest.mark.parametrize(
    ("kind", "racy"), [("plain", True), ("flag", False), ("far", False), ("relaxed", True), ("lock", False)]
)
def test_races_of_a_run(kind: str, racy: bool, folder: Path) -> None:
    """Whatever its schedule; neighbouring bytes are no race."""
    for quantum in (40, 100_000):
        assert (races(kind, folder, quantum=quantum) > 0) is racy


# -- rows by hand --------------------------------------------------------------------------------------------

A, B = 0x8100_0000, 0x8100_0040


def row(chain: int, pa: int, kind: int, size: int = 8, running: int = 9, owner: int = 1) -> Row:
    row_number[0] += 1
    return Row(row_number[0], chain, row_number[0], pa, 0x1000 + row_number[0], running, kind, size, owner)


row_number = [0]


def found(*rows: Row, exclusive: tuple[int, ...] = ()) -> int:
    """How many races; these records are those of servers that have one call at a time."""
    entered = [one for one in rows if one.kind & ENTER and one.running in exclusive]
    return len(races_of([one._replace(kind=ENTER | EXCLUSIVE) if one in entered else one for one in rows], 3))


def test_system_calls_of_host_threads_order_what_enclaves_do() -> None:
    """From before one to behind another, whether it had begun then or not; host code itself is no race."""
    first, second, call = (lambda: row(0, A, WRITE)), (lambda: row(1, A, WRITE)), CALL
    calls = [(lambda chain=chain: row(chain, 0, call, running=0)) for chain in (0, 1)]
    assert found(first(), calls[0](), calls[1](), second()) == 0
    assert found(calls[1](), first(), calls[0](), second()) == 0
    assert found(row(1, B, 0), first(), calls[0](), second()) == 1
    assert found(calls[0](), calls[1](), first(), second()) == 1
    assert found(row(0, A, WRITE, running=0), row(1, A, WRITE, running=0)) == 0
    assert found(row(0, A, WRITE, running=0), second()) == 0
    amo = [ATOMIC, ATOMIC | WRITE]
    locks = [[row(chain, B, one, running=0) for one in amo] for chain in (0, 1)]
    assert found(row(1, B, 0), first(), *locks[0], *locks[1], second()) == 0


def test_what_orders_and_what_does_not() -> None:
    write_0, write_1, read_1 = (lambda: row(0, A, WRITE)), (lambda: row(1, A, WRITE)), (lambda: row(1, A, 0))
    assert found(write_0(), write_1()) == 1
    assert found(write_0(), read_1()) == 1
    assert found(row(0, A, 0), read_1()) == 0
    assert found(row(0, A, 0), write_1()) == 1
    amo = [ATOMIC, ATOMIC | WRITE]
    assert (
        found(write_0(), *(row(0, B, one) for one in amo), *(row(1, B, one) for one in amo), write_1()) == 0
    )
    assert (
        found(*(row(0, B, one) for one in amo), write_0(), *(row(1, B, one) for one in amo), write_1()) == 1
    )
    assert found(write_0(), row(0, B, RELEASE | WRITE), row(1, B, ACQUIRE), write_1()) == 0
    assert found(write_0(), row(0, B, RELEASE | WRITE), row(1, B, 0), write_1()) == 2
    assert found(row(0, A, WRITE, 4), row(1, A + 4, WRITE, 4)) == 0
    assert found(row(0, A + 6, WRITE, 4), row(1, A + 8, WRITE, 1)) == 1
    assert found(write_0(), row(1, A, WRITE, owner=2)) == 0  # somebody else's page by now


def test_a_server_with_one_call_at_a_time_orders_its_calls() -> None:
    def calls(server: int) -> list[Row]:
        rows = []
        for chain in (0, 1):
            rows += [row(chain, 0, ENTER, running=10 + chain), row(chain, 0, ENTER, running=server)]
            rows += [row(chain, A, WRITE, running=server), row(chain, 0, ENTER, running=10 + chain)]
        return rows

    assert found(*calls(50), exclusive=(50,)) == 0
    assert found(*calls(50)) == 1
