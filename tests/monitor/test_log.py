"""The log of traps: the same with and without the core, and what differs is found at its first trap."""

from collections.abc import Callable
from typing import Any

import pytest

from pltvm import EnclaveType, Machine, native
from pltvm.build import guest
from pltvm.engine.trap import Cause
from pltvm.monitor.abi import Call, Ocall
from pltvm.monitor.log import Differs, LogState, TrapLog, TrapRow
from tests.native_headers import fields_in_python, fields_of, structs

ELF = {name: example.elf for name, example in guest.examples().items()}
MODES = [pytest.param(True, id="core"), pytest.param(False, id="python")]


def test_it_is_laid_out_as_in_the_header() -> None:
    declared = structs("monitor/native/log.h", "typedef int answer_function(void *, uint32_t);")
    assert fields_of(declared, "trap_log") == fields_in_python(LogState)
    assert fields_of(declared, "trap_row") == fields_in_python(TrapRow)


def chain(is_native: bool, shm: bytes = b"one", expected: Any = None, **options: int) -> tuple[Any, TrapLog]:
    machine = Machine(64 << 20, native=is_native)
    for name in ("server", "server1"):
        machine.create(ELF[name], name=f"test-{name}", type=EnclaveType.SERVER)
    caller = machine.create(ELF["caller"], name="caller", shm=shm, relay=b"two")
    log = TrapLog(machine.monitor.state, expected, **options)
    return caller.run, log


def test_with_and_without_the_core() -> None:
    logs = []
    for is_native in (True, False):
        run, log = chain(is_native)
        result = run()
        assert log.count == result.stats.traps
        logs.append(log.all())
    assert logs[0] == logs[1]


@pytest.mark.parametrize("is_native", MODES)
def test_the_same_run_is_as_expected(is_native: bool) -> None:
    run, log = chain(not is_native)
    run()
    again, other = chain(is_native, expected=(log.rows(), log.mask, log.count))
    again()
    assert other.all() == log.all()


@pytest.mark.parametrize("is_native", MODES)
def test_a_text_that_differs(is_native: bool) -> None:
    """The registers of a print are the same: its text counts, too."""
    run, log = chain(is_native)
    run()
    again, _ = chain(is_native, shm=b"One", expected=(log.rows(), log.mask, log.count))
    with pytest.raises(Differs) as raised:
        again()
    now, expected = raised.value.now, raised.value.expected
    assert now == expected
    assert (now.number, now.cause, now.a7, now.a0) == (0, Cause.ECALL_U, Call.OCALL, Ocall.WRITE)


@pytest.mark.parametrize("is_native", MODES)
@pytest.mark.parametrize("shared", range(1, 19))
def test_the_first_trap_that_differs(is_native: bool, shared: int) -> None:
    """Rows of which the one with this number is another one."""
    run, log = chain(is_native)
    run()
    rows = (TrapRow * log.count).from_buffer_copy(log.rows())
    rows[shared].sum ^= 1
    again, other = chain(is_native, expected=(bytes(rows), log.mask, log.count))
    with pytest.raises(Differs) as raised:
        again()
    assert raised.value.now.number == shared == other.count


@pytest.mark.parametrize("is_native", MODES)
def test_fewer_rows_than_traps(is_native: bool) -> None:
    """Every second one, and so on; what differs lies between two of them."""
    logs: list[TrapLog] = []
    for room in (4, 1000):
        run, log = chain(is_native, room=room)
        run()
        logs.append(log)
    few, all_of_them = logs
    assert (few.sum, few.count) == (all_of_them.sum, all_of_them.count)
    assert few.mask == 7
    rows = (TrapRow * 3).from_buffer_copy(few.rows())
    every = (TrapRow * few.count).from_buffer_copy(all_of_them.rows())
    assert [row.sum for row in rows] == [every[number].sum for number in (0, 8, 16)]
    again, _ = chain(is_native, shm=b"One", expected=(few.rows(), few.mask, few.count))
    with pytest.raises(Differs):
        again()


@pytest.mark.parametrize("is_native", MODES)
@pytest.mark.parametrize("end", [1, 5, 8, 17])
def test_one_trap_more_than_there_are_to_be(is_native: bool, end: int) -> None:
    """It is not served, also where there would be no row for it."""
    run, log = chain(is_native, room=4)
    run()
    assert log.mask == 7
    again, other = chain(is_native, expected=(log.rows(), log.mask, end))
    with pytest.raises(Differs) as raised:
        again()
    assert (raised.value.now.number, raised.value.expected) == (end, None)
    assert other.count == end


def test_who_puts_a_handler_in_place_is_told_second() -> None:
    """A handler that is replaced later is behind the log, too."""
    run, log = chain(True)
    del run
    machine_handlers = log._hart.handlers
    seen: list[str] = []
    before: Callable[[Any], None] = machine_handlers._own[Cause.ECALL_U]

    def mine(context: Any) -> None:
        seen.append(f"mine {log.count}")
        before(context)

    machine_handlers[Cause.ECALL_U] = mine
    assert native.core is None or log._hart.core.answer is None, "the core answers nothing"
