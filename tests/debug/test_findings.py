"""Findings of the fuzzer, with a debugger: back in time, with the callers, and on to the same finding."""

from pathlib import Path
from random import Random

import pytest

from pltvm.debug.history import History
from pltvm.debug.stops import Go, Reason, Stop, Stops
from pltvm.engine.context import PC, Context
from pltvm.engine.trap import Cause
from pltvm.fuzz.worker import Worker
from tests.cli.command import pltvm
from tests.debug.debuggers import debug, has_all, needs_gdb
from tests.fuzz_targets import build
from tests.fuzz_targets.__main__ import options_of
from tests.fuzz_targets.conftest import folder
from tests.fuzz_targets.test_targets import TARGETS, WITNESSES

__all__ = ["folder"]

PLACES = 12
STEPS = 60
# The others' inputs show their bug in what is left in memory that the fuzzer fills with words of its own.
NAMES = [name for name in TARGETS if name not in ("notes", "sensors")]


@pytest.mark.parametrize("name", NAMES)
def test_back_to_the_start_and_on_to_the_same_finding(name: str, folder: Path) -> None:
    """By random positions, each of which is the same whenever it is come to."""
    options, data = options_of(build(TARGETS[name], False, folder)), WITNESSES[name].data
    plain = Worker(options).explain(data)
    assert plain is not None
    worker = Worker(options, looked_at=True)
    target, dice = worker.target, Random(name)
    machine, ends = target.machine, list[int]()
    history = History(machine, every=2048, partner=target)

    def here() -> tuple[int, int, object]:
        regs = machine.hart.current.regs
        state = {name: getattr(target.state, name) for name, _ in type(target.state)._fields_}
        return regs[PC], hash(bytes(regs)), state, target.now()[1:]

    def back() -> None:
        end, seen = ends[0], dict[int, object]()
        places = sorted(dice.sample(range(end), min(PLACES, end)))
        for position in [*places, *reversed(places)]:
            history.go_to(position)
            assert seen.setdefault(position, here()) == here(), position
        history.go_to(history.start)
        history.go_to(end - 1)

    def judge(_context: Context, _reason: str, _cause: Cause | None) -> bool:
        ends.append(history.position)
        if len(ends) > 1:
            return False
        machine.hart.outside(back)
        return True

    machine.monitor.set_faults_judge(judge)
    found = worker.explain(data)
    assert found is not None
    assert (found.kind, found.report) == (plain.kind, plain.report)
    assert len(ends) == 2
    assert ends[0] == ends[1] > PLACES


@pytest.mark.parametrize("name", NAMES)
def test_stops_change_nothing_of_a_finding(name: str, folder: Path) -> None:
    """Steps, and places inside of blocks: memory changes, and the budget ends, after as many of them."""
    options, data = options_of(build(TARGETS[name], False, folder)), WITNESSES[name].data
    plain = Worker(options).explain(data)
    assert plain is not None
    worker = Worker(options, looked_at=True)
    machine, reasons = worker.target.machine, list[Reason]()

    def on_stop(stop: Stop) -> Go:
        context = machine.hart.current
        reasons.append(stop.reason)
        if context.table is not None and len(reasons) % 5 == 0 and len(reasons) < STEPS:
            stops.add(context.table, context.regs[PC])
        return Go(step=len(reasons) < STEPS or len(reasons) % 3 == 0)

    stops = Stops(machine, on_stop)
    stops.begin()
    found = worker.explain(data)
    assert found is not None
    assert (found.kind, found.report) == (plain.kind, plain.report)
    assert {Reason.STEP, Reason.FAULT} <= set(reasons)


@needs_gdb
def test_gdb_looks_at_a_recorded_finding(folder: Path, tmp_path: Path) -> None:
    """What `pltvm fuzz --replay` has recorded stops at the fault, goes back, and ends with the report."""
    target = build(TARGETS["sessions"], False, folder)
    (tmp_path / "input").write_bytes(WITNESSES["sessions"].data)
    line = ["fuzz", str(target.elf), *target.options, "--replay", "input"]
    done = pltvm(*line, "--record-run", "bug.pltvm", cwd=tmp_path)
    assert done.stderr == "recorded it in bug.pltvm\n"
    back = ["reverse-stepi", "continue", "info inferiors", "monitor chain", "continue"]
    shown = debug(["bug.pltvm"], "continue", *back, cwd=tmp_path)
    has_all(
        shown,
        "received signal",
        "received signal",
        "client 0",
        "the host",
        done.stdout,
        "exited with code 03",
    )


@needs_gdb
def test_gdb_goes_back_from_what_an_oracle_has_found(folder: Path, tmp_path: Path) -> None:
    """It shows when a call has come back, and the call is made again on the way."""
    target = build(TARGETS["bank"], False, folder)
    (tmp_path / "input").write_bytes(WITNESSES["bank"].data)
    line = ["fuzz", str(target.elf), *target.options, "--replay", "input"]
    done = pltvm(*line, "--record-run", "bug.pltvm", cwd=tmp_path)
    assert done.stderr == "recorded it in bug.pltvm\n"
    again = ["break main", "reverse-continue", "delete", "continue"]
    shown = debug(["bug.pltvm"], "continue", *again, *again, "continue", cwd=tmp_path)
    stop = "received signal SIGABRT"
    has_all(shown, stop, "hit Breakpoint 1", stop, "hit Breakpoint 2", stop, done.stdout, "code 03")


def test_gdb_needs_no_port() -> None:
    """`--gdb` stands alone, and what follows it is the recording."""
    done = pltvm("replay", "--gdb", "nothing.pltvm")
    assert done.stderr == "pltvm: nothing.pltvm: cannot be read: No such file or directory\n"
