"""Where the targets' ELFs are: for all tests of them, and for all workers of pytest-xdist."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return shared / "schedule-targets"
