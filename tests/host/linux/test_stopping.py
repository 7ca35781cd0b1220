"""Stopping: from every state there is a run ends soon, by its time limit and by Ctrl-C, and says so.

Each run is a process of its own, `pltvm run …`, so that one that does not end is seen to. It prints "ready"
when it is where it will stay.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.host.api import EXITED, INTERRUPTED
from pltvm.monitor.abi import EnclaveType
from tests.cli.command import COMMAND, pltvm
from tests.cli.forked import forker
from tests.limits import long_enough

SOON: Final = 6  # seconds that a machine with other work to do may take for what takes a tenth of one
STUCK: Final = 30

ENCLAVES: Final = "sypwnrkcd"  # letters of tests/guest/endless.c
HOSTS: Final = {
    "spin": (), "sleep": ("--real-time",), "stdin": (), "futex": ("--real-time",),
    "threads": ("--real-time",), "requeue": (), "clone": (), "signals": (),
    "fork": (), "vfork": (), "timer": (), "busy": (),
    **dict.fromkeys(("lock", "full", "pipe", "poll", "epoll", "sigwait", "wait"), ("--real-time",)),
}  # fmt: skip  # of tests/guest/endless_host.c
SUPERVISORS: Final = "sct"  # letters of _SUPERVISOR: it spins, makes monitor calls, takes traps
_SUPERVISOR: Final = """
#include "supervisor.h"
static volatile char mode[8] = "MODE=?";
int EAPP_ENTRY main()
{
    uint64_t value;
    for (const char *c = "ready\\n"; *c; c++) sv_put(*c);
    while (mode[5] == 'c') sv_call(12345, 0, 0, 0, 0, 0);
    while (mode[5] == 't') sv_load(0, &value);
    for (;;) ;
}
"""
STATES: Final = [
    *(f"enclave {mode}" for mode in ENCLAVES),
    *(f"host {where}" for where in HOSTS),
    *(f"host enclave {mode}" for mode in "sypnr"),
    "host both s", "host both y", "host relay e", "host attest s",
    *(f"supervisor {name}" for name in SUPERVISORS),
]  # fmt: skip


@pytest.fixture(scope="session")
def supervisor_elf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An S-mode program that says it is ready and then never ends."""
    folder, attacks = tmp_path_factory.mktemp("supervisor"), guest.guest_dir() / "attacks"
    (folder / "program.c").write_text(_SUPERVISOR)
    (folder / "supervisor.h").write_text((attacks / "supervisor.h").read_text())
    return build_enclave(
        [folder / "program.c", attacks / "supervisor.S"], folder / "program.elf"
    ).read_bytes()


@pytest.fixture
def endless(build_guest: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """The ELF of an enclave that never ends in the way of this letter."""
    return lambda mode: build_guest("endless").replace(b"MODE=?", b"MODE=" + mode.encode())


@pytest.fixture
def arguments(
    endless: Callable[[str], bytes],
    build_linux: Callable[[str], Path],
    supervisor_elf: bytes,
    tmp_path: Path,
) -> Callable[[str], list[str]]:
    """The arguments of `pltvm` with which a run gets into a state, in the folder of the test."""

    def make(state: str) -> list[str]:
        kind, where, *mode = state.split()
        for letter in (*mode, *((where, "s") if kind == "enclave" else ())):
            (tmp_path / f"{letter}.elf").write_bytes(endless(letter))
        if kind == "enclave":
            servers = ["--server", "endless=s.elf"] if where in "cd" else []
            return ["run", f"{where}.elf", "--stack-size", "32M" if where == "k" else "64K", *servers]
        if kind == "supervisor":
            (tmp_path / "kernel.elf").write_bytes(
                supervisor_elf.replace(b"MODE=?", b"MODE=" + where.encode())
            )
            return ["run", "kernel.elf", "--supervisor"]
        (tmp_path / "host").write_bytes(build_linux("endless_host").read_bytes())
        return ["run", *HOSTS.get(where, ()), "host", where, *(f"{letter}.elf" for letter in mode)]

    return make


class Running:
    """A `pltvm` that runs, forked as its start is not what is stopped; its input is open and silent."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.process = forker().start(arguments, folder)
        self._guard = threading.Timer(STUCK, self.process.kill)
        self._guard.start()

    def wait_until_ready(self) -> None:
        """Until the guest has printed that it is."""
        if self.process.stdout.readline() != b"ready\n":
            pytest.fail(str(self.end()))

    def to_its_end(self) -> tuple[bool, int, str]:
        """Whether the guest has come to where it stays, and what `end` gives."""
        return (self.process.stdout.readline() == b"ready\n", *self.end())

    def end(self) -> tuple[int, str]:
        """Its exit status, and what it said on standard error."""
        with self.process.stdin, self.process.stdout as output, self.process.stderr as errors:
            while output.read(1 << 20):
                pass
            said, status = errors.read().decode(), self.process.wait()
        self._guard.cancel()
        return status, said


def assert_says_where(state: str, lines: list[str]) -> None:
    """Of an enclave or a kernel program that was stopped: at what, called from where."""
    if state.startswith("host"):
        assert lines == []
    elif state.startswith("enclave"):
        assert lines[0].startswith("  in "), lines
    assert all(line.startswith("  ") for line in lines), lines


@pytest.mark.parametrize("state", STATES)
def test_the_time_limit_stops_it(state: str, arguments: Callable[[str], list[str]], tmp_path: Path) -> None:
    words = arguments(state)[1:]

    def attempt(limit: float) -> tuple[bool, int, str, float]:
        start = time.monotonic()
        ended = Running(["run", "--timeout", str(limit), *words], tmp_path).to_its_end()
        return *ended, time.monotonic() - start

    (ready, status, said, took), limit = long_enough(attempt, lambda ended: ended[0])
    assert ready, said
    assert took < limit + SOON
    first, *where = said.splitlines()
    assert first.endswith(f": still running after {limit} s (--timeout), stopped"), said
    assert status == 1
    assert_says_where(state, where)


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_stops_it(state: str, arguments: Callable[[str], list[str]], tmp_path: Path) -> None:
    running = Running(arguments(state), tmp_path)
    running.wait_until_ready()
    time.sleep(0.1)
    start = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    status, said = running.end()
    assert time.monotonic() - start < SOON
    first, *where = said.splitlines()
    assert first.endswith(": stopped by Ctrl-C"), said
    assert status == 1
    assert_says_where(state, where)


# -- what is left after it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ENCLAVES)
def test_a_stopped_enclave_goes_on_and_stops_again(endless: Callable[[str], bytes], mode: str) -> None:
    machine = Machine(512 << 20)
    free = machine.kernel.blocks.free_pages
    server = machine.create(endless("s"), name="endless", type=EnclaveType.SERVER)
    enclave = machine.create(endless(mode), stack_size=32 << 20 if mode == "k" else 65536)
    assert enclave.run(timeout=0.1).status == INTERRUPTED
    for _ in range(2):
        assert enclave.resume(timeout=0.1).status == INTERRUPTED
    enclave.destroy()
    if server.alive:
        server.destroy()
    lent = sum(pages for _, pages in machine.monitor.state.records.lent())
    assert machine.kernel.blocks.free_pages == free - lent


def test_a_key_that_was_being_derived_is_derived_in_the_end(endless: Callable[[str], bytes]) -> None:
    machine = Machine(128 << 20)
    enclave = machine.create(endless("K"), stack_size=16 << 20)
    assert enclave.run(timeout=0.005).status == INTERRUPTED
    result = enclave.resume(timeout=60)
    assert (result.status, result.retval) == (EXITED, 7)


def test_a_machine_runs_another_program_after_one_was_stopped(
    build_linux: Callable[[str], Path], endless: Callable[[str], bytes], tmp_path: Path
) -> None:
    machine = Machine(256 << 20)
    (tmp_path / "s.elf").write_bytes(endless("s"))
    for arguments in (("both", "s.elf"), ("spin",), ("enclave", "s.elf")):
        stopped = machine.run_program(build_linux("endless_host"), *arguments, root=tmp_path, timeout=0.2)
        assert (stopped.timed_out, stopped.exit_code, stopped.end, stopped.bugs) == (True, 1, "", 0)
        assert not machine.monitor.state.enclaves
    done = machine.run_program(build_linux("linux"), "threads", root=tmp_path, timeout=60)
    assert (done.exit_code, done.timed_out) == (0, False)


def test_a_second_ctrl_c_ends_what_waits_in_the_callers_own_code(
    build_linux: Callable[[str], Path], tmp_path: Path
) -> None:
    program = (
        "import sys, time; from pltvm import Machine\n"
        "def source(size): print('waiting', flush=True); time.sleep(100)\n"
        "Machine().run_program(sys.argv[1], 'stdin', source=source)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, build_linux("endless_host")], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    guard = threading.Timer(STUCK, process.kill)
    guard.start()
    sent = 0
    while process.poll() is None:  # two that come at the same time are one
        process.send_signal(signal.SIGINT)
        sent += 1
        time.sleep(0.3)
    assert 2 <= sent <= 10
    _, said = process.communicate()
    guard.cancel()
    assert said.decode().rstrip().endswith("KeyboardInterrupt")


def test_a_run_inside_a_callback_of_another_machines_run_is_stopped_too(
    endless: Callable[[str], bytes],
) -> None:
    program = (
        "import sys; from pltvm import Machine\n"
        "elf = sys.stdin.buffer.read()\n"
        "def inner(text): print('ready', flush=True); Machine().create(elf).run()\n"
        "Machine().create(elf).run(on_output=inner)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    guard = threading.Timer(STUCK, process.kill)
    guard.start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(endless("s"))
    process.stdin.close()
    process.stdin = None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    guard.cancel()
    assert said.decode().rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_is_left_alone_where_it_is_ignored(endless: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "s.elf").write_bytes(endless("s"))
    process = subprocess.Popen(
        [*COMMAND, "run", "s.elf", "--timeout", "2"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert b"still running after 2 s" in process.communicate()[1]


def test_relay_pages_returned_is_no_time_limit(endless: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "e.elf").write_bytes(endless("e"))
    for limit in ((), ("--timeout", "50")):
        done = pltvm("run", "e.elf", "--relay", "text", *limit, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (
            1, "pltvm: e.elf: has returned its relay pages and waits for new ones: stopped\n",
        )  # fmt: skip


def test_what_was_sent_is_recorded_of_a_run_that_was_stopped(
    endless: Callable[[str], bytes], tmp_path: Path
) -> None:
    for letter in "cs":
        (tmp_path / f"{letter}.elf").write_bytes(endless(letter))
    command = ["run", "c.elf", "--server", "endless=s.elf", "--record", "inputs"]
    running = Running(command, tmp_path)
    running.wait_until_ready()
    time.sleep(0.2)
    running.process.send_signal(signal.SIGINT)
    status, said = running.end()
    assert status == 1
    assert "pltvm: c.elf: stopped by Ctrl-C" in said.splitlines()
    assert list((tmp_path / "inputs" / "endless").iterdir())
