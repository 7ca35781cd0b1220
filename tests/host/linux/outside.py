"""Programs as processes of this machine, beside what pltvm runs: under qemu-riscv64, or built for it."""

import os
import signal
import subprocess
from collections.abc import Sequence
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
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
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
