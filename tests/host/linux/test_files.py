"""Files of Linux programs: how much they may grow, and descriptors."""

import os
import resource
import stat
from collections.abc import Callable, Iterator
from errno import (
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFBIG,
    EINVAL,
    EISDIR,
    ELOOP,
    EMFILE,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    ESPIPE,
)
from pathlib import Path

import pytest

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs import filesystem
from pltvm.host.linux.fs.opening import KEPT_DESCRIPTORS
from pltvm.host.linux.open_flags import (
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
)
from pltvm.host.linux.process import MOST_FILES
from tests.opened_files import AT_FDCWD, Files


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setattr(filesystem, "MOST_GROWTH", 1000)
    opened = Files(tmp_path, lambda _text: None, lambda _size: b"", 0)
    yield opened
    opened.close_all()


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
    numbers = [opened.open(AT_FDCWD, b"/dev/null", os.O_RDWR, 0) for _ in range(3, MOST_FILES)]
    assert numbers == list(range(3, MOST_FILES))
    with pytest.raises(LinuxError) as error:
        opened.open(AT_FDCWD, b"/dev/null", os.O_RDWR, 0)
    assert error.value.number == EMFILE
    opened.close(5)
    assert opened.open(AT_FDCWD, b"/dev/zero", os.O_RDONLY, 0) == 5
    opened.close(5)
    with pytest.raises(LinuxError) as error:
        opened.close(5)
    assert error.value.number == EBADF


def _file(opened: Files, name: bytes, flags: int) -> HostFile:
    file = opened.get(opened.open(AT_FDCWD, name, flags, 0o644))
    assert isinstance(file, HostFile)
    return file


def _error(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(LinuxError) as error:
        call(*arguments)
    return error.value.number


def test_appending_grows_a_file_at_its_end(opened: Files, tmp_path: Path) -> None:
    file = _file(opened, b"a", O_RDWR | O_CREAT | O_APPEND)
    for _ in range(9):
        file.seek(0, os.SEEK_SET)
        assert file.write(bytes(100)) == 100
    assert file.write_at(bytes(100), 0) == 100, "pwrite appends as well"
    file.seek(0, os.SEEK_SET)
    assert _error(file.write, b"x") == ENOSPC
    assert _error(file.write_at, b"x", 0) == ENOSPC
    assert (tmp_path / "a").stat().st_size == 1000


def test_holes_count_as_growth(opened: Files, tmp_path: Path) -> None:
    file = _file(opened, b"a", O_RDWR | O_CREAT)
    assert file.write_at(b"x", 899) == 1
    assert file.write_at(b"y", 0) == 1
    assert _error(file.write_at, bytes(101), 900) == ENOSPC
    file.seek(990, os.SEEK_SET)
    assert _error(file.write, bytes(11)) == ENOSPC
    assert _error(file.truncate, 1901) == EFBIG
    assert _error(file.write_at, b"x", 1 << 60) == EFBIG
    assert file.write(bytes(10)) == 10
    assert (tmp_path / "a").stat().st_size == 1000


def test_writing_a_file_anew_takes_nothing(opened: Files, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(5000))
    for _ in range(5):
        for name, size in ((b"a", 900), (b"old", 5000)):
            file = _file(opened, name, O_WRONLY | O_CREAT | O_TRUNC)
            assert file.size() == 0
            assert file.write(bytes(size)) == size
            file.truncate(10)
            file.truncate(size)
    other = _file(opened, b"b", O_WRONLY | O_CREAT)
    assert _error(other.write, bytes(101)) == ENOSPC
    assert other.write(bytes(100)) == 100


def test_removing_files_gives_no_room_back(opened: Files) -> None:
    """Somebody may have them open; and a new file may have an old one's inode."""
    for size, name in ((600, b"a"), (400, b"b")):
        descriptor = opened.open(AT_FDCWD, name, O_RDWR | O_CREAT, 0o644)
        assert opened.get(descriptor).write(bytes(size)) == size
        opened.close(descriptor)
        opened.unlink(AT_FDCWD, name)
    assert _error(_file(opened, b"c", O_RDWR | O_CREAT).write, b"x") == ENOSPC


def test_refused_writes_take_nothing(opened: Files, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    file = _file(opened, b"a", os.O_RDONLY)
    assert _error(file.write, bytes(600)) == EBADF
    assert _error(file.write_at, bytes(600), 0) == EBADF
    assert _error(file.truncate, 600) == EINVAL
    assert _error(_file(opened, b"a", O_WRONLY).write_at, bytes(600), -1) == EINVAL
    assert _file(opened, b"b", O_WRONLY | O_CREAT).write(bytes(1000)) == 1000


def test_so_many_files_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOST_NEW", 3)
    opened = Files(tmp_path, lambda _text: None, lambda _size: b"", 0)
    opened.make_folder(AT_FDCWD, b"folder", 0o755)
    for _ in range(5):
        opened.close(opened.open(AT_FDCWD, b"a", O_RDWR | O_CREAT, 0o644))
    assert _error(opened.make_folder, AT_FDCWD, b"folder", 0o755) == EEXIST
    opened.close(opened.open(AT_FDCWD, b"b", O_RDWR | O_CREAT, 0o644))
    assert _error(opened.open, AT_FDCWD, b"c", O_RDWR | O_CREAT, 0o644) == ENOSPC
    assert _error(opened.make_folder, AT_FDCWD, b"d", 0o755) == ENOSPC
    opened.close_all()
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "folder"]


def test_a_full_table_makes_no_file(opened: Files, tmp_path: Path) -> None:
    while True:
        try:
            opened.open(AT_FDCWD, b"/dev/null", O_RDWR, 0)
        except LinuxError:
            break
    assert _error(opened.open, AT_FDCWD, b"new", O_RDWR | O_CREAT, 0o644) == EMFILE
    assert not list(tmp_path.iterdir())


def test_descriptors_of_our_own_process_are_left(opened: Files, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "a").touch()
    highest = max(map(int, os.listdir("/proc/self/fd")))  # what other tests have open
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 80, hard))
    try:
        error = 0
        for _ in range(highest + 80):
            try:
                opened.open(AT_FDCWD, b"a", O_RDWR, 0)
            except LinuxError as failed:
                error = failed.number
        assert error == EMFILE
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(KEPT_DESCRIPTORS - 4)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for descriptor in spare:
        os.close(descriptor)
    opened.close_all()


def test_whatever_is_asked_ends_in_an_error_number(opened: Files) -> None:
    file = _file(opened, b"a", O_RDWR | O_CREAT)
    calls: tuple[Callable[[int], object], ...] = (
        lambda wild: file.seek(wild, 0), lambda wild: file.read_at(10, wild),
        lambda wild: file.write_at(b"x", wild), file.truncate, file.read, lambda wild: file.read_at(wild, 0),
        lambda wild: opened.add(file, wild), lambda wild: opened.put(wild, file), opened.get,
        lambda wild: opened.open(wild, b"a", 0, 0), lambda wild: list(file.parts(10, wild)),
    )  # fmt: skip
    for call in calls:
        for wild in (-1, -(1 << 63), 1 << 63, 1 << 64, 1 << 200):
            assert _error(call, wild) in (EINVAL, EBADF, EFBIG, ENOMEM)


# -- what is no file of the folder -------------------------------------------------------------------------


def test_standard_streams(tmp_path: Path) -> None:
    written: list[bytes] = []
    opened = Files(tmp_path, written.append, lambda size: b"typed"[:size], 0)
    assert opened.get(0).read(3) == b"typ"
    for number, text in ((1, b"one"), (2, b"two")):
        assert opened.get(number).write(text) == 3
        assert _error(opened.get(number).read, 1) == EBADF
    assert written == [b"one", b"two"]
    assert _error(opened.get(0).write, b"x") == EBADF
    for number in range(3):
        assert _error(opened.get(number).seek, 0, 0) == ESPIPE
        assert stat.S_ISFIFO(opened.get(number).status().mode)  # as they are no terminals outside
    opened.close_all()


def test_devices(tmp_path: Path) -> None:
    def read(seed: int, *names: str) -> list[bytes]:
        opened = Files(tmp_path, lambda _text: None, lambda _size: b"", seed)
        found = []
        for name in names:
            path = f"/dev/{name}".encode()
            file = opened.get(opened.open(AT_FDCWD, path, O_RDWR, 0))
            assert file.write(b"lost") == 4
            assert file.seek(100, 0) == 0
            state = opened.stat(AT_FDCWD, path, True)
            assert stat.S_ISCHR(state.mode)
            opened.access(AT_FDCWD, path, os.R_OK | os.W_OK)
            found.append(file.read(16))
        opened.close_all()
        return found

    assert read(0, "null", "zero") == [b"", bytes(16)]
    first, second = read(0, "urandom", "urandom")
    assert len(first) == 16
    assert first not in (second, bytes(16))
    assert read(0, "random", "urandom") == [first, second], "one generator"
    assert read(1, "urandom") != [first]


# -- descriptors and names ---------------------------------------------------------------------------------


def test_put_closes_what_was_there(opened: Files) -> None:
    first, second = (opened.open(AT_FDCWD, name, O_RDWR | O_CREAT, 0o644) for name in (b"a", b"b"))
    file, gone = opened.get(first), opened.get(second)
    assert opened.put(second, file) == second
    assert opened.get(second) is opened.get(first) is file
    assert _error(gone.write, b"x") == EBADF
    for free in (0, 77, MOST_FILES - 1):
        assert opened.put(free, file) == free
        assert opened.get(free) is file
    assert _error(opened.put, MOST_FILES, file) == EBADF
    opened.close(first)
    assert file.write(b"x") == 1, "open by other descriptors"


@pytest.mark.parametrize(("size", "offset"), [(250, 0), (1000, 0), (100, 30), (200, 150), (0, 0), (10, 260)])
def test_parts(opened: Files, monkeypatch: pytest.MonkeyPatch, size: int, offset: int) -> None:
    monkeypatch.setattr("pltvm.host.linux.files.host.PART", 100)
    data = bytes(range(256))
    file = _file(opened, b"a", O_RDWR | O_CREAT)
    assert file.write(data) == 256
    parts = list(file.parts(size, offset))
    assert b"".join(part for _, part in parts) == data[offset : offset + size]
    assert [at for at, _ in parts] == list(range(0, len(data[offset : offset + size]), 100))
    assert all(0 < len(part) <= 100 for _, part in parts)


@pytest.fixture
def linked(opened: Files, tmp_path: Path) -> Files:
    """A file and a folder, and a link to each."""
    (tmp_path / "file").write_bytes(b"inside")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-folder").symlink_to("folder")
    return opened


def test_open_follows_a_link_at_the_end_if_it_may(linked: Files) -> None:
    assert _file(linked, b"to-file", os.O_RDONLY).read(9) == b"inside"
    assert _error(linked.open, AT_FDCWD, b"to-file", O_NOFOLLOW, 0) == ELOOP
    assert _error(linked.open, AT_FDCWD, b"to-file", O_RDWR | O_CREAT | O_EXCL, 0o644) == EEXIST
    assert _file(linked, b"file", O_NOFOLLOW).read(9) == b"inside"
    for follow, kind in ((True, stat.S_IFREG), (False, stat.S_IFLNK)):
        state = linked.stat(AT_FDCWD, b"to-file", follow)
        assert stat.S_IFMT(state.mode) == kind
    assert linked.read_link(AT_FDCWD, b"to-file") == b"file"
    assert _error(linked.read_link, AT_FDCWD, b"file") == EINVAL


def test_paths_start_at_folders_only(linked: Files) -> None:
    file = linked.open(AT_FDCWD, b"file", 0, 0)
    folder = linked.open(AT_FDCWD, b"folder", 0, 0)
    assert _error(linked.open, file, b"x", 0, 0) == ENOTDIR
    assert _error(linked.open, file, b"", 0, 0) == ENOENT
    assert _error(linked.open, 1, b"x", 0, 0) == ENOTDIR
    assert _error(linked.open, folder, b"file", 0, 0) == ENOENT
    assert linked.get(linked.open(folder, b"../file", 0, 0)).read(9) == b"inside"
    assert linked.get(linked.open(file, b"/file", 0, 0)).read(9) == b"inside"
    assert linked.is_root(folder, b"..")
    assert not linked.is_root(folder, b".")
    assert not linked.is_root(AT_FDCWD, b"to-folder")
    assert _error(linked.is_root, AT_FDCWD, b"file") == ENOTDIR


def test_a_link_is_changed_and_not_what_it_leads_to(linked: Files, tmp_path: Path) -> None:
    assert _error(linked.make_folder, AT_FDCWD, b"to-folder", 0o755) == EEXIST
    assert _error(linked.remove_folder, AT_FDCWD, b"to-folder") == ENOTDIR
    linked.rename(AT_FDCWD, b"to-file", AT_FDCWD, b"moved")
    assert os.readlink(tmp_path / "moved") == "file"
    (tmp_path / "other").write_bytes(b"other")
    linked.rename(AT_FDCWD, b"other", AT_FDCWD, b"moved")
    assert (tmp_path / "moved").read_bytes() == b"other"
    assert (tmp_path / "file").read_bytes() == b"inside"
    linked.unlink(AT_FDCWD, b"to-folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "moved"]


def test_a_slash_at_the_end_means_a_folder(linked: Files, tmp_path: Path) -> None:
    assert _error(linked.open, AT_FDCWD, b"new/", O_RDWR | O_CREAT, 0o644) == EISDIR
    assert _error(linked.open, AT_FDCWD, b"none/new/", O_RDWR | O_CREAT, 0o644) == ENOENT
    assert _error(linked.unlink, AT_FDCWD, b"file/") == ENOTDIR
    assert _error(linked.unlink, AT_FDCWD, b"folder") == EISDIR
    assert _error(linked.rename, AT_FDCWD, b"file", AT_FDCWD, b"new/") == ENOTDIR
    assert _error(linked.rename, AT_FDCWD, b"file/", AT_FDCWD, b"new") == ENOTDIR
    assert _error(linked.rename, AT_FDCWD, b"folder", AT_FDCWD, b".") == EBUSY
    assert stat.S_ISDIR(_file(linked, b"folder/", os.O_RDONLY).mode)
    linked.make_folder(AT_FDCWD, b"made//", 0o700)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    linked.rename(AT_FDCWD, b"made/", AT_FDCWD, b"again/")
    linked.remove_folder(AT_FDCWD, b"again/")
    assert _error(linked.remove_folder, AT_FDCWD, b"/") == EBUSY
    assert _error(linked.remove_folder, AT_FDCWD, b"folder/.") == EINVAL
    assert not (tmp_path / "again").exists()


def test_access(linked: Files, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o644)
    for mode in (os.F_OK, os.R_OK, os.W_OK, os.R_OK | os.W_OK):
        linked.access(AT_FDCWD, b"to-file", mode)
    (tmp_path / "file").chmod(0o644)
    assert _error(linked.access, AT_FDCWD, b"file", os.X_OK) == EACCES
    linked.access(AT_FDCWD, b"folder", os.X_OK)
    for mode in (os.F_OK, os.R_OK, os.W_OK):  # a pipe of ours stands for it
        linked.access(AT_FDCWD, b"pipe", mode)
    linked.access(AT_FDCWD, b"socket", os.F_OK)
    assert _error(linked.access, AT_FDCWD, b"socket", os.R_OK) == EACCES
    assert _error(linked.access, AT_FDCWD, b"none", os.F_OK) == ENOENT


def test_flags_that_fit_files_or_folders_only(linked: Files, tmp_path: Path) -> None:
    assert _error(linked.open, AT_FDCWD, b"file", O_DIRECTORY, 0) == ENOTDIR
    folder = _file(linked, b"to-folder", O_DIRECTORY)
    assert stat.S_ISDIR(folder.mode)
    for flags in (O_CREAT, O_TRUNC, O_RDWR, O_WRONLY):
        assert _error(linked.open, AT_FDCWD, b"folder", flags, 0o644) == EISDIR
    for file in (folder, _file(linked, b"file", O_RDWR)):
        assert not os.get_blocking(file.descriptor)
        assert not os.get_inheritable(file.descriptor)


def test_cutting_off_an_empty_file_takes_no_room(opened: Files, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    _file(opened, b"empty", O_RDWR | O_TRUNC)
    assert _file(opened, b"a", O_RDWR | O_CREAT).write(bytes(1000)) == 1000
