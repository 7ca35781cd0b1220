"""How soon the planted concurrency bugs are found, and that the fixed twins give no report.

    python -m tests.schedule_targets                      five seeds each, at most 60 s
    python -m tests.schedule_targets --fixed --time 120   the twins, one seed each
    python -m tests.schedule_targets --plain 1000         how often runs by slices find them

Exit status 1 when a bug was not found in the time, by the median seed, or a twin gives a report.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from pltvm.explore.campaign import Limits
from pltvm.host.schedule import RoundRobin
from tests.schedule_targets import Built, Target, targets


def hunt(built: Built, seeds: int, seconds: float, pct: int) -> bool:
    """Explore a target with several seeds; whether the median found it in time."""
    took, tried = [], []
    for seed in range(1, seeds + 1):
        campaign, finding = built.explore(Limits(seconds=seconds), seed=seed, depth=pct)
        found = finding is not None and finding.failure.kind == built.target.finds
        took.append(campaign.seconds if found else float("inf"))
        tried.append(campaign.schedules)
    median = statistics.median(took)
    print(f"{built.target.name:16} {median:6.1f} s {statistics.median(tried):8.0f} schedules", flush=True)
    return median < seconds


def check(built: Built, seconds: float) -> bool:
    """Explore a twin: whether nothing is found."""
    campaign, finding = built.explore(Limits(seconds=seconds))
    print(
        f"{built.target.name:16} {'clean' if finding is None else 'FOUND'} in {campaign.schedules} schedules",
        flush=True,
    )
    if finding is not None:
        print("\n".join(finding.lines()))
    return finding is None


def plain(built: Built, runs: int) -> bool:
    """Run a target as `pltvm run` does, with slices of one length after another; how often it fails."""
    subject, failed = built.subject(), 0
    on_value = "--fail-on-value" in built.target.options
    subject.most = 50_000_000
    for number in range(runs):
        results = subject.run(RoundRobin(10_000 + 7 * number))
        failed += subject.failure(results, on_value) is not None
    print(f"{built.target.name:16} {failed} of {runs} plain runs fail", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--fixed", action="store_true", help="the twins without the bug")
    parser.add_argument("--plain", type=int, default=0, metavar="N", help="run, and do not explore")
    parser.add_argument("--time", type=float, default=60, help="seconds for each")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pct", type=int, default=0, metavar="DEPTH")
    arguments = parser.parse_args()

    def judge(target: Target, into: Path) -> bool:
        built = Built(target, arguments.fixed, into)
        if arguments.plain:
            return plain(built, arguments.plain)
        if arguments.fixed:
            return check(built, arguments.time)
        return hunt(built, arguments.seeds, arguments.time, arguments.pct)

    chosen = [target for target in targets() if not arguments.names or target.name in arguments.names]
    with tempfile.TemporaryDirectory() as folder:
        results = [judge(target, Path(folder)) for target in chosen]
    print(f"{sum(results)} of {len(results)} as they should be")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
