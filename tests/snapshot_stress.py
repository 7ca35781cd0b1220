"""Snapshots at random moments of the model's walk: `python -m tests.snapshot_stress --count N --seed S`.

At each moment a snapshot is taken, the walk goes on, and then back to this moment and to older ones, in any
order, where the same steps are walked again: all of RAM, registers, results and what the host declares must
be the same, byte for byte (see tests/model/moments.py). Every so many moments a fresh machine starts: an
episode, which repeats by itself. Exit status 1, and what is not the same with a command that repeats it.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.model.moments import Moment
from tests.model.pair import Divergence
from tests.model.steps import Walk
from tests.progress import Progress, episodes

EPISODE: Final = 250  # moments of one machine
KEPT: Final = 4  # older moments that the walk may go back to
MOST_BEFORE, MOST_AFTER = 16, 12  # steps from where the walk is to a moment, and from there on
NEVER: Final = 1 << 60


class Run:
    """All episodes of one command, and what came of them."""

    def __init__(self, seed: int, quiet: bool) -> None:
        self._seed, self.progress = seed, Progress("moments", quiet)
        self.made = self.steps = self.backs = 0
        self.seen: Counter[str] = Counter()  # what was going on at the moments
        self.trace = ""

    def episode(self, number: int, length: int) -> bool:
        """Go through so many moments; False if something was not the same, which is told."""
        walk = Walk(check_every=NEVER)
        walk.pair.refused_every = NEVER  # other drivers look at these
        chance, kept, made = random.Random(f"{self._seed}/{number}"), list[Moment](), 0
        try:
            for made in range(1, length + 1):
                kept.append(self._moment(walk, chance))
                for moment in chance.sample(kept, min(len(kept), chance.choice((0, 1, 1, 2)))):
                    moment.again()
                    self.backs += 1
                if len(kept) > KEPT:
                    kept.pop(chance.randrange(len(kept)))
                self.progress.at(self.made + made)
            walk.deep()
        except Divergence as divergence:
            print(f"moment {made:,}: {divergence}")
            print(f"python -m tests.snapshot_stress --seed {self._seed} --episode {number}")
            return False
        finally:
            self.made += made
            self.steps += walk.done
            self.trace = walk.trace[:16]
        return True

    def _moment(self, walk: Walk, chance: random.Random) -> Moment:
        """Walk some steps, take a snapshot, walk some more, and walk those again."""
        for _ in range(chance.randrange(MOST_BEFORE)):
            walk.step(walk.choose(chance.getrandbits(40)))
        moment = Moment(walk)
        for _ in range(chance.randrange(MOST_AFTER)):
            moment.go_on(walk.choose(chance.getrandbits(40)))
        moment.end()
        moment.again()
        self.backs += 1
        self.seen.update(moment.seen)
        return moment


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episode", type=int, metavar="N", help="only this episode")
    parser.add_argument("--quiet", action="store_true", help="no progress, no counts")
    options = parser.parse_args(arguments)

    run = Run(options.seed, options.quiet)
    lengths = list(enumerate(episodes(options.count, EPISODE)))
    if options.episode is not None:
        lengths = [(options.episode, EPISODE)]
    fine = all(run.episode(number, length) for number, length in lengths)
    if not options.quiet:
        for what, count in run.seen.most_common():
            print(f"{what:32} {count:8,}")
    rate = run.progress.rate(run.made)
    verdict = "all the same" if fine else "not the same"
    print(
        f"{run.made:,} moments, seed {options.seed}, {run.backs:,} times back, {run.steps:,} steps: "
        f"{verdict}, {rate:,.1f} moments a second"
    )
    print(f"last trace {run.trace}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
