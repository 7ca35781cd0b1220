"""The suite as a whole: all of it is run, and what takes long begins first."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_no_folder_is_left_out(pytestconfig: pytest.Config) -> None:
    """By its name: pytest's own list of folders that are none of tests has `build` and `dist`."""
    left_out = pytestconfig.getini("norecursedirs")
    folders = {folder.name for file in TESTS.rglob("test_*.py") for folder in file.relative_to(TESTS).parents}
    assert {"build", "linux"} <= folders
    assert [name for name in sorted(folders) if name and any(fnmatch(name, one) for one in left_out)] == []


@pytest.mark.long
def test_what_takes_long_begins_first(request: pytest.FixtureRequest) -> None:
    long = [item.get_closest_marker("long") is not None for item in request.session.items]
    assert long[0]
    assert long == sorted(long, reverse=True)
