"""A Linux host program of several threads, explored: who has the hart are its threads, by their numbers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pltvm.explore.failures import DEADLOCK, FAULT, VALUE, Failure, hang
from pltvm.explore.subject import MOST, Around, Place, nothing
from pltvm.host.elf_headers import read_source
from pltvm.host.linux.process import Thread
from pltvm.host.linux.runner import LinuxProgram, LinuxResult
from pltvm.host.report import FaultReport
from pltvm.host.schedule import Policy, Step, Steps
from pltvm.machine import Machine

_SIGNALS = 128  # exit codes from there on: a signal has ended it


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How a run of the program went; `spent`: it had all instructions that it may have."""

    result: LinuxResult
    steps: tuple[Step, ...]
    totals: tuple[int, ...]
    total: int
    spent: bool
    fault: FaultReport | None
    fault_at: int


class HostProgram:
    """A program with its arguments, run again and again on a machine that is put back before.

    It sees files beneath `root`; what it does to them is not undone. Nothing is on its standard input.
    """

    def __init__(
        self, machine: Machine, file: str, arguments: Sequence[str], root: str, most: int = MOST
    ) -> None:
        self.machine, self.most = machine, most
        self._image, self._root = read_source(file), root
        self._names = [os.fsencode(one) for one in (file, *arguments)]
        self._before = machine.snapshot()
        self._chains: list[int] = []
        self._places: dict[int, Place] = {}

    @property
    def chains(self) -> Sequence[int]:
        """See Subject."""
        return self._chains

    def name(self, chain: int) -> str:
        """See Subject."""
        return f"thread {chain}"

    def run(self, policy: Policy, most: int | None = None, around: Around = nothing) -> HostOutcome:
        """See Subject."""
        self.machine.restore(self._before)
        faults: list[tuple[FaultReport, int]] = []

        def on_fault(fault: FaultReport) -> None:
            turns.account()
            faults.append((fault, turns.state.total))

        program = LinuxProgram(self.machine.driver, {"root": self._root, "on_fault": on_fault})
        scheduler = program.system.scheduler
        turns = scheduler.share(policy, most or self.most)
        self._places = {}
        scheduler.on_spent = lambda: self._note_places(list(scheduler.threads.values()))
        program.start(self._image, self._names)
        with around(turns):
            result = program.run(None)
        state = turns.state
        self._chains = sorted(state.counts)
        fault, fault_at = faults[0] if faults else (None, 0)
        steps, totals = tuple(state.steps), tuple(state.totals)
        return HostOutcome(result, steps, totals, state.total, turns.spent, fault, fault_at)

    def _note_places(self, threads: Sequence[Thread]) -> None:
        driver = self.machine.driver
        for thread in threads:
            enclave = driver.table.find(thread.state.enclave) if thread.state.enclave else None
            report = driver.place_of(enclave) if enclave is not None else None
            if report is not None:
                self._places[thread.tid] = Place.of(report)
            else:
                where = thread.location()
                self._places[thread.tid] = Place(where, f"thread {thread.tid} at {where}")

    def failure(self, outcome: HostOutcome, on_value: bool) -> Failure | None:
        """See Subject."""
        result, fault = outcome.result, outcome.fault
        if fault is not None:
            what = FAULT, fault.location, fault.fault.reason
            return Failure(FAULT, what, fault.summary, outcome.fault_at, fault)
        if outcome.spent:
            return hang(outcome.total)
        if result.end.startswith(DEADLOCK):
            return Failure(DEADLOCK, (DEADLOCK, result.end), result.end.partition(": ")[2], outcome.total)
        if result.exit_code >= _SIGNALS and result.end:
            return Failure(FAULT, (FAULT, result.end), result.end, outcome.total)
        if on_value and result.exit_code:
            return Failure(VALUE, (VALUE,), f"the program returned {result.exit_code}", outcome.total)
        return None

    def doubt(self, outcome: HostOutcome) -> str:
        """See Subject."""
        result = outcome.result
        if not result.exit_code and not result.end:
            return ""
        last = (result.errors or result.output).decode(errors="replace").rstrip().rpartition("\n")[2]
        end = result.end or f"the program returned {result.exit_code}"
        return f"{end}, after {last!r}" if last else end

    def places(self, steps: Sequence[Step], total: int) -> dict[int, Place]:
        """See Subject."""
        if total <= 0:
            return {}
        self.run(Steps(steps), most=total)
        return self._places
