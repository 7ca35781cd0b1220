"""Rounds in processes: the same as here, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz import pool, stopping
from pltvm.fuzz.options import Options
from pltvm.fuzz.pool import Here, Processes, open_pool
from pltvm.fuzz.worker import Job, Worker, run_job
from tests.fuzz.campaigns import CLIMB, WORK, Several, campaign, content
from tests.fuzz.conftest import Build

GENERATIONS = 3


@pytest.fixture
def climb(built: Build) -> Options:
    """The server with steps."""
    return Options(str(built(CLIMB, name="climb")))


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Two processes."""
    both = Processes(2)
    yield both
    both.close()


def children(parent: int) -> list[int]:
    """The processes that have this parent."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry))
    return found


def wait_until(what: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_processes_and_a_kill(climb: Options, tmp_path: Path) -> None:
    """The rounds are those of this process, also when one of two is killed in the middle of some."""
    work = 12 * WORK  # about a quarter of a second
    campaign(tmp_path / "here", climb, lambda worker: Several(worker, 2), GENERATIONS, work=work)
    both = Processes(2)
    killed = []

    def kill(number: int) -> None:
        if number == 1:
            victim = next(iter(both._pool._processes))
            threading.Timer(0.05, lambda: killed.append(os.kill(victim, signal.SIGKILL))).start()

    campaign(tmp_path / "killed", climb, lambda _worker: both, GENERATIONS, before=kill, work=work)
    wait_until(lambda: killed)
    assert content(tmp_path / "killed") == content(tmp_path / "here")


def test_processes_that_die_always(monkeypatch: pytest.MonkeyPatch, processes: Processes) -> None:
    """One line after some tries, instead of tries for ever."""
    monkeypatch.setattr(pool, "run_job", os._exit)  # sent by its name, so this is what is called there
    with pytest.raises(PltvmError, match="worker processes died 5 times in a row"):
        processes.run([1, 2])  # type: ignore[list-item]


def test_an_error_of_a_round_comes_back(processes: Processes) -> None:
    with pytest.raises(PltvmError, match=r"nowhere\.elf"):
        processes.run([Job(Options("/nowhere.elf"), (), "0/0/0", 1)])


@pytest.mark.parametrize("size", [0, 257])
def test_how_many(size: int) -> None:
    with pytest.raises(PltvmError, match=f"-j {size}: it must be 1 to 256"):
        Processes(size)


def test_open_pool(climb: Options) -> None:
    assert isinstance(open_pool(1, "", Worker(climb)), Here)


def test_threads_have_targets_of_their_own(climb: Options) -> None:
    """As on a cluster, where a process can run several rounds at a time."""
    jobs = [Job(climb, (), f"1/{number}/0", 2_000_000) for number in range(4)]
    expected = [Worker(climb).run(job) for job in jobs]
    results: list[object] = [None] * 4

    def run(index: int) -> None:
        results[index] = run_job(jobs[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


PARENT = """
import sys
from pltvm.fuzz.options import Options
from pltvm.fuzz.pool import Processes
from pltvm.fuzz.worker import Job

if __name__ == "__main__":
    both = Processes(2)
    both.run([Job(Options(sys.argv[1]), (), f"1/{number}/0", 100_000) for number in (0, 1)])
    print("ready", flush=True)
    both.run([Job(Options(sys.argv[1]), (), f"1/{number}/0", 1 << 60) for number in (0, 1)])
"""


def test_processes_end_with_their_parent(climb: Options, tmp_path: Path) -> None:
    """Also when it is killed and cannot tell them, and while they run a round."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), climb.elf], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        workers = children(parent.pid)
        assert len(workers) >= 2
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)


# -- Ctrl-C ------------------------------------------------------------------------------------------------


def test_a_request_ends_a_round_between_executions(climb: Options) -> None:
    """The worker is as good as before."""
    worker = Worker(climb)
    job = Job(climb, (), "1/0/0", 2_000_000)
    first = worker.run(job)
    with stopping.noted():
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.requested
        with pytest.raises(KeyboardInterrupt):
            worker.run(job)
        worker.accept(bytes(8))  # what is not a round goes on
    assert not stopping.requested
    assert worker.run(job) == first


def test_a_request_ends_waiting(climb: Options) -> None:
    with stopping.noted():
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), stopping.waiting():
            time.sleep(60)
        assert time.monotonic() - began < 30
        with pytest.raises(KeyboardInterrupt):
            stopping.check()
    stopping.check()


def test_who_insists() -> None:
    """The second one is an exception wherever it comes; outside Python's own handler stands."""
    with stopping.noted():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_requests_in_another_thread() -> None:
    thread = threading.Thread(target=lambda: stopping.noted().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
