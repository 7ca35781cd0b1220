"""Random enclaves, run with the native core and without: `python -m tests.core_programs --count N --seed S`.

Each is a caller and its servers, which map and unmap memory, pass it on and keep it, print, yield, and make
mistakes (tests/guest/script.c does what the lists say). Two machines run the same ones; after every run what
came out, all of RAM, the allocator and what is away are compared. `core_stress` is the same for single steps.
"""

import argparse
import ctypes
import random
import sys
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from pltvm import native
from pltvm.build.enclave import build_enclave
from pltvm.engine.memory import PAGE
from pltvm.machine import Machine
from pltvm.monitor.abi import SHM_BASE, Call
from pltvm.monitor.records import NUMBERS
from tests.model.pair import Divergence
from tests.monitor.rig import DATA, NOWHERE, Ref, Rig, Script
from tests.progress import Progress, episodes

RAM: Final = 64 << 20
ROOM: Final = 200  # steps of a list that leave room for one more call
EPISODE: Final = 40  # programs on two machines

# Names that begin alike and are in one list of the monitor's.
_LISTS: Final = NUMBERS["SERVER_LISTS"]
_LONGER: Final = next(
    name
    for name in (b"one%d" % number for number in range(1 << 20))
    if crc32(name) % _LISTS == crc32(b"one") % _LISTS
)
SERVERS: Final = (b"one", b"two", _LONGER)
_compare: Final = ctypes.CDLL(None).memcmp
_compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Author:
    """Writes one list: random steps, of which some make no sense."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.script = Script()
        self.mapped: list[tuple[Ref, int]] = []  # by mmap: address and bytes asked for
        self.given: list[Ref] = []  # addresses that calls gave, or 0

    def steps(self, count: int) -> None:
        """So many steps, or as many as there is room for."""
        for _ in range(count):
            if self.script.length > ROOM:
                break
            self.dice.choices(
                (
                    self._map,
                    self._unmap,
                    self._heap,
                    self._print,
                    self._yield,
                    self._who,
                    self._call,
                    self._touch,
                ),
                (2, 1, 1, 2, 1, 1, 3, 1),
            )[0]()

    def _map(self) -> None:
        size = self.dice.choice((1, PAGE, PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE + 1, 20 * PAGE, 0))
        where = self.dice.choice((0, 0, 0, NOWHERE, NOWHERE + (64 << 20)))
        at = self.script.mmap(size, where)
        if size:
            self.mapped.append((at, size))

    def _unmap(self) -> None:
        if self.mapped:
            at, size = self.mapped.pop(self.dice.randrange(len(self.mapped)))
            self.script.poke(at + 16, 5)
            self.script.munmap(at, self.dice.choice((size, size, size, 64 * PAGE)))
        if self.given:
            self.script.munmap(self.given.pop(), PAGE)

    def _heap(self) -> None:
        self.script.sbrk(self.dice.choice((PAGE, 2 * PAGE, 7 * PAGE, -PAGE, -PAGE, -3 * PAGE, -40 * PAGE, 8)))

    def _print(self) -> None:
        self.script.print(self.dice.choice((b"", b"x", b"a line\n", b"two\nlines", b"y" * 100)))

    def _yield(self) -> None:
        self.script.yield_()

    def _who(self) -> None:
        self.dice.choice((self.script.enclave_id, self.script.caller_id))()

    def _touch(self) -> None:
        if self.mapped:
            at, _size = self.dice.choice(self.mapped)
            self.script.poke(at + 8, self.dice.randrange(1 << 30))
            self.script.peek(at + self.dice.randrange(16, PAGE, 8))

    def _call(self) -> None:
        handle = self.script.acquire(self.dice.choice((*SERVERS, b"nobody", b"")))
        fields: dict[str, Ref | int] = {"req_arg": self.dice.randrange(100)}
        where: Ref | int = self.dice.choice((DATA + 0x800, DATA + 0x800, DATA + PAGE - 24, DATA + 8))
        if self.mapped and self.dice.random() < 0.7:
            at, size = self.mapped.pop(self.dice.randrange(len(self.mapped)))
            fields["req_vaddr"] = at + self.dice.choice((0, 0, 0, 0, PAGE, 8))
            whole = -(-size // PAGE) * PAGE
            fields["req_size"] = self.dice.choice((PAGE, whole, 64 * PAGE, 0))
            where = self.dice.choice((where, where, at + 64))
        self.script.call(handle, where, **fields)
        results = self.script.results()
        self.given += [results["req_vaddr"], results["resp_vaddr"]]

    def give(self) -> None:
        """Return from a call: with what was passed, other memory, or nothing; some of it is wrong."""
        script, dice = self.script, self.dice
        fields: dict[str, Ref | int] = {"resp_val": dice.randrange(1000)}
        passed, size = script.entry(11), script.entry(12)
        if dice.random() < 0.6:
            fields["req_vaddr"], fields["req_size"] = passed, dice.choice((size, PAGE))
        elif dice.random() < 0.5:
            script.munmap(passed, size)
        if self.mapped and dice.random() < 0.3:
            at, _size = self.mapped.pop(dice.randrange(len(self.mapped)))
            fields["resp_vaddr"], fields["resp_size"] = at, PAGE
        if dice.random() < 0.2:
            script.ecall(Call.RETURN, dice.choice((NOWHERE, SHM_BASE, 0)))
        script.give(**fields)


def server(dice: random.Random) -> Script:
    """A list for a few calls."""
    author = Author(dice)
    for _ in range(4):
        author.steps(dice.randrange(6))
        author.give()
    return author.script


def caller(dice: random.Random) -> Script:
    """A list that calls."""
    author = Author(dice)
    author.steps(dice.randrange(4, 100))
    author.script.exit(dice.randrange(100))
    return author.script


class Twins:
    """Two machines that run the same programs; the second has the core."""

    def __init__(self, elf: bytes) -> None:
        self.machines = Machine(RAM, native=False), Machine(RAM)
        self.rigs = [Rig(elf, machine) for machine in self.machines]
        self._give_garbage(self.machines[1])

    @staticmethod
    def _give_garbage(machine: Machine) -> None:
        """The host hands out blocks that it has used: enclaves must not see that."""
        host = machine.driver.core
        offer = host.offer

        def offer_used(size: int) -> int:
            block = offer(size)
            machine.memory.write(block, b"used" * (size // 4))
            return block

        host.offer = offer_used  # type: ignore[method-assign]

    def program(self, seed: str) -> None:
        """Run one; Divergence."""
        outcomes, living = [], []
        for rig in self.rigs:
            dice = random.Random(seed)
            servers = [rig.server(server(dice), name).enclave for name in SERVERS]
            enclave = rig.enclave(caller(dice))
            result = enclave.run(timeout=60)
            while result.status == "yielded":
                result = enclave.resume(timeout=60)
            outcomes.append(f"{result} {result.shm!r}")
            living.append([one for one in (*servers, enclave) if one.alive])
        self.compare(outcomes)
        for one in (*living[0], *living[1]):
            if one.alive:
                one.destroy()

    def compare(self, outcomes: Sequence[str]) -> None:
        """What came out, RAM, and what the host remembers of it."""
        if outcomes[0] != outcomes[1]:
            raise Divergence(f"the result is {outcomes[0]}, with the core {outcomes[1]}")
        one, two = (machine.memory for machine in self.machines)
        if _compare(one.host_address, two.host_address, one.size):
            pages = [
                f"{one.base + at:#x}"
                for at in range(0, one.size, PAGE)
                if _compare(one.host_address + at, two.host_address + at, PAGE)
            ]
            raise Divergence(f"RAM differs in {len(pages)} pages: {', '.join(pages[:5])}")
        states = [(m.kernel.blocks.state, m.driver.away.state) for m in self.machines]
        if states[0] != states[1] or list(states[0][0].free) != list(states[1][0].free):
            raise Divergence("the host's allocator is not the same")


def main(arguments: Sequence[str] | None = None, elf: bytes | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episode", type=int, metavar="N", help="only this one")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if native.core is None:
        print(native.status, file=sys.stderr)
        return 2
    elf = script_elf() if elf is None else elf
    progress, done, traps = Progress("programs", options.quiet), 0, 0
    for episode, length in enumerate(episodes(options.count, EPISODE)):
        if options.episode not in (None, episode):
            continue
        twins = Twins(elf)
        for number in range(length):
            try:
                twins.program(f"{options.seed}/{episode}/{number}")
            except Divergence as divergence:
                print(f"program {number} of episode {episode}: {divergence}")
                print(f"python -m tests.core_programs --seed {options.seed} --episode {episode}")
                return 1
            done += 1
            progress.at(done)
        traps += twins.machines[1].hart.core.traps
    print(f"{done:,} programs, seed {options.seed}: no difference, {traps:,} traps answered by the core")
    return 0


def script_elf() -> bytes:
    """The enclave that does what a list says."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        source = Path(__file__).parent / "guest" / "script.c"
        return build_enclave([source], Path(folder) / "script.elf").read_bytes()


if __name__ == "__main__":
    sys.exit(main())
