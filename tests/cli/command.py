"""The command as a process of its own, and what the tests of commands run."""

import os
import subprocess
import sys
from pathlib import Path

from pltvm.build import guest
from tests.cli import forked

ELVES = {name: str(example.elf) for name, example in guest.examples().items()}
HOST = str(guest.guest_dir() / "elf" / "host" / "musl" / "host")
KERNEL = str(guest.guest_dir() / "elf" / "attacks" / "s-wish.elf")
COMMAND = [sys.executable, "-m", "pltvm.cli"]


def pltvm(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    done = run(*arguments, cwd=cwd, stdin=stdin.encode())
    out, err = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def run(
    *arguments: str,
    cwd: Path | None = None,
    stdin: bytes = b"",
    environment: dict[str, str] | None = None,
    timeout: float = 100,
    together: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end; by a start of its own only where the environment asks for one.

    `together`: what it says on standard error is where it said it in its output.
    """
    variables = dict(os.environ) if environment is None else environment
    if forked.fits(variables):
        return forked.forker().run(list(arguments), cwd, stdin, variables, timeout, together)
    errors = subprocess.STDOUT if together else subprocess.PIPE
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, input=stdin, stdout=subprocess.PIPE, stderr=errors,
        env=variables, timeout=timeout, check=False,
    )  # fmt: skip
