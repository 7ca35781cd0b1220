"""A host program of several threads, explored; and what goes wrong with programs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build.enclave import build_enclave
from pltvm.build.host import build_host
from pltvm.explore.campaign import Campaign, Limits, Options
from pltvm.explore.hosts import HostProgram
from pltvm.host.schedule import Steps
from tests.cli.command import pltvm

SOURCE = Path(__file__).parents[1] / "guest" / "turns_host.c"
ENDS = """
#include <pthread.h>
#include <stdlib.h>
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static volatile long flag;
static void *other(void *how)
{
    if (*(char *)how == 'c' && !flag) abort();
    if (*(char *)how == 'h') while (!flag);
    pthread_mutex_lock(&two);
    pthread_mutex_lock(&one);
    return NULL;
}
int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_create(&thread, NULL, other, argv[1]);
    pthread_mutex_lock(&one);
    if (*argv[1] != 'h') flag = 1;
    if (*argv[1] == 'd') pthread_mutex_lock(&two);
    pthread_mutex_unlock(&one);
    if (*argv[1] == 'd') pthread_mutex_unlock(&two);
    pthread_join(thread, NULL);
    return 0;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build_guest: Callable[[str], bytes]) -> Path:
    folder = tmp_path_factory.mktemp("hosts")
    build_host([SOURCE], folder / "turns-host", "musl")
    (folder / "ends.c").write_text(ENDS)
    build_host([folder / "ends.c"], folder / "ends", "musl")
    (folder / "enclave").write_bytes(build_guest("turns_enclave"))
    return folder


def test_an_update_is_lost_in_the_program(folder: Path) -> None:
    result = pltvm("explore", "--fail-on-value", "--seed", "1", "turns-host", "enclave", "check", cwd=folder)
    assert result.returncode == 3
    assert "value: the program returned 1" in result.stdout
    repeat = result.stdout.rpartition("--schedule '")[2]
    steps = repeat.partition("'")[0]
    again = pltvm("run", "--schedule", steps, "turns-host", "enclave", "check", cwd=folder)
    assert again.returncode == 1
    assert "number 900" not in again.stdout


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [("c", "fault", "SIGABRT"), ("d", "deadlock", "waits in futex"), ("h", "hang", "instructions")],
)
def test_how_programs_fail(folder: Path, how: str, kind: str, said: str) -> None:
    subject = HostProgram(Machine(64 << 20), str(folder / "ends"), [how], str(folder), most=2_000_000)
    campaign = Campaign(subject, Options(), lambda _campaign: None)
    finding = campaign.run(Limits(schedules=400))
    assert finding is not None
    assert finding.failure.kind == kind
    assert said in finding.failure.summary
    other = HostProgram(Machine(64 << 20), str(folder / "ends"), [how], str(folder), most=subject.most)
    again = other.failure(other.run(Steps(finding.steps)), on_value=False)
    assert again is not None
    assert again.signature == finding.failure.signature


SERVER = """
#include "threads.h"
static unsigned long number;
static struct mutex mutex = MUTEX_INIT;
static unsigned long __attribute__((noinline)) next(void)
{
    return number = number + 1;
}
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};
    int alone = !LOCKED || acquire_enclave("line") == (long)get_enclave_id();

    if (!alone)
        mutex_lock(&mutex);
    ret.resp_val = next() << 32 | 2 * args[10];
    if (!alone)
        mutex_unlock(&mutex);
    SERVER_RETURN(&ret);
}
"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, build_guest: Callable[[str], bytes]) -> Path:
    """A program with a caller in each thread, of a concurrent server and one that has one call at a time."""
    folder = tmp_path_factory.mktemp("crowd")
    build_host([SOURCE.with_name("crowd_host.c")], folder / "host", "musl")
    (folder / "caller").write_bytes(build_guest("crowd_caller"))
    for locked in (0, 1):
        source = folder / f"server{locked}.c"
        source.write_text(f"#define LOCKED {locked}\n{SERVER}")
        build_enclave([source], folder / f"server{locked}", flags=["-g"])
    return folder


def test_slots_that_threads_call_race(crowd: Path) -> None:
    line = ("explore", "--races", "--schedules", "40", "host", "server0", "caller", "3", "2")
    result = pltvm(*line, cwd=crowd)
    assert result.returncode == 3, result.stdout + result.stderr
    assert "race: two chains touch 8 bytes, one writes, and nothing orders them" in result.stdout
    assert "bytes in slots" in result.stdout
    assert "at next" in result.stdout
    assert pltvm(*line, cwd=crowd).stdout == result.stdout
    again = result.stdout.rpartition("repeat it: pltvm ")[2].split()
    assert pltvm(*again, cwd=crowd).stdout == result.stdout


def test_what_locks_and_one_call_at_a_time_order_is_no_race_of_threads(crowd: Path) -> None:
    result = pltvm(
        "explore", "--races", "--schedules", "40", "host", "server1", "caller", "3", "2", cwd=crowd
    )
    assert (result.returncode, result.stdout) == (0, "nothing found in 40 schedules\n")
