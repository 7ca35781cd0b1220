"""The targets of each benchmark: a factor over the original system under QEMU, and our own limits.

Figures are in the unit of the benchmark. `original` is the range that was measured there; its lower end
counts. `times` is how many times as fast pltvm should be. Peers have targets too: their time must be at least
that many times ours.
"""

from dataclasses import dataclass
from typing import Final

from bench.peers import ICICLE, QEMU


@dataclass(frozen=True)
class Target:
    """Limits of one benchmark; None where there is none."""

    own: float | None = None
    original: tuple[float, float] | None = None
    times: float | None = None

    def verdicts(self, value: float) -> list[tuple[str, bool | None]]:
        """Return each target in words, and whether `value` meets it; None for a mere comparison."""
        words: list[tuple[str, bool | None]] = []
        if self.own is not None:
            words.append((f"own ≤ {self.own:g}", value <= self.own))
        if self.original is not None:
            low, high = self.original
            figure = f"{low:g}" if low == high else f"{low:g}–{high:g}"
            ratio = low / value
            if self.times is None:
                words.append((f"original {figure}: {ratio:.1f}×", None))
            else:
                words.append((f"original {figure}: {ratio:.1f}× of {self.times:g}×", ratio >= self.times))
        return words


TARGETS: Final = {
    "trap": Target(own=0.1),
    "ecall.enclave_id": Target(own=0.1, original=(1.2, 1.2), times=1),
    "ecall.acquire": Target(own=0.3, original=(1.4, 1.4), times=1),
    "call.null": Target(own=2.5),
    "call.1page": Target(own=3, original=(28, 36), times=3),
    "call.64pages": Target(own=5, original=(57, 60), times=3),
    "ocall.print": Target(own=0.5, original=(91, 91), times=15),
    "ocall.mmap_munmap": Target(own=15, original=(1600, 1600), times=40),
    "lifecycle.create": Target(own=0.25, original=(3, 4), times=6),
    "lifecycle.attest": Target(original=(3, 4)),
    "lifecycle.attest_1MiB": Target(own=30),
    "lifecycle.run_exit": Target(own=0.12, original=(3, 4), times=10),
    "lifecycle.fork": Target(own=0.5),
    "cli.demo": Target(own=110),
    "cli.tutorial": Target(own=130, original=(420, 420), times=2),
    "cli.fuzz": Target(own=1000),
    "import": Target(own=60),
    "debug.prompt": Target(own=500),
    "debug.history.step": Target(own=50),
    "debug.history.watch": Target(own=5000),
    "linux.start": Target(own=5),
    "linux.call": Target(own=3),
    "linux.read_4KiB": Target(own=10),
    "linux.memory_400MiB": Target(own=600),
    "scale.resident_5000": Target(own=1024),
    "scale.relay_1GiB": Target(own=50),
    "concurrent.memory_1000": Target(own=300),
    "fuzz.parser": Target(own=6),
    "fuzz.print": Target(own=9),
    "fuzz.three_calls": Target(own=20),
    "fuzz.restore_8_pages": Target(own=10),
    "fuzz.coverage": Target(own=15),
}

# (start of the benchmark's name, peer) → at least so many times our time
_PEERS: Final = {
    ("compute.", QEMU): 0.5,
    ("compute.", ICICLE): 1.0,
    ("linux.sort", QEMU): 0.5,
    ("concurrent.", "with 1 caller"): 1 / 1.1,
    ("debug.record.", "off"): 0.95,
    ("debug.profile.run", "off"): 0.5,
    ("debug.gdb.", "off"): 0.95,
    ("scale.", "at 10 live"): 1 / 1.3,
    ("scale.", "at 8 deep"): 1 / 1.2,
    ("scale.", "writable pages and tables"): 1.0,
    ("scale.", "4 times a quarter"): 1 / 1.3,
}


def peer_target(name: str, peer: str) -> float | None:
    """Return the smallest ratio to this peer that the benchmark should reach; None if there is no target."""
    return next(
        (least for (start, who), least in _PEERS.items() if who == peer and name.startswith(start)), None
    )


def of(name: str) -> Target:
    """Return the targets of a benchmark; it may have none."""
    return TARGETS.get(name, Target())
