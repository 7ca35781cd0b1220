"""Long random walks of the monitor against its model: `python -m tests.monitor_stress --steps N --seed S`.

Every step compares results, states, regions and owners; every `--check-every` steps also page tables, the
page bitmap, marks in memory, and the monitor's audit. The same seed gives the same walk, and the same trace
at the end. Exit status 1 and the shortest failing sequence, as a test, on a divergence.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from tests.model.pair import Divergence
from tests.model.steps import Step, Walk, as_test, random_steps, shorten
from tests.progress import Progress

EPISODE = 20_000  # steps from one fresh machine; what a divergence is shortened from


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=200, metavar="K", help="steps between deep checks")
    parser.add_argument(
        "--refused-every", type=int, default=10, metavar="K", help="refused calls between comparisons of all"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no counts")
    options = parser.parse_args(arguments)

    counts: Counter[str] = Counter()
    traces: list[str] = []
    progress = Progress("steps", options.quiet, seconds=2)
    done = 0
    while done < options.steps:
        walk = Walk(options.check_every)
        walk.pair.refused_every = options.refused_every
        steps: list[Step] = []
        try:
            length = min(EPISODE, options.steps - done)
            for step in random_steps(walk, f"{options.seed}/{len(traces)}", length):
                steps.append(step)
                walk.step(step)
                progress.at(done + len(steps))
            walk.deep()
        except Divergence as divergence:
            return _diverged(done, steps, str(divergence), options.check_every)
        done += len(steps)
        counts += walk.counts
        traces.append(walk.trace[:16])

    if not options.quiet:
        _summary(counts)
    trace = traces[-1] if traces else ""
    walked = f"{done:,} steps, seed {options.seed}, {len(traces)} machines"
    print(f"{walked}: no divergence, {progress.rate(done):,.0f} steps a second")
    print(f"last trace {trace}")
    return 0


def _diverged(before: int, steps: list[Step], message: str, check_every: int) -> int:
    print(f"step {before + len(steps):,}: {message}", file=sys.stderr)
    print(f"shortening {len(steps):,} steps", file=sys.stderr)
    print(as_test(shorten(steps, check_every)))
    return 1


def _summary(counts: Counter[str]) -> None:
    names = sorted({line.split(": ")[0] for line in counts})
    for name in names:
        results = {line.split(": ")[1]: n for line, n in counts.items() if line.split(": ")[0] == name}
        total = sum(results.values())
        told = ", ".join(
            f"{result} {n:,}" for result, n in sorted(results.items(), key=lambda item: -item[1])
        )
        print(f"{name:15} {total:9,}  {told}")


if __name__ == "__main__":
    sys.exit(main())
