"""Random paths against a tree that changes meanwhile: `python -m tests.path_stress --count N --seed S`.

Calls as a Linux program makes them go over a tree while links, folders, pipes and the root itself are made,
swapped and renamed: in every other episode by a second thread, else between any two system calls of the file
layer, by the seed. Beside the root lie a folder and a file with a secret: they must stay as they are byte for
byte, nothing of them may be opened or seen, no pipe may be opened, and no descriptor left. Exit status 1 and
what was found otherwise.
"""

import argparse
import gc
import os
import random
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs.fifo import Fifo
from pltvm.host.linux.open_flags import O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_TMPFILE, O_TRUNC
from tests.changing_tree import FOLDERS, INSIDE, LINKS, NAMES, SECRET, Mover, World, waiting
from tests.opened_files import AT_FDCWD, Files
from tests.progress import Progress

EPISODE = 200  # calls on one tree: it gets poorer with them
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # three times as fast as a disk
_COMMON = [name.encode() for name in (*NAMES, *FOLDERS * 4, *LINKS, "loop", *[".."] * 2, ".", "")]
_ODD = (b"n" * 255, b"n" * 300, b"\xff\xfe", b"a\0b", b"x/" * 2100, b"\n", b"outside", b"secret", b"root")
_LENGTHS = (1, 2, 2, 2, 3, 3, 4, 6)
_CALLS = (
    *["open"] * 8, *["stat"] * 2, *["access"] * 2, "read_link", "unlink", "remove_folder",
    *["make_folder"] * 2, "rename", "is_root", "base", "make_node", "make_link", *["link"] * 2, "exchange",
    *["set_mode"] * 2, *["set_times"] * 2, "list", "truncate", "nameless",
)  # fmt: skip
_FLAGS = (O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW)


class Escape(Exception):
    """A call did what it must not do."""


class Caller:
    """Calls of a program: `counts` says how often each ended how."""

    def __init__(self, world: World, seed: str, counts: Counter[str]) -> None:
        self._world, self._random, self._counts = world, random.Random(seed), counts
        self._files = Files(world.root, lambda _text: None, lambda _size: b"", 0)
        self._folders: list[int] = []
        self._starts = [b"/", b"//", b"/proc/self/root/", b"/proc/self/cwd/"]
        self._starts += [os.fsencode(path) + b"/" for path in (world.root, world.outside, world.top)]
        self.last = ""

    def close(self) -> None:
        self._files.close_all()

    def path(self) -> bytes:
        """A path of random names."""
        choose = self._random
        length = choose.choice(_LENGTHS)
        names = [choose.choice(_COMMON if choose.random() < 0.97 else _ODD) for _ in range(length)]
        start = choose.choice(self._starts) if choose.random() < 0.08 else b""
        return start + b"/".join(names) + choose.choice((b"", b"", b"", b"", b"/", b"/."))

    def call(self) -> None:
        """One call; raises Escape."""
        kind = self._random.choice(_CALLS)
        directory = self._random.choice((AT_FDCWD, *self._folders))
        arguments = (directory, self.path())
        self.last = f"{kind} {arguments}"
        try:
            call = getattr(self, f"_{kind}", None) or getattr(self._files, kind)
            call(*arguments)
        except LinuxError as error:
            self._counts[f"{kind}: {os.strerror(error.number)}"] += 1
        else:
            self._counts[kind] += 1

    def _check(self, info: os.stat_result) -> None:
        if (info.st_dev, info.st_ino) in self._world.forbidden:
            raise Escape("reached what lies outside")

    def _open(self, directory: int, path: bytes) -> None:
        flags = self._random.randrange(3)
        for flag in _FLAGS:
            flags |= flag if self._random.random() < 0.15 else 0
        descriptor = self._files.open(directory, path, flags, 0o644)
        file = self._files.get(descriptor)
        if isinstance(file, Fifo):  # which was not opened
            self._files.close(descriptor)
            return
        assert isinstance(file, HostFile)
        self._check(file.info())
        with suppress(LinuxError):
            file.write(INSIDE)
        with suppress(LinuxError):
            if SECRET in file.read_at(100, 0):
                raise Escape("read a secret")
        self._files.close(descriptor)

    def _base(self, directory: int, path: bytes) -> None:
        """Keep a folder open, to start from."""
        self._folders.append(self._files.open(directory, path, O_DIRECTORY, 0))
        if len(self._folders) > 8:
            self._files.close(self._folders.pop(self._random.randrange(8)))

    def _stat(self, directory: int, path: bytes) -> None:
        with self._files.fs.find(self._files.base(directory), path, self._random.random() < 0.5) as place:
            self._check(place.state)

    def _access(self, directory: int, path: bytes) -> None:
        self._files.access(directory, path, self._random.randrange(8), self._random.random() < 0.5)

    def _make_folder(self, directory: int, path: bytes) -> None:
        self._files.make_folder(directory, path, 0o755)

    def _rename(self, directory: int, path: bytes) -> None:
        self._files.rename(directory, path, self._random.choice((AT_FDCWD, directory)), self.path())

    def _exchange(self, directory: int, path: bytes) -> None:
        other = self._random.choice((AT_FDCWD, directory))
        self._files.rename(directory, path, other, self.path(), self._random.choice((1, 2)))

    def _make_node(self, directory: int, path: bytes) -> None:
        kind = self._random.choice((stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR))
        self._files.make_node(directory, path, kind | 0o644)

    def _make_link(self, directory: int, path: bytes) -> None:
        self._files.make_link(directory, path, self._random.choice(self._starts) + self.path())

    def _link(self, directory: int, path: bytes) -> None:
        other = self._random.choice((AT_FDCWD, directory))
        self._files.link(directory, path, other, self.path(), self._random.random() < 0.5)

    def _set_mode(self, directory: int, path: bytes) -> None:
        self._files.set_mode(
            directory, path, self._random.choice((0o644, 0o755)), self._random.random() < 0.8
        )

    def _set_times(self, directory: int, path: bytes) -> None:
        self._files.set_times(directory, path, self._random.random() < 0.5)

    def _list(self, directory: int, path: bytes) -> None:
        descriptor = self._files.open(directory, path, O_DIRECTORY, 0)
        file = self._files.get(descriptor)
        try:
            if isinstance(file, HostFile):
                self._check(file.info())
            assert file.listing is not None
            file.listing.rest()
        finally:
            self._files.close(descriptor)

    def _truncate(self, directory: int, path: bytes) -> None:
        descriptor = self._files.open(directory, path, 1, 0)
        try:
            self._files.get(descriptor).truncate(self._random.randrange(10))
        finally:
            self._files.close(descriptor)

    def _nameless(self, directory: int, path: bytes) -> None:
        descriptor = self._files.open(directory, path, O_TMPFILE | O_DIRECTORY | 2, 0o600)
        try:
            self._files.get(descriptor).write(INSIDE)
        finally:
            self._files.close(descriptor)


def episode(top: Path, calls: int, seed: str, threads: bool, counts: Counter[str]) -> int:
    """`calls` calls on a new tree in the empty folder `top`; how many changes there were. Raises Escape."""
    world = World(top)
    open_before = len(os.listdir("/proc/self/fd"))
    mover = Mover(world, f"{seed}/mover")
    caller = Caller(world, seed, counts)
    try:
        with (
            waiting(world.kept / "read", os.O_RDONLY) as reader,
            waiting(world.kept / "write", os.O_WRONLY) as writer,
        ):
            with mover.thread() if threads else mover.between():
                for _ in range(calls):
                    caller.call()
            if not (reader() and writer()):
                raise Escape("opened a pipe")
    except Exception as error:
        error.add_note(f"in {caller.last}")
        raise
    finally:
        caller.close()
        mover.close()
    if world.look() != world.before:
        raise Escape("changed what lies outside")
    if len(os.listdir("/proc/self/fd")) != open_before:
        raise Escape("left descriptors open")
    return mover.steps


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true", help="no progress, no counts")
    options = parser.parse_args(arguments)

    gc.collect()  # what others have left must not close its descriptors while they are counted
    counts: Counter[str] = Counter()
    progress = Progress("calls", options.quiet, seconds=2)
    done = moves = number = 0
    while done < options.count:
        calls = min(EPISODE, options.count - done)
        top = Path(tempfile.mkdtemp(prefix="paths-", dir=IN_MEMORY))
        try:
            moves += episode(top, calls, f"{options.seed}/{number}", bool(number % 2), counts)
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            print(f"seed {options.seed}, within {calls:,} calls after {done:,}: {error!r} {notes}")
            return 1
        finally:
            shutil.rmtree(top)
        done, number = done + calls, number + 1
        progress.at(done)
    if not options.quiet:
        for what, count in sorted(counts.items()):
            print(f"{count:10,}  {what}")
    rate = progress.rate(done)
    print(
        f"{done:,} calls, seed {options.seed}, {moves:,} changes: nothing got out, {rate:,.0f} calls a second"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
