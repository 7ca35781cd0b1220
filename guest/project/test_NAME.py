"""NAME does what it should, also in the eyes of the memory checker: `make` has built both."""

from pathlib import Path

import pytest
from host import HERE, run


@pytest.mark.parametrize("build", ["build", "build/check"])
def test_three_calls_are_counted(build: str) -> None:
    assert run(HERE / Path(build)) == (0, "called 3 times\n")
