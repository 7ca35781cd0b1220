"""Commands of `pltvm` in processes that are forked from one, which has imported what commands import.

To start Python and to import Unicorn and typer takes a command longer than most of them take to run. What a
command does to its process (streams, the wall, signals) it does to one of its own here, too.
"""

import atexit
import fcntl
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, NoReturn

_LONGEST: Final = 1 << 20  # bytes of a command line with its environment
# What Python, or the package, reads when it starts: with another value a command needs a start of its own.
_AT_START: Final = ("PYTHON", "PLTVM_NATIVE", "LC_", "LANG")
_NO_MATTER: Final = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX")
_COMMANDS: Final = (
    "run", "call", "build", "fuzz", "corpus", "new", "replay", "profile", "view", "attest", "debug",
)  # fmt: skip
# What commands import when they need it, and what takes long.
_NEEDED: Final = (
    "build.enclave", "build.strip", "coverage.recorder", "debug.profile.collector", "debug.recording",
    "debug.trace.collect", "explore.campaign", "explore.look", "fuzz.campaign", "fuzz.worker",
    "host.elf_info", "host.linux.runner", "host.symbols", "host.together", "machine",
)  # fmt: skip


def fits(environment: dict[str, str]) -> bool:
    """Whether a command in this environment can be forked from a process that has started in ours."""

    def at_start(variables: Any) -> dict[str, str]:
        return {
            name: value
            for name, value in variables.items()
            if name.startswith(_AT_START) and name not in _NO_MATTER
        }

    return at_start(environment) == at_start(_OURS)


_OURS: Final = dict(os.environ)


@functools.cache
def forker() -> "Forker":
    """The one of this process."""
    return Forker()


class Forker:
    """The process that forks, for one command at a time."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.cli.forked", str(other.fileno())]
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        environment = {**_OURS, "PYTHONPATH": path}
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], env=environment, cwd=root)
        other.close()
        self._last: Forked | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def start(
        self,
        words: list[str],
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
        together: bool = False,
        terminal: int | None = None,
    ) -> "Forked":
        """Start `pltvm` with these words, in its own session. It has to end before the next one.

        `together`: errors go to standard output, too. All streams may be those of a terminal instead.
        """
        if self._last is not None:  # what it leaves in the socket is not for the next one
            self._last.kill()
            self._last.wait()
        asked = {
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "environment": environment or dict(os.environ),
        }
        pipes = [os.pipe() for _ in range(3)]
        inside = [pipes[0][0], pipes[1][1], pipes[2][1]]
        streams = [*inside[:2], inside[1 if together else 2]] if terminal is None else [terminal] * 3
        try:
            socket.send_fds(self._socket, [json.dumps(asked, default=os.fsdecode).encode()], streams)
        finally:
            for one in inside:
                os.close(one)
        files = (open(pipes[0][1], "wb", buffering=0), open(pipes[1][0], "rb"), open(pipes[2][0], "rb"))  # noqa: SIM115
        self._last = Forked(int(self._socket.recv(100)), *files, self._socket)
        return self._last

    def run(
        self,
        words: list[str],
        cwd: Path | None,
        stdin: bytes,
        environment: dict[str, str],
        timeout: float,
        together: bool,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `pltvm` with these words to its end, as subprocess.run does with captured output."""
        process = self.start(words, cwd, environment, together)
        said: dict[object, bytes] = {}

        def read(file: IO[bytes]) -> None:
            with file:
                said[file] = file.read()

        readers = [threading.Thread(target=read, args=(file,)) for file in (process.stdout, process.stderr)]
        limit = threading.Timer(timeout, process.kill)
        for one in (*readers, limit):
            one.start()
        with suppress(BrokenPipeError), process.stdin as file:
            file.write(stdin)
        status = process.wait()
        alive = limit.is_alive()
        limit.cancel()
        for one in readers:
            one.join()
        if not alive:
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, status, said[process.stdout], said[process.stderr])


@dataclass(slots=True)
class Forked:
    """A command that runs, with its streams; what a test needs of subprocess.Popen."""

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    _socket: socket.socket
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """The exit status; negative for a signal."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._socket.recv(100)))
        return self.returncode


def _serve(connection: socket.socket) -> None:
    """Fork a process for each command that is asked for, and say how it ended."""
    for name in (*(f"cli.{one}" for one in _COMMANDS), *_NEEDED):
        import_module(f"pltvm.{name}")
    gc.collect()
    gc.freeze()  # a collection would copy, for each of them, the pages of all that is imported
    while True:
        asked, streams, _, _ = socket.recv_fds(connection, _LONGEST, 3)
        if not asked:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(streams, **json.loads(asked))
            return
        for one in streams:
            os.close(one)
        connection.send(str(pid).encode())
        connection.send(str(os.waitpid(pid, 0)[1]).encode())


def _become(streams: list[int], words: list[str], cwd: str, environment: dict[str, str]) -> None:
    """Run the command in this process."""
    from pltvm.cli import main

    os.setsid()
    if os.isatty(streams[0]):
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        old = getattr(sys, name)  # as Python makes them
        new = open(number, mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
    # As `python -m pltvm.cli` has them: for help, and for processes that the command starts.
    this = sys.modules["__main__"]
    spec = find_spec("pltvm.cli.__main__")
    assert spec is not None
    this.__spec__, this.__package__ = spec, spec.parent
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [str(spec.origin), *words]
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _end(status)


def _end(status: int) -> NoReturn:
    """As Python ends, but what was imported is not taken apart."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
