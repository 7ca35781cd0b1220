"""Host programs of many threads, each with an enclave, and servers that all of them call."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine, native
from pltvm.build.guest import LIBCS, Libc
from pltvm.build.host import build_host, toolchain
from pltvm.debug.trace.collect import tracing
from pltvm.engine.memory import PAGE
from pltvm.host.kernel import MONITOR_MEMORY
from pltvm.host.linux.runner import LinuxResult, run_program
from pltvm.monitor.audit import audit
from tests.debug.trace.replay import check

GUEST = Path(__file__).parents[2] / "guest"
POLICIES: list[dict[str, Any]] = [{}, {"quantum": 700}, {"schedule": 3, "quantum": 700}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build_guest: Callable[[str], bytes]) -> Path:
    """The programs, by the C library that they have, and the enclaves."""
    folder = tmp_path_factory.mktemp("crowd")
    for libc in LIBCS:
        if libc == "musl" or toolchain() is not None:
            build_host([GUEST / "crowd_host.c"], folder / f"crowd-{libc}", libc)
    build_host([GUEST / "quarrel_host.c"], folder / "quarrel", "musl")
    for name in ("crowd_server", "crowd_caller"):
        (folder / name).write_bytes(build_guest(name))
    return folder


def run(folder: Path, program: str, *numbers: int, native: bool | None = None, **options: Any) -> LinuxResult:
    """Run it to its end, which leaves no enclave and no page."""
    machine = Machine(256 << 20, native=native)
    free = machine.kernel.blocks.free_pages
    words = ["crowd_server", "crowd_caller", *map(str, numbers)]
    result = run_program(machine.driver, folder / program, words, root=folder, timeout=100, **options)
    assert (result.end, result.bugs, result.timed_out) == ("", 0, False)
    assert machine.kernel.blocks.free_pages == free - MONITOR_MEMORY // PAGE
    assert not machine.monitor.state.enclaves
    assert audit(machine.monitor.state) == []
    return result


@pytest.mark.parametrize("threads", [1, 8, 64])
@pytest.mark.parametrize("libc", LIBCS)
def test_a_caller_in_each_thread(folder: Path, libc: Libc, threads: int) -> None:
    """The program looks at each answer, and whether each call of a server had a number of its own."""
    if libc == "glibc" and toolchain() is None:
        pytest.skip("no riscv64-linux-gnu-gcc")
    for policy in POLICIES:
        result = run(folder, f"crowd-{libc}", threads, 3, **policy)
        assert result.output.endswith(b"\n0 failed, the numbers add up: yes\n")
        assert (result.exit_code, result.errors, result.failures) == (0, b"", {})


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_ten_runs_are_the_same(folder: Path, policy: dict[str, Any]) -> None:
    first = run(folder, "crowd-musl", 8, 4, **policy)
    for number in range(9):
        uses_core = native.core is not None and number % 2 == 0
        assert run(folder, "crowd-musl", 8, 4, native=uses_core, **policy) == first
    if policy:
        assert run(folder, "crowd-musl", 8, 4, schedule=first.schedule) == first


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_trace_tells_of_each_call(folder: Path, tmp_path: Path, policy: dict[str, Any]) -> None:
    """Also of those that have waited for a server; and the program does not notice."""
    machine, words = Machine(256 << 20), ["crowd_server", "crowd_caller", "12", "2"]
    with tracing(machine, tmp_path / "run.jsonl"):
        traced = run_program(machine.driver, folder / "crowd-musl", words, root=folder, timeout=100, **policy)
    assert traced == run(folder, "crowd-musl", 12, 2, **policy)
    told = check(machine, (tmp_path / "run.jsonl").read_text().splitlines())
    assert told.seen["call"] == told.seen["return"] == 12 * 2 * 2


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_threads_that_quarrel_about_enclaves_get_errors(folder: Path, policy: dict[str, Any]) -> None:
    """The program knows which errors each request may give: any other one is a line more, and status 1."""
    worked: Counter[str] = Counter()
    for seed in range(3):
        result = run(folder, "quarrel", 20, seed, **policy)
        assert result.exit_code == 0, result.output
        counts = re.findall(r"(\w+): (\d+),", result.output.decode())  # of those that worked
        worked.update({name: int(count) for name, count in counts})
    assert all(worked[name] for name in ("create", "run", "attest", "stop", "resume", "destroy"))
    assert run(folder, "quarrel", 20, seed, native=False, **policy) == result
