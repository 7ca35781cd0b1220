"""Files of Linux programs: how much they may grow, and descriptors."""

import os
from pathlib import Path

import pytest

from pltvm.host.linux import files
from pltvm.host.linux.errno import EBADF, EMFILE, ENOSPC, LinuxError
from pltvm.host.linux.files import AT_FDCWD, Files, HostFile


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(files, "MOST_GROWTH", 1000)
    return Files(tmp_path, lambda _text: None, lambda _size: b"", 0)


def test_files_grow_so_much_all_together(opened: Files, tmp_path: Path) -> None:
    one, two = (
        opened.get(opened.open(AT_FDCWD, name, os.O_RDWR | os.O_CREAT, 0o644)) for name in (b"a", b"b")
    )
    assert isinstance(one, HostFile)
    assert isinstance(two, HostFile)
    assert one.write(bytes(600)) == 600
    one.seek(0, os.SEEK_SET)
    assert one.write(bytes(600)) == 600, "overwriting is no growth"
    two.truncate(300)
    for attempt in (lambda: two.truncate(500), lambda: one.write(bytes(200))):
        with pytest.raises(LinuxError) as error:
            attempt()
        assert error.value.number == ENOSPC
    assert one.write(bytes(100)) == 100
    opened.close_all()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 1000


def test_descriptors(opened: Files) -> None:
    numbers = [opened.open(AT_FDCWD, b"/dev/null", os.O_RDWR, 0) for _ in range(3, files.MOST_FILES)]
    assert numbers == list(range(3, files.MOST_FILES))
    with pytest.raises(LinuxError) as error:
        opened.open(AT_FDCWD, b"/dev/null", os.O_RDWR, 0)
    assert error.value.number == EMFILE
    opened.close(5)
    assert opened.open(AT_FDCWD, b"/dev/zero", os.O_RDONLY, 0) == 5
    opened.close(5)
    with pytest.raises(LinuxError) as error:
        opened.close(5)
    assert error.value.number == EBADF
