"""Walks that never leave the root, whatever else happens to the tree."""

import gc
import os
import stat
from collections.abc import Callable, Iterator
from errno import EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT
from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs.opening import open_place
from pltvm.host.linux.fs.paths import LONGEST_PATH, MOST_LINKS, Tree
from pltvm.host.linux.fs.room import Room
from pltvm.host.linux.open_flags import O_CREAT, O_RDWR, O_TRUNC
from tests import path_stress
from tests.opened_files import AT_FDCWD, Files


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> None:
    """What earlier tests have left must not be closed while descriptors are counted."""
    gc.collect()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file and a folder, beside a secret."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "file").write_text("inside")
    (tmp_path / "secret").write_text("secret")
    return root


@pytest.fixture
def files(root: Path) -> Iterator[Files]:
    before = _descriptors()
    files = Files(root, lambda _text: None, lambda _size: b"", 0)
    yield files
    files.close_all()
    assert _descriptors() == before, "every descriptor is closed"


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    tree = Tree(root)
    yield tree
    tree.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_ino) for path in folder.iterdir())


def _error(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(LinuxError) as error:
        call(*arguments)
    return error.value.number


def _content(files: Files, path: bytes, directory: int = AT_FDCWD) -> bytes:
    descriptor = files.open(directory, path, 0, 0)
    try:
        return files.get(descriptor).read(100)
    finally:
        files.close(descriptor)


def test_a_folder_that_was_moved_out_is_no_way_out(files: Files, root: Path, tmp_path: Path) -> None:
    inner = files.open(AT_FDCWD, b"a/b", 0, 0)
    outer = files.open(AT_FDCWD, b"a", 0, 0)
    (root / "a").rename(tmp_path / "moved")
    (tmp_path / "moved/file").write_text("secret")
    for directory, path in (
        (outer, b"file"),
        (outer, b"../secret"),
        (inner, b"../../secret"),
        (inner, b"new"),
    ):
        assert _error(files.open, directory, path, O_CREAT | O_RDWR, 0o644) == EACCES
    (tmp_path / "moved").rename(root / "back")
    assert _content(files, b"../../file", inner) == b"inside"


def test_a_folder_moved_out_during_the_walk_is_no_way_out(tree: Tree, root: Path, tmp_path: Path) -> None:
    """`..` leads to wherever the folder is by then: that has to be beneath the root too."""
    (root / "a/b/up").symlink_to("../../secret")
    real_readlink = os.readlink

    def move(*arguments: object, **options: object) -> bytes:
        (root / "a").rename(tmp_path / "moved")
        return real_readlink(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "readlink", move)
        assert _error(tree.find, None, b"a/b/up") == EACCES


def test_the_root_may_be_renamed(files: Files, root: Path, tmp_path: Path) -> None:
    folder = files.open(AT_FDCWD, b"a/b", 0, 0)
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    (root / "file").write_text("not in the root")
    for path in (b"file", b"/file", os.fsencode(root / "file"), b"a/b/../../file"):
        assert _content(files, path) == b"inside"
    assert _content(files, b"../../file", folder) == b"inside"
    assert _error(files.open, AT_FDCWD, b"../root/file", 0, 0) == ENOENT
    assert _content(files, b"../file") == b"inside"


def test_what_was_found_is_opened_whatever_has_its_name_by_now(
    tree: Tree, root: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for swap in (lambda: (root / "file").symlink_to(tmp_path / "secret"),
                 lambda: (tmp_path / "pipe").rename(root / "file")):  # fmt: skip
        with tree.find(None, b"file") as place:
            (root / "file").rename(root / "old")
            swap()
            opened = open_place(place, O_RDWR | O_TRUNC, 0, Room(100, 100))
        assert opened is not None
        assert os.fstat(opened).st_ino == (root / "old").stat().st_ino
        os.close(opened)
        (root / "old").replace(root / "file")
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_link_that_appears_is_not_created_through(tree: Tree, root: Path, tmp_path: Path) -> None:
    with tree.find(None, b"new") as place:
        (root / "new").symlink_to(tmp_path / "made")
        assert open_place(place, O_RDWR | O_CREAT, 0o644, Room(100, 100)) is None
    assert not (tmp_path / "made").exists()


def test_a_name_in_a_folder_that_was_swapped_is_still_in_that_folder(
    tree: Tree, root: Path, tmp_path: Path
) -> None:
    with tree.find(None, b"a/new") as place:
        (root / "a").rename(root / "c")
        (root / "a").symlink_to(tmp_path)
        opened = open_place(place, O_RDWR | O_CREAT, 0o644, Room(100, 100))
    assert opened is not None
    os.close(opened)
    assert (root / "c/new").exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("unlink", lambda files: files.unlink(AT_FDCWD, b"a/victim")),
        ("rmdir", lambda files: files.remove_folder(AT_FDCWD, b"a/folder")),
        ("mkdir", lambda files: files.make_folder(AT_FDCWD, b"a/new", 0o755)),
        ("rename", lambda files: files.rename(AT_FDCWD, b"a/victim", AT_FDCWD, b"stolen")),
        ("rename", lambda files: files.rename(AT_FDCWD, b"file", AT_FDCWD, b"a/victim")),
    ],
)
def test_a_folder_swapped_at_the_last_moment_changes_nothing(
    files: Files, root: Path, tmp_path: Path, what: str, call: Callable[[Files], object]
) -> None:
    """Between the walk and the change a link takes the folder's place: the change is made in the folder."""
    outside = tmp_path / "outside"
    for folder in (outside, root / "a"):
        (folder / "folder").mkdir(parents=True)
        (folder / "victim").write_text(str(folder))
    before, inside = _listing(outside), _listing(root / "a")
    real = getattr(os, what)

    def swap(*arguments: object, **options: object) -> object:
        (root / "a").replace(root / "c")
        (root / "a").symlink_to(outside)
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, what, swap)
        call(files)
    assert _listing(outside) == before
    assert (root / "a").is_symlink()
    assert _listing(root / "c") != inside


def test_links_are_followed_so_far(files: Files, root: Path) -> None:
    (root / "0").symlink_to("file")
    for number in range(1, MOST_LINKS + 1):
        (root / str(number)).symlink_to(f"./a/../{number - 1}")
    assert _content(files, str(MOST_LINKS - 1).encode()) == b"inside"
    assert _error(files.open, AT_FDCWD, str(MOST_LINKS).encode(), 0, 0) == ELOOP


def test_absolute_links_lead_beneath_the_root(files: Files, root: Path) -> None:
    """As those lead that were made by who sees the real folders, or as in a root that was made to be one."""
    (root / "real").symlink_to(root / "file")
    (root / "own").symlink_to("/file")
    (root / "top").symlink_to(root)
    assert _content(files, b"real") == b"inside"
    assert _content(files, b"top/./file") == b"inside"
    assert _content(files, b"own") == b"inside"
    (root / "out").symlink_to("/etc/passwd")
    assert _error(files.open, AT_FDCWD, b"out", 0, 0) == EACCES
    assert files.read_link(AT_FDCWD, b"own") == b"/file"


def test_paths_of_all_shapes(files: Files, root: Path) -> None:
    real = os.fsencode(root)
    for path in (b"file", b"./file", b"//file", b"a//..///file", b"a/b/../../file", real + b"/file",
                 b"/." + real + b"//./file", real + b"/a/../file"):  # fmt: skip
        assert _content(files, path) == b"inside", path
    for path in (real + b"/file/", real + b"/file/.", b"file/.", b"/file/"):
        assert _error(files.stat, AT_FDCWD, path, True) == 20, path
    for path in (b"/", b".", b"//", real, real + b"/", b"a/..", b"a/b/../.."):
        assert files.is_root(AT_FDCWD, path), path
    for path in (real + b"x/file", real + b"/../secret", b"/.." + real + b"/file"):
        assert _error(files.open, AT_FDCWD, path, 0, 0) in (EACCES, ENOENT), path
    assert _error(files.open, AT_FDCWD, b"fi\0le", 0, 0) == EINVAL
    assert _error(files.open, AT_FDCWD, b"./" * 2047 + b"fi", 0, 0) == ENAMETOOLONG
    assert _content(files, b"./" * ((LONGEST_PATH - 4) // 2) + b"file") == b"inside"


def test_devices_and_the_insides_of_the_kernel_are_not_opened() -> None:
    devices = Files(Path("/dev"), lambda _text: None, lambda _size: b"", 0)
    for name in (b"null", b"zero", b"tty"):
        for flags in (0, 1, 2):
            assert _error(devices.open, AT_FDCWD, name, flags, 0) == EACCES
    state = devices.stat(AT_FDCWD, b"null", True)
    assert stat.S_ISCHR(state.mode)
    devices.close_all()
    for root, path in (
        ("/", b"proc/self/mem"), ("/", b"proc/self/root/proc/self/mem"), ("/", b"sys/kernel"),
        ("/proc/self", b"mem"), ("/proc/self", b"cwd/."), ("/proc/self", b"fd/0"),
    ):  # fmt: skip
        if path.startswith(b"sys") and not os.path.ismount("/sys"):
            continue
        everything = Files(Path(root), lambda _text: None, lambda _size: b"", 0)
        assert _error(everything.open, AT_FDCWD, path, 2, 0) == EACCES
        everything.close_all()


def test_an_error_leaves_no_descriptor_open(files: Files, root: Path) -> None:
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to(root.parent)
    folder = files.open(AT_FDCWD, b"a", 0, 0)
    before = _descriptors()
    for path in (b"loop/x", b"out/", b"../../none", b"file/x", b"none/x", b"n" * 300, b"a\0b", b"file/"):
        for directory in (AT_FDCWD, folder):
            for call in (files.stat, files.open, files.access):
                with pytest.raises(LinuxError):
                    call(directory, path, 0, 0) if call == files.open else call(directory, path, 0)  # type: ignore
    for call, arguments in (
        (files.make_folder, (b"a", 0)), (files.unlink, (b"a",)), (files.remove_folder, (b"file",)),
        (files.read_link, (b"file",)), (files.unlink, (b"none",)),
    ):  # fmt: skip
        with pytest.raises(LinuxError):
            call(AT_FDCWD, *arguments)  # type: ignore
    with pytest.raises(LinuxError):
        files.rename(AT_FDCWD, b"file", AT_FDCWD, b"none/x")
    assert _descriptors() == before
    assert isinstance(files.get(folder), HostFile)


def test_random_paths_against_a_changing_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert path_stress.main(["--count", "2000", "--quiet"]) == 0, capsys.readouterr().out


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    before = _descriptors()
    with pytest.raises(PltvmError, match="none: No such file or directory"):
        Tree(tmp_path / "none")
    assert _descriptors() == before


def test_the_root_is_a_folder(root: Path) -> None:
    for bad in (root / "file", root / "none"):
        with pytest.raises(PltvmError):
            Tree(bad)


@pytest.mark.parametrize("form", ["/{}", "{}", "{}/.", "{}//"])
def test_a_real_path_may_have_empty_names(files: Files, root: Path, form: str) -> None:
    start = form.format(str(root).replace("/", "//"))
    assert _content(files, os.fsencode(f"{start}//a/..//file")) == b"inside"
    assert files.is_root(AT_FDCWD, os.fsencode(start))
