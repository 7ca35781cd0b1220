"""The command as a process of its own, and what the tests of commands run."""

import subprocess
import sys
from pathlib import Path

from pltvm.build import guest

ELVES = {name: str(example.elf) for name, example in guest.examples().items()}
HOST = str(guest.guest_dir() / "elf" / "host" / "musl" / "host")
COMMAND = [sys.executable, "-m", "pltvm.cli"]


def pltvm(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=100
    )
