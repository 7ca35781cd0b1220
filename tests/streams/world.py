"""A machine for many streams: victims around, and what must hold after each stream.

- no exception, and none of ours that was contained (`Monitor.errors`);
- the monitor's audit finds nothing;
- every private page of a victim, of the monitor, and every host page that nobody gave away, is as it was;
- all memory is back;
- what the guest has in the end holds nothing of the victims.
"""

import ctypes
import hashlib
from collections.abc import Iterable
from random import Random

from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.host.api import Enclave
from pltvm.host.audit import audit as audit_host
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType
from pltvm.monitor.audit import audit
from pltvm.monitor.boot import MONITOR_SIZE
from pltvm.monitor.digest import Digest

RAM = 64 << 20
SECRET = (0x5EC2_E75E_C2E7).to_bytes(6, "little")  # the upper part of the victim's marker (victim.c)
SECRET_NUMBER = 0x5EC2_E75E_C2E7

SLICE = 2000  # instructions
BLOCKS = 1500

_compare = ctypes.CDLL(None).memcmp


class Broken(AssertionError):
    """A stream did what none may."""


class World:
    """One machine. Everything that happens in it goes into `trace`."""

    def __init__(self, seed: str, audit_every: int = 1) -> None:
        self.rng = Random(seed)
        self._audit_every, self.streams = audit_every, 0
        self.spoilt = False  # by a stream that changed what the next one would need
        self.machine = Machine(RAM, digest=Digest.SM3)
        self.memory, self.monitor = self.machine.memory, self.machine.monitor
        self.state, self.hart, self.driver = self.monitor.state, self.machine.hart, self.machine.driver
        self.trace = hashlib.sha256(seed.encode())
        self._counted, self._blocks = self.rng.random() < 0.5, 1 << 30
        if self._counted:
            self.hart.watch(self._block, 1, 0, blocks=True)
        self.victim = self._victim()
        self.template = self.machine.create(
            guest.attack_elf("victim"), name="template", type=EnclaveType.SHADOW
        )

    def _victim(self) -> Enclave:
        """A paused enclave with a marker in all the memory that it can have."""
        elf = guest.attack_elf("victim")
        victim = self.machine.create(elf, name="victim", relay=bytes(PAGE))
        victim.run(on_output=lambda _text: victim.stop())
        return victim

    def limit(self) -> None:
        """Bound what runs next, in half of the machines by instructions, which are translated one by one
        then; in the others by blocks, which are translated as they are for users."""
        if self._counted:
            self._blocks = BLOCKS
        else:
            self.hart.set_time_slice(SLICE)

    def _block(self, _pc: int, _size: int) -> None:
        self._blocks -= 1
        if self._blocks < 0:
            self.hart.interrupt()

    @property
    def audited(self) -> bool:
        """Whether this stream is one of those after which the monitor is audited."""
        return self.streams % self._audit_every == 0

    def note(self, *facts: object) -> None:
        """Put facts that have to repeat into the trace."""
        self.trace.update(repr(facts).encode())

    def guarded(self) -> list[tuple[int, int]]:
        """Physical address and pages of what is the victims', or the monitor's and no record, for good."""
        base, unused = self.memory.base, 64
        blocks = [(base, 1), (base + MONITOR_SIZE - unused * PAGE, unused)]
        for enclave in (self.victim, self.template):
            own = self.state.enclaves[enclave.eid]
            blocks += [(own.block, own.block_pages)]
            blocks += [(mapping.block, mapping.block_pages) for mapping in own.space.all_regions()]
        return blocks

    def remember(self) -> None:
        """Note how guarded memory and the page bitmap are now."""
        self._before = [(pa, self.memory.read(pa, pages * PAGE)) for pa, pages in self.guarded()]
        self._owners = self.state.owners.entries.tobytes()

    def check(self, audited: bool) -> None:
        """What must hold whenever the host has control; `audited`: with the slow part."""
        if self.monitor.errors:
            raise Broken(f"contained: {self.monitor.errors[0]}")
        wrong = audit(self.state) if audited else []
        if wrong:
            raise Broken(f"the audit finds: {wrong[0]}")
        for pa, before in self._before:
            at = self.memory.host_address + pa - self.memory.base
            if _compare(ctypes.c_void_p(at), before, ctypes.c_size_t(len(before))):
                now = self.memory.read(pa, len(before))
                offset = next(index for index, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
                raise Broken(f"guarded memory at {pa + offset:#x} has changed")

    def check_owners(self) -> None:
        """When all that a stream had has ended: every page is whose it was."""
        if self.state.owners.entries.tobytes() != self._owners:
            raise Broken(f"pages are not whose they were; the audit finds: {audit(self.state)}")

    def check_books(self) -> None:
        """Free lists, blocks and owners agree."""
        wrong = audit_host(self.machine.kernel) if self.audited else []
        if wrong:
            raise Broken(f"the host's books: {wrong[0]}")

    def must_not_know(self, registers: Iterable[int], memory: bytes = b"") -> None:
        """What a guest has got is nothing of the victims'."""
        if any(value >> 16 == SECRET_NUMBER for value in registers):
            raise Broken("a register holds a victim's secret")
        if SECRET in memory:
            raise Broken("memory holds a victim's secret")
