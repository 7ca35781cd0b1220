"""What is explored: enclaves on a machine, run from a snapshot, as often as one likes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from pltvm.host.api import OnOutput
from pltvm.host.chains import Recipe
from pltvm.host.report import FaultReport
from pltvm.host.schedule import Policy, Step, Steps
from pltvm.host.together import Results, Together
from pltvm.host.turns import Turns
from pltvm.machine import Machine
from pltvm.view.enclave import Enclave

MOST: Final = 1_000_000_000  # instructions


class Subject:
    """Enclaves that have not run: `run` puts the machine back to where it is now, and runs them together.

    `most` instructions may run, then a run is over.
    """

    def __init__(self, machine: Machine, enclaves: Sequence[Enclave], most: int = MOST) -> None:
        self.machine, self.enclaves, self.most = machine, list(enclaves), most
        self._before = machine.snapshot()

    @property
    def names(self) -> list[str]:
        """Of the chains."""
        return [one.name for one in self.enclaves]

    def is_exclusive(self, record: int) -> bool:
        """Whether an enclave of the last run, by the address of its record, is a server that has one call at
        a time."""
        enclave = self.machine.monitor.state.enclave(record)
        return bool(enclave.is_server) and not enclave.concurrent

    def run(
        self,
        policy: Policy,
        most: int | None = None,
        around: Callable[[Turns], AbstractContextManager[object]] = lambda _turns: nullcontext(),
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> Results:
        """One run, by this policy. `around` is entered around it, with its turns."""
        self.machine.restore(self._before)
        inner = [one.startable() for one in self.enclaves]
        recipe = Recipe(most=most or self.most)
        together = Together(self.machine.driver, inner, recipe, on_output, policy)
        with around(together.turns):
            return together.run(timeout)

    def places(self, steps: Sequence[Step], total: int) -> list[FaultReport | None]:
        """Where each chain is when so many instructions have run by this schedule; None: it does not run."""
        if total <= 0:
            return [None] * len(self.enclaves)
        self.run(Steps(steps), most=total)
        return [one.place for one in self.enclaves]
