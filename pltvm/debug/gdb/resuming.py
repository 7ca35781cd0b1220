"""Resumes the run as a client requests: continues, or steps a thread by one instruction or line.

Only the thread that has the hart can run. If another one has to step, the run goes on until that thread has
the hart. A *line* is a range of addresses: the step ends when pc is outside, and a call of another enclave is
part of the line. Stepping a single instruction that calls an enclave enters it, and one that returns leaves
it.
"""

from dataclasses import dataclass

from pltvm.debug.stops import Go, Reason, Stop, Stops
from pltvm.debug.viewing import Views
from pltvm.engine.context import PC, Context
from pltvm.engine.page_table import PageTable
from pltvm.monitor import chain


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client's request for a thread: a step (a line: while pc is in start … end), or to continue."""

    context: Context
    step: bool = False
    start: int = 0
    end: int = 0

    @property
    def is_line(self) -> bool:
        """Whether it is a line, not a single instruction."""
        return self.end > self.start


class Resuming:
    """The present request, and the place where it waits for its thread, if it does."""

    def __init__(self, stops: Stops, views: Views) -> None:
        self._stops = stops
        self._views = views
        self._wanted: Wanted | None = None
        self._waits: tuple[PageTable, int] | None = None
        self.calls_are_steps = False  # also for a line: a call enters the called enclave

    def go(self, wanted: Wanted | None, passes: bool) -> Go:
        """Return the Go for a request; None is to continue."""
        self._wanted = wanted
        if wanted is None or not wanted.step:
            self._wanted = None
            return Go(False, passes)
        if wanted.context is not self._stops.hart.current:
            self._wait(wanted.context)
            return Go(False, passes)
        return Go(True, passes)

    def over(self) -> bool:
        """End the request, as the client is notified. Return whether a step has led to another thread."""
        wanted, self._wanted = self._wanted, None
        self._wait_no_more()
        return wanted is not None and wanted.context is not self._stops.hart.current

    def again(self, stop: Stop, is_place: bool) -> Go | None:
        """Return how to go on if the request is not done yet; None to notify the client. `is_place`: the stop
        is at one of its breakpoints."""
        wanted, current = self._wanted, self._stops.hart.current
        if wanted is None or stop.reason not in (Reason.STEP, Reason.BREAK) or is_place:
            return None
        if self._waits is not None:
            if current is not wanted.context:
                return Go(False)
            self._wait_no_more()
            return None if not wanted.is_line else self._in_line(wanted, current)
        if current is wanted.context:
            return self._in_line(wanted, current) if wanted.is_line else None
        if self._is_over(wanted, current):
            self._wait(wanted.context)
            return Go(False)
        return None

    @staticmethod
    def _in_line(wanted: Wanted, current: Context) -> Go | None:
        return Go(True) if wanted.start <= current.regs[PC] < wanted.end else None

    def _is_over(self, wanted: Wanted, current: Context) -> bool:
        """Whether a step is over although another thread has the hart; otherwise it goes on until its thread
        has it."""
        found = self._views.of(wanted.context)
        if found is None:
            return False  # the thread has ended
        into = not wanted.is_line or self.calls_are_steps
        view, thread = found
        state = self._stops.machine.monitor.state
        running = state.running
        if view.eid is not None:
            if running is None or running.context is not current:
                return True  # the host has it, and the enclave waits
            called = any(link.context is wanted.context for link in chain.links(state, running))
            return called and not into
        if view.process is None:
            return False
        runs = view.process.threads.get(thread.number)
        entered = running is not None and runs is not None and runs.state.enclave != 0
        return not (entered and into)

    def _wait(self, context: Context) -> None:
        """Go on until this context has the hart."""
        if context.table is not None and not self._stops.is_place(context):
            self._waits = context.table, context.regs[PC]
            self._stops.add(*self._waits)
        else:
            self._waits = None

    def _wait_no_more(self) -> None:
        if self._waits is not None:
            self._stops.remove(*self._waits)
            self._waits = None
