"""Linux programs for the tests, built for musl once for all workers, and a way to run them."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.engine.memory import PAGE
from pltvm.host.kernel import MONITOR_MEMORY
from pltvm.host.linux.runner import LinuxResult, run_program
from tests import musl

GUEST = Path(__file__).parents[2] / "guest"
Run = Callable[..., LinuxResult]


@pytest.fixture(scope="session")
def build_linux(shared: Path) -> Callable[[str], Path]:
    """Gives the program built from tests/guest/NAME.c for musl, lp64."""

    def build(name: str) -> Path:
        source = GUEST / f"{name}.c"
        program = shared / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
        if not program.exists():
            mine = program.with_suffix(f".{os.getpid()}")
            musl.build(source, mine, "-O1")
            mine.replace(program)
        return program

    return build


@pytest.fixture
def run_linux(build_linux: Callable[[str], Path], tmp_path: Path) -> Run:
    """Runs a test program in an empty folder, and checks that it leaves no page behind."""

    def run(name: str, *arguments: str, **options: object) -> LinuxResult:
        machine = Machine(256 << 20)
        free = machine.kernel.blocks.free_pages
        result = run_program(
            machine.driver, build_linux(name), arguments, **{"root": tmp_path, "timeout": 60, **options}
        )
        kept = MONITOR_MEMORY // PAGE if machine.monitor.state.globals.next_eid else 0
        assert machine.kernel.blocks.free_pages == free - kept
        assert not machine.monitor.state.enclaves
        return result

    return run
