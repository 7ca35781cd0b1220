"""mmap and its kin as a program finds them."""

from pathlib import Path

import pytest

from tests.host.linux.conftest import Run


@pytest.mark.parametrize("name", ["flags", "moves", "files", "holes"])
def test_it_is_as_on_linux(run_linux: Run, name: str) -> None:
    result = run_linux("mappings", name)
    assert (result.exit_code, result.end, result.bugs) == (0, "", 0), result.output


def test_what_is_mapped_at_the_end_gets_to_the_file(run_linux: Run, tmp_path: Path) -> None:
    run_linux("mappings", "files")
    data = (tmp_path / "data").read_bytes()
    assert data[:18] == b"late\0\0\0\0at the end"
    assert len(data) == 4096 + 100
