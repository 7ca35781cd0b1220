"""How the native core is found: a library that is missing, older than its sources, or none at all."""

import os
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from pltvm import native
from pltvm.build import core
from pltvm.errors import PltvmError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of which there is what `native` looks at; its library is newer than its sources."""
    shutil.copy(native.__file__, tmp_path / "native.py")
    for folder in ("engine/native", "monitor", "fuzz"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(core.PACKAGE / "monitor" / "records.h", tmp_path / "monitor")
    shutil.copy(core.PACKAGE / "fuzz" / "arena.h", tmp_path / "fuzz")
    shutil.copy(core.PACKAGE / "engine" / "native" / "api.h", tmp_path / "engine" / "native")
    (tmp_path / "engine" / "native" / "one.c").write_text(
        "int pltvm_one(void);\nint pltvm_one(void) { return 1; }\n"
    )
    for path in tmp_path.rglob("*.[ch]"):
        os.utime(path, (1, 1))
    return tmp_path


def load(package: Path) -> ModuleType:
    spec = spec_from_file_location("native", package / "native.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLTVM_NATIVE", raising=False)


def test_a_library_that_was_not_built(package: Path) -> None:
    found = load(package)
    assert (found.core, found.stale) == (None, False)
    assert found.status == (
        "without the native core, which is slower: it was not built; make it with: python -m pltvm.build core"
    )


def test_a_library_is_loaded(package: Path) -> None:
    core.build(package / core.NAME, package=package)
    found = load(package)
    assert found.core is not None
    assert (found.stale, found.status) == (False, "with the native core")


@pytest.mark.parametrize("changed", ["engine/native/one.c", "engine/native/api.h", "monitor/records.h"])
def test_a_library_older_than_a_source_is_not_used(package: Path, changed: str) -> None:
    library = core.build(package / core.NAME, package=package)
    (package / changed).touch()
    os.utime(library, (2, 2))
    found = load(package)
    assert (found.core, found.stale) == (None, True)
    assert "it is older than its sources" in found.status


def test_without_sources_the_age_says_nothing(package: Path) -> None:
    """As in a wheel: which of its files is written first is for the installer to choose."""
    library = core.build(package / core.NAME, package=package)
    os.utime(library, (0, 0))
    shutil.rmtree(package / "engine")
    found = load(package)
    assert found.core is not None
    assert not found.stale


def test_a_library_that_does_not_load(package: Path) -> None:
    (package / core.NAME).write_bytes(b"no library")
    found = load(package)
    assert found.core is None
    assert "it does not load: " in found.status
    assert found.status.endswith("; make it with: python -m pltvm.build core")


def test_it_can_be_done_without(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core.build(package / core.NAME, package=package)
    monkeypatch.setenv("PLTVM_NATIVE", "0")
    found = load(package)
    assert (found.core, found.stale, found.status) == (
        None,
        False,
        "without the native core (PLTVM_NATIVE=0)",
    )


def test_it_can_be_asked_for(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLTVM_NATIVE", "1")
    with pytest.raises(PltvmError, match="PLTVM_NATIVE=1, and no native core: it was not built"):
        load(package)
