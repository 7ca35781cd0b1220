"""Rounds on a Dask cluster, of which workers and the scheduler are killed: nothing that was found is lost."""

import importlib.util
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz.cluster import Cluster
from pltvm.fuzz.options import Options
from pltvm.fuzz.pool import open_pool
from pltvm.fuzz.worker import Job, Worker
from tests.fuzz import dask_process
from tests.fuzz.campaigns import CLIMB, WORK, Several, campaign, content
from tests.fuzz.conftest import Build

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the cluster extra is not installed"
)  # without loading it: most workers of the suite have no test of these

ROUNDS_WORK = 4 * WORK
GENERATIONS = 5
SIZE = 3
PATIENCE = 1.0
WAIT = 60.0  # seconds, at most, for anything


class Dask:
    """A scheduler and workers on this machine, each a process; all of them end with the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[ForkServerProcess] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker() for _ in range(2)]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> ForkServerProcess:
        """A scheduler at the address; it may be a new one."""
        return self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self) -> ForkServerProcess:
        """A worker of one thread."""
        return self._start(
            "worker", self.address, "--host", "127.0.0.1", "--no-nanny", "--nthreads", "1",
            "--local-directory", str(self._folder), "--death-timeout", "60",
        )  # fmt: skip

    def _start(self, *arguments: str) -> ForkServerProcess:
        log = self._folder / f"log-{len(self._started)}"
        process = dask_process.start([*arguments, "--no-dashboard"], log)
        self._started.append(process)
        return process

    def wait_for_workers(self, count: int) -> None:
        """Until so many are there."""
        import distributed

        with distributed.Client(self.address, timeout=WAIT, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=WAIT)

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self._started:
            process.kill()
        for process in self._started:
            process.join()


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    """A cluster of two workers."""
    folder = tmp_path / "dask"
    folder.mkdir()
    one = Dask(folder)
    try:
        one.wait_for_workers(2)
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def climb(built: Build) -> Options:
    """The server with steps."""
    return Options(str(built(CLIMB, name="climb")))


@pytest.fixture(scope="module")
def undisturbed(climb: Options, tmp_path_factory: pytest.TempPathFactory) -> object:
    """What a campaign gives without a cluster."""
    out = tmp_path_factory.mktemp("here")
    campaign(out, climb, lambda worker: Several(worker, SIZE), GENERATIONS, work=ROUNDS_WORK)
    return content(out)


def soon(what: Callable[[], object]) -> None:
    """Do it in a moment: a round runs meanwhile."""
    threading.Timer(0.1, what).start()


def run(climb: Options, pool: Cluster, out: Path, events: dict[int, Callable[[], object]]) -> object:
    """A campaign on the cluster, in the generations of which things happen; its content."""

    def before(number: int) -> None:
        events.get(number, lambda: None)()

    campaign(out, climb, lambda _worker: pool, GENERATIONS, before=before, work=ROUNDS_WORK)
    return content(out)


def test_workers_are_killed(climb: Options, undisturbed: object, dask: Dask, tmp_path: Path) -> None:
    """First one, then the other one: rounds are run here when nobody is left."""
    pool = Cluster(dask.address, PATIENCE, SIZE)

    def the_other_one() -> None:
        dask.workers[0].join(WAIT)
        assert dask.workers[0].exitcode == -signal.SIGKILL
        assert pool._client is not None
        soon(dask.workers[1].kill)

    events = {1: lambda: soon(dask.workers[0].kill), 3: the_other_one}
    assert run(climb, pool, tmp_path / "out", events) == undisturbed
    assert pool._alone_at
    dask.workers[1].join(WAIT)
    assert dask.workers[1].exitcode == -signal.SIGKILL


def test_who_has_a_result_is_killed(
    climb: Options, undisturbed: object, dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round is over, and all workers are gone before its result is fetched: it is run here."""
    import distributed

    pool = Cluster(dask.address, PATIENCE, SIZE)
    fetch = distributed.Future.result

    def fetch_too_late(future: distributed.Future, **options: float) -> object:
        if dask.workers[0].is_alive():
            for worker in dask.workers:
                worker.kill()
                worker.join()
            end = time.monotonic() + WAIT
            while pool._client.nthreads() and time.monotonic() < end:
                time.sleep(0.01)
        return fetch(future, **options)

    monkeypatch.setattr(distributed.Future, "result", fetch_too_late)
    assert run(climb, pool, tmp_path / "out", {}) == undisturbed
    assert pool._alone_at


def test_the_scheduler_is_killed_and_another_one_comes(
    climb: Options, undisturbed: object, dask: Dask, tmp_path: Path
) -> None:
    pool = Cluster(dask.address, WAIT, SIZE)

    def replace() -> None:
        dask.scheduler.kill()
        dask.scheduler.join()
        dask.start_scheduler()
        dask.start_worker()

    def connected() -> None:
        assert pool._client is not None

    events = {1: lambda: soon(replace), GENERATIONS - 1: connected}
    assert run(climb, pool, tmp_path / "out", events) == undisturbed


def test_the_scheduler_is_killed_and_no_other_one_comes(
    climb: Options, undisturbed: object, dask: Dask, tmp_path: Path
) -> None:
    """Rounds are run here then, at once from the next generation on."""
    pool = Cluster(dask.address, PATIENCE, SIZE)
    alone = []
    events = {
        1: lambda: soon(dask.scheduler.kill),
        3: lambda: alone.append(pool._client is None and time.monotonic() >= pool._alone_at),
    }
    assert run(climb, pool, tmp_path / "out", events) == undisturbed
    assert alone == [True]


def test_size(climb: Options, dask: Dask) -> None:
    """One round a thread, or what is said; and it is what the command line opens."""
    pool = open_pool(1, dask.address, Worker(climb))
    assert isinstance(pool, Cluster)
    assert pool.size == 2
    pool.close()
    pool = Cluster(dask.address, size=5)
    assert pool.size == 5
    rounds = pool.run([Job(climb, (), "1/0/0", 100_000)])
    assert rounds == [Worker(climb).run(Job(climb, (), "1/0/0", 100_000))]
    with pytest.raises(PltvmError, match=r"nowhere\.elf"):
        pool.run([Job(Options("/nowhere.elf"), (), "1/0/0", 1)])
    pool.close()


def test_no_scheduler() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(PltvmError, match="--scheduler tcp://127"):
            Cluster(f"tcp://127.0.0.1:{taken.getsockname()[1]}", patience=1)


def test_nonsense_as_address() -> None:
    with pytest.raises(PltvmError, match="--scheduler nonsense://x"):
        Cluster("nonsense://x", patience=1)


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PltvmError, match=r"pip install 'pltvm\[cluster\]'"):
        Cluster("tcp://127.0.0.1:1")
