"""Set-ups that would find nothing, or what is none: the fuzzer says so, and stops or goes on as it should."""

import re
from pathlib import Path

import pytest

from pltvm.fuzz.options import Options
from pltvm.fuzz.results import FAULT, POINTER
from pltvm.fuzz.worker import Job, Worker
from tests.cli.command import ELVES, HOST, KERNEL, pltvm
from tests.fuzz.conftest import Build
from tests.fuzz_targets.test_targets import call
from tests.host.elf_samples import Elf, Segment


def test_what_the_target_calls_says_what_it_is(tmp_path: Path) -> None:
    """An enclave that is no server is fuzzed as one that a host runs, and gives no finding that is none."""
    done = pltvm("fuzz", ELVES["hello-world"], "--execs", "500", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0 findings, 1 inputs in out/default\n")
    done = pltvm("fuzz", ELVES["server"], "--execs", "500", "-o", "server", cwd=tmp_path)
    assert done.returncode == 0
    assert "last new never, findings: none\n0:" in done.stderr
    for elf, kind in ((HOST, "a host program"), (KERNEL, "a kernel program")):
        for more in ([], ["--as", "server"]):
            done = pltvm("fuzz", elf, *more)
            assert done.returncode == 2
            assert f": is {kind}, not an enclave: it" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_what_shows_neither_needs_a_word(tmp_path: Path) -> None:
    silent = tmp_path / "silent.elf"
    silent.write_bytes(bytes(Elf([Segment(0x1000, bytes.fromhex("6f000000"))], None, entry=0x1000)))
    done = pltvm("fuzz", str(silent))
    assert done.returncode == 2
    assert "add --as server or --as enclave" in done.stderr


def test_a_word_against_what_the_target_calls(tmp_path: Path) -> None:
    done = pltvm("fuzz", ELVES["hello-world"], "--as", "server", "--execs", "10", "-o", "a", cwd=tmp_path)
    assert "--as server: it ends as an enclave does (call 99), and never returns as a server" in done.stderr
    done = pltvm("fuzz", ELVES["server"], "--as", "enclave", "--execs", "10", "-o", "b", cwd=tmp_path)
    assert "--as enclave: it returns as a server does (call 95)" in done.stderr


def test_a_campaign_without_the_servers_that_it_needs(tmp_path: Path) -> None:
    arguments = ["--server", f"Test-Server={ELVES['server']}", "--execs", "300", "-o", "out"]
    done = pltvm("fuzz", ELVES["caller"], *arguments, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if "acquire" in line]
    assert len(said) == 2  # each name once
    assert "acquire of 'test-server' failed: no server has that name; there is 'Test-Server'" in said[1]
    assert "(--server test-server1=FILE.elf)" in said[0]


def test_a_campaign_that_reaches_nothing_new(tmp_path: Path) -> None:
    done = pltvm("fuzz", ELVES["hello-world"], "--execs", "10000", "-o", "out", cwd=tmp_path)
    assert done.stderr.count("no input has reached anything new so far: does the target read it?") == 1
    done = pltvm("fuzz", ELVES["server"], "--execs", "10000", "-o", "server", cwd=tmp_path)
    assert "no input has reached anything new" not in done.stderr


@pytest.mark.parametrize(("wanted", "processes"), [(1, 1), (777, 1), (1001, 2), (5_000, 1), (1, 2)])
def test_so_many_executions_and_no_more(wanted: int, processes: int, tmp_path: Path) -> None:
    for elf, more in ((ELVES["kv-server"], []), (ELVES["server"], ["--calls", "3", "--clients", "2"])):
        out = tmp_path / f"out{len(more)}"
        limits = ["--execs", str(wanted if not more else min(wanted, 501)), "-j", str(processes)]
        done = pltvm("fuzz", elf, *more, *limits, "-o", str(out))
        assert done.returncode == 0
        (stats,) = (out / "default").glob("fuzzer_stats")
        counted = re.search(r"^execs_done +: (\d+)$", stats.read_text(), re.MULTILINE)
        assert counted is not None
        assert counted[1] == limits[1]


ONE_BUG = """
#include <string.h>
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    if (args[11])
        ret.resp_val = *(volatile unsigned long *)(*(volatile unsigned long *)args[11] | 1UL << 40);
    SERVER_RETURN(&ret);
}
"""


def test_one_bug_is_one_finding(built: Build) -> None:
    """Whether its address is a number of the input (pointer), or one made of it that is not near (fault)."""
    elf = built(ONE_BUG, name="one-bug")
    worker = Worker(Options(str(elf)))
    plain = worker.explain(call(0, bytes(8)))
    pointer = worker.explain(call(0, (1 << 40 | 0x1234567).to_bytes(8, "little")))
    assert plain is not None
    assert pointer is not None
    assert (plain.kind, pointer.kind) == (FAULT, POINTER)
    assert plain.signature == pointer.signature
    result = worker.run(Job(worker.options, (), "seed", 10_000_000))
    assert len(result.findings) == 1
