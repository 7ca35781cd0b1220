"""A host program that makes calls about sockets, polls and event files, with right arguments and odd ones.

As `linux_stress`, whose program and machine it takes, but it knows what these calls take: addresses, sets of
descriptors, messages. Nothing of it may go wrong in Python. For long runs:

    python -m tests.waits_stress --count 1000000 --seed 1
"""

import argparse
import struct
import sys
from collections.abc import Callable
from typing import Final

from pltvm.host.linux.process import Process
from tests.linux_stress import SCRATCH, Stress

CALLS: Final = (
    19, 20, 21, 22, 72, 73, 74, 85, 86, 87, 441, *range(198, 213), 242, 243, 269, 59, 57, 23, 24, 25, 63, 64,
    65, 66, 29, 436, 101,
)  # fmt: skip
_KINDS: Final = {
    21: "eventpoll", 22: "eventpoll", 86: "timerfd", 87: "timerfd", 74: "signalfd", 57: "", 63: "", 64: "",
}  # fmt: skip
LEVELS: Final = (0, 1, 6, 41)
SMALL: Final = 24  # descriptors that are in use mostly
PLACE: Final = SCRATCH + 512


class Waits(Stress):
    """One machine, and processes on it one after the other."""

    refined = 0.85

    def _number(self) -> int:
        return self.rng.choice(CALLS) if self.rng.random() < 0.97 else super()._number()

    def _argument(self, process: Process) -> int:
        rng = self.rng
        kind = rng.randrange(12)
        if kind < 6:
            return rng.randrange(SMALL)
        if kind < 8:
            return PLACE + 8 * rng.randrange(64)
        if kind == 8:
            return rng.choice((0, 1, 2, 10, 16, 0x801, 0x80002, 5, 41, 6, 1 << 31, 0x40, 0x4000, 0x100, -1))
        return super()._argument(process)

    def _refine(self, process: Process, number: int, arguments: list[int]) -> None:
        """Make it a call that may well work."""
        made = self._likely(process, number)
        if made is None:
            super()._refine(process, number, arguments)
        else:
            arguments[: len(made)] = made

    def _likely(self, process: Process, number: int) -> list[int] | None:
        rng = self.rng
        fd = self._descriptor(process, _KINDS.get(number, "socket" if 198 <= number <= 269 else ""))
        kind = rng.choice((1, 2, 5)) | rng.choice((0, 0x800, 0x800, 0x800, 0x800))
        size = lambda: self._put(process, b"\x40\0\0\0")  # noqa: E731
        time = lambda: rng.randrange(3000)  # noqa: E731
        makers: dict[int, Callable[[], list[int]]] = {
            19: lambda: [rng.randrange(3), rng.choice((0x800, 0x801))],
            21: lambda: [fd, rng.choice((1, 1, 2, 3)), self._descriptor(process, ""), self._some(process)],
            22: lambda: [fd, PLACE, rng.randrange(1, 9), rng.randrange(3), 0, 8],
            57: lambda: [rng.randrange(8, 4 * SMALL)],
            59: lambda: [PLACE, 0x800],
            63: lambda: [fd, PLACE, rng.randrange(3000)],
            64: lambda: [fd, PLACE, rng.choice((1, 8, 3000, 70000))],
            72: lambda: [rng.randrange(70), PLACE, PLACE + 64, 0, self._put(process, bytes(16)), 0],
            73: lambda: [self._polled(process), 9, self._put(process, struct.pack("<qq", 0, time())), 0, 8],
            74: lambda: [rng.choice((-1, fd)), PLACE, 8, 0x800],
            85: lambda: [rng.choice((0, 1)), 0x800],
            86: lambda: [
                fd,
                rng.randrange(4),
                self._put(process, struct.pack("<4q", 0, time(), 0, time())),
                0,
            ],
            198: lambda: [rng.choice((1, 2, 10)), kind, 0],
            199: lambda: [1, kind, 0, PLACE],
            200: lambda: [fd, self._address(process), rng.choice((16, 28, 7, 2))],
            201: lambda: [fd, rng.randrange(3)],
            202: lambda: [fd, 0, 0],
            203: lambda: [fd, self._address(process), rng.choice((16, 28, 7, 2))],
            204: lambda: [fd, PLACE, size()],
            205: lambda: [fd, PLACE, size()],
            206: lambda: [fd, PLACE, rng.randrange(3000), 0x4040, self._address(process), 16],
            207: lambda: [fd, PLACE, rng.randrange(3000), rng.choice((0x40, 0x42, 0x60)), 0, 0],
            208: lambda: [fd, rng.choice(LEVELS), rng.randrange(80), self._some(process), 16],
            209: lambda: [fd, rng.choice(LEVELS), rng.randrange(80), PLACE, size()],
            210: lambda: [fd, rng.randrange(3)],
            211: lambda: [fd, self._message(process), 0x4040],
            212: lambda: [fd, self._message(process), rng.choice((0x40, 0x42, 0x4000_0040))],
            242: lambda: [fd, PLACE, size(), 0x800],
            243: lambda: [fd, self._message(process), 2, 0x40, 0],
            269: lambda: [fd, self._message(process), 2, 0x4040],
        }
        return makers[number]() if number in makers else None

    def _some(self, process: Process) -> int:
        return self._put(process, self.rng.randbytes(16))

    def _polled(self, process: Process) -> int:
        rows = (struct.pack("<ihh", fd, self.rng.getrandbits(15), 0) for fd in range(9))
        return self._put(process, b"".join(rows))

    def _descriptor(self, process: Process, kind: str) -> int:
        """Mostly one of a kind."""
        of_kind = [fd for fd in process.state.descriptors if not kind or process.file(fd).kind == kind]
        return self.rng.choice(of_kind) if of_kind and self.rng.random() < 0.9 else self.rng.randrange(SMALL)

    def _address(self, process: Process) -> int:
        rng = self.rng
        port = struct.pack(">H", rng.choice((0, 80, 81, 32768, 32769, 32770)))
        path = rng.choice((b"s1", b"s2", b"d", b"a", b"no/s")).ljust(12, b"\0")
        v4 = rng.choice((b"\x7f\0\0\1", bytes(4), b"\x08" * 4))
        v6 = rng.choice((bytes(15) + b"\1", bytes(16)))
        addresses = (
            struct.pack("<H", 1) + b"\0abc"[: rng.randrange(1, 5)].ljust(6, b"\0"),
            struct.pack("<H", 1) + path,
            struct.pack("<H", 2) + port + v4 + bytes(8),
            struct.pack("<H", 10) + port + bytes(4) + v6 + bytes(4),
            bytes(16),
            rng.randbytes(16),
        )
        return self._put(process, rng.choice(addresses))

    def _message(self, process: Process) -> int:
        rng = self.rng
        count = rng.choice((0, 1, 1, 2, 3))
        files = [self._descriptor(process, "") for _ in range(rng.randrange(1, 4))]
        control = struct.pack("<Qii", 16 + 4 * len(files), 1, 1) + struct.pack(f"<{len(files)}i", *files)
        if rng.random() < 0.2:
            control = rng.randbytes(32)
        control_at = self._put(process, control.ljust(32, b"\0"))
        vectors = self._put(
            process, b"".join(struct.pack("<QQ", PLACE, rng.randrange(300)) for _ in range(3))
        )
        name = self._address(process) if rng.random() < 0.3 else 0
        control_at = control_at if rng.random() < 0.5 else 0
        header = struct.pack("<QI4xQQQQI4x", name, 16, vectors, count, control_at, len(control), 0)
        one = header + bytes(8)
        return self._put(process, one + one)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.waits_stress")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    stress = Waits(f"waits {options.seed}")
    while stress.done < options.count and not stress.wrong:
        stress.run(3000)
    stress.close()
    print(f"{stress.done:,} calls, {dict(stress.ends)}")
    print(
        {name: count for name, count in sorted(stress.good.items()) if name.isdigit() and int(name) in CALLS}
    )
    print("\n".join(stress.wrong))
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
