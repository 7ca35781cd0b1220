"""Where the targets' ELFs are: for all tests of them, and for all workers of pytest-xdist."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(shared: Path) -> Path:
    return shared / "targets"
