"""One round of a campaign: an amount of work on a corpus, from a seed. Its result depends on nothing else.

Therefore a campaign can be distributed safely: a round whose process or machine dies is repeated elsewhere,
with the same result.
"""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from pltvm.fuzz.arena import MAP_SIZE
from pltvm.fuzz.callers import OneCall
from pltvm.fuzz.compare import candidates, colorize, tokens_of
from pltvm.fuzz.dictionary import Dictionary
from pltvm.fuzz.execution import Problem
from pltvm.fuzz.explain import explain
from pltvm.fuzz.harness import errors_of, load_harness
from pltvm.fuzz.havoc import seed_state
from pltvm.fuzz.hosts import Hosted
from pltvm.fuzz.options import SERVER, Options
from pltvm.fuzz.results import HANG, POINTER, Entry, Finding
from pltvm.fuzz.sequences import Sequence
from pltvm.fuzz.shorten import Same, cut, zero
from pltvm.fuzz.target import Target, Watch
from pltvm.fuzz.trace import Tracer
from pltvm.monitor import abi

_BATCH: Final = 256  # executions of one parent
_TRIMS: Final = 32  # executions to shorten an input
_SHORT: Final = 32  # inputs up to this size are not shortened
_COST_LIGHT: Final = 4_000  # overhead of an execution, in blocks
_COST_SINGLE: Final = 12_000  # overhead of one outside a batch
_COST_FULL: Final = 90_000
ROUND: Final = 150_000_000  # work of a round, in blocks: about half a second
_LATEST: Final = 8
_COMPARED_SHARE: Final = 0.3  # of a round's work, for inputs made of compared values
_LONGER: Final = 64  # zeros after an input, where the program may read more


class Stage(Enum):
    """The stage of a campaign that a round belongs to."""

    FIRST = auto()  # this round looks at what the program compares the seeds with
    LATER = auto()

    @classmethod
    def of(cls, rounds: int) -> "Stage":
        """Return the stage after so many rounds."""
        return cls.LATER if rounds else cls.FIRST


@dataclass(frozen=True)
class Job:
    """The input of a round."""

    options: Options
    corpus: tuple[bytes, ...]
    seed: str
    work: int = ROUND
    known: frozenset[str] = frozenset()  # signatures of findings
    words: tuple[bytes, ...] = ()  # of the dictionary
    stage: Stage = Stage.LATER
    executions: int | None = None  # the largest number, reached exactly if the work allows it


@dataclass(frozen=True)
class Round:
    """The result of a round: inputs with new edges (`parent` is an index in corpus and these), and findings.

    `executions` counts those that search; shortening inputs and making reports are not included. `notes` are
    hints on the set-up, by subject.
    """

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    executions: int
    edges: int
    notes: dict[str, str] = field(default_factory=dict)


class _Enough(Exception):
    """The wanted number of executions is reached."""


def open_target(
    options: Options, watch: Watch | None = None, blocks: bool = False, looked_at: bool = False
) -> Target:
    """Create the target for these options; see `Target` for the other arguments."""
    if options.harness:
        return load_harness(options.harness)(options, watch, blocks)
    if options.kind == SERVER:
        return (Sequence if options.calls > 1 else OneCall)(options, watch, blocks, looked_at)
    return Hosted(options, watch, blocks, looked_at)


class Worker:
    """A target, and the state kept between rounds in one process."""

    def __init__(self, options: Options, looked_at: bool = False) -> None:
        self.options = options
        with errors_of(options.harness):
            self.target = open_target(options, looked_at=looked_at)
        self._most: int | None = None  # count of executions at which a round is over
        self._tracer: Tracer | None = None
        self.corpus: list[bytes] = []  # inputs whose edges are in `_seen`
        self._seen = bytearray(MAP_SIZE)
        self._edges = 0
        self._own_words = self._words_of_target()

    # -- coverage ------------------------------------------------------------------------------------------

    def use(self, corpus: tuple[bytes, ...]) -> None:
        """Take exactly the edges of this corpus as seen."""
        if list(corpus[: len(self.corpus)]) != self.corpus:
            self.corpus, self._edges = [], 0
            self._seen[:] = bytes(MAP_SIZE)
        self._forget_other_edges()
        for data in corpus[len(self.corpus) :]:
            self.target.execute(data)
        self.corpus = list(corpus)
        self._remember_edges()

    def accept(self, data: bytes) -> int:
        """Add an input to the corpus if it has new coverage; return `Execution.new`, 0 if not added."""
        self._forget_other_edges()
        with errors_of(self.options.harness):
            execution = self.target.execute(data)
        if execution.problem is not None or not execution.new:
            return 0
        self.corpus.append(data)
        self._remember_edges()
        return execution.new

    @property
    def edges(self) -> int:
        """The number of edges that the corpus reaches."""
        return self._edges

    def _forget_other_edges(self) -> None:
        self.target.arena.seen[:] = self._seen
        self.target.state.edges = self._edges

    def _remember_edges(self) -> None:
        self._seen[:] = self.target.arena.seen
        self._edges = self.target.state.edges

    # -- a round -------------------------------------------------------------------------------------------

    def run(self, job: Job) -> Round:
        """Run one round. Ctrl-C ends it, see `stopping`."""
        self.target.may_stop = True
        try:
            with errors_of(self.options.harness):
                return self._run(job)
        finally:
            self.target.may_stop = False

    def notes(self) -> dict[str, str]:
        """Return new hints on the set-up, by subject."""
        return self.target.machine.driver.unknown_names.take()

    def _run(self, job: Job) -> Round:
        target, state = self.target, self.target.state
        self.use(job.corpus)
        target.seen.clear()
        before = state.executions
        rng = random.Random(job.seed)
        target.arena.seed(seed_state(rng.getrandbits(64)))
        inputs = [Entry(data) for data in job.corpus] or [Entry(b"")]
        old = len(inputs)
        dictionary = Dictionary((*job.words, *self._own_words))
        problems: list[bytes] = []
        fresh: list[int] = []  # indexes of inputs whose compares were not examined yet
        parent = 0
        operation = "havoc"

        def interesting(data: bytes, new: int, problem: Problem | None) -> None:
            if problem is not None:
                if problem.key not in target.seen:
                    target.seen.add(problem.key)
                    problems.append(data)
            elif new:
                inputs.append(Entry(data, parent, operation))
                if new == 2:
                    fresh.append(len(inputs) - 1)

        fresh.extend(range(old) if job.stage is Stage.FIRST else [])
        work = compared = 0
        given = (0, 0)  # numbers of inputs and words that mutations use
        self._most = None if job.executions is None else before + job.executions
        while work < job.work and self._left(1):
            done = state.executions
            state.work = state.full = 0
            compares = fresh and compared <= (work + job.work // 4) * _COMPARED_SHARE
            if compares:
                parent, operation = fresh.pop(), "compare"
                with suppress(_Enough):
                    self._compare(inputs[parent].data, rng.getrandbits(32), dictionary, interesting)
            else:
                parent, operation = self._choose(rng, len(inputs)), "havoc"
                if given != (len(inputs), len(dictionary)):
                    given = len(inputs), len(dictionary)
                    target.arena.set_corpus([entry.data for entry in inputs])
                    target.arena.set_tokens(list(dictionary))
                target.fuzz(inputs[parent].data, self._left(_BATCH), interesting)
            each = _COST_SINGLE if compares else _COST_LIGHT
            cost = state.work + (state.executions - done) * each + state.full * _COST_FULL
            work += cost
            compared += cost if compares else 0
        executions = state.executions - before
        findings = self._findings(problems, job.known)
        shift = old - len(job.corpus)  # for an empty corpus, the empty input is not counted
        entries = tuple(
            Entry(self._trim(entry.data), entry.parent - shift, entry.operation) for entry in inputs[old:]
        )
        return Round(entries, findings, executions, state.edges, self.notes())

    def _left(self, wanted: int) -> int:
        """Return how many of the wanted executions may still be made."""
        if self._most is None:
            return wanted
        return max(min(wanted, self._most - self.target.state.executions), 0)

    def _execute(self, data: bytes) -> int:
        """Do a searching execution; return its path."""
        if not self._left(1):
            raise _Enough
        return self.target.execute(data, keep=False).path

    def _choose(self, rng: random.Random, count: int) -> int:
        """Choose an input to mutate: half the time one of the latest."""
        if count > _LATEST and rng.random() < 0.5:
            return count - 1 - rng.randrange(min(_LATEST, count))
        return rng.randrange(count)

    def _compare(
        self,
        data: bytes,
        seed: int,
        dictionary: Dictionary,
        interesting: Callable[[bytes, int, Problem | None], None],
    ) -> None:
        """Put values that the program compares the input with into the input."""
        target = self.target
        if self._tracer is None:
            self._tracer = Tracer(lambda watch: open_target(self.options, watch))
        room = self.options.most_bytes
        longer = data.ljust(min(len(data) + _LONGER, room), b"\0")
        path = self._execute(data)
        basis = longer if self._execute(longer) == path else data
        clear = colorize(basis, lambda other: self._execute(other) == path, seed)
        tried = set()
        for version in dict.fromkeys((clear, basis)):
            pairs = self._tracer.pairs(version)
            for token in tokens_of(pairs):
                dictionary.add(token)
            for candidate in candidates(version, pairs, room):
                if candidate not in tried:
                    tried.add(candidate)
                    if not self._left(1):
                        raise _Enough
                    target.attempt(candidate, interesting)

    # -- afterwards ----------------------------------------------------------------------------------------

    def _trim(self, data: bytes) -> bytes:
        """Return a shorter input with the same path."""
        if len(data) <= _SHORT:
            return data
        path = self.target.execute(data, keep=False).path
        return cut(data, lambda other: self.target.execute(other, keep=False).path == path, _TRIMS)

    def _findings(self, problems: list[bytes], known: frozenset[str]) -> tuple[Finding, ...]:
        """Return findings for the problems, each bug once, with short inputs and a report."""
        found: dict[str, Finding] = {}
        for data in problems:
            finding = self.explain(data)
            if finding is None or finding.signature in known:
                continue
            other = found.get(finding.signature)
            # POINTER is more specific
            if other is None or (finding.kind == POINTER and other.kind != POINTER):
                found[finding.signature] = finding
        return tuple(self.explain(self.minimise(finding)) or finding for finding in found.values())

    def explain(self, data: bytes) -> Finding | None:
        """Return the finding of an execution of `data`, or None."""
        with errors_of(self.options.harness):
            problem = self.target.execute(data, keep=False, detail=True).problem
            return explain(self.target, data, problem) if problem is not None else None

    def minimise(self, finding: Finding) -> bytes:
        """Return a short input with the same kind and signature, with zeros where the value does not
        matter."""
        tries = 30 if finding.kind == HANG else 200

        return zero(cut(finding.data, self.shows(finding), tries), self.shows(finding), tries)

    def shows(self, finding: Finding) -> Same:
        """Return a test whether an input shows the same finding."""

        def same(data: bytes) -> bool:
            other = self.explain(data)
            return other is not None and (other.kind, other.signature) == (finding.kind, finding.signature)

        return same

    def _words_of_target(self) -> tuple[bytes, ...]:
        """Return words for every dictionary: meaningful addresses in the target."""
        low, high = self.target.stack_range()
        entry = self.target.enclave.entry
        nowhere = (abi.HEAP_BASE + abi.MMAP_TOP) // 2  # the address mapped last from both directions
        addresses = [entry, low, high - 64, nowhere]
        if self.target.secrets:
            place = self.target.secret_address
            addresses += [place] if place else []
        return tuple(address.to_bytes(8, "little") for address in addresses)


_kept = threading.local()  # one worker per thread, as a target cannot be shared


def run_job(job: Job) -> Round:
    """Run one round in this process and thread; its target is kept for the next one."""
    worker: Worker | None = getattr(_kept, "worker", None)
    if worker is None or worker.options != job.options:
        worker = _kept.worker = Worker(job.options)
    return worker.run(job)
