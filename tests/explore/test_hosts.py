"""A host program of several threads, explored; and what goes wrong with programs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import Machine
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
