"""Rounds on a Dask cluster. Workers need pltvm with its `fuzz` extra, and the ELF files at the same paths.

Nothing that was found depends on the cluster: the campaign's process has the corpus, writes every input and
finding as soon as its round is back, and runs rounds again that the cluster has lost. While there is no
scheduler it waits for one at the same address, and after a while runs the rounds itself.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from pltvm.errors import PltvmError
from pltvm.fuzz.pool import run_job
from pltvm.fuzz.worker import Job, Round

PATIENCE: Final = 30.0  # seconds without a scheduler until rounds are run here
_RETRIES: Final = 10  # of a round whose worker dies
_MOST_ROUNDS: Final = 256  # at a time


class Cluster:
    """The workers of the scheduler at `address`; one round for each thread that they have."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        try:
            import distributed
        except ImportError:
            raise PltvmError("--scheduler needs Dask: pip install 'pltvm[cluster]'") from None
        self._distributed = distributed
        self._address, self._patience = address, patience
        try:
            self._client: Any = self._connected()
        except (OSError, ValueError) as error:
            raise PltvmError(f"--scheduler {address}: {error}") from None
        threads = sum(worker["nthreads"] for worker in self._client.scheduler_info()["workers"].values())
        self.size = min(max(threads, 1), _MOST_ROUNDS)

    def _connected(self) -> Any:
        return self._distributed.Client(self._address, timeout=5, set_as_default=False)

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all of the jobs, whatever happens to the cluster meanwhile."""
        rounds: dict[int, Round] = {}
        alone_at = time.monotonic() + self._patience
        while len(rounds) < len(jobs):
            waiting = [index for index in range(len(jobs)) if index not in rounds]
            try:
                if self._client is None:
                    self._client = self._connected()
                self._collect(jobs, waiting, rounds)
            except (OSError, self._distributed.client.FutureCancelledError, TimeoutError):
                self._drop_client()
                if len(rounds) < len(jobs) and time.monotonic() > alone_at:
                    index = min(index for index in range(len(jobs)) if index not in rounds)
                    rounds[index] = run_job(jobs[index])
        return [rounds[index] for index in range(len(jobs))]

    def _collect(self, jobs: Sequence[Job], waiting: Sequence[int], rounds: dict[int, Round]) -> None:
        """Submit, and note what comes back as it comes; raises when the connection is lost."""
        submit = self._client.submit
        futures = {submit(run_job, jobs[index], pure=False, retries=_RETRIES): index for index in waiting}
        for future in self._distributed.as_completed(futures):
            rounds[futures[future]] = future.result()

    def _drop_client(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.close(timeout=1)

    def close(self) -> None:
        """Disconnect; the cluster stays."""
        self._drop_client()
