"""Mutated ELFs through everything that loads one: `python -m tests.elf_stress --count N --seed S`.

Every example, attack and host program is a seed. A mutant has flipped bits or changed fields of its headers,
is cut off, or has a part of another file in it. Nothing but PltvmError may come out of a loader, none may
hang, and neither the process nor the guest's memory may grow. Mutant K of a seed is always the same one:
`--first K --count 1` makes it again. Exit status 1, and what to run, for each that is wrong.
"""

import argparse
import faulthandler
import os
import random
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pltvm import Machine
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import PltvmError
from pltvm.fuzz.options import ENCLAVE, SERVER, Options
from pltvm.fuzz.worker import open_target
from pltvm.host.elf import load_image
from pltvm.host.elf_info import describe
from pltvm.host.elf_kind import Kind, decide
from pltvm.host.interrupts import Watch
from pltvm.host.linux.files.host import Image
from pltvm.host.linux.program import load_program
from pltvm.host.linux.space import Space
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import EnclaveType
from tests.progress import Progress

RAM: Final = 48 << 20  # bytes
LIMIT: Final = 0.01  # seconds that a mutant runs
HANG: Final = 300.0  # seconds of one mutant, after which it counts as a hang
GROWTH: Final = 96 << 20  # bytes that the process may grow by, after the first WARM mutants
WARM: Final = 300
EPISODE: Final = 400  # mutants on one machine
MEASURED: Final = 64  # pages: the digest of more takes too long
EDGES: Final = (0, 1, 2, 3, 7, 8, 63, 64, 0xFF, 0xFFF, 0x1000, 0x1001, 0xFFFF, 0x10000, 1 << 31, 0xFFFFFFFF,
                1 << 36, 1 << 38, 1 << 39, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1)  # fmt: skip
# Fields of the ELF header, a program header and a section header: offset and bytes.
EHDR: Final = ((4, 1), (5, 1), (16, 2), (18, 2), (24, 8), (32, 8), (40, 8), (48, 4), (52, 2), (54, 2),
               (56, 2), (58, 2), (60, 2), (62, 2))  # fmt: skip
PHDR: Final = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8))
SHDR: Final = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))


def seeds() -> list[bytes]:
    """Everything that guest/elf has, in a fixed order."""
    files = (path for path in sorted((guest.guest_dir() / "elf").rglob("*")) if path.is_file())
    return [data for data in map(Path.read_bytes, files) if data.startswith(b"\x7fELF")]


# ---- mutants ----


def mutant(originals: Sequence[bytes], rng: random.Random) -> bytes:
    """One of the files with up to six things wrong."""
    data = bytearray(rng.choice(originals))
    changes = (_flip, _field, _field, _field, _truncate, _splice, _debug, _debug)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        if len(data) >= 64:
            rng.choice(changes)(data, originals, rng)
    return bytes(data)


def _flip(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    for _n in range(rng.choice((1, 4, 40))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _field(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    """A field of a header gets a value that something depends on, or one near what it had."""
    phoff, shoff = struct.unpack_from("<QQ", data, 32)
    phnum, shnum = struct.unpack_from("<H", data, 56)[0], struct.unpack_from("<H", data, 60)[0]
    base, fields = rng.choice(
        (
            (0, EHDR),
            (phoff + 56 * rng.randrange(max(min(phnum, 64), 1)), PHDR),
            (shoff + 64 * rng.randrange(max(min(shnum, 99), 1)), SHDR),
        )
    )
    at, size = rng.choice(fields)
    at += base
    if at + size > len(data):
        return
    old = int.from_bytes(data[at : at + size], "little")
    other = rng.choice(fields)
    there = int.from_bytes(data[base + other[0] : base + sum(other)], "little")
    value = rng.choice(
        (rng.choice(EDGES), old + rng.choice((-1, 1, 8, PAGE, -PAGE)), there, len(data), old << 8)
    )
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def _truncate(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.choice((rng.randrange(len(data)), len(data) - rng.randrange(1, 64))) :]


def _splice(data: bytearray, originals: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(originals)
    size = rng.choice((8, 64, 1000, 20_000))
    at, start = rng.randrange(len(data)), rng.randrange(len(other))
    data[at : at + size] = other[start : start + size]


def _debug(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    """Bytes of what is behind the code: symbols, lines, names, section headers."""
    for _n in range(rng.choice((1, 3, 20))):
        at = rng.randrange(len(data) // 2, len(data))
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


# ---- loaders ----


class Loaders:
    """Everything that an ELF is given to, on machines that are renewed now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machine: Machine | None = None
        self._uses = 0
        self.counts: Counter[str] = Counter()

    def all(self, number: int, data: bytes, rng: random.Random) -> None:
        """Give a mutant to all of them; what takes long gets only some. Raises whatever comes out."""
        for loader in (self._headers, self._symbols, self._program, self._enclave):
            self._try(loader, data, rng)
        if number % 3 == 0:
            self._try(self._linux, data, rng)
        if number % 20 == 0:
            self._try(self._measure, data, rng)
        if number % 100 == 0:
            self._try(self._supervisor, data, rng)
            self._try(self._target, data, rng)

    def _try(self, loader: Callable[[bytes, random.Random], None], data: bytes, rng: random.Random) -> None:
        name = loader.__name__.strip("_")
        try:
            loader(data, rng)
            self.counts[f"{name}: loaded"] += 1
        except PltvmError as error:
            text = str(error)
            if not text or "\n" in text:
                raise AssertionError(f"a message of several lines: {text!r}") from error
            self.counts[f"{name}: refused"] += 1

    @contextmanager
    def _on_machine(self) -> Iterator[Machine]:
        """A machine that must have all its memory back at the end."""
        self._uses += 1
        if self._machine is None or self._uses % EPISODE == 0:
            self._machine = Machine(RAM)
            self._machine.create(guest.examples()["hello-world"].elf).run()
        free = self._machine.kernel.blocks.free_pages
        yield self._machine
        if self._machine.kernel.blocks.free_pages != free:
            left = free - self._machine.kernel.blocks.free_pages
            self._machine = None
            raise AssertionError(f"{left} pages did not come back")

    def _headers(self, data: bytes, _rng: random.Random) -> None:
        lines = (*decide(data).reasons, *decide(data).against, decide(data).hint())
        assert all(line.isprintable() for line in lines)
        str(describe(data, kind=Kind.LINUX_PROGRAM))
        image = load_image(data)
        for run in image.runs():
            assert sum(len(part) for _, part in run.parts) >= 0
            assert all(at + len(part) <= run.npages * PAGE for at, part in run.parts)
        about = describe(data, kind=Kind.ENCLAVE)
        str(about), about.to_dict()

    def _symbols(self, data: bytes, rng: random.Random) -> None:
        symbols = Symbols(data)
        for pc in (0, 0x1000, rng.randrange(1 << 20), (1 << 64) - 1):
            str(symbols.locate(pc))
        symbols.find("main"), symbols.functions(), symbols.lines()
        assert "\n" not in symbols.note

    def _program(self, data: bytes, _rng: random.Random) -> None:
        with self._on_machine() as machine:
            space = Space(machine.kernel)
            try:
                load_program(space, Image(data), [b"mutant"], [b"A=1"], bytes(16), lambda _: Image(data))
            finally:
                space.free()

    def _enclave(self, data: bytes, rng: random.Random) -> None:
        kind = rng.choice((EnclaveType.NORMAL, EnclaveType.NORMAL, EnclaveType.NORMAL, EnclaveType.SHADOW))
        with self._on_machine() as machine:
            memory = {"shm": b"shared", "relay": b"relayed"} if kind is EnclaveType.NORMAL else {}
            enclave = machine.create(data, name="mutant", type=kind, **memory)  # type: ignore[arg-type]
            running = enclave if kind is EnclaveType.NORMAL else enclave.fork(name="instance")
            str(running.run(timeout=LIMIT).fault)
            for one in (running, enclave):
                if one.alive:
                    one.destroy()
            machine.reclaim()

    def _linux(self, data: bytes, _rng: random.Random) -> None:
        path = self._file(data)
        with self._on_machine() as machine, tempfile.TemporaryDirectory(dir=self._folder) as root:
            machine.run_program(path, "argument", root=root, timeout=LIMIT)

    def _measure(self, data: bytes, _rng: random.Random) -> None:
        if load_image(data).pages > MEASURED:
            return
        with self._on_machine() as machine:
            enclave = machine.create(data)
            assert len(enclave.measurement) == 32
            enclave.destroy()

    def _supervisor(self, data: bytes, _rng: random.Random) -> None:
        machine = Machine(RAM)
        with Watch(machine.hart, LIMIT):
            machine.supervise(data)

    def _target(self, data: bytes, rng: random.Random) -> None:
        kind = rng.choice((SERVER, ENCLAVE))
        open_target(Options(str(self._file(data)), kind=kind, blocks=2000)).execute(b"input")

    def _file(self, data: bytes) -> Path:
        path = self._folder / "mutant"
        path.write_bytes(data)
        return path


# ---- driver ----


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def stress(first: int, count: int, seed: int, quiet: bool = True) -> tuple[list[str], Counter[str], int]:
    """Give so many mutants to all loaders: what went wrong, counts, and by how many bytes it grew."""
    originals = seeds()
    wrong: list[str] = []
    progress = Progress("mutants", quiet)
    warm = 0
    with tempfile.TemporaryDirectory() as folder:
        loaders = Loaders(Path(folder))
        for number in range(first, first + count):
            rng = random.Random(f"{seed}/{number}")
            faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                loaders.all(number, mutant(originals, rng), rng)
            except Exception:
                again = f"python -m tests.elf_stress --seed {seed} --first {number} --count 1"
                wrong.append(f"{traceback.format_exc()}{again}")
            if number - first == WARM:
                warm = resident()
            if progress.is_due():
                progress.tell(number - first + 1, f", {resident() >> 20} MiB, {len(wrong)} wrong")
        faulthandler.cancel_dump_traceback_later()
    grown = resident() - warm if warm else 0
    if grown > GROWTH:
        wrong.append(f"the process grew by {grown >> 20} MiB")
    return wrong, loaders.counts, grown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="K", help="number of the first mutant")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    wrong, counts, grown = stress(options.first, options.count, options.seed, options.quiet)
    for one in wrong:
        print(one, file=sys.stderr)
    for name, times in sorted(counts.items()):
        print(f"{name:20} {times:9,}")
    print(f"{options.count:,} mutants, seed {options.seed}: {len(wrong)} wrong, grew by {grown >> 20} MiB")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
