"""Records what the enclaves of machines run, from their first instruction on: see `Recorder.watch`.

Blocks are counted by eid, which is not reused until the machine is restored. The ELF of an eid is looked up
when the enclave ends, or when the machine is restored. When a machine is deleted, its counts are already
here.
"""

import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pltvm.build import guest, zig
from pltvm.coverage import lcov
from pltvm.coverage.blocks import BlockCounts
from pltvm.coverage.lcov import Files
from pltvm.coverage.module import Module
from pltvm.errors import ElfError
from pltvm.host import clients
from pltvm.host.elf_headers import Source, read_source
from pltvm.host.enclave import DriverEnclave
from pltvm.host.table import EnclaveTable
from pltvm.machine import Machine

Ran = Counter[tuple[int, int]]  # pc, bytes → times


class Found(NamedTuple):
    """The coverage of existing sources; and the names of files whose source was not found."""

    files: Files
    missing: tuple[str, ...]


class Recorder:
    """Records coverage of any number of machines.

    Sources are searched for in the folders that `folders_of` returns for the file of an ELF (None: given as
    bytes), in the ELF's folder and its parent, and in the current folder. Sources that come with pltvm are
    left out.
    """

    def __init__(self, folders_of: Callable[[Path | None], Iterable[Path]] = lambda _elf: ()) -> None:
        self._folders_of = folders_of
        self._ran: dict[bytes, Ran] = {}
        self._names: dict[bytes, Path] = {}  # of ELFs given as files
        self._watched: dict[int, _Watched] = {}
        self._contents: dict[tuple[object, ...], bytes] = {}

    def watch(self, machine: Machine) -> None:
        """Record what this machine runs; nothing may have run on it yet."""
        watched = _Watched(self, machine)
        self._watched[id(watched)] = watched
        weakref.finalize(machine, self._over, id(watched)).atexit = False

    def _over(self, number: int) -> None:
        self._watched.pop(number).settle()

    def add(self, elf: bytes, blocks: dict[tuple[int, int], int]) -> None:
        """Add counts of blocks of an ELF."""
        if elf:
            self._ran.setdefault(elf, Counter()).update(blocks)

    def content(self, path: Source) -> bytes:
        """Return the bytes of an ELF; those of a file are read now, as it may change later; b"" if it is
        gone."""
        if isinstance(path, bytes):
            return path
        try:
            about = os.stat(path)
            key = os.fspath(path), about.st_mtime_ns, about.st_size, about.st_ino
            if key not in self._contents:
                self._contents[key] = read_source(path)
                self._names.setdefault(self._contents[key], Path(os.path.abspath(path)))
        except (OSError, ElfError):
            return b""
        return self._contents[key]

    def modules(self) -> list[Module]:
        """Return the coverage of each ELF so far."""
        for watched in list(self._watched.values()):
            watched.settle()
        return [self._module(content, ran) for content, ran in self._ran.items()]

    def _module(self, content: bytes, ran: Ran) -> Module:
        path = self._names.get(content)
        folders = [*self._folders_of(path), *([path.parent, path.parent.parent] if path else [])]
        folders += [Path.cwd(), guest.guest_dir(), guest.guest_dir() / "examples"]
        return Module.of(content, _one_for_each_pc(ran), str(path or ""), folders)

    def found(self) -> Found:
        """Return the coverage of each source file so far."""
        return of_users(lcov.source_files(self.modules()))


class _Watched:
    """One recorded machine, which it does not keep alive."""

    def __init__(self, recorder: Recorder, machine: Machine) -> None:
        self._recorder = recorder
        self._counts = BlockCounts(machine)
        self._table: EnclaveTable = machine.driver.table
        self._elves: dict[int, bytes] = {}  # ELFs of ended enclaves, by eid
        self._table.on_removed.append(self._note)
        self._table.on_put_back.append(self.settle)

    def _note(self, enclave: DriverEnclave) -> None:
        if enclave.symbols is not None and enclave.client != clients.PROXY:
            self._elves[enclave.eid] = self._recorder.content(enclave.symbols.source)

    def settle(self) -> None:
        """Pass the counts to the recorder. Afterwards an eid may belong to another enclave."""
        for enclave in self._table.state.living.values():
            self._note(enclave)
        for eid, blocks in self._counts.take().items():
            if eid in self._elves:
                self._recorder.add(self._elves[eid], blocks)
        self._elves = {}


def _one_for_each_pc(ran: Ran) -> dict[int, tuple[int, int]]:
    """Return pc → (bytes, times), one block per pc. Of blocks with the same start, the part of a longer one
    after the end of a shorter one becomes another block."""
    blocks: dict[int, tuple[int, int]] = {}
    left = sorted(ran.items(), reverse=True)
    while left:
        (pc, size), count = left.pop()
        if pc not in blocks:
            blocks[pc] = size, count
            continue
        before, times = blocks[pc]
        short, long = min(size, before), max(size, before)
        blocks[pc] = short, count + times
        if long > short:
            left.append(((pc + short, long - short), count if size > before else times))
    return blocks


def of_users(files: Files) -> Found:
    """Return the files without those of pltvm or its compiler, and without missing ones."""
    left_out = [guest.guest_dir().resolve() / name for name in ("lib", "include", "proxy")]
    kept: Files = {}
    missing = []
    for name, file in files.items():
        path = Path(name)
        if name.startswith(f"{zig.COMPILER}/"):
            continue
        if not path.is_file():
            missing.append(name)
        elif not any(path.resolve().is_relative_to(folder) for folder in left_out):
            kept[name] = file
    return Found(kept, tuple(sorted(missing)))
