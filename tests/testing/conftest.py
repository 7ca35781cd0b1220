"""Small projects with tests of their own, which pytest's pytester runs with the plugin."""

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

# pytester forgets modules that its runs load: each would load these again, and lief cannot be loaded twice.
import lief  # noqa: F401
import pytest

import pltvm.build.enclave
import pltvm.build.strip
import pltvm.coverage.recorder
import pltvm.host.proxy
import pltvm.testing.building
import pltvm.testing.cov  # noqa: F401

PLUGIN = "pltvm.testing.plugin"
GUEST = Path(__file__).parents[1] / "guest"
ROOT = Path(__file__).parents[2]


CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # pytester has another home


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for pytest that load this plugin: once, also where an installation knows it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)
    installed = any(one.value == PLUGIN for one in entry_points(group="pytest11"))
    return ["-p", "no:cacheprovider", *([] if installed else ["-p", PLUGIN])]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A folder with the sources of two enclaves."""
    for name in ("callee.c", "covered.c"):
        (pytester.path / name).write_bytes((GUEST / name).read_bytes())
    return pytester.path


@pytest.fixture
def run(pytester: pytest.Pytester, load: list[str]) -> Callable[..., pytest.RunResult]:
    """Runs pytest here, in this process."""
    return lambda *words: pytester.runpytest_inprocess(*load, *words)


@pytest.fixture
def run_alone(pytester: pytest.Pytester, load: list[str]) -> Callable[..., pytest.RunResult]:
    """Runs pytest here, in a process of its own."""
    return lambda *words: pytester.runpytest_subprocess(*load, *words)
