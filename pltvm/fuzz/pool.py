"""Runs rounds: in this process, in several processes, or on a cluster.

A round gives the same result wherever it runs (see `worker`). So a worker or scheduler that dies only costs
time: its rounds are run again.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Final, Protocol

from pltvm.confine import confine
from pltvm.errors import ArgumentError, PltvmError
from pltvm.fuzz import stopping
from pltvm.fuzz.cluster import Cluster
from pltvm.fuzz.worker import Job, Round, Worker, run_job

MOST_PROCESSES: Final = 256
_TRIES: Final = 5  # attempts to run a round whose process dies


class Pool(Protocol):
    """Runs rounds."""

    size: int  # rounds at a time

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all jobs; return the rounds in their order."""

    def close(self) -> None:
        """Stop the workers."""


class Here:
    """Rounds in this process, one after the other."""

    size = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all of the jobs."""
        return [self._worker.run(job) for job in jobs]

    def close(self) -> None:
        """Do nothing."""


def _begin(wall: Sequence[str] | None) -> None:
    """Set up a process: leave Ctrl-C to the parent, end when the parent ends, and confine it, see
    `Processes`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if wall is not None:
        confine(wall)  # the parent has reported the gaps
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


class Processes:
    """Runs rounds in so many processes of this machine. With a `wall` they can read only its files."""

    def __init__(self, size: int, wall: Sequence[str] | None = None) -> None:
        if not 1 <= size <= MOST_PROCESSES:
            raise ArgumentError(f"-j {size}: it must be 1 to {MOST_PROCESSES}")
        self.size = size
        self._wall = wall
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.size, context, _begin, (self._wall,))

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all jobs; those of a process that dies are repeated."""
        rounds: dict[int, Round] = {}
        for _ in range(_TRIES):
            waiting = [index for index in range(len(jobs)) if index not in rounds]
            futures = {}
            try:
                futures = {index: self._pool.submit(run_job, jobs[index]) for index in waiting}
                with stopping.waiting():
                    for index, future in futures.items():
                        rounds[index] = future.result()
            except BrokenProcessPool:
                for index, future in futures.items():
                    if future.done() and future.exception() is None:
                        rounds[index] = future.result()
                self._pool.shutdown(wait=False)
                self._pool = self._start()
            if len(rounds) == len(jobs):
                return [rounds[index] for index in range(len(jobs))]
        raise PltvmError(f"worker processes died {_TRIES} times in a row: is there enough memory?")

    def close(self) -> None:
        """End the processes; running rounds are dropped."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


def open_pool(processes: int, scheduler: str, worker: Worker, wall: Sequence[str] | None = None) -> Pool:
    """Return the pool for these options; `worker` is that of this process. `wall`: see `Processes`."""
    if scheduler:
        return Cluster(scheduler)
    return Processes(processes, wall) if processes != 1 else Here(worker)
