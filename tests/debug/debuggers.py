"""gdb and lldb as processes of their own, with the commands of a session."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli import command

Programs = Callable[[str], Path]
GDB = shutil.which("gdb-multiarch")
LLDB = shutil.which("lldb")
needs_gdb = pytest.mark.skipif(
    GDB is None, reason="there is no gdb-multiarch (Debian: apt install gdb-multiarch)"
)
needs_lldb = pytest.mark.skipif(LLDB is None, reason="there is no lldb (Debian: apt install lldb)")
_NOISE = ("Reading ", "warning: File transfers", "Traceback", '  File "<string>"', "ModuleNotFoundError")


def debug(run: Sequence[str], *commands: str, options: Sequence[str] = (), cwd: Path | None = None) -> str:
    """What a debugger says to these commands when it looks into a run; `options` are of `pltvm debug`."""
    typed = [word for one in commands for word in ("--ex", one)]
    line = ["debug", "--batch", *options, *typed, *run]
    said = command.run(*line, cwd=cwd, timeout=200, together=True).stdout.decode()
    return "\n".join(line for line in said.splitlines() if not line.startswith(_NOISE))


def gdb(target: str, *commands: str, cwd: Path | None = None) -> str:
    """What a gdb of its own says, without our script, to these commands once it has this `target remote`."""
    line = [str(GDB), "-q", "-batch", "-nx", "-ex", f"target remote {target}"]
    for one in commands:
        line += ["-ex", one]
    done = subprocess.run(
        line, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    return done.stdout + done.stderr


def address_of(server: "subprocess.Popen[str]") -> str:
    """Where a command with --gdb waits for a debugger, which it says on its standard error."""
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        if "target remote" in line:
            return line.split()[-1]
        said.append(line)
    raise AssertionError(f"it waits for no debugger: {said}")


def has_all(output: str, *wanted: str) -> None:
    """Each of these is there, in this order."""
    at = 0
    for one in wanted:
        found = output.find(one, at)
        assert found >= 0, f"{one!r} is missing behind {output[:at][-200:]!r} in:\n{output}"
        at = found + len(one)
