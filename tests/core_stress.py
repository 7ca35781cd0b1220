"""The native core against Python: `python -m tests.core_stress --steps N --seed S`.

The model's random walk on two machines at once, one of which traps into the core. After every step all
registers are compared, and the pages of RAM that either machine says it wrote; every `--whole-every` steps
all of RAM. One is compared with the model too. Exit status 1, and the steps so far, on a difference.
"""

import argparse
import ctypes
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pltvm import native
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.machine import Machine
from tests.model.pair import Divergence
from tests.model.steps import Step, Walk, as_test, random_steps
from tests.progress import Progress, episodes

EPISODE: Final = 20_000  # steps from two fresh machines
_compare: Final = ctypes.CDLL(None).memcmp
_compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Twins:
    """Two machines in the same state: `plain` does without the core, `fast` traps into it."""

    def __init__(self, check_every: int, whole_every: int) -> None:
        self.plain, self.fast = Walk(check_every), Walk(check_every, through_core=True, compares=False)
        self._machines = (self.plain.pair.machine, self.fast.pair.machine)
        self._whole_every = whole_every
        self.done = self.by_core = 0
        self._seen: dict[int, bytes] = {}  # the pages that were written, as they were then
        self.calls: Counter[str] = Counter()  # that the core has answered, by step

    def step(self, step: Step) -> None:
        """One step in both; Divergence if they are not the same then."""
        core = self._machines[1].hart.core
        before = core.traps
        results = self.plain.step(step), self.fast.step(step)
        if core.traps != before:
            self.by_core += 1
            self.calls[step[0]] += 1
        self.done += 1
        if results[0] != results[1]:
            raise Divergence(f"the result is {results[0]}, with the core {results[1]}")
        self.compare(whole=self.done % self._whole_every == 0)

    def compare(self, whole: bool) -> None:
        """Registers, and RAM where it was written, or all of it; Divergence."""
        self._compare_registers()
        self._compare_ram(whole)

    def _compare_registers(self) -> None:
        plain, fast = (bytes(machine.hart.current.regs) for machine in self._machines)
        if plain != fast:
            raise Divergence("registers differ")

    def _compare_ram(self, whole: bool) -> None:
        one, two = (machine.memory for machine in self._machines)
        logs = written(self._machines[0]), written(self._machines[1])
        self._check_log(*logs)
        here, there = one.host_address, two.host_address
        pages = set(range(one.size >> PAGE_SHIFT)) if whole and _compare(here, there, one.size) else set()
        pages |= logs[0] | logs[1]
        different = [
            page for page in sorted(pages) if _compare(here + page * PAGE, there + page * PAGE, PAGE)
        ]
        if different:
            at = ", ".join(f"{one.base + page * PAGE:#x}" for page in different[:5])
            raise Divergence(f"RAM differs in the pages at {at}")

    def _check_log(self, plain: set[int], fast: set[int]) -> None:
        """What changed, as the log of the plain machine says, is in the log of the other one too."""
        memory = self._machines[0].memory
        for page in plain:
            content = bytes(memory.bytes[page * PAGE : (page + 1) * PAGE])
            if self._seen.get(page) != content:
                self._seen[page] = content
                if page not in fast:
                    raise Divergence(f"the core did not log the page at {memory.base + page * PAGE:#x}")


def written(machine: Machine) -> set[int]:
    """The numbers of the pages in RAM's log, which is empty then."""
    dirty, found, at = machine.memory.dirty, set(), -1
    while (at := dirty.find(1, at + 1)) >= 0:
        found.add(at)
    dirty[:] = bytes(len(dirty))
    machine.monitor.state.note_current()  # as whoever empties it has to
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=1000, metavar="K", help="between deep checks")
    parser.add_argument("--whole-every", type=int, default=50, metavar="K", help="steps between all of RAM")
    parser.add_argument("--quiet", action="store_true", help="no progress, no counts")
    options = parser.parse_args(arguments)
    if native.core is None:
        print(native.status, file=sys.stderr)
        return 2

    progress, calls = Progress("steps", options.quiet), Counter[str]()
    done = by_core = 0
    trace = ""
    for number, length in enumerate(episodes(options.steps, EPISODE)):
        twins, steps = Twins(options.check_every, options.whole_every), list[Step]()
        try:
            for step in random_steps(twins.plain, f"{options.seed}/{number}", length):
                steps.append(step)
                twins.step(step)
                progress.at(done + len(steps))
        except Divergence as divergence:
            print(f"step {done + len(steps):,}: {divergence}", file=sys.stderr)
            print(as_test(steps))
            return 1
        done += len(steps)
        by_core += twins.by_core
        calls += twins.calls
        trace = twins.plain.trace[:16]
    if not options.quiet:
        for name, count in calls.most_common():
            print(f"{name:15} {count:9,}")
    print(f"{done:,} steps, seed {options.seed}: no difference, {by_core:,} of them answered by the core")
    print(f"last trace {trace}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
