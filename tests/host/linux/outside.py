"""Programs as processes of this machine, beside what pltvm runs: under qemu-riscv64, or built for it."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path


def run(
    command: Sequence[str], folder: Path, variables: dict[str, str], seconds: float
) -> tuple[bytes, bytes, str]:
    """What a command prints, what goes to stderr, and how it ends: `exit N` as of a shell, or `timed out`."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # what it leaves behind is ended with it
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return output, errors, "timed out"
    code = process.returncode
    return output, errors, f"exit {code if code >= 0 else 128 - code}"


def lines(output: bytes, end: str) -> str:
    """What was printed, and how it ended as the last line."""
    text = output.decode(errors="backslashreplace")
    return text + ("\n" if text and not text.endswith("\n") else "") + f"{end}\n"


def in_some_run(run: Callable[[Path], str], expected: str, folder: Path, times: int = 3) -> list[str]:
    """The lines of the first run that prints what is expected, or of the last; each has its own folder.

    Here real time passes, and a busy machine can lose a race that a program's sleeps only make likely to win.
    What a program may print on Linux is shown by one run that prints it.
    """
    found: list[str] = []
    for number in range(times):
        (folder / f"run{number}").mkdir()
        found = run(folder / f"run{number}").splitlines()
        if found == expected.splitlines():
            break
    return found
