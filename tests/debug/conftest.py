"""Programs that debuggers look into, built once for all workers."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from pltvm.build.enclave import build_enclave
from tests.debug.debuggers import Programs
from tests.host.linux.conftest import build_linux

__all__ = ["build_linux", "chain", "programs"]

SOURCES = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def programs(shared: Path) -> Programs:
    """Gives the path of the ELF of programs/NAME.c, compiled without optimisation."""

    def build(name: str) -> Path:
        source = SOURCES / f"{name}.c"
        folder = shared / f"debugged-{sha256(source.read_bytes()).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        elf = folder / f"{name}.elf"
        if not elf.exists():
            built = build_enclave([source], folder / f"{name}.{os.getpid()}", opt="-O0", flags=["-g"])
            built.replace(elf)
        return elf

    return build


@pytest.fixture(scope="session")
def chain(programs: Callable[[str], Path]) -> list[str]:
    """The command line of three enclaves that call each other: first, second, third."""
    servers = [f"--server={name}={programs(name)}" for name in ("second", "third")]
    return [str(programs("first")), *servers, "--timeout=60"]
