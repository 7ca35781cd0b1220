"""What goes on from a snapshot, here or in another process: runs of guest code, and walks of the model.

    python -m tests.lives < a pickle of a `Job`         prints what came of it, as a pickle

The other process has a machine of its own, the snapshot, and nothing else: what it can not do the same, some
object must have remembered.
"""

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pltvm import BOUND, Enclave, Machine
from pltvm.engine.memory import PAGE
from pltvm.host.api import Result
from pltvm.host.linux.runner import LinuxResult
from pltvm.machine import MachineSnapshot
from pltvm.monitor.abi import KBUFFER, Call, Ocall
from tests.model.moments import load_books, take
from tests.model.steps import Step, Walk
from tests.monitor.rig import DATA, NOWHERE, Script
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split

RAM: Final = 16 << 20
KEY: Final = 77


# -- lives of guest code: each gives the enclave that is run, whose prints are the moments ------------------


def chain(rig: SharedRig) -> Enclave:
    """A caller, its server, and that one's server: memory is passed on, kept, and given back."""
    last = Script()
    last.print(b"in the last")
    page = last.mmap(2 * PAGE)
    last.poke(page + PAGE, 0xABC)
    last.peek(last.entry(11))
    last.poke(last.entry(11), 0xDEF)
    last.print(b"has changed what it got")
    last.give(req_vaddr=last.entry(11), req_size=PAGE, resp_vaddr=page, resp_size=2 * PAGE, resp_val=5)
    rig.server(last, b"last")
    middle = Script()
    heap = middle.sbrk(PAGE)
    handle = middle.acquire(b"last")
    middle.print(b"in the middle")
    middle.call(handle, req_vaddr=middle.entry(11), req_size=PAGE, req_arg=3)
    results = middle.results()
    middle.print(b"back in the middle")
    middle.peek(results["resp_vaddr"] + PAGE)
    middle.poke(heap - 8, results["resp_val"])
    middle.give(
        req_vaddr=results["req_vaddr"], req_size=PAGE, resp_vaddr=results["resp_vaddr"], resp_size=PAGE
    )
    rig.server(middle, b"middle")
    caller = Script()
    handle = caller.acquire(b"middle")
    page = caller.mmap(PAGE)
    caller.poke(page + 16, 0x123)
    caller.print(b"before the call")
    caller.call(handle, req_vaddr=page, req_size=PAGE)
    results = caller.results()
    caller.print(b"after the call")
    caller.peek(results["req_vaddr"])
    caller.munmap(results["req_vaddr"], PAGE)
    caller.print(b"has given it back")
    caller.exit(results["resp_size"])
    return rig.enclave(caller)


def shared(rig: SharedRig) -> Enclave:
    """Memory shared between enclaves: made, attached by a server, detached, destroyed."""
    server = Script()
    at = server.ecall(Call.SHM_ATTACH, KEY)
    server.print(b"attached")
    server.poke(at + 8, server.peek(at))
    server.give(resp_val=server.ocall(Ocall.SHM_DETACH, KEY))
    server.print(b"called again")
    server.poke(KBUFFER + PAGE - 8, 9)
    server.give(resp_val=server.ecall(Call.SHM_ATTACH, KEY))
    rig.server(server, b"server")
    script = Script()
    at = script.ocall(Ocall.SHM_GET, KEY, 3 * PAGE, 0)
    script.poke(at, 0x55)
    handle = script.acquire(b"server")
    script.print(b"made")
    script.call(handle)
    script.print(b"written")
    script.peek(at + 8)
    script.ocall(Ocall.SHM_DESTROY, KEY)
    script.ocall(Ocall.SHM_DETACH, KEY)
    script.print(b"gone")
    script.call(handle)
    script.ocall(Ocall.SHM_GET, KEY, PAGE, 0)
    script.print(b"made anew")
    return rig.enclave(script)


def relay(rig: SharedRig) -> Enclave:
    """Relay pages: split, one half on its way to a name, the other one with it, or given to a server."""
    server = Script()
    server.poke(server.entry(11) + 8, 0x77)
    server.print(b"has the half")
    server.give(req_vaddr=server.entry(11), req_size=2 * PAGE)
    rig.server(server, b"server")
    script = Script()
    handle = script.acquire(b"server")
    script.print(b"starts")
    split(script, RELAY, 4 * PAGE, RELAY + 2 * PAGE)
    script.print(b"is in two")
    send(script, b"next", RELAY + 2 * PAGE, PAGE)
    script.print(b"one is on its way")
    script.call(handle, req_vaddr=RELAY, req_size=2 * PAGE)
    script.peek(RELAY + 8)
    script.print(b"and the other one is back")
    script.poke(RELAY + 16, 0x99)
    return rig.with_relay(script, rig.machine.relay(numbered(4)))


def instances(rig: SharedRig) -> Enclave:
    """Instances of a template: one that has ended, and one that runs, and makes use of its memory."""
    template = rig.template(b"template")
    rig.outcome(rig.instance(template, Script()))
    script = Script()
    script.print(b"an instance")
    script.poke(script.mmap(3 * PAGE), 1)
    script.sbrk(2 * PAGE)
    script.print(b"has memory")
    script.ocall(Ocall.GET_RANDOM, DATA, 8)
    script.peek(DATA)
    script.print(b"has a number")
    return rig.instance(template, script)


def faulty(rig: SharedRig) -> Enclave:
    """A server that breaks while it is called, and takes its caller along."""
    server = Script()
    server.print(b"is called")
    server.mmap(PAGE)
    server.print(b"is about to")
    server.peek(NOWHERE + 0x123)
    rig.server(server, b"server")
    between = Script()
    between.call(between.acquire(b"server"))
    between.print(b"is never here")
    rig.server(between, b"between")
    caller = Script()
    handle = caller.acquire(b"between")
    caller.print(b"calls")
    caller.call(handle, req_vaddr=caller.mmap(PAGE), req_size=PAGE)
    return rig.enclave(caller)


LIVES: Final[dict[str, Callable[[SharedRig], Enclave]]] = {
    "chain": chain, "shared": shared, "relay": relay, "instances": instances, "faulty": faulty,
}  # fmt: skip


def afterwards(rig: SharedRig) -> list[Any]:
    """What there is to be seen when the run is over: the next enclaves use what was left behind."""
    script = Script()
    script.peek(RELAY)
    script.ocall(Ocall.GET_RANDOM, DATA, 16)
    script.peek(DATA + 8)
    script.ecall(Call.SHM_ATTACH, KEY)
    script.print(b"%d" % rig.machine.driver.table.state.made)
    enclave = rig.with_relay(script, None, b"next")
    if rig.state.bound_to(b"next"):
        enclave.inner.relay = BOUND.span
    result = enclave.run(timeout=20)
    left = [(one.eid, one.name, one.state) for one in rig.state.enclaves.values()]
    return [seen(result), left]


def seen(result: Result | LinuxResult) -> tuple[Any, ...]:
    """What is to be seen of a run, but for what was printed before it was interrupted, and counts."""
    if isinstance(result, Result):
        fault = str(result.fault) if result.fault is not None else None
        return result.status, result.retval, fault, result.shm, result.relay
    return result.exit_code, result.end, result.errors, [str(fault) for fault in result.faults]


# -- in another process --------------------------------------------------------------------------------------


class End(NamedTuple):
    """What came of it."""

    output: Any
    ram: str  # a hash of all of it
    rest: dict[str, Any]  # registers, clock, and what the host declares


def end_of(machine: Machine, output: Any) -> End:
    """The end that this machine has come to; takes a snapshot, as D bits are not the same without one."""
    everything = take(machine)[1]
    digest = hashlib.sha256()
    for at, page in sorted(everything.ram.items()):
        digest.update(at.to_bytes(8, "little") + page)
    return End(output, digest.hexdigest(), everything.rest)


@dataclass
class Job:
    """A snapshot, and how to go on from it: exactly one of the three."""

    saved: MachineSnapshot
    enclave: int = 0  # to be resumed: the driver's id
    elf: bytes = b""  # of the enclaves that are made then
    steps: tuple[Step, ...] = ()  # to be walked
    books: bytes = b""  # of the model
    folder: Path | None = None  # what a Linux program sees that is resumed

    def do(self, machine: Machine | None = None) -> End:
        """Go on, in this machine that was put back, or in a new one."""
        if self.books:
            return self._walk()
        if machine is None:
            machine = Machine(self.saved.engine.size)
            machine.restore(self.saved)
        if self.folder is not None:
            return self._program(machine)
        found = machine.driver.table.find(self.enclave)
        assert found is not None
        texts: list[bytes] = []
        result = Enclave(machine.driver, found).resume(timeout=60, on_output=texts.append)
        rig = SharedRig.__new__(SharedRig)
        rig.elf, rig.machine, rig._made = self.elf, machine, []
        return end_of(machine, [texts, seen(result), *afterwards(rig)])

    def _program(self, machine: Machine) -> End:
        result = machine.resume_program(root=self.folder, timeout=60)
        return end_of(machine, [result.output, seen(result)])

    def _walk(self) -> End:
        walk = Walk(check_every=1 << 60)
        machine = walk.pair.machine
        machine.restore(self.saved)
        load_books(walk.pair, self.books)
        results = [walk.step(step) for step in self.steps]
        walk.deep()
        return end_of(machine, results)


def elsewhere(job: Job) -> End:
    """Have a fresh process do it, with an interpreter of its own."""
    command = [sys.executable, "-m", "tests.lives"]
    done = subprocess.run(command, input=pickle.dumps(job), stdout=subprocess.PIPE, check=True)
    return pickle.loads(done.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    from tests.lives import Job as Given  # by its right name, as it is in the pickle

    given: Given = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(given.do()))
