"""Hooks: what they are told, in which order, what they may do, and that nothing is left of them."""

from collections.abc import Callable
from typing import Any

import pytest

from pltvm import Machine, native
from pltvm.build import guest
from pltvm.engine import pmp
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.errors import ArgumentError, SnapshotError
from pltvm.monitor import boot
from pltvm.view.events import KINDS, Call, Event, Return, State
from pltvm.view.hooks import Hooks
from tests.debug.trace.chain import ELF, RAM, make
from tests.monitor.rig import Rig, Script

HOST = guest.guest_dir() / "elf" / "host" / "musl" / "host"


class Mistake(StopIteration):
    """What a hook raises: the kind that generators turn into another one."""


@pytest.fixture
def machine() -> Machine:
    return Machine(RAM)


def test_calls_and_returns_in_order(machine: Machine) -> None:
    caller, told = make(machine), list[str]()
    with machine.watch(on_call=lambda e: told.append(e.text), on_return=lambda e: told.append(e.text)):
        assert caller.run().ok
    assert told == [
        "caller (eid 2) calls test-server1 (eid 1)(429260800, 16384 bytes at 0x2fffff9000)",
        "test-server1 (eid 1) calls test-server (eid 0)(429260800, 16384 bytes at 0x2fffff9000)",
        "test-server (eid 0) returns 2 to test-server1 (eid 1)",
        "test-server1 (eid 1) returns 3 to caller (eid 2)",
    ]


@pytest.mark.parametrize("kind", [{"type": "server"}, {"type": "concurrent", "slots": 1}])
def test_calls_that_have_waited(kind: dict[str, Any], machine: Machine) -> None:
    """The monitor makes them when their turn has come, in a call of the host: each is told like any other."""
    counter = machine.create(ELF["counter"], name="counter", **kind)
    clients = [machine.create(ELF["count-client"], name=f"client{number}") for number in range(3)]
    told, places, waits = list[tuple[str, str, str]](), set[tuple[str, ...]](), 0

    def on_call(event: Call) -> None:
        told.append(("call", event.caller.name, event.callee.name))
        assert event.who == event.caller
        assert machine.enclaves.running == counter
        assert counter.caller == machine.enclaves[event.caller.number]
        places.add((event.where.split("+")[0], event.callers[0].split("+")[0]))

    def on_state(event: State) -> None:
        nonlocal waits
        waits += event.after == "queued"

    def on_return(event: Return) -> None:
        told.append(("return", event.caller.name, event.callee.name))

    with machine.watch(on_call=on_call, on_return=on_return, on_state=on_state):
        assert machine.run_together(clients, quantum=50).end == ""
    assert waits > 5
    assert told[::2] == [("call", *names) for _, *names in told[1::2]]
    assert sorted(told[1::2]) == [
        ("return", f"client{number}", "counter") for number in (0, 1, 2) for _ in range(10)
    ]
    assert places == {("call_enclave_wait", "main")}


def test_a_call_that_waits_and_is_made_before_its_trap_is_over(machine: Machine) -> None:
    """As who is in the server is destroyed at that moment: the call is told once."""
    machine.create(ELF["counter"], name="counter", type="concurrent", slots=1)
    first, second = (machine.create(ELF["count-client"], name=name) for name in ("first", "second"))
    told = list[str]()

    def on_state(event: State) -> None:
        if event.after == "queued" and first.alive:
            first.destroy()

    with machine.watch(on_state=on_state, on_call=lambda event: told.append(event.caller.name)):
        results = machine.run_together([first, second], quantum=50)
    assert [one.status for one in results] == ["destroyed", "exited"]
    assert told == ["first"] * (len(told) - 10) + ["second"] * 10


def test_every_trap_has_its_event_and_time_goes_on(machine: Machine) -> None:
    caller, told = make(machine), list[Event]()
    before = machine.hart.traps
    with machine.watch(on_event=told.append):
        result = caller.run()
    traps = [one for one in told if one.kind == "trap"]
    assert len(traps) == result.stats.traps == machine.hart.traps - before
    assert [one.traps for one in traps] == list(range(1, len(traps) + 1))
    assert [one.number for one in told] == list(range(len(told)))
    assert {one.kind for one in told} == {*KINDS} - {"fault", "pmp", "restore"}
    assert all(str(one.text) and "\n" not in one.text for one in told)
    assert traps[0].where.startswith("eapp_print+")


def test_a_hook_looks_at_the_machine_and_changes_what_comes(machine: Machine) -> None:
    """Fault injection: what a server gets as its argument is otherwise than what was sent."""
    caller, seen = make(machine), list[Any]()

    def on_call(event: Any) -> None:
        callee = machine.enclaves[event.callee.number]
        assert machine.enclaves.running == callee
        seen.append([one.name for one in callee.chain])
        assert callee.registers.a0 == event.argument
        assert callee.read(event.va, 8) == callee.read(callee.registers.a1, 8)
        callee.write(event.va, bytes(PAGE))
        callee.registers["a0"] = 7

    with machine.watch(on_call=on_call):
        changed = caller.run().output
    assert seen == [["caller", "test-server1"], ["caller", "test-server1", "test-server"]]
    assert "[server1] req sum 0x19961000" not in changed


@pytest.mark.parametrize("kind", ["trap", "call", "return", "ocall", "switch", "state", "host_call", "page"])
@pytest.mark.parametrize("which", [0, 1, 3])
def test_what_a_hook_raises_ends_the_run_which_can_go_on(kind: str, which: int, machine: Machine) -> None:
    caller, left = make(machine), which

    def hook(_event: object) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise Mistake(kind)

    with machine.watch(**{f"on_{kind}": hook}):
        if kind in ("call", "return") and which == 3:
            assert caller.run().ok
            return
        with pytest.raises(Mistake, match=kind):
            caller.run()
        calls = left
        assert caller.alive
        assert caller.resume().ok
    assert left < calls or kind in ("call", "return")


def test_what_a_hook_raises_while_an_enclave_is_made(machine: Machine) -> None:
    def hook(_event: object) -> None:
        raise Mistake

    watch = machine.watch(on_state=hook)
    with pytest.raises(Mistake):
        machine.create(ELF["hello-world"])
    watch.stop()
    (made,) = machine.enclaves
    assert made.run().ok


def test_a_hook_that_fails_in_a_host_program(machine: Machine) -> None:
    def hook(_event: object) -> None:
        raise Mistake

    for kind in ("on_trap", "on_call", "on_switch", "on_page"):
        if kind != "on_call":
            with pytest.raises(Mistake), machine.watch(**{kind: hook}):
                machine.run_program(HOST, "hello-world.elf", root=guest.guest_dir() / "elf")
    result = machine.run_program(HOST, "hello-world.elf", root=guest.guest_dir() / "elf")
    assert result.exit_code == 0


def test_snapshots_are_not_for_hooks(machine: Machine) -> None:
    """A trap that nobody has answered yet would be lost on the way back."""
    caller, saved = make(machine), machine.snapshot()
    for act in (machine.snapshot, lambda: machine.restore(saved)):
        with (
            machine.watch(on_trap=lambda _, act=act: act()),
            pytest.raises(SnapshotError, match="not from a hook"),
        ):
            caller.run() if caller.state == "fresh" else caller.resume()
    machine.restore(saved)
    assert caller.run().ok


def test_faults(rig: Rig) -> None:
    script, told = Script(), list[Any]()
    script.poke(0x123000, 1)
    with rig.machine.watch(on_fault=told.append, on_state=told.append):
        outcome = rig.enclave(script).run()
    assert outcome.status == "faulted"
    (fault,) = (one for one in told if one.kind == "fault")
    assert fault.report is outcome.fault
    assert told[-1] is fault
    assert [one.after for one in told[:-1]] == ["fresh", "running", ""]


def test_pmp(machine: Machine) -> None:
    told: list[Any] = []
    with machine.watch(on_pmp=told.append):
        entries = {
            0: pmp.Entry(machine.memory.base, boot.MONITOR_SIZE, pmp.NO_ACCESS),
            pmp.LAST: pmp.Entry(0, 0, 7),
        }
        pmp.program(machine.hart, entries, scratch=machine.memory.base)
    (one,) = told
    assert [row[0] for row in one.entries] == [0, pmp.LAST] == [row.number for row in machine.pmp]
    assert one.entries[0][3] == machine.pmp[0].permissions == "---"


def test_nothing_is_left_when_nobody_watches(machine: Machine) -> None:
    """So that off costs nothing: the very handlers and methods of before, and the native core answers."""

    def now() -> list[object]:
        monitor, hart = machine.monitor, machine.hart
        own = [{*vars(one)} & {"call", "set_host_vector", "protect", "run"} for one in (monitor, hart)]
        return [dict(hart.handlers), machine.monitor.state.host_vector, own, hart.core.answer is None]

    before = now()
    first, second = machine.watch(on_trap=print), machine.watch(on_call=print)
    assert now() != before
    first.stop()
    first.stop()
    assert now() != before
    second.stop()
    assert now() == before
    assert (machine.hart.core.answer is None) == (native.core is None)
    assert repr(first) == "<Watch stopped>"


def test_who_came_later_keeps_a_handler(machine: Machine) -> None:
    """A recorder of the fuzzer that is put in place while somebody watches goes on behind it."""
    seen: list[int] = []
    watch = machine.watch(on_event=lambda _: None)
    before = machine.hart.handlers[Cause.ECALL_U]

    def mine(context: Any) -> None:
        seen.append(1)
        before(context)

    machine.hart.handlers[Cause.ECALL_U] = mine
    watch.stop()
    assert make(machine).run().ok
    assert len(seen) == 19


def test_stopping_from_a_hook(machine: Machine) -> None:
    told: list[object] = []

    def once(event: object) -> None:
        told.append(event)
        watch.stop()

    watch = machine.watch(on_trap=once)
    assert make(machine).run().ok
    assert len(told) == 1


def test_snapshots_lose_nothing_of_the_log(machine: Machine) -> None:
    """What was seen by who watches is still in the log of written pages that snapshots go by."""
    caller = make(machine)
    with machine.watch(on_event=lambda _: None):
        saved = machine.snapshot()
        assert caller.run().ok
        other = machine.snapshot()
        machine.restore(saved)
        again = machine.snapshot()
        assert again.engine.pages == saved.engine.pages
        machine.restore(other)
    assert machine.snapshot().engine.pages == other.engine.pages


@pytest.mark.parametrize(
    ("watch", "error", "message"),
    [
        (lambda m: m.watch(), ArgumentError, "nothing to watch: give a hook, such as on_call=print"),
        (lambda m: m.watch(on_calls=print), ArgumentError, "on_calls: there are on_trap, on_call, "),
        (lambda m: m.watch(call=print), ArgumentError, "call: there are on_trap"),
        (lambda m: m.watch(on_call=5), TypeError, "on_call is 5, of type int: give a function"),
        (lambda m: m.watch(on_call=None), ArgumentError, "nothing to watch"),
    ],
)
def test_hooks_that_there_are_none_of(
    watch: Callable[[Machine], Any], error: type[Exception], message: str, machine: Machine
) -> None:
    with pytest.raises(error, match=message):
        watch(machine)
    assert machine._watching is None or not machine._watching.active


def test_the_hooks_that_are_typed_are_those_that_there_are() -> None:
    assert {*Hooks.__annotations__} == {f"on_{kind}" for kind in (*KINDS, "event")}
    for kind, event in KINDS.items():
        assert Hooks.__annotations__[f"on_{kind}"] == Callable[[event], object] | None


def test_what_a_hook_raises_outside_of_a_run_comes_at_the_end(machine: Machine) -> None:
    def hook(_event: object) -> None:
        raise Mistake

    server = machine.create(ELF["server"], name="one", type="server")
    watch = machine.watch(on_state=hook)
    server.destroy()
    with pytest.raises(Mistake):
        watch.stop()
    watch.stop()
    server = machine.create(ELF["server"], name="one", type="server")

    def destroy_and_fail() -> None:
        with machine.watch(on_state=hook):
            server.destroy()
            raise KeyError("another")

    with pytest.raises(KeyError, match="another"):
        destroy_and_fail()
    assert len(machine.enclaves) == 0


def test_where_a_trap_was(machine: Machine) -> None:
    """Also the first one of who has the hart since the last: the ecall, not what is behind it."""
    caller, told = make(machine), list[Any]()
    with machine.watch(on_trap=told.append):
        assert caller.run().ok
    symbols = {one.name: one.inner.symbols for one in (*machine.enclaves, caller)}
    for event in told:
        code = symbols[event.who.name].code(event.pc, 4)
        assert int.from_bytes(code, "little") == 0x73, event
