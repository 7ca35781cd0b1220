"""Wild calls of hosts and enclaves on one machine, and what must hold after each.

- no exception, and none of ours that was contained;
- a refused call changed nothing: neither RAM, nor what the monitor remembers, nor other registers;
- now and then, and in the end, the monitor's audit finds nothing;
- in the end, when every enclave is destroyed, every page but the monitor's own is the host's, and there are
  no more objects than at the start.
"""

import gc
import hashlib
from collections import Counter
from random import Random
from typing import Final

from pltvm.engine.context import A0, PC, X0
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause
from pltvm.machine import Machine
from pltvm.monitor import measure
from pltvm.monitor.abi import MASK64, Call, HostCall, Ocall, Status
from pltvm.monitor.audit import audit
from pltvm.monitor.digest import Digest
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State
from tests.model.host import Arena
from tests.model.whole import Whole
from tests.wild.enclave import Guest
from tests.wild.host import Host

RAM: Final = 8 << 20
ARENA_PAGES: Final = (4 << 20) // PAGE
CROWD: Final = 14  # living enclaves from which on the host destroys more
_FAILED: Final = (MASK64, MASK64 - 1)
_ZERO_FAILS: Final = ("ocall mmap", "shm_attach")  # whose failure is a 0


class Broken(AssertionError):
    """A call did what none may."""


class Calls:
    """Makes calls until told to stop. Every `compare_every`-th one is compared if it is refused."""

    def __init__(self, seed: str, compare_every: int = 1, audit_every: int = 100) -> None:
        self.rng = Random(seed)
        self.machine = Machine(RAM, digest=Digest.SM3)
        self.monitor, self.state, self.hart = (
            self.machine.monitor,
            self.machine.monitor.state,
            self.machine.hart,
        )
        self.arena = Arena(self.machine.memory, self.machine.kernel.blocks.take(ARENA_PAGES), ARENA_PAGES)
        self.host = Host(self.rng, self.machine, self.arena)
        self.guest = Guest(self.rng, self.machine, self.host.values)
        self.compare_every, self.audit_every = compare_every, audit_every
        self.made = self.compared = 0
        self.counts: Counter[str] = Counter()
        self.last = "nothing yet"
        self._trace = hashlib.sha256(seed.encode())
        self._host_context = self.hart.current
        self._owners = self.state.owners.entries.tolist()
        self.monitor.set_host_vector(lambda _status: False)

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def call(self) -> None:
        """Make one call, of the host or of the enclave that has the hart."""
        self.made += 1
        compared = self.made % self.compare_every == 0
        if self.state.running is None:
            self._host_call(compared)
        else:
            self._enclave_call(compared)
        if self.monitor.errors:
            raise Broken(f"contained: {self.monitor.errors[0]}")
        if self.made % self.audit_every == 0:
            self._audit()

    def _host_call(self, compared: bool) -> None:
        if self.rng.random() < 0.1:
            self.host.scribble()
        if len(self.state.enclaves) > CROWD:
            number, arguments = HostCall.DESTROY, (self.rng.choice(list(self.state.enclaves)),)
        else:
            number, arguments = self.host.next()
        self.last = f"host call {number}({', '.join(f'{one:#x}' for one in arguments)})"
        before = Whole(self.machine) if compared else None
        status = self.monitor.call(number, *arguments)
        if status in (Status.ERROR, Status.NO_MONITOR_MEMORY):
            self._same(before)
            if self.hart.current is not self._host_context:
                raise Broken(f"{self.last}: refused, and the hart is not the host's")
        elif (status is None) != (self.state.running is not None):
            raise Broken(f"{self.last}: status {status}, and the hart is of {self.state.running}")
        known = HostCall(number).name.lower() if number in tuple(HostCall) else "unknown"
        result = "entered" if status is None else "ok" if status == Status.OK else "refused"
        self._count(f"host {known}", result, status)

    def _enclave_call(self, compared: bool) -> None:
        if self.rng.random() < 0.1:
            self.guest.scribble()
        running, context = self.state.running, self.hart.current
        cause = self.guest.next()
        registers = context.regs[X0 + 1 :].tolist()
        number, first = context.regs[A0 + 7], context.regs[A0]
        shown = ", ".join(f"{one:#x}" for one in context.regs[A0 : A0 + 4])
        self.last = f"enclave {running.eid}: {cause.name}, a7 = {number}, {shown}, pc {context.regs[PC]:#x}"
        before = Whole(self.machine) if compared else None
        self.hart.handlers[cause](context)
        what = self._name(cause, number, first)
        if self.state.running is running and self.hart.current is context:
            failed = context.regs[A0] in _FAILED or (what in _ZERO_FAILS and not context.regs[A0])
            if failed:
                self._same(before)
            now = context.regs[X0 + 1 :].tolist()
            registers[A0 - X0 - 1] = now[A0 - X0 - 1]
            if now != registers:
                raise Broken(f"{self.last}: other registers than a0 changed")
            result = "failed" if failed else "ok"
        else:
            result = "destroyed" if running.eid not in self.state.enclaves else "left"
        self._count(what, result, context.regs[A0])

    @staticmethod
    def _name(cause: Cause, number: int, first: int) -> str:
        if cause != Cause.ECALL_U:
            return "trap"
        if number == Call.OCALL:
            return f"ocall {Ocall(first).name.lower()}" if first in tuple(Ocall) else "ocall unknown"
        return Call(number).name.lower() if number in tuple(Call) else "unknown"

    def _count(self, what: str, result: str, *facts: object) -> None:
        self.counts[f"{what}: {result}"] += 1
        self._trace.update(repr((what, result, *facts)).encode())

    def _same(self, before: Whole | None) -> None:
        if before is None:
            return
        self.compared += 1
        changes = before.changes()
        if changes:
            raise Broken(f"{self.last}: refused, and changed {'; '.join(changes)}")

    def _audit(self) -> None:
        wrong = audit(self.state) + [
            f"{enclave}: {pa:#x} is mapped twice, or a table that is mapped"
            for enclave in self.state.enclaves.values()
            for pa in _twice(self.state, enclave)
        ]
        if wrong:
            raise Broken(f"the audit finds: {wrong[0]}; the last call was {self.last}")

    def finish(self) -> None:
        """End everything: all memory must come back, and nothing be remembered."""
        self.last = "the end"
        if self.state.running is not None:
            context = self.hart.current
            self.hart.handlers[Cause.ILLEGAL](context)
        while self.state.enclaves:
            before = len(self.state.enclaves)
            for eid in list(self.state.enclaves):
                self.monitor.call(HostCall.DESTROY, eid)
            if len(self.state.enclaves) == before:
                raise Broken("enclaves that can not be destroyed")
        for _ in range(2):
            idle = [(s.block, s.block_pages) for s in self.state.segments.values()]
            idle += [(r.block, r.block_pages) for regions in self.state.bound.values() for r in regions]
            for pa, pages in idle:
                self.monitor.call(HostCall.RECLAIM, pa, pages * PAGE)
        self._audit()
        now, lent = self.state.owners.entries.tolist(), self.state.records.lent()
        for pa, pages in lent:  # what the monitor was given for its records it keeps
            first = (pa - self.machine.memory.base) // PAGE
            now[first : first + pages] = [0] * pages
        if now != self._owners:
            raise Broken(f"memory has not come back, beside {lent}")
        for what in (self.state.servers, self.state.bound, self.state.segments):
            if what:
                raise Broken(f"the monitor still remembers {what}")


def _twice(state: State, enclave: Enclave) -> set[int]:
    """Private pages that the enclave's page table reaches in two ways."""
    table = enclave.space.table
    reached = [*table.tables(), *(pte_address(leaf.pte) for leaf in table.leaves())]
    private = Counter(pa for pa in reached if state.owners.owner(pa) is not None)
    return {pa for pa, times in private.items() if times > 1}


def objects() -> int:
    """How many Python objects there are, without the measurements that are kept for later."""
    measure._remembered.clear()
    gc.collect()
    return len(gc.get_objects())
