"""Files that somebody names: whole or as they were."""

import os
from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.host.plain_file import write_plain


def test_whole_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_plain(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"1"
    write_plain(Path("/dev/null"), b"1")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(PltvmError, match="directory"):
        write_plain(tmp_path, b"1")
    with pytest.raises(PltvmError, match="cannot be written: No such file"):
        write_plain(tmp_path / "none" / "file", b"1")
    with pytest.raises(PltvmError, match="cannot be written"):
        write_plain("a\0b", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_nothing_is_written_through_a_waiting_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / f".out.{os.getpid()}").symlink_to(tmp_path / "secret")
    write_plain(tmp_path / "out", b"1")
    assert ((tmp_path / "secret").read_bytes(), (tmp_path / "out").read_bytes()) == (b"secret", b"1")
