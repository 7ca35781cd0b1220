"""Random instruction streams: `python -m tests.stream_stress --count N --seed S`.

Half of the batches run them in U-mode as enclaves and servers, half in S-mode as a kernel and in user mode of
it. After each stream nothing may have changed that is not the guest's (see tests/streams/world.py). Children
run them, so that one that ends the process or hangs is told of and the others go on. Exit status 1, and what
broke with a command that repeats it, if anything did. The same seed gives the same trace.
"""

import argparse
import hashlib
import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.progress import Progress, episodes
from tests.streams import batches
from tests.streams.batches import Step

BATCHES_A_CHILD: Final = 20  # each of its machines keeps some memory
SILENCE: Final = 60.0  # seconds without a stream that ends: it hangs
MOST_BROKEN: Final = 20  # until the command gives up


class Child:
    """A process that runs `count` batches from `first` on, and tells one line for each step."""

    def __init__(self, command: Sequence[str], first: int, count: int) -> None:
        self.first, self.count = first, count
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._out = self._process.stdout

    def steps(self, silence: float = SILENCE) -> Iterator[tuple[int, Step]]:
        """(batch, step); the last one is "broken" if the process ended early, or said nothing for so long."""
        batch, end = self.first, ""
        try:
            for line in self._lines(silence):
                step = Step(*json.loads(line))
                yield batch, step
                batch += step.kind != "done"
        except TimeoutError:
            end = f"hangs: {silence:.0f} s without an end\n"
        finally:
            self._out.close()
            if end:
                self._process.kill()
            status = self._process.wait()
        if batch < self.first + self.count:
            yield batch, Step("broken", end or f"the process ended with status {status}\n")

    def _lines(self, silence: float) -> Iterator[bytes]:
        """What it says; TimeoutError when it says nothing for so many seconds."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            while True:
                if not selector.select(silence):
                    raise TimeoutError
                said = os.read(self._out.fileno(), 1 << 16)
                if not said:
                    return
                *lines, rest = (rest + said).split(b"\n")
                yield from lines


def _child(seed: int, first: int, sizes: Sequence[int], audit_every: int) -> int:
    for number, size in enumerate(sizes, first):
        for step in batches.batch(seed, number, size, audit_every):
            print(json.dumps(step), flush=True)
    return 0


class Run:
    """All batches of one command, and what came of them."""

    def __init__(self, seed: int, audit_every: int, repeat_every: int, quiet: bool) -> None:
        self.seed, self.audit_every, self._repeat_every = seed, audit_every, repeat_every
        self._progress = Progress("streams", quiet)
        self.repeated = 0
        self.counts: Counter[str] = Counter()
        self.broken = 0
        self.trace = hashlib.sha256()
        self._traces: dict[int, str] = {}  # by batch

    def run(self, first: int, sizes: Sequence[int]) -> None:
        """Run batches of these sizes, in as many children as it takes."""
        at = 0
        while at < len(sizes) and self.broken < MOST_BROKEN:
            part = sizes[at : at + BATCHES_A_CHILD]
            done = 0
            for number, step in Child(self._command(first + at, part), first + at, len(part)).steps():
                done = number - first - at + 1
                self._take(number, step)
            at += max(done, 1)
        for number in range(first, first + len(sizes), self._repeat_every):
            self._repeat(number, sizes[number - first])

    def _repeat(self, number: int, size: int) -> None:
        """Run a batch again: it has to give the same trace."""
        steps = [step for _, step in Child(self._command(number, [size]), number, 1).steps()]
        self.repeated += 1
        if number in self._traces and steps[-1] != Step("trace", self._traces[number]):
            self._broke(number, f"another trace when run again: {steps[-1]}\n")

    def _broke(self, number: int, text: str) -> None:
        self.broken += 1
        print(f"{text}python -m tests.stream_stress --seed {self.seed} --batch {number}")

    def _command(self, first: int, sizes: Sequence[int]) -> list[str]:
        arguments = [f"--seed={self.seed}", f"--audit-every={self.audit_every}", f"--child={first}"]
        return [sys.executable, "-m", "tests.stream_stress", *arguments, *(str(size) for size in sizes)]

    def _take(self, number: int, step: Step) -> None:
        if step.kind == "done":
            self.counts[step.text] += 1
        elif step.kind == "trace":
            self.trace.update(step.text.encode())
            self._traces[number] = step.text
        else:
            self._broke(number, step.text)
        self._progress.at(self.counts.total())

    def summary(self) -> None:
        for end, count in self.counts.most_common():
            print(f"{count:9,}  {end}")
        verdict = f"{self.broken} broken" if self.broken else "nothing broken"
        total = f"{self.counts.total():,} streams, seed {self.seed}, {self.repeated} batches repeated"
        rate = self._progress.rate(self.counts.total())
        print(f"{total}: {verdict}, {rate:,.0f} streams a second\ntrace {self.trace.hexdigest()[:16]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audit-every", type=int, default=25, metavar="K", help="streams between audits")
    parser.add_argument(
        "--repeat-every", type=int, default=20, metavar="K", help="batches between repeated ones"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="only this batch, with an audit each time")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("sizes", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        return _child(options.seed, options.child, options.sizes, options.audit_every)
    if options.batch is not None:
        run, first, sizes = Run(options.seed, 1, 1, options.quiet), options.batch, [batches.SIZE]
    else:
        run, first = Run(options.seed, options.audit_every, options.repeat_every, options.quiet), 0
        size = max(min(batches.SIZE, options.count // 2), 1)  # some of each kind
        sizes = episodes(options.count, size)
    run.run(first, sizes)
    run.summary()
    return 1 if run.broken else 0


if __name__ == "__main__":
    sys.exit(main())
