"""A round is a pure function of its job; what it gives, and what it makes of problems."""

import dataclasses

import pytest

from pltvm.fuzz.options import Options
from pltvm.fuzz.worker import Job, Round, Stage, Worker
from tests.fuzz.conftest import Build, Plant

WORK = 12_000_000

LADDER = """
#include <stdint.h>
#include <string.h>
#include "eapp.h"
static volatile unsigned long state;
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    unsigned char *memory = (unsigned char *)args[11];
    if (memory) {
        if (memory[0] == 'a') { ret.resp_val = 1;
        if (memory[1] > 'x') { ret.resp_val = 2;
        if (memory[2] & 4) { ret.resp_val = 3;
        if (memory[3] == memory[4] + 1) { ret.resp_val = 4; state++; }}}}
        if (memory[5] == 200) *(volatile int *)8 = 1;
        if (memory[6] == 201) __asm__ volatile("unimp");
        if (memory[7] == 202) for (;;) state++;
    }
    SERVER_RETURN(&ret);
}
"""


@pytest.fixture
def ladder(built: Build) -> Options:
    """A server with some steps to climb, two faults and a hang."""
    return Options(str(built(LADDER, name="ladder")), blocks=20_000)


def jobs(options: Options) -> list[Job]:
    """Jobs that differ in all that a job has."""
    corpus = (b"\0" * 8 + b"abc", b"\0" * 8 + b"a\xff\xff")
    return [
        Job(options, (), "0/0/7", WORK, stage=Stage.FIRST),
        Job(options, corpus, "0/1/7", WORK, stage=Stage.FIRST),
        Job(options, corpus[:1], "3/0/7", WORK),
        Job(options, corpus, "3/1/7", WORK, words=(b"abcdefgh", b"\xc8\xc9\xca")),
        Job(options, corpus, "3/1/8", WORK // 2),
    ]


def plain(result: Round) -> dict[str, object]:
    return dataclasses.asdict(result)


def test_the_same_job_gives_the_same_round(ladder: Options) -> None:
    """In a new worker, in one that has done others, whatever was done with it."""
    used = Worker(ladder)
    first = [used.run(job) for job in jobs(ladder)]
    assert len({str(result) for result in first}) == len(first)
    assert all(result.executions > 100 and result.edges for result in first)
    assert any(result.entries for result in first)
    assert any(result.findings for result in first)
    order = [3, 0, 4, 0, 2, 1, 3]
    used.accept(b"something else")
    used.explain(b"\0" * 13 + b"\xc8")
    for index in order:
        assert plain(used.run(jobs(ladder)[index])) == plain(first[index])
    for index in (0, 3):
        assert plain(Worker(ladder).run(jobs(ladder)[index])) == plain(first[index])


@pytest.mark.parametrize("name", ["notes", "thumbnail", "lottery", "notary"])
def test_also_in_other_layouts(name: str, planted: Plant) -> None:
    options = planted(name, blocks=20_000)
    job = Job(options, (), "0/0/1", 100_000, stage=Stage.FIRST)
    used = Worker(options)
    first = used.run(job)
    used.run(Job(options, tuple(entry.data for entry in first.entries), "1/1/1", 100_000))
    assert plain(used.run(job)) == plain(first)
    assert plain(Worker(options).run(job)) == plain(first)


def test_what_a_round_gives(ladder: Options) -> None:
    """Entries reach something new, and name the input that they were made from; no finding is known."""
    worker = Worker(ladder)
    corpus: tuple[bytes, ...] = (bytes(8) + b"zzz",)
    signatures: set[str] = set()
    kinds: list[str] = []
    for number in range(4):
        known = frozenset(signatures)
        result = worker.run(Job(ladder, corpus, f"{number}/0/5", 3 * WORK, known, stage=Stage.of(number)))
        for at, entry in enumerate(result.entries):
            assert -1 <= entry.parent < len(corpus) + at
            assert entry.operation in ("havoc", "compare")
        found = {finding.signature for finding in result.findings}
        assert len(found) == len(result.findings)
        assert not found & known
        kinds += [finding.kind for finding in result.findings]
        signatures |= found
        worker.use(corpus)
        new = [entry.data for entry in result.entries if worker.accept(entry.data)]
        corpus += tuple(new)
    assert sorted(kinds) == ["fault", "fault", "hang"]
    reached = [data[8:] for data in corpus if data[8:9] == b"a"]
    assert any(len(data) > 2 and data[1] > ord("x") and data[2] & 4 for data in reached), corpus


def test_parents_without_a_corpus(ladder: Options) -> None:
    """The empty input, which a round without a corpus starts from, is in no queue."""
    result = Worker(ladder).run(Job(ladder, (), "0/0/7", 3 * WORK, stage=Stage.FIRST))
    assert result.entries
    for at, entry in enumerate(result.entries):
        assert -1 <= entry.parent < at


def test_accept_and_use(ladder: Options) -> None:
    worker = Worker(ladder)
    one, two = bytes(8) + b"b", bytes(8) + b"a"
    assert worker.accept(one) == 2
    edges = worker.edges
    assert worker.accept(one) == 0
    assert worker.accept(two) == 2
    assert worker.corpus == [one, two]
    more = worker.edges
    assert more > edges
    assert worker.accept(bytes(13) + b"\xc8") == 0  # a fault
    worker.use((one,))
    assert worker.edges == edges
    assert worker.accept(two) == 2
    worker.use((two, one))
    assert worker.edges == more
    worker.use(())
    assert (worker.edges, worker.corpus) == (0, [])


def test_findings_are_short_and_explained(ladder: Options) -> None:
    worker = Worker(ladder)
    noisy = bytes(range(1, 9)) + b"noise\xc8" + bytes(range(200))
    finding = worker.explain(noisy)
    assert finding is not None
    short = worker.minimise(finding)
    assert short == bytes(13) + b"\xc8"
    again = worker.explain(short)
    assert again is not None
    assert again.signature == finding.signature
    hang = worker.explain(bytes(15) + b"\xca")
    assert hang is not None
    assert hang.kind == "hang"
    assert len(worker.minimise(hang)) == 16
