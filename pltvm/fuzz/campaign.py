"""A campaign: runs rounds on a growing corpus until it has to stop. Only it writes to the output folder.

    generation 0      generation 1
    round 0/0 ╮       round 1/0 ╮
    round 0/1 ┼ merge round 1/1 ┼ merge …
    round 0/2 ╯       round 1/2 ╯

All rounds of a generation start from the same corpus. Their results are merged in order: an input is added to
the corpus if it still reaches something new. So the same seed and number of workers give the same campaign,
also when it is stopped and resumed, or loses workers.
"""

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError
from pltvm.fuzz.arena import EDGES_EACH
from pltvm.fuzz.options import MOST_BYTES
from pltvm.fuzz.pool import Pool
from pltvm.fuzz.results import Entry, Finding
from pltvm.fuzz.status import Found, Snapshot, Status
from pltvm.fuzz.store import OutputFolder, Progress
from pltvm.fuzz.worker import ROUND, Job, Round, Stage, Worker

_PATIENCE: Final = 5.0  # seconds without new coverage, after which there is a note
_MANY: Final = 10_000  # executions of an ended campaign without new coverage, for the same note
_READ: Final = MOST_BYTES + 1  # bytes read of a seed: one more, to notice seeds that are too long


@dataclass(frozen=True)
class Limits:
    """When to stop; 0: never. `seconds` are real time; all limits count from the start of this run."""

    seconds: float = 0.0
    executions: int = 0
    findings: int = 0


class Campaign:
    """A campaign over an open folder."""

    def __init__(
        self,
        worker: Worker,
        pool: Pool,
        folder: OutputFolder,
        status: Status,
        *,
        seed: int = 0,
        words: Sequence[bytes] = (),
        work: int = ROUND,
    ) -> None:
        self.worker, self.pool, self.folder, self.status = worker, pool, folder, status
        self.seed = seed
        self.words = tuple(words)
        self.work = work  # the work of one round
        self.counts = folder.saved_counts()
        self.counts.map_size = EDGES_EACH * (1 + len(worker.options.servers))
        self.findings: list[Finding] = []
        self.label = Path(worker.options.elf).name
        self._found: dict[str, Found] = {}
        self._last_path: float | None = None
        self._started = time.monotonic()
        self._before = self.counts.executions
        self._run_before = self.counts.seconds
        self._dry = 0  # rounds without a new input
        self._said: set[str] = set()  # subjects of notes already given
        self._idle_said = False

    # -- seeds ---------------------------------------------------------------------------------------------

    def load(self, seeds: Sequence[tuple[str, bytes]]) -> None:
        """Load the folder's inputs, and these seeds (name, content)."""
        queue = self.folder.queue()
        self.worker.use(tuple(entry.data for entry in queue))
        self._generation = self.counts.rounds // self.pool.size
        for finding in self.folder.findings():
            self.findings.append(finding)
            self._count(finding)
        self._known = len(self.findings)
        if queue:
            self._idle_said = True
            self.status.note(f"goes on with {len(queue)} inputs and {len(self.findings)} findings")
            return
        idle = 0
        for name, data in seeds or [("empty", b"")]:
            if len(data) > self.worker.options.most_bytes:
                data = data[: self.worker.options.most_bytes]
                self.status.note(f"seed {name} is cut to {len(data)} bytes: see --memory and --calls")
            problem = self.worker.explain(data)
            if problem is not None:
                self._keep(problem)
            elif self.worker.accept(data):
                self.folder.add_entry(Entry(data), self.counts, name=name)
            else:
                idle += 1
        self._say(self.worker.notes())
        if idle:
            self.status.note(f"{idle} of {len(seeds)} seeds reach nothing that others do not: left out")
        if not self.worker.corpus and not self.findings:
            raise PltvmError("none of the seeds runs to its end: give one that does, or leave out -i")

    # -- rounds --------------------------------------------------------------------------------------------

    def run(self, limits: Limits) -> None:
        """Run until a limit is reached, or KeyboardInterrupt, which is raised again after everything is
        written."""
        try:
            self._show(0.0)
            while not self._is_over(limits):
                began = time.monotonic()
                done = self.counts.executions
                jobs = self._jobs(limits)
                results = self.pool.run(jobs)
                self.counts.seconds = self._run_before + time.monotonic() - self._started
                old = len(self.worker.corpus)
                for result in results:
                    self._merge(result, old)
                self._generation += 1
                spent = time.monotonic() - began
                self._show((self.counts.executions - done) / spent)
                if self.counts.seconds - self._run_before >= _PATIENCE:
                    self._say_if_idle()
            if self.counts.executions - self._before >= _MANY:
                self._say_if_idle()
        finally:
            self._write(0.0)

    def _jobs(self, limits: Limits) -> list[Job]:
        """Return a generation: a round for each worker, or fewer and shorter ones if few executions are
        left."""
        size = self.pool.size
        if not limits.executions:
            return [self._job(number) for number in range(size)]
        left = limits.executions - (self.counts.executions - self._before)
        shares = [left // size + (number < left % size) for number in range(size)]
        return [self._job(number, share) for number, share in enumerate(shares) if share]

    def _job(self, number: int, executions: int | None = None) -> Job:
        known = frozenset(finding.signature for finding in self.findings)
        seed = f"{self._generation}/{number}/{self.seed}"
        corpus, stage = tuple(self.worker.corpus), Stage.of(self._generation)
        return Job(self.worker.options, corpus, seed, self.work, known, self.words, stage, executions)

    def _merge(self, result: Round, old: int) -> None:
        """Add what is still new from a round that started from the first `old` inputs of the corpus."""
        counts = self.counts
        counts.executions += result.executions
        counts.rounds += 1
        self._dry += 1
        indexes = {index: index for index in range(old)}  # index in the round → index in the queue
        for index, entry in enumerate(result.entries, old):
            if self.worker.accept(entry.data):
                indexes[index] = len(self.worker.corpus) - 1
                parent = indexes.get(entry.parent, -1)
                self.folder.add_entry(Entry(entry.data, parent, entry.operation), counts)
                self._last_path = counts.seconds
                self._dry = 0
        counts.edges = self.worker.edges
        for finding in result.findings:
            self._keep(finding)
        self._say(result.notes)

    def _say(self, notes: dict[str, str]) -> None:
        """Show notes on the set-up, each once."""
        for about, text in notes.items():
            if about not in self._said:
                self._said.add(about)
                self.status.note(f"{text} (--server {about}=FILE.elf)")

    def _say_if_idle(self) -> None:
        """Note once that a new campaign has reached nothing new since its begin; not for a resumed one."""
        if self._last_path is None and not self._known and not self.findings and not self._idle_said:
            self._idle_said = True
            self.status.note(
                "no input has reached anything new so far: does the target read it? See --as, --channel and "
                "--server for how it gets there, and -i for inputs to start from"
            )

    def _keep(self, finding: Finding) -> None:
        path = self.folder.add_finding(finding, self.counts)
        if path is not None:
            self.findings.append(finding)
            self._count(finding)
            self.status.finding(finding, path, self.counts.seconds)

    def _count(self, finding: Finding) -> None:
        """Count a finding."""
        old = self._found.get(finding.kind, Found(finding.kind, 0, 0.0))
        self._found[finding.kind] = Found(finding.kind, old.total + 1, self.counts.seconds)

    def _is_over(self, limits: Limits) -> bool:
        spent = time.monotonic() - self._started
        return bool(
            (limits.seconds and spent >= limits.seconds)
            or (limits.executions and self.counts.executions - self._before >= limits.executions)
            or (limits.findings and len(self.findings) - self._known >= limits.findings)
        )

    # -- showing -------------------------------------------------------------------------------------------

    def snapshot(self, speed: float) -> Snapshot:
        """Return the progress of the campaign."""
        counts = self.counts
        return Snapshot(
            target=self.label,
            run_time=counts.seconds,
            executions=counts.executions,
            speed=speed,
            queue=len(self.worker.corpus),
            edges=counts.edges,
            map_size=counts.map_size,
            findings=tuple(self._found.values()),
            rounds=counts.rounds,
            workers=self.pool.size,
            last_path=self._last_path,
        )

    def _show(self, speed: float) -> None:
        self.status.update(self.snapshot(speed))
        self._write(speed)

    def _write(self, speed: float) -> None:
        progress = Progress(speed=speed, rounds_without_finds=self._dry)
        self.folder.write_stats(self.counts, progress)
        if self.counts.executions:
            self.folder.append_plot(self.counts, progress)


def read_seeds(path: Path | None) -> list[tuple[str, bytes]]:
    """Return the files of a folder, or one file, as seeds; PltvmError if there are none."""
    if path is None:
        return []
    try:
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        seeds = [(file.name, _start_of(file)) for file in files if file.name[0] != "."]
    except OSError as error:
        raise PltvmError(f"{path}: cannot be read: {error.strerror}") from None
    if not seeds:
        raise PltvmError(f"{path}: there is no file in it to start from; put one there, or leave out -i")
    return seeds


def _start_of(file: Path) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # no wait at a FIFO
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PltvmError(f"{file}: is not a plain file")
        return opened.read(_READ)
