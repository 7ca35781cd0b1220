"""Resolves the paths of a Linux program, name by name, without ever leaving the root folder.

The kernel looks up one name in one open folder at a time and follows no link: each step opens the name with
O_PATH | O_NOFOLLOW, which has no effect on the file. A link is read from the descriptor of the link itself
and walked here; `..` is allowed only if it leads to a folder beneath the root. The result of a walk are
descriptors, so renames and links made meanwhile affect other walks, not the result of this one.

Internal names (`nodes`), which are on no disk, take precedence over those of the root: a walk is in a folder
of the root, in one of nodes, or in both if they have the same path.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV
from pathlib import Path
from typing import Final
from weakref import finalize

from pltvm.errors import PltvmError
from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs.nodes import Folder, Link, Node, NodeFile, Opened
from pltvm.host.linux.fs.place import Place
from pltvm.host.linux.fs.shm import SharedFolder

LONGEST_PATH: Final = 4095  # bytes, as PATH_MAX without the NUL
MOST_LINKS: Final = 40
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED = 1, 2, 4, 8, 16, 32  # RESOLVE_… of openat2
DEEPEST: Final = 4096  # folders from an open one up to the root
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_Id = tuple[int, int]  # device and inode: the same file


class Tree:
    """The folder `root` and everything beneath it, by descriptor: it may be renamed. Raises PltvmError.

    `nodes` is the folder of internal files.
    """

    def __init__(self, root: Path) -> None:
        self.nodes = Folder(b"/")
        try:
            self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.close = finalize(self, os.close, self._root)
            self.id = _identity(os.fstat(self._root))
            real = os.readlink(f"/proc/self/fd/{self._root}")
        except OSError as error:
            raise PltvmError(f"{error.filename or root}: {error.strerror}") from None
        self._names = {_names(os.fsencode(path)) for path in (real, os.path.abspath(root))}
        self._real = os.fsencode(real)
        self.look = _look  # a replacement sees each name of a walk
        # Files of the kernel (/proc and others): reading may block, and writing changes this process.
        self._kernels = {os.stat(path).st_dev for path in ("/proc", "/sys") if os.path.ismount(path)}

    @linux_errors
    def find(self, base: "int | Folder | None", path: bytes, follow: bool = True, resolve: int = 0) -> Place:
        """Walk `path` from the open folder `base` (None: the root); a link at its end counts if `follow`.

        A path with a slash at its end leads to a folder, and through a link. Raises LinuxError: EACCES for a
        path out of the root. `resolve` has restrictions (RESOLVE_…).
        """
        if not path:
            raise LinuxError(ENOENT)
        if len(path) > LONGEST_PATH:
            raise LinuxError(ENAMETOOLONG)
        walk = _Walk(self, base, resolve)
        try:
            walk.push(path, from_guest=True)
            return walk.go(follow)
        except BaseException:
            walk.close()
            raise

    def inside(self, path: bytes, from_guest: bool) -> bytes:
        """Return an absolute path relative to the root.

        The program's own paths start at the root, or are real paths beneath it. A link on the disk contains a
        path of the real file system, so it has to lead beneath the root there.
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

    def has(self, path: bytes) -> bool:
        """Whether the first name of an absolute path exists beneath the root, as in links of a folder that
        was made to be the root of a system."""
        names = _names(path)
        if not names:
            return False
        try:
            os.stat(names[0], dir_fd=self._root, follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return True

    @property
    def real(self) -> bytes:
        """The real path of the root, as it was at the start."""
        return self._real

    def all_names(self) -> list[bytes]:
        """The prefixes that absolute paths may have, sorted."""
        return sorted(b"/" + b"/".join(names) for names in self._names)

    def also_known_as(self, paths: Iterable[bytes]) -> None:
        """Allow these prefixes of absolute paths too."""
        self._names |= {_names(path) for path in paths if path.startswith(b"/")}

    def outside(self, path: bytes) -> bytes:
        """Return an absolute path of a program as a real path."""
        inside = self.inside(path, from_guest=True)
        return self._real.rstrip(b"/") + b"/" + (b"" if inside == b"." else inside)

    def seen(self, target: bytes) -> bytes:
        """Return a link's target as the program sees it: a path from the root if it is beneath the root."""
        if not target.startswith(b"/"):
            return target
        try:
            inside = self.inside(target, from_guest=False)
        except LinuxError:
            return target
        return b"/" + (b"" if inside == b"." else inside)

    @linux_errors
    def path_of(self, descriptor: int) -> bytes:
        """Return the path of a descriptor from the root; LinuxError(EACCES) if it is not beneath it now."""
        path = os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}"))
        root = os.fsencode(os.readlink(f"/proc/self/fd/{self._root}")).rstrip(b"/")
        if path != root and not path.startswith(root + b"/"):
            raise LinuxError(EACCES)
        return path[len(root) :] or b"/"

    def open_root(self) -> int:
        """Return a new descriptor for the root."""
        return os.dup(self._root)

    def node(self, path: bytes) -> Folder:
        """Return the folder of nodes with this path."""
        at = self.nodes
        for name in _names(path):
            next_one = at.child(name)
            if not isinstance(next_one, Folder):
                raise LinuxError(ENOENT)
            at = next_one
        return at

    def beneath(self, node: Node) -> int:
        """Open the folder of the root that has the path of a node, without following links; −1 for none."""
        at = os.dup(self._root)
        try:
            for name in _names(node.path):
                below = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
                self.check(os.fstat(at))
        except (OSError, LinuxError):
            os.close(at)
            return -1
        return at

    def node_over(self, identity: _Id) -> Folder | None:
        """Return the folder of nodes over this folder of the root, if it is directly in the root."""
        for node in self.nodes.nodes.values():
            try:
                info = os.stat(node.path[1:], dir_fd=self._root, follow_symlinks=False)
            except OSError:
                continue
            if _identity(info) == identity and isinstance(node, Folder):
                return node
        return None

    def check(self, info: os.stat_result) -> None:
        """Raise LinuxError(EACCES) for files of the kernel, such as /proc."""
        if info.st_dev in self._kernels:
            raise LinuxError(EACCES)

    def way_up(self, folder: int) -> set[_Id]:
        """Return the folders from an open one up to the root; raises LinuxError(EACCES) if it is not beneath
        it."""
        if _identity(os.fstat(folder)) == self.id:  # most walks begin at the root
            return {self.id}
        seen: set[_Id] = set()
        at = os.dup(folder)
        try:
            while len(seen) < DEEPEST:
                here = _identity(os.fstat(at))
                if here in seen:  # the top of the file system is its own parent
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
    """One walk: its present folder (−1: none on the disk), its folder of nodes, the remaining names, last
    first, and folders known to be beneath the root."""

    def __init__(self, tree: Tree, base: int | Folder | None, resolve: int = 0) -> None:
        self._tree = tree
        self._resolve = resolve
        self._base = base
        self._todo: list[bytes] = []
        self._links = 0
        self._node: Folder | None = None
        self._known = {tree.id}
        if isinstance(base, int):
            self._known |= tree.way_up(base)
            self.folder = os.dup(base)
            if len(self._known) == 1:
                self._node = tree.nodes
        else:
            self.folder, self._node = tree.open_root(), tree.nodes
            if base is not None and base is not tree.nodes:
                self._enter_node(base)

    def close(self) -> None:
        """Close its descriptors."""
        if self.folder >= 0:
            os.close(self.folder)

    def push(self, path: bytes, from_guest: bool = False) -> None:
        """Walk this path next."""
        if path.startswith(b"/"):
            if self._resolve & BENEATH:
                raise LinuxError(EXDEV)
            self._go_to_root()
            if not self._resolve & IN_ROOT:
                path = self._tree.inside(path, from_guest or self._tree.has(path))
            elif not from_guest:
                path = self._tree.seen(path)
        names = [name for name in path.split(b"/") if name]
        if path.endswith(b"/"):
            names.append(b".")
        self._todo += reversed(names)

    def go(self, follow: bool) -> Place:
        """Walk to the end; the returned place takes over the descriptors."""
        while self._todo:
            name = self._todo.pop()
            if name == b"..":
                self._up()
            elif name != b".":
                node = self._node_called(name)
                place = self._step(name, follow) if node is None else self._step_node(node, name, follow)
                if place is not None:
                    return place
        if self._node is not None and self._node is not self._tree.nodes:
            return Place(self.folder, b".", node=self._node)
        here = os.dup(self.folder)
        return Place(self.folder, b".", here, os.fstat(here))

    def _step(self, name: bytes, follow: bool) -> Place | None:
        """Walk one name; return the place if the walk ends there."""
        if self.folder < 0:
            if self._todo:
                raise LinuxError(ENOENT)
            return Place(-1, name, above=self._node if isinstance(self._node, SharedFolder) else None)
        try:
            found = self._tree.look(name, self.folder)
        except FileNotFoundError:
            if self._todo:
                raise
            return Place(self.folder, name)
        try:
            info = os.fstat(found)
            self._tree.check(info)
            if stat.S_ISLNK(info.st_mode) and (self._todo or follow):
                self._count_link()
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

    def _count_link(self) -> None:
        self._links += 1
        if self._links > MOST_LINKS or self._resolve & NO_SYMLINKS:
            raise LinuxError(ELOOP)

    def _go_to_root(self) -> None:
        """Go to the start of absolute paths."""
        if self._resolve & IN_ROOT and isinstance(self._base, int):
            self._enter(os.dup(self._base))
            return
        self._enter(self._tree.open_root(), self._tree.nodes)

    def _is_at_base(self) -> bool:
        """Whether the walk is at its start."""
        if isinstance(self._base, int):
            return self.folder >= 0 and _identity(os.fstat(self.folder)) == _identity(os.fstat(self._base))
        return self._node is (self._base or self._tree.nodes)

    def _up(self) -> None:
        """Go to the parent folder; the root is its own parent. LinuxError(EACCES) if it is not beneath the
        root."""
        if self._resolve & (BENEATH | IN_ROOT) and self._is_at_base():
            if self._resolve & BENEATH:
                raise LinuxError(EXDEV)
            return
        if self._node is not None and self._node is not self._tree.nodes:
            self._enter_node(self._tree.node(self._node.path.rsplit(b"/", 1)[0]))
            return
        if _identity(os.fstat(self.folder)) == self._tree.id:
            return
        above = os.open(b"..", _LOOK, dir_fd=self.folder)
        self._enter(above)
        identity = _identity(os.fstat(above))
        if identity not in self._known:
            self._known |= self._tree.way_up(above)
        self._node = self._tree.nodes if identity == self._tree.id else self._tree.node_over(identity)

    def _enter(self, folder: int, node: Folder | None = None) -> None:
        self.close()
        self.folder, self._node = folder, node

    # -- nodes ---------------------------------------------------------------------------------------------

    def _node_called(self, name: bytes) -> Node | None:
        """Return the node of this name, or None. At the end of a path, a file of the root itself hides it."""
        node = self._node.child(name) if self._node is not None else None
        if node is not None and self._node is self._tree.nodes and not self._todo:
            with suppress(FileNotFoundError):
                info = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
                return node if stat.S_ISDIR(info.st_mode) else None
        return node

    def _step_node(self, node: Node, name: bytes, follow: bool) -> Place | None:
        """Go to a node; return the place if the walk ends there."""
        if isinstance(node, Link) and (self._todo or follow):
            self._count_link()
            self.push(node.target(), from_guest=True)
            return None
        if isinstance(node, Opened) and (self._todo or follow):
            if self._resolve & (NO_MAGICLINKS | NO_SYMLINKS):
                raise LinuxError(ELOOP)
            if self._resolve & (BENEATH | IN_ROOT):
                raise LinuxError(EXDEV)
            if not self._todo:
                return Place(self.folder, name, node=node.followed())
            self._enter_opened(node)
            return None
        if not self._todo:
            return Place(self.folder, name, node=node)
        if not isinstance(node, Folder):
            raise LinuxError(ENOTDIR)
        self._enter_node(node)
        return None

    def _enter_node(self, node: Folder) -> None:
        if self._resolve & NO_XDEV:
            raise LinuxError(EXDEV)
        if node is self._tree.nodes:
            self._enter(self._tree.open_root(), node)
            return
        folder = self._tree.beneath(node) if not isinstance(node, SharedFolder) else -1
        self._enter(folder, node)
        if folder >= 0:
            self._known.add(_identity(os.fstat(folder)))

    def _enter_opened(self, node: Opened) -> None:
        """Go to an open folder, wherever it is by now."""
        file = node.file
        if isinstance(file, NodeFile) and isinstance(file.node, Folder):
            self._enter_node(file.node)
        elif isinstance(file, HostFile) and file.is_folder:
            self._count_link()
            known = self._tree.way_up(file.descriptor)
            self._known |= known
            self._enter(os.dup(file.descriptor), self._tree.nodes if len(known) == 1 else None)
        else:
            raise LinuxError(ENOTDIR)


def _look(name: bytes, folder: int) -> int:
    """Return a descriptor of a name in an open folder; links are not followed."""
    return os.open(name, _LOOK, dir_fd=folder)


def _identity(info: os.stat_result) -> _Id:
    return info.st_dev, info.st_ino


def _names(path: bytes) -> tuple[bytes, ...]:
    return tuple(name for name in path.split(b"/") if name not in (b"", b"."))
