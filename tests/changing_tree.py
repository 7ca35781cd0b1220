"""A folder that changes all the time, for `path_stress`: the root of a program, and what lies beside it."""

import os
import random
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECRET, INSIDE = b"a secret", b"inside"
NAMES = ("a", "b", "c")
FOLDERS = ("x", "y")
LINKS = ("l", "m")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
LOOKS = (os.dup, os.fstat, os.readlink)
REAL_OPEN = os.open
SYSTEM_CALLS = (
    "open", "dup", "fstat", "readlink", "access", "unlink", "rmdir", "mkdir", "rename", "symlink", "link",
    "mknod", "chmod", "utime", "stat", "scandir", "ftruncate",
)  # fmt: skip
NAME_IS_SECOND = ("symlink", "link")


class World:
    """A folder with the root in it, what lies outside, and pipes and a socket to link into the root."""

    def __init__(self, top: Path) -> None:
        self.top, self.root, self.outside = top, top / "root", top / "outside"
        self.kept = top / "kept"
        self.kept.mkdir(parents=True)
        for top_folder, content in ((self.root, INSIDE), (self.outside, SECRET)):  # alike, so that names meet
            for name in ("", "x", "y", "x/y"):
                folder = top_folder / name
                (folder / "c").mkdir(parents=True)
                for file in "ab":
                    (folder / file).write_bytes(content)
        (self.top / "secret").write_bytes(SECRET)
        os.mkfifo(self.kept / "read")
        os.mkfifo(self.kept / "write")
        with socket.socket(socket.AF_UNIX) as server:
            folder = os.open(self.kept, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{folder}/socket")  # the path itself may be too long for a socket
            os.close(folder)
        self.targets = (
            "loop", "..", "../outside", "../../outside", str(self.outside), "a/../../outside", "x", "y", "/",
            ".", "b", "c", "x/../..", str(self.root), f"{self.root}/x", "../root", "../secret", "nothing",
            "/proc/self/root", "/proc/self/cwd", "x/new", "../outside/new", "loop/../b", "x/y", "../x", "y/a",
        )  # fmt: skip
        self.before = self.look()
        self.forbidden = {(line[1], line[2]) for line in self.before}

    def look(self) -> list[tuple[object, ...]]:
        """Everything outside the root: name, identity, kind, size, time of change, content."""
        lines: list[tuple[object, ...]] = []
        for folder, _, names in os.walk(self.outside):
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                lines.append(self._line(path))
        lines.append(self._line(self.top / "secret"))
        others = {path.name for path in self.top.iterdir()} - {"root", "moved"}
        return [*sorted(lines), (*sorted(others), self._line(self.top)[1], 0, 0)]

    def _line(self, path: Path) -> tuple[object, ...]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        changed = 0 if path == self.top else info.st_mtime_ns
        return str(path), info.st_dev, info.st_ino, info.st_mode, info.st_nlink, changed, content


class Mover:
    """The one who changes the tree. It acts on single names in open folders, so it never leaves the root."""

    def __init__(self, world: World, seed: str) -> None:
        self._world, self._random = world, random.Random(seed)
        self._folders: list[int] = []
        self._open = [os.open(path, FOLDER) for path in (world.root, world.top, world.kept)]
        self._root_folder, self._top, self._kept = self._open
        self._actions = (
            *[self._link] * 3, *[self._swap] * 5, *[self._file] * 2, *[self._folder] * 4, self._rename,
            self._pipe, self._root,
        )  # fmt: skip
        self._undo: Callable[[], None] | None = None
        self._hot: list[tuple[str, int]] = []  # what was looked at just now: names, and the folders with them
        self.steps = 0
        self._look()
        for _ in range(20):
            with suppress(OSError):
                self._link()

    def step(self) -> None:
        """One change, or taking the one before back."""
        self.steps += 1
        undo, self._undo = self._undo, None
        self._look()
        with suppress(OSError):
            (undo or self._random.choice(self._actions))()

    def _look(self) -> None:
        """Open the folders that are there now."""
        while len(self._folders) > 1:
            os.close(self._folders.pop())
        self._folders = [self._root_folder]
        for name in FOLDERS:
            with suppress(OSError):
                self._folders.append(os.open(name, FOLDER, dir_fd=self._random.choice(self._folders)))

    def close(self) -> None:
        if self._undo:
            self.step()
        for folder in (*self._open, *self._folders[1:], *(folder for _, folder in self._hot)):
            os.close(folder)

    def _notice(self, name: object, folder: int | None) -> None:
        """A system call is about to look at a name in a folder: a good place for a change."""
        if folder is None or folder < 0 or not isinstance(name, bytes) or name in (b"", b".."):
            return
        if b"\0" in name or b"/" in name:
            return
        self._hot.append((os.fsdecode(name), os.dup(folder)))
        if len(self._hot) > 3:
            os.close(self._hot.pop(0)[1])

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Steps in a thread of its own."""
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                self.step()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def between(self) -> Iterator[None]:
        """Steps between any two system calls of this thread, by the seed: what a thread seldom hits."""
        busy = False

        def moved(call: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*arguments: Any, **options: Any) -> Any:
                nonlocal busy
                if not busy:
                    busy = True
                    name = arguments[call.__name__ in NAME_IS_SECOND] if arguments else None
                    folders = [options.get(one) for one in ("dir_fd", "src_dir_fd", "dst_dir_fd")]
                    self._notice(name, next((one for one in folders if one is not None), None))
                    looks = call in LOOKS or (call is REAL_OPEN and arguments[1] & os.O_PATH)
                    if self._random.random() < (0.05 if looks else 0.5):
                        self.step()
                    busy = False
                return call(*arguments, **options)

            return stepped

        calls = {name: getattr(os, name) for name in SYSTEM_CALLS}
        try:
            for name, call in calls.items():
                setattr(os, name, moved(call))
            yield
        finally:
            for name, call in calls.items():
                setattr(os, name, call)

    def _place(self, *names: str) -> tuple[str, int]:
        if self._hot and self._random.random() < 0.5:
            return self._random.choice(self._hot)
        names = names or (*NAMES, *FOLDERS, *LINKS, "loop")
        return self._random.choice(names), self._random.choice(self._folders)

    def _link(self) -> None:
        name, folder = self._place()
        target = self._random.choice((*self._world.targets, *[f"{self._world.outside}/new"] * 5))
        os.symlink(target, ".new", dir_fd=folder)
        try:
            os.rename(".new", name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(".new", dir_fd=folder)

    def _swap(self) -> None:
        """A link in place of something, until the next step."""
        name, folder = self._place(*FOLDERS)
        os.rename(name, ".old", src_dir_fd=folder, dst_dir_fd=folder)
        folder = os.dup(folder)

        def undo() -> None:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            try:
                os.rename(".old", name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                os.close(folder)

        self._undo = undo
        outside = self._world.outside
        target = self._random.choice((*self._world.targets, *[str(outside), f"{outside}/x"] * 12))
        os.symlink(target, name, dir_fd=folder)

    def _file(self) -> None:
        name, folder = self._place()
        new = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=folder)
        os.write(new, INSIDE)
        os.close(new)

    def _folder(self) -> None:
        """A folder with something in it."""
        _, folder = self._place()
        name = self._random.choice(FOLDERS)
        os.mkdir(name, dir_fd=folder)
        made = os.open(name, FOLDER, dir_fd=folder)
        try:
            for file in "ab":
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=made))
        finally:
            os.close(made)

    def _rename(self) -> None:
        (old, source), (new, target) = self._place(), self._place()
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)

    def _pipe(self) -> None:
        name, folder = self._place()
        kind = self._random.choice(("read", "write", "socket"))
        os.link(kind, name, src_dir_fd=self._kept, dst_dir_fd=folder, follow_symlinks=False)

    def _root(self) -> None:
        os.rename("root", "moved", src_dir_fd=self._top, dst_dir_fd=self._top)
        self._undo = lambda: os.rename("moved", "root", src_dir_fd=self._top, dst_dir_fd=self._top)


@contextmanager
def waiting(path: Path, how: int) -> Iterator[Callable[[], bool]]:
    """Somebody who waits for the other end of a pipe; gives whether they still do."""
    thread = threading.Thread(target=lambda: os.close(os.open(path, how)), daemon=True)
    thread.start()
    try:
        yield thread.is_alive
    finally:
        while thread.is_alive():
            os.close(os.open(path, os.O_RDWR))  # lets it go
            thread.join(0.01)
