"""The network outside (--net), as far as loopback goes, and standard input that is waited for."""

import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from pltvm import Machine
from pltvm.errors import SnapshotError
from pltvm.host import snapshot
from pltvm.host.linux.runner import LinuxResult
from tests.host.linux.conftest import Run
from tests.limits import long_enough

HOST: Final = "127.0.0.1"
SIZE: Final = 3_000_000
SOON: Final = 20  # seconds


def serving(run_linux: Run, what: str, count: int, client: Callable[[int], object]) -> LinuxResult:
    """Run a server, and `client` with its port beside it, once it has told that."""
    found: list[Any] = []
    with ThreadPoolExecutor(1) as beside:

        def on_output(text: bytes) -> None:
            if text.startswith(b"port "):
                found.append(beside.submit(client, int(text.split()[1])))

        result = run_linux("net", what, str(count), net=True, on_output=on_output)
    assert (result.exit_code, result.end) == (0, ""), result.output
    found[0].result()
    return result


def echo(port: int, number: int = 0) -> None:
    """A client that says something a few times, and hears it."""
    with socket.create_connection((HOST, port), timeout=SOON) as client:
        for step in range(3):
            said = b"client %d, step %d" % (number, step)
            client.sendall(said)
            assert client.recv(100) == said


def test_a_server_that_http_reaches(run_linux: Run) -> None:
    def client(port: int) -> None:
        for _ in range(3):
            connection = http.client.HTTPConnection(HOST, port, timeout=SOON)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello\n")
            connection.close()

    serving(run_linux, "http", 3, client)


@pytest.mark.parametrize("what", ["poll", "epoll", "edges"])
def test_ten_clients_at_once(run_linux: Run, what: str) -> None:
    def clients(port: int) -> None:
        with ThreadPoolExecutor(10) as all_of_them:
            for done in [all_of_them.submit(echo, port, number) for number in range(10)]:
                done.result()

    assert serving(run_linux, what, 10, clients).output.endswith(b"all served\n")


def test_datagrams(run_linux: Run) -> None:
    def client(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(SOON)
            for said in (b"first", b"", b"x" * 1000):
                one.sendto(said, (HOST, port))
                assert one.recv(100) == said[:64]

    serving(run_linux, "udp", 3, client)


def test_a_thread_that_computes_does_not_hold_up_one_that_waits(run_linux: Run) -> None:
    def client(port: int) -> None:
        time.sleep(0.3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", (HOST, port))

    assert serving(run_linux, "busy", 0, client).output.endswith(b"received\n")


class _Big(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"x" * SIZE)

    def log_message(self, *_: object) -> None:
        pass


def test_a_client(run_linux: Run) -> None:
    with http.server.ThreadingHTTPServer((HOST, 0), _Big) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run_linux("net", "fetch", str(server.server_port), net=True)
        server.shutdown()
    assert (result.exit_code, result.output) == (0, b"%d bytes\n" % SIZE)


@pytest.fixture
def echo_port() -> Iterator[int]:
    """Of a server that gives back what it gets, for two connections."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            for _ in range(2):
                one, _ = server.accept()
                with one:
                    while text := one.recv(100):
                        time.sleep(0.1)  # the client waits
                        one.sendall(text)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_calls(run_linux: Run, echo_port: int) -> None:
    result = run_linux("net", "calls", str(echo_port), net=True)
    assert result.output == b"all as it should\n"
    assert result.exit_code == 128 + signal.SIGPIPE


def test_without_it_nothing_is_outside(run_linux: Run) -> None:
    result = run_linux("net", "out")
    assert (result.exit_code, result.output) == (0, b"")
    (line,) = result.not_offered()
    assert "--net" in line


def test_a_real_socket_is_in_no_snapshot(run_linux: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    machines, said = list[Machine](), list[str]()
    made = Machine.__init__

    def note(self: Machine, *args: Any, **how: Any) -> None:
        machines.append(self)
        made(self, *args, **how)

    monkeypatch.setattr(Machine, "__init__", note)

    def client(port: int) -> None:
        echo(port)

    def on_output(text: bytes) -> None:
        if text.startswith(b"port "):
            with pytest.raises(SnapshotError, match=r"--net.*cannot be saved") as refused:
                snapshot.save(machines[0].driver)
            said.append(str(refused.value))
            threading.Thread(target=client, args=(int(text.split()[1]),)).start()

    assert run_linux("net", "poll", "1", net=True, on_output=on_output).exit_code == 0
    assert said


# -- waiting -------------------------------------------------------------------------------------------------


def start(program: Path, option: str, *arguments: str) -> subprocess.Popen[bytes]:
    """`pltvm run`, in a process of its own."""
    command = [sys.executable, "-m", "pltvm.cli", "run", option, str(program), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=program.parent
    )


WAITS: Final = ["accept", "receive", "wait", "look"]


@pytest.mark.parametrize("where", WAITS)
def test_a_time_limit_ends_a_wait(run_linux: Run, where: str) -> None:
    def attempt(limit: float) -> tuple[LinuxResult, float]:
        before = time.monotonic()
        return run_linux("net", where, net=True, timeout=limit), time.monotonic() - before

    (result, took), limit = long_enough(attempt, lambda ended: bool(ended[0].output))
    assert (result.timed_out, result.output[:5]) == (True, b"port ")
    assert took < limit + SOON


@pytest.mark.parametrize("where", WAITS)
def test_ctrl_c_ends_a_wait(build_linux: Callable[[str], Path], where: str) -> None:
    with start(build_linux("net"), "--net", where) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"port ")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
    assert b"stopped by Ctrl-C" in errors


def test_a_server_behind_the_wall(build_linux: Callable[[str], Path]) -> None:
    """As it is started from a shell: confined, and reached from another process."""
    with start(build_linux("net"), "--net", "poll", "1") as process:
        assert process.stdout is not None
        echo(int(process.stdout.readline().split()[1]))
        _, errors = process.communicate(timeout=SOON)
    assert (process.returncode, errors) == (0, b"")


def test_input_is_waited_for_while_others_run(build_linux: Callable[[str], Path]) -> None:
    with start(build_linux("net"), "--real-time", "input") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"nothing yet\n"
        time.sleep(0.3)
        process.stdin.write(b"line\n")
        process.stdin.flush()
        time.sleep(0.1)
        output, errors = process.communicate(timeout=SOON)
    assert (process.returncode, output, errors) == (0, b"the end\n", b"")


def test_input_of_a_file_is_there_at_once(build_linux: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    command = [sys.executable, "-m", "pltvm.cli", "run", "--real-time", str(build_linux("net")), "input"]
    with (tmp_path / "empty").open("rb") as file:
        result = subprocess.run(command, stdin=file, capture_output=True, timeout=SOON, cwd=tmp_path)
    assert b"poll(&wait, 1, 50) == 0" in result.stdout  # which would wait for nothing
    assert os.path.getsize(tmp_path / "empty") == 0
