"""Where the paths of a Linux program lead: step by step through a folder that they never leave.

The kernel is asked for one name in one open folder at a time and follows no link: each step opens the name
with O_PATH | O_NOFOLLOW, which has no effect on whatever is there. A link is read from the descriptor of the
link itself and walked here; `..` counts only where it leads to a folder beneath the root. What the walk ends
with are descriptors, so whoever renames or links meanwhile changes other walks, not the outcome of this one.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final
from weakref import finalize

from pltvm.errors import PltvmError
from pltvm.host.linux.errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, LinuxError, linux_errors

LONGEST_PATH: Final = 4095  # bytes, as PATH_MAX without the NUL
MOST_LINKS: Final = 40
DEEPEST: Final = 4096  # folders from an open one up to the root
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_Id = tuple[int, int]  # device and inode: the same file


@dataclass
class Place:
    """Where a path ends: `name` in the open folder `folder`, and what was there when the walk came by.

    `found` is its descriptor (O_PATH) and `info` its state, both None when nothing was there. A path that
    ends in the folder itself has the name `.`. Descriptors are closed at the end of a `with`.
    """

    folder: int
    name: bytes
    found: int | None
    info: os.stat_result | None

    @property
    def kind(self) -> int:
        """What is there, as S_IFREG …; raises LinuxError(ENOENT)."""
        return stat.S_IFMT(self.state.st_mode)

    @property
    def state(self) -> os.stat_result:
        """The state of what is there; raises LinuxError(ENOENT)."""
        if self.info is None:
            raise LinuxError(ENOENT)
        return self.info

    @property
    def itself(self) -> str:
        """A path of this process to exactly what was found, whatever has its name by now."""
        return f"/proc/self/fd/{self.found}"

    @linux_errors
    def link(self) -> bytes:
        """Where the link that was found points to."""
        return os.readlink(b"", dir_fd=self.found)

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.folder)
        if self.found is not None:
            os.close(self.found)


class Tree:
    """The folder `root` and all beneath it, by descriptor: it may be renamed. Raises PltvmError."""

    def __init__(self, root: Path) -> None:
        try:
            self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.close = finalize(self, os.close, self._root)
            self.id = _identity(os.fstat(self._root))
            real = os.readlink(f"/proc/self/fd/{self._root}")
        except OSError as error:
            raise PltvmError(f"{error.filename or root}: {error.strerror}") from None
        self._names = {_names(os.fsencode(path)) for path in (real, os.path.abspath(root))}
        # What the kernel shows of itself is no file: reading may block, and writing changes this process.
        self._kernels = {os.stat(path).st_dev for path in ("/proc", "/sys") if os.path.ismount(path)}

    @linux_errors
    def find(self, base: int | None, path: bytes, follow: bool = True) -> Place:
        """Walk `path` from the open folder `base` (None: the root); a link at its end counts if `follow`.

        A path with a slash at its end leads to a folder, and through a link. Raises LinuxError: EACCES for a
        way out of the root.
        """
        if not path:
            raise LinuxError(ENOENT)
        if len(path) > LONGEST_PATH:
            raise LinuxError(ENAMETOOLONG)
        walk = _Walk(self, base)
        try:
            walk.push(path, from_guest=True)
            return walk.go(follow)
        except BaseException:
            os.close(walk.folder)
            raise

    def inside(self, path: bytes, from_guest: bool) -> bytes:
        """An absolute path as one from the root on.

        The program's own start at the root, or are the real path of something beneath it. A link was made by
        somebody who sees the real file system, so it has to lead beneath the root there.
        """
        names = _names(path)
        for root in self._names:
            if names[: len(root)] == root:
                rest = names[len(root) :]
                slash = b"/" if path.endswith((b"/", b"/.")) else b""
                return b"/".join(rest) + slash if rest else b"."
        if not from_guest:
            raise LinuxError(EACCES)
        return path.lstrip(b"/") or b"."

    def open_root(self) -> int:
        """Another descriptor for the root."""
        return os.dup(self._root)

    def check(self, info: os.stat_result) -> None:
        """Raises LinuxError(EACCES) for what the kernel shows of itself."""
        if info.st_dev in self._kernels:
            raise LinuxError(EACCES)

    def way_up(self, folder: int) -> set[_Id]:
        """The folders from an open one up to the root; raises LinuxError(EACCES) if there is no way."""
        seen: set[_Id] = set()
        at = os.dup(folder)
        try:
            while len(seen) < DEEPEST:
                here = _identity(os.fstat(at))
                if here in seen:  # the top of the file system is in itself
                    break
                seen.add(here)
                if here == self.id:
                    return seen
                above = os.open(b"..", _LOOK, dir_fd=at)
                os.close(at)
                at = above
        finally:
            os.close(at)
        raise LinuxError(EACCES)


class _Walk:
    """One walk: the folder it is in, the names still to go, last first, and folders known to be beneath."""

    def __init__(self, tree: Tree, base: int | None) -> None:
        self._tree = tree
        self._known = {tree.id} if base is None else tree.way_up(base)
        self._todo: list[bytes] = []
        self._links = 0
        self.folder = tree.open_root() if base is None else os.dup(base)

    def push(self, path: bytes, from_guest: bool = False) -> None:
        """Go this way next."""
        if path.startswith(b"/"):
            self._enter(self._tree.open_root())
            path = self._tree.inside(path, from_guest)
        names = [name for name in path.split(b"/") if name]
        if path.endswith(b"/"):
            names.append(b".")
        self._todo += reversed(names)

    def go(self, follow: bool) -> Place:
        """Walk all of it; the place at its end takes over the descriptors."""
        while self._todo:
            name = self._todo.pop()
            if name == b"..":
                self._up()
            elif name != b".":
                place = self._step(name, follow)
                if place is not None:
                    return place
        here = os.dup(self.folder)
        return Place(self.folder, b".", here, os.fstat(here))

    def _step(self, name: bytes, follow: bool) -> Place | None:
        """One name on; the place if the walk ends there."""
        try:
            found = os.open(name, _LOOK, dir_fd=self.folder)
        except FileNotFoundError:
            if self._todo:
                raise
            return Place(self.folder, name, None, None)
        try:
            info = os.fstat(found)
            self._tree.check(info)
            if stat.S_ISLNK(info.st_mode) and (self._todo or follow):
                self._links += 1
                if self._links > MOST_LINKS:
                    raise LinuxError(ELOOP)
                self.push(os.readlink(b"", dir_fd=found))
            elif not self._todo:
                place = Place(self.folder, name, found, info)
                found = -1
                return place
            elif not stat.S_ISDIR(info.st_mode):
                raise LinuxError(ENOTDIR)
            else:
                self._known.add(_identity(info))
                self._enter(found)
                found = -1
            return None
        finally:
            if found >= 0:
                os.close(found)

    def _up(self) -> None:
        """To the folder above; raises LinuxError(EACCES) if it is not beneath the root, or the root."""
        above = os.open(b"..", _LOOK, dir_fd=self.folder)
        self._enter(above)
        if _identity(os.fstat(above)) not in self._known:
            self._known |= self._tree.way_up(above)

    def _enter(self, folder: int) -> None:
        os.close(self.folder)
        self.folder = folder


def _identity(info: os.stat_result) -> _Id:
    return info.st_dev, info.st_ino


def _names(path: bytes) -> tuple[bytes, ...]:
    return tuple(name for name in path.split(b"/") if name not in (b"", b"."))
