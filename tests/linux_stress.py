"""A host program that makes any system call with any arguments: nothing of it may go wrong in Python.

The program is one `ecall` in a loop, and all its threads and signal handlers are in it. Before each call its
registers are filled from here: numbers of all calls and some beyond, arguments out of what is odd (ends of
mappings, memory that is not there, huge, negative and unaligned numbers) and out of what is right (strings,
descriptors, structs of the enclave device, an ELF). The rest is real: the machine, the process, enclaves.

When a process ends another one begins on the same machine, and everything must be as it was. For long runs:

    python -m tests.linux_stress --count 1000000 --seed 1
"""

import argparse
import functools
import random
import resource
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pltvm import Machine
from pltvm.build import guest
from pltvm.engine.context import A0, A7, SP, Context
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.trap import Cause
from pltvm.host.interrupts import Watch
from pltvm.host.kernel import MONITOR_MEMORY
from pltvm.host.linux import life
from pltvm.host.linux.arguments import Choice, FileOf, Flags, FolderOf, In, Kind, Length, Number, Text
from pltvm.host.linux.calls import SYSTEM_CALLS
from pltvm.host.linux.device import EnclaveDevice
from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.open_flags import O_RDWR
from pltvm.host.linux.process import FIRST_PID, Process
from pltvm.host.linux.program import RETURN_PAGE
from pltvm.host.linux.space import READ, USER_END, WRITE
from pltvm.host.linux.system import System
from pltvm.host.linux.traps import Traps
from pltvm.monitor import abi
from tests.progress import Progress

RAM: Final = 64 << 20
CALLS: Final = 3000  # of one process, at most
STUCK: Final = 20.0  # seconds after which a process counts as one that hangs
CODE: Final = 0x10000
ARENA, READ_ONLY, NO_ACCESS, ELVES = 0x2000_0000, 0x2100_0000, 0x2200_0000, 0x2300_0000
ARENA_SIZE: Final = 8 * PAGE
SCRATCH: Final = ARENA + PAGE  # structs are made here
ENDS_IT: Final = {93, 94, 129, 130, 131, 139}  # calls that mostly end a thread or the process: fewer of them
DEVICE: Final = 3  # descriptor
STRINGS: Final = (
    b"", b"a", b"b", b"a/b", b"d", b"d/c", b".", b"..", b"/", b"../x", b"loop", b"link/x", b"\xff\xfe",
    b"x" * 300, b"/dev/null", b"/dev/zero", b"/dev/urandom", b"/dev/penglai_enclave_dev", b"/proc/self/exe",
    b"a\n", b"/dev/shm", b"/dev/shm/a", b"/dev/shm/b", b"/proc/self/fd/4", b"/proc/self/maps", b"/proc/101",
    b"/proc/101/fd/5", b"/proc/102/cwd", b"cwd", b"fd/4", b"environ",
)  # fmt: skip
NUMBERS: Final = (
    *range(9), 16, 24, 100, 0x80, 0x100, 0x241, 1000, 1023, 1024, 1025, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE,
    1 << 20, (16 << 20) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, USER_END - PAGE, USER_END,
    1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, *(2**64 - n for n in (1, 2, 4, 100, 101, 4096)),
)  # fmt: skip
ADDRESSES: Final = (
    ARENA, ARENA + 1, ARENA + 4, ARENA + ARENA_SIZE - 1, ARENA + ARENA_SIZE - 8, ARENA + ARENA_SIZE,
    ARENA - 8, SCRATCH, SCRATCH, SCRATCH + 64, READ_ONLY, READ_ONLY + PAGE - 4, NO_ACCESS, ELVES, CODE,
    RETURN_PAGE, USER_END - 8, 8, 0x7FFF_F000,
)  # fmt: skip
PROGRAMS: Final = ("hello-world", "relay", "memory", "random")


def program() -> bytes:
    """A static ELF: `1: ecall; j 1b`."""
    code = struct.pack("<II", 0x0000_0073, 0xFFDF_F06F)
    start = 64 + 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 243, 1, CODE + start, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, CODE, CODE, start + len(code), start + len(code), PAGE)
    return ident + header + segment + code


class Stress:
    """One machine, and processes on it one after the other. So many of its calls are `refined`."""

    refined = 0.3

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.machine = Machine(RAM)
        self.folder = Path(tempfile.mkdtemp(prefix="pltvm-stress-"))
        self.good: Counter[str] = Counter()  # calls that did not fail, by number
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.after: Callable[[int, int], object] = lambda _number, _result: None  # of each call
        self.done = 0
        self.last = ""
        self._elves = [guest.examples()[name].elf.read_bytes() for name in PROGRAMS]
        self._left = 0
        self._system: System | None = None
        self._ecall = self.machine.hart.handlers[Cause.ECALL_U]
        self.machine.hart.handlers[Cause.ECALL_U] = self._on_ecall
        self._free = self.machine.kernel.blocks.free_pages

    # -- one process -------------------------------------------------------------------------------------

    def run(self, most: int) -> None:
        """A process of at most so many calls; `wrong` gets a line for what went wrong."""
        self._make_folder()
        self._left = most
        machine = self.machine
        system = self._system = System(
            machine.kernel,
            {
                "root": self.folder,
                "source": lambda size: bytes(min(size, 10)),
                "seed": self.rng.getrandbits(32),
            },
        )
        process = life.start(system, program(), [b"stress"])
        device = EnclaveDevice(system, machine.driver, lambda _text: None, lambda _fault: None)
        space = process.space
        space.map(ARENA, ARENA_SIZE, READ | WRITE)
        space.map(READ_ONLY, PAGE, READ)
        space.map(NO_ACCESS, PAGE, 0)
        self._places = []
        at = ELVES
        for elf in self._elves:
            space.map(at, len(elf), READ | WRITE)
            space.write(at, elf)
            self._places.append((at, len(elf)))
            at += (pages_for(len(elf)) + 1) * PAGE
        assert process.add(system.add_file(EnclaveFile(device, None, O_RDWR))) == DEVICE
        try:
            with Watch(machine.hart, STUCK) as watch:
                Traps(system).run()
        except Exception as error:
            self._note(f"{type(error).__name__}: {error}")
            raise
        if watch.timed_out:
            self._note("it hangs")
        for bug in system.state.bugs:
            self._note(bug)
        if machine.monitor.state.enclaves:
            self._note("enclaves are left")
        self._account()
        self.ends[process.state.report.split(" at ")[0].split(": ")[0] or "exit"] += 1

    def _account(self) -> None:
        """Every page is back, but for what the monitor got for its records."""
        kernel, state = self.machine.kernel, self.machine.monitor.state
        lent = len(state.records.lent()) * (MONITOR_MEMORY // PAGE)
        if kernel.blocks.free_pages != self._free - lent:
            self._note(f"{self._free - lent - kernel.blocks.free_pages} pages are not back")

    def _note(self, text: str) -> None:
        self.wrong.append(f"call {self.done:,}: {text}; last {self.last}")

    def _make_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "a").write_bytes(bytes(5000))
        (self.folder / "d").mkdir()
        (self.folder / "loop").symlink_to("loop")
        (self.folder / "link").symlink_to("/tmp")

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- one call ----------------------------------------------------------------------------------------

    def _on_ecall(self, context: Context) -> None:
        system = self._system
        assert system is not None
        thread = system.scheduler.current
        if thread is None or context is not thread.context or system.hart.current is not context:
            self._ecall(context)  # of an enclave
            return
        process = thread.process
        regs, rng = context.regs, self.rng
        if self._left <= 0:
            number, arguments = 94, [0] * 6
        else:
            number = self._number()
            arguments = [self._argument(process) for _ in range(6)]
            if rng.random() < 0.6:
                self._declared(process, number, arguments)
            if rng.random() < self.refined:
                self._refine(process, number, arguments)
        self._left -= 1
        self.done += 1
        if rng.random() < 0.2:
            regs[SP] = self._value()
        regs[A0 : A0 + 6] = memoryview(struct.pack("<6Q", *(value % 2**64 for value in arguments))).cast("Q")
        regs[A7] = number
        self.last = f"{number}({', '.join(hex(value % 2**64) for value in arguments)})"
        self._ecall(context)
        result = regs[A0] - (1 << 64) if regs[A0] >> 63 else regs[A0]
        self.after(number, result)
        if not -4096 < result < 0:
            self.good[f"ioctl {arguments[1] & 0xFF:#x}" if number == 29 else str(number)] += 1

    def _number(self) -> int:
        rng = self.rng
        number = rng.choice(_KNOWN) if rng.random() < 0.7 else rng.randrange(451)
        if rng.random() < 0.2:
            number = 29
        if number in ENDS_IT and rng.random() < 0.9:
            number = rng.choice(_KNOWN)
        return rng.choice(NUMBERS) if rng.random() < 0.02 else number

    def _value(self) -> int:
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return rng.getrandbits(rng.choice((3, 8, 12, 31, 39, 64)))
        return rng.choice(ADDRESSES if kind == 1 else NUMBERS)

    def _argument(self, process: Process) -> int:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return rng.randrange(8)
        if kind == 1:
            return FIRST_PID + rng.randrange(4)
        if kind == 2:
            return self._string(process)
        if kind == 3:
            words = [self._value() for _ in range(16)]
            return self._put(process, struct.pack("<16Q", *words))
        return self._value()

    def _declared(self, process: Process, number: int, arguments: list[int]) -> None:
        """Arguments of the kinds that the call declares, each of them right more often than not."""
        call = SYSTEM_CALLS.get(number)
        for index, kind in enumerate(call.arguments.values() if call is not None else ()):
            if self.rng.random() < 0.85:
                arguments[index] = self._of_kind(process, kind)

    def _of_kind(self, process: Process, kind: Kind) -> int:
        rng = self.rng
        if isinstance(kind, FileOf | FolderOf):
            return rng.choice((*range(12), -100, -1, 511))
        if isinstance(kind, Text):
            return self._string(process)
        if isinstance(kind, In):
            return self._put(process, rng.randbytes(kind.layout.size)) if rng.random() < 0.9 else 0
        if isinstance(kind, Flags):
            chosen = rng.sample(list(kind.names.values()), rng.randrange(min(3, len(kind.names)) + 1))
            return functools.reduce(int.__or__, chosen, 1 << rng.randrange(32) if rng.random() < 0.1 else 0)
        if isinstance(kind, Choice):
            return rng.choice(list(kind.names)) if rng.random() < 0.9 else self._value()
        if isinstance(kind, Number):
            return rng.choice((*range(8), -1, 0o644, rng.randrange(100), self._value()))
        if isinstance(kind, Length):
            return rng.choice((0, 1, 8, 16, 24, 128, 1000, PAGE, self._value()))
        return rng.choice((ARENA, ARENA + 64 * rng.randrange(100), self._value(), 0))

    def _put(self, process: Process, data: bytes) -> int:
        """The data somewhere in the arena, if the program has not removed it."""
        at = SCRATCH + 512 * self.rng.randrange(8)
        if process.space.area(at) == process.space.area(ARENA) is not None:
            process.space.fill(at, data)
        return at

    def _string(self, process: Process) -> int:
        return self._put(process, self.rng.choice(STRINGS) + b"\0")

    def _refine(self, process: Process, number: int, arguments: list[int]) -> None:
        """Make the call a likely one: a request to the device, a path in the folder, a time, a thread."""
        rng = self.rng
        if number == 29:
            request = rng.choice((0, 0, 1, 1, 1, 2, 3, 4, 5, *range(0x10, 0x1A)))
            arguments[:2] = [DEVICE, 0xA400 | request]
            arguments[2] = self._request(process, request)
        elif number in _WITH_PATH:
            arguments[:2] = [rng.choice((-100, DEVICE, 4, 5)), self._string(process)]
        elif number == 222:
            size, flags = rng.choice((PAGE, 5000, 1 << 20)), rng.choice((2, 1, 0x22, 0x32))
            arguments[:] = [0, size, rng.randrange(8), flags, rng.randrange(3, 8), 0]
        elif number == 220:
            flags = rng.choice((0x3D0F00, 0x3D0F00, 0x11, 0x11, 0x4111, 0x111, 0x511, 0x8411, 0x8000_0111))
            arguments[:2] = [flags, rng.choice(ADDRESSES)]
        elif number == 98:
            arguments[:3] = [SCRATCH & ~3, rng.randrange(12), rng.randrange(3)]
            arguments[3] = self._put(process, struct.pack("<QQ", 0, 1000)) if rng.random() < 0.5 else 1
        elif number in (101, 115):
            arguments[0] = arguments[2] = self._put(process, struct.pack("<QQ", rng.randrange(3), 10))
        elif number == 134:
            action = struct.pack(
                "<3Q", rng.choice((0, 1, CODE + 120)), rng.choice((0, 4, 0x4800_0000)), self._value()
            )
            arguments[:4] = [rng.randrange(66), self._put(process, action), 0, 8]

    def _request(self, process: Process, request: int) -> int:
        rng, odd = self.rng, lambda right: right if rng.random() < 0.9 else self._value()
        if request in (0, 1, 3, 4, 5):
            place, size = rng.choice(self._places)
            fields = [
                odd(0x1000 + rng.randrange(6)), rng.choice((b"", b"n", b"relay-next", b"\xb0\xff")),
                odd(rng.choice((0, 0, 1, 2))), odd(place), odd(size), odd(rng.choice((4096, 65536))),
                odd(rng.choice((0, 0, 1, 2))), 0, odd(0), odd(rng.choice((0, PAGE))),
                odd(rng.choice((0, 0, 1, 2))), 0, odd(0), odd(rng.choice((0, PAGE))), 0,
            ]  # fmt: skip
            signed = {2: 32, 4: 64, 5: 64, 6: 32, 10: 32}
            for index, bits in signed.items():
                half = 1 << bits - 1
                fields[index] = (fields[index] + half) % (2 * half) - half
            return self._put(process, abi.USER_PARAM.pack(*fields))
        if request in (0x10, 0x14):
            return self._put(
                process, abi.SHM_GET.pack(rng.randrange(3), odd(rng.choice((PAGE, 3 * PAGE))), 0)
            )
        number = rng.choice((0, 1, 2, 3, 0x1000, 0x1001, 0x10000, 0x10001, -1))
        return self._put(process, struct.pack("<iiQQQ", number, 0, self._value(), 0, 0))


_KNOWN: Final = sorted(SYSTEM_CALLS)
_WITH_PATH: Final = {34, 35, 38, 48, 49, 56, 78, 79, 276, 291, 439}


def memory() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the calls; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="system calls")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    stress = Stress(f"{options.seed}")
    progress = Progress("calls", seconds=10)
    warm = 0
    try:
        while stress.done < options.count and not stress.wrong:
            stress.run(min(CALLS, options.count - stress.done))
            if not warm and stress.done >= options.count // 4:
                warm = memory()
            if progress.is_due():
                progress.tell(stress.done, f", {memory() >> 20} MiB")
    finally:
        stress.close()
    for line in stress.wrong:
        print(line, file=sys.stderr)
    ends = ", ".join(f"{name} {count:,}" for name, count in stress.ends.most_common())
    print(f"{stress.done:,} calls, seed {options.seed}, {sum(stress.ends.values()):,} processes: {ends}")
    good = f"{sum(stress.good.values()):,} calls of {len(stress.good)} kinds did not fail"
    print(f"{len(stress.wrong)} wrong; {good}; memory grew by {memory() - warm >> 10} KiB")
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
