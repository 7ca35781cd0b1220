"""Calls with wild arguments, of hosts and of enclaves: `python -m tests.call_stress --count N --seed S`.

`monitor_stress` walks right and slightly wrong calls against a model; here anything is passed, and the
monitor itself is looked at (see tests/wild/calls.py). Every so many calls a fresh machine starts: an episode,
which repeats by itself. Exit status 1, and what broke with a command that repeats it, if anything did. The
same seed gives the same trace.
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.progress import Progress, episodes
from tests.wild.calls import Broken, Calls, objects

EPISODE: Final = 20_000  # calls
SLACK: Final = 200  # objects by which episodes may differ


class Run:
    """All episodes of one command, and what came of them."""

    def __init__(self, seed: int, compare_every: int, audit_every: int, quiet: bool) -> None:
        self._seed, self._every = seed, (compare_every, audit_every)
        self.progress = Progress("calls", quiet)
        self.counts: Counter[str] = Counter()
        self.compared = self.made = 0
        self.objects: list[int] = []  # after each episode
        self.traces: list[str] = []

    def episode(self, number: int, length: int) -> bool:
        """Make the calls of one episode; False if something broke, which is told."""
        calls = Calls(f"{self._seed}/{number}", *self._every)
        try:
            for _ in range(length):
                calls.call()
                self.progress.at(self.made + calls.made)
            calls.finish()
        except Exception as error:
            if not isinstance(error, Broken):
                print(f"{traceback.format_exc()}{calls.last}", file=sys.stderr)
            print(f"call {calls.made:,}: {error}")
            print(f"python -m tests.call_stress --seed {self._seed} --episode {number} --compare-every 1")
            return False
        finally:
            self.made += calls.made
            self.compared += calls.compared
            self.counts += calls.counts
            self.traces.append(calls.trace[:16])
        del calls
        self.objects.append(objects())
        return True

    @property
    def grown(self) -> int:
        """Objects that there are more of than after the second episode; the first fills caches."""
        return self.objects[-1] - self.objects[1] if len(self.objects) > 1 else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--compare-every",
        type=int,
        default=50,
        metavar="K",
        help="calls between comparisons of all, if refused",
    )
    parser.add_argument("--audit-every", type=int, default=500, metavar="K", help="calls between audits")
    parser.add_argument("--episode", type=int, metavar="N", help="only this episode")
    parser.add_argument("--quiet", action="store_true", help="no progress, no counts")
    options = parser.parse_args(arguments)

    run = Run(options.seed, options.compare_every, options.audit_every, options.quiet)
    lengths = list(enumerate(episodes(options.count, EPISODE)))
    if options.episode is not None:
        lengths = [(options.episode, EPISODE)]
    fine = all(run.episode(number, length) for number, length in lengths)
    if fine and run.grown > SLACK:
        print(f"{run.grown:,} Python objects more than after the second episode")
        fine = False
    if not options.quiet:
        _summary(run.counts)
    rate = run.progress.rate(run.made)
    verdict = "nothing broken" if fine else "broken"
    print(
        f"{run.made:,} calls, seed {options.seed}, {run.compared:,} refused ones compared: {verdict}, "
        f"{rate:,.0f} calls a second, {run.grown:+,} objects"
    )
    print(f"last trace {run.traces[-1] if run.traces else ''}")
    return 0 if fine else 1


def _summary(counts: Counter[str]) -> None:
    for name in sorted({line.split(": ")[0] for line in counts}):
        results = {line.split(": ")[1]: n for line, n in counts.items() if line.split(": ")[0] == name}
        told = ", ".join(f"{result} {n:,}" for result, n in sorted(results.items(), key=lambda one: -one[1]))
        print(f"{name:22} {sum(results.values()):9,}  {told}")


if __name__ == "__main__":
    sys.exit(main())
