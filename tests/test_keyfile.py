"""The user's key file: made once, mode 600, whole or not at all, errors in one line."""

import os
import stat
from pathlib import Path

import pytest

from pltvm import keyfile
from pltvm.errors import PltvmError
from pltvm.monitor.keys import DEVELOPMENT


def test_made_once_with_mode_600_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    umask = os.umask(0)
    try:
        keys = keyfile.load_or_create(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert keyfile.load_or_create(path) == keys == keyfile.load(path)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path], "no scratch file stays"


def test_default_is_in_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert keyfile.default_path() == tmp_path / "pltvm" / "keys.json"
    keyfile.load_or_create()
    assert keyfile.default_path().is_file()


def test_keys_that_another_made_meanwhile_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(DEVELOPMENT.to_json())
    keyfile._create(path, DEVELOPMENT.generate())
    assert keyfile.load(path) == DEVELOPMENT


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_other_files_are_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(PltvmError, match=r"keys\.json: "):
        keyfile.load_or_create(path)
    assert path.read_bytes() == content


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PltvmError, match="cannot be stored"):
        keyfile.load_or_create(tmp_path / "file" / "keys.json")
    with pytest.raises(PltvmError, match="cannot be read"):
        keyfile.load(tmp_path / "missing")
    with pytest.raises(PltvmError, match="cannot be read"):
        keyfile.load_or_create(tmp_path)
