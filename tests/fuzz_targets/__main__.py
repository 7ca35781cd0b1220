"""How soon the planted bugs are found, and that the fixed twins give no report.

    python -m tests.fuzz_targets                      five seeds each, at most 60 s
    python -m tests.fuzz_targets --fixed --time 120   the twins, one seed each

Exit status 1 when a bug was not found in the time, by the median seed, or a twin gives a report.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pltvm.fuzz.options import Options
from pltvm.fuzz.results import Finding
from pltvm.fuzz.worker import ROUND, Job, Stage, Worker
from tests.fuzz_targets import Target, build, targets


def options_of(target: Target) -> Options:
    """The options that a built target is fuzzed with."""
    pairs = tuple((name, str(elf)) for name, elf in target.servers.items())
    return Options(
        elf=str(target.elf),
        kind=target.value("--as", "server"),
        servers=pairs,
        calls=int(target.value("--calls", "1")),
        clients=int(target.value("--clients", "1")),
        channels=tuple(target.values("--channel")) or ("relay",),
        secret=target.value("--secret", ""),
        oracles=tuple(target.values("--oracle")),
    )


class Hunt:
    """Rounds on one target from an empty input, as a campaign with one worker makes them."""

    def __init__(self, target: Target, seed: int, work: int = ROUND) -> None:
        self.target, self.seed, self.work = target, seed, work
        self.worker = Worker(options_of(target))
        self.findings: list[Finding] = []
        self.executions = 0
        self.rounds = 0
        self._corpus: tuple[bytes, ...] = (b"",)

    def round(self) -> None:
        """One more round."""
        known = frozenset(finding.signature for finding in self.findings)
        seed, stage = f"{self.rounds}/0/{self.seed}", Stage.of(self.rounds)
        job = Job(self.worker.options, self._corpus, seed, self.work, known, stage=stage)
        result = self.worker.run(job)
        for entry in result.entries:
            self.worker.accept(entry.data)
        self._corpus = tuple(self.worker.corpus)
        self.findings += result.findings
        self.executions += result.executions
        self.rounds += 1

    @property
    def found(self) -> bool:
        """Whether there is a finding of a kind that the bug shows."""
        return any(finding.kind in self.target.finds for finding in self.findings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--fixed", action="store_true", help="the twins without the bug")
    parser.add_argument("--time", type=float, default=60, help="seconds for each")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    chosen = [target for target in targets() if not arguments.names or target.name in arguments.names]
    with tempfile.TemporaryDirectory() as folder:
        results = [_judge(build(target, arguments.fixed, Path(folder)), arguments) for target in chosen]
    print(f"{sum(results)} of {len(results)} as they should be")
    return 0 if all(results) else 1


def _judge(target: Target, arguments: argparse.Namespace) -> bool:
    times, executions = [], 0
    wrong: set[str] = set()
    for seed in range(1 if arguments.fixed else arguments.seeds):
        started = time.monotonic()
        hunt = Hunt(target, seed)
        while time.monotonic() - started < arguments.time and (arguments.fixed or not hunt.found):
            hunt.round()
        times.append(time.monotonic() - started if hunt.found else float("inf"))
        executions += hunt.executions
        wrong |= {f"{finding.kind}: {finding.summary}" for finding in hunt.findings}
    if arguments.fixed:
        print(f"{target.name:10} {executions:9,} executions  {'; '.join(wrong) or 'no report'}", flush=True)
        return not wrong
    median = statistics.median(times)
    each = " ".join(f"{one:5.1f}" for one in sorted(times))
    kinds = ", ".join(target.finds)
    print(f"{target.name:10} {median:5.1f} s   ({each})  {executions:9,} executions  {kinds}", flush=True)
    return median < arguments.time


if __name__ == "__main__":
    sys.exit(main())
