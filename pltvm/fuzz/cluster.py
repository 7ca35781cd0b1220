"""Runs rounds on a Dask cluster. Workers need pltvm with its `cluster` extra, and the ELFs at the same paths.

Results do not depend on the cluster: the campaign's process has the corpus, writes every input and finding as
soon as its round is back, and repeats rounds that the cluster has lost. Without a scheduler or a worker it
waits, and after a while runs the rounds itself.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from pltvm.errors import PltvmError
from pltvm.fuzz import stopping
from pltvm.fuzz.worker import Job, Round, run_job

# seconds without a scheduler until rounds are run here, and between later attempts to connect
PATIENCE: Final = 30.0
_CONNECTING: Final = 5.0  # timeout of an attempt, in seconds
_PAUSE: Final = 0.2  # seconds between the first attempts
_RETRIES: Final = 10  # of a round that fails
_MOST_ROUNDS: Final = 256  # at a time


class Cluster:
    """The workers of the scheduler at `address`; `size` rounds at a time, or one for each thread of them."""

    def __init__(self, address: str, patience: float = PATIENCE, size: int = 0) -> None:
        try:
            import distributed
        except ImportError:
            raise PltvmError("--scheduler needs Dask: pip install 'pltvm[cluster]'") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # lost rounds are handled here
        self._distributed = distributed
        self._address, self._patience = address, patience
        self._try_at = self._alone_at = 0.0  # when to try to connect again, and when to run rounds here
        try:
            self._client: Any = self._connected()
        except (OSError, ValueError) as error:
            raise PltvmError(f"--scheduler {address}: {error}") from None
        self.size = size or min(max(sum(self._client.nthreads().values()), 1), _MOST_ROUNDS)

    def _connected(self) -> Any:
        timeout = min(_CONNECTING, max(self._patience, 1))
        return self._distributed.Client(self._address, timeout=timeout, set_as_default=False)

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all jobs, whatever happens to the cluster meanwhile."""
        rounds: dict[int, Round] = {}
        while len(rounds) < len(jobs):
            waiting = [index for index in range(len(jobs)) if index not in rounds]
            if self._is_connected():
                try:
                    with stopping.waiting():
                        self._collect(jobs, waiting, rounds)
                except (OSError, self._distributed.client.FutureCancelledError):
                    self._lose(self._patience)
                except self._distributed.KilledWorker:
                    raise PltvmError(
                        "workers of the cluster died again and again: have they enough memory?"
                    ) from None
            elif time.monotonic() >= self._alone_at:
                rounds[waiting[0]] = run_job(jobs[waiting[0]])
        return [rounds[index] for index in range(len(jobs))]

    def _is_connected(self) -> bool:
        """Whether there is a connection; tries to make one."""
        if self._client is None and time.monotonic() >= self._try_at:
            try:
                with stopping.waiting():
                    self._client = self._connected()
            except OSError:
                alone = time.monotonic() >= self._alone_at
                self._try_at = time.monotonic() + (self._patience if alone else 0)
                time.sleep(0 if alone else _PAUSE)
        return self._client is not None

    def _collect(self, jobs: Sequence[Job], waiting: Sequence[int], rounds: dict[int, Round]) -> None:
        """Submit jobs and collect their rounds; raises when the connection is lost."""
        client, as_completed = self._client, self._distributed.as_completed
        patience = max(self._patience, 1)
        futures = {
            client.submit(run_job, jobs[index], pure=False, retries=_RETRIES): index for index in waiting
        }
        while futures:
            try:
                for future in as_completed(list(futures), loop=client.loop, timeout=patience):
                    # the worker that has it may just have died
                    rounds[futures[future]] = future.result(timeout=patience)
                    del futures[future]
            except TimeoutError:
                if not client.nthreads():
                    self._lose(0)
                    return

    def _lose(self, patience: float) -> None:
        """Drop this connection: wait for another one for `patience` seconds, then go on alone."""
        self._drop_client()
        self._alone_at = time.monotonic() + patience
        self._try_at = 0.0 if patience else self._alone_at + self._patience

    def _drop_client(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.close(timeout=1)

    def close(self) -> None:
        """Disconnect; the cluster keeps running."""
        self._drop_client()
