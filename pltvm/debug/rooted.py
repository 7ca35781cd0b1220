"""The files that a host program finds beneath its root: recorded while it runs, and made again for a replay.

The first walk that sees a name packs the file, before the program can change it: the content of a file, the
target of a link, the names in a folder. So the packed files are those of the start, as far as the program
reached them. Times and inode numbers are not included, as programs do not see the real ones.
"""

import os
import stat
from collections.abc import Callable
from errno import EACCES, EPERM
from pathlib import Path
from typing import Any, Final

from pltvm.debug.packed import MOST_BYTES
from pltvm.errors import PltvmError
from pltvm.host.linux.files.host import Key
from pltvm.host.linux.fs.filesystem import FileSystem

_MOST_ROWS: Final = 200_000
_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}
_PERMISSIONS: Final = 0o1777


class Finder:
    """Records what the walks of one file system see. `problem` is the reason if it is incomplete, else ""."""

    def __init__(self) -> None:
        self.rows: dict[bytes, dict[str, Any]] = {}  # by path from the root
        self.contents: list[bytes] = []
        self.problem = ""
        self.names: list[str] = []  # prefixes of the root's own path
        self._left = MOST_BYTES // 2
        self._folders: dict[Key, bytes] = {}  # their paths at the start

    def watch(self, fs: FileSystem) -> None:
        """Record the walks of a file system from now on."""
        tree = fs.tree
        self.names = [os.fsdecode(name) for name in tree.all_names()]
        look = tree.look

        def looked(name: bytes, folder: int) -> int:
            found = look(name, folder)
            above = self._folders.get(_key(os.fstat(folder)))
            if above is not None:  # otherwise the program has made it
                row = self.rows.get(b"/".join(filter(None, (above, name))))
                if row is not None and "mode" not in row:
                    self._see(found, row)
            return found

        tree.look = looked
        root = tree.open_root()
        self._see(root, self._row(b"", stat.S_IFDIR))
        os.close(root)

    def _see(self, descriptor: int, row: dict[str, Any]) -> None:
        """Pack a file whose row exists already, as its folder was listed."""
        info, inside = os.fstat(descriptor), os.fsencode(row["path"])
        row["mode"] = info.st_mode & _PERMISSIONS
        try:
            if stat.S_ISLNK(info.st_mode):
                row["to"] = os.fsdecode(os.readlink(b"", dir_fd=descriptor))
            elif stat.S_ISREG(info.st_mode):
                self._pack(row, descriptor, info.st_size)
            elif stat.S_ISDIR(info.st_mode):
                self._folders[_key(info)] = inside
                self._list(inside, descriptor)
        except OSError as error:  # the program will get the same error
            if error.errno not in (EACCES, EPERM):
                self.problem = self.problem or f"{os.fsdecode(inside) or '.'}: {error.strerror}"
            row["unreadable"] = True

    def _row(self, inside: bytes, kind: int) -> dict[str, Any]:
        if len(self.rows) >= _MOST_ROWS:
            self.problem = f"more than {_MOST_ROWS} files"
            return {"path": ""}
        return self.rows.setdefault(inside, {"path": os.fsdecode(inside), "kind": _KINDS.get(kind, "other")})

    def _pack(self, row: dict[str, Any], descriptor: int, size: int) -> None:
        if size > self._left:
            self.problem = f"more than {MOST_BYTES >> 21} MiB of files"
            return
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            content = file.read(size)
        self._left -= len(content)
        row["content"] = len(self.contents)
        self.contents.append(content)

    def _list(self, inside: bytes, descriptor: int) -> None:
        opened = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(opened) as entries:
                for one in entries:
                    kind = stat.S_IFMT(one.stat(follow_symlinks=False).st_mode)
                    self._row(b"/".join(filter(None, (inside, os.fsencode(one.name)))), kind)
        finally:
            os.close(opened)

    def table(self) -> list[dict[str, Any]]:
        """Return all rows, folders before their contents."""
        return [
            {"path": "", "kind": "root", "names": self.names},
            *(row for _, row in sorted(self.rows.items())),
        ]


def make_again(rows: list[dict[str, Any]], contents: list[bytes], root: Path) -> Callable[[FileSystem], None]:
    """Make the files beneath a new folder; return a function to prepare the program's file system.

    Raises PltvmError for rows that lead outside, or if files cannot be made.
    """
    base = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    names: list[bytes] = []
    modes: list[tuple[list[bytes], int]] = []
    try:
        for row in rows:
            if row.get("kind") == "root":
                names = [os.fsencode(str(name)) for name in row.get("names", [])][:2]
            else:
                _make(base, row, contents, modes)
        for parts, mode in reversed(modes):
            folder, name = _folder_of(base, parts)
            os.chmod(name, mode | 0o700, dir_fd=folder)
            os.close(folder)
    except (OSError, ValueError, TypeError, IndexError, KeyError) as error:
        raise PltvmError(f"what is recorded of its folder cannot be made: {error}") from None
    finally:
        os.close(base)

    def tell(fs: FileSystem) -> None:
        fs.tree.also_known_as(names)

    return tell


def _key(info: os.stat_result) -> Key:
    return info.st_dev, info.st_ino


def _folder_of(base: int, parts: list[bytes]) -> tuple[int, bytes]:
    """Return the folder of a path, opened name by name without following links, and its last name."""
    folder = os.dup(base)
    for part in parts[:-1]:
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        os.close(folder)
        folder = below
    return folder, parts[-1]


def _make(
    base: int, row: dict[str, Any], contents: list[bytes], modes: list[tuple[list[bytes], int]]
) -> None:
    path = os.fsencode(str(row["path"]))
    parts = path.split(b"/")
    if not path:
        return
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise ValueError(f"{os.fsdecode(path)!r} is no path beneath it")
    folder, name = _folder_of(base, parts)
    try:
        mode = int(row.get("mode", 0o644)) & _PERMISSIONS
        match row["kind"]:
            case "folder":
                os.mkdir(name, 0o700, dir_fd=folder)
                modes.append((parts, mode))
            case "link":
                os.symlink(str(row.get("to", "")) or "nowhere", name, dir_fd=folder)
            case "fifo":
                os.mkfifo(name, mode, dir_fd=folder)
            case _:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
                    if "content" in row:
                        file.write(contents[int(row["content"])])
                    os.fchmod(file.fileno(), 0 if row.get("unreadable") else mode)
    finally:
        os.close(folder)
