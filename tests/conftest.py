"""Fixtures: guest programs built once for all workers, and machines that are audited when a test ends."""

import ctypes
import functools
import gc
import hashlib
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine, native
from pltvm.build import zig
from pltvm.build.enclave import build_enclave
from pltvm.host.audit import audit as audit_host
from pltvm.host.blocks import Blocks
from pltvm.monitor.audit import audit as audit_monitor
from tests.monitor.rig import RAM, Rig

GUEST = Path(__file__).parent / "guest"
PR_SET_THP_DISABLE = 41

# The buffer for the JIT's code begins with a large page, for which the kernel clears 2 MiB: too much for a
# machine that lives for milliseconds. Processes that tests start inherit this.
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)

# What tests have the compiler of ziglang do goes into the cache of `pltvm build`: each musl is compiled once.
os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(zig.cache_dir(tempfile.gettempdir())))

# Tests of Ctrl-C send it to themselves and to children, which ignore it where this process was started so.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take long begin first: else one of several workers ends with them alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection() -> None:
    """Nobody looks for garbage while tests are made, nor later among these hundreds of thousands."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # tests leave little garbage, and what it is looked for in is large
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """What is there when all tests are over ends with the process: nobody looks for garbage in it."""
    gc.freeze()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: tests wait for processes, clocks and files."""
    del config
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(autouse=True)
def without_core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine of a test marked `python` has the native core."""
    if request.node.get_closest_marker("python") is not None:
        monkeypatch.setattr(native, "core", None)


@pytest.fixture(autouse=True)
def audited(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """When a test is over, free lists, blocks and page owners of the machines that it made last agree.

    Blocks that a test takes itself, to play the host, are its own affair. Not for tests that take parts of
    the machine out of use: `@pytest.mark.broken`.
    """
    made: deque[Machine] = deque(maxlen=4)
    init, take, give = Machine.__init__, Blocks.take, Blocks.give_if_back
    mine: dict[Blocks, set[int]] = {}

    @functools.wraps(init)
    def noting(machine: Machine, *arguments: Any, **options: Any) -> None:
        init(machine, *arguments, **options)
        made.append(machine)
        kernel = machine.kernel
        kernel.holders.append(lambda: mine.get(kernel.blocks, ()))

    @functools.wraps(take)
    def taking(blocks: Blocks, pages: int) -> int:
        block = take(blocks, pages)
        if sys._getframe(1).f_globals["__name__"].startswith("tests."):
            mine.setdefault(blocks, set()).add(block)
        return block

    @functools.wraps(give)
    def giving(blocks: Blocks, block: int, dirty: int | None = None) -> bool:
        freed = give(blocks, block, dirty)
        if freed:
            mine.get(blocks, set()).discard(block)
        return freed

    monkeypatch.setattr(Machine, "__init__", noting)
    monkeypatch.setattr(Blocks, "take", taking)
    monkeypatch.setattr(Blocks, "give_if_back", giving)
    yield
    if request.node.get_closest_marker("broken") is None:
        for machine in made:
            assert audit_host(machine.kernel) == []
            assert audit_monitor(machine.monitor.state) == []


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this test run: workers of pytest-xdist share what one of them has built in it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def build_guest(shared: Path) -> Callable[[str], bytes]:
    """Gives the ELF of tests/guest/NAME.c."""

    def build(name: str) -> bytes:
        source = GUEST / f"{name}.c"
        elf = shared / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.elf"
        if not elf.exists():
            mine = build_enclave([source], elf.with_suffix(f".{os.getpid()}"))
            mine.replace(elf)  # atomic: another worker sees all of it or nothing
        return elf.read_bytes()

    return build


@pytest.fixture(scope="session")
def script_elf(build_guest: Callable[[str], bytes]) -> bytes:
    """The enclave that does what a list says."""
    return build_guest("script")


def _confined() -> bool:
    return "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()


@pytest.fixture(autouse=True)
def stays_free() -> Iterator[None]:
    """A test that confines this process (see `pltvm.confine`) would spoil all later ones: it fails itself."""
    before = _confined()
    yield
    assert _confined() == before, "run this in a process of its own, or with --no-confine"


@pytest.fixture
def rig_ram() -> int:
    """The bytes of RAM of `rig`."""
    return RAM


@pytest.fixture
def rig(script_elf: bytes, rig_ram: int) -> Iterator[Rig]:
    """A machine for listed enclaves; when the test ends every page must be back."""
    rig = Rig(script_elf, Machine(rig_ram))
    yield rig
    rig.finish()
