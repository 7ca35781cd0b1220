"""A terminal for tests: a program on a pseudo terminal of some size, and what its screen shows."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.cli.forked import Forked, fits, forker

_PATIENCE = 60.0  # seconds


class Terminal:
    """Runs a command; a context manager, at whose end it is gone. `raw` is all that it has written."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 60,
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=1000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.name = Path(command[0]).name
        self.raw = b""
        self.status: int | None = None
        kept = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        variables = {**kept, "TERM": "xterm-256color", **environment}
        self._fd, inside = pty.openpty()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = self._start(list(command), inside, cwd, variables)
        os.close(inside)

    def _start(
        self, command: list[str], inside: int, cwd: Path | None, variables: dict[str, str]
    ) -> Forked | subprocess.Popen[bytes]:
        """By a start of its own only what is not ours."""
        if command[0] == "pltvm" and fits(variables):
            process = forker().start(command[1:], cwd, variables, terminal=inside)
            for unused in (process.stdin, process.stdout, process.stderr):
                unused.close()
            return process
        if command[0] == "pltvm":
            command[:1] = [sys.executable, "-m", "pltvm"]
        return subprocess.Popen(
            command, cwd=cwd, env=variables, stdin=inside, stdout=inside, stderr=inside,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fd)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def until(self, seen: Callable[[], object]) -> None:
        """Read on until the screen shows something; AssertionError when it does not."""
        end = time.monotonic() + _PATIENCE
        while not seen():
            assert self._read(end), f"it does not come: {self.text()}"

    def ended(self) -> int:
        """Read to the end of the program; its exit status."""
        end = time.monotonic() + _PATIENCE
        while self._read(end):
            pass
        self.status = self._process.wait()
        return self.status

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(end - time.monotonic(), 0))
        if not ready:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def text(self) -> str:
        """What is on the screen, and what has left it at the top, without spaces at the ends of lines."""
        width = self.screen.columns
        above = ["".join(line[at].data for at in range(width)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip("\n")

    @property
    def coloured(self) -> bool:
        """Whether anything is in colour."""
        lines = [*self.screen.history.top, *self.screen.buffer.values()]
        return any(cell.fg != "default" or cell.bg != "default" for line in lines for cell in line.values())
