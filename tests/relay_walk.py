"""Enclaves that split, swap, send and return relay pages in any order, with the books audited at each step.

python -m tests.relay_walk --count N --seed S      N walks of 25 enclaves, from seed S on
"""

import argparse
import random
import tempfile
from pathlib import Path

from pltvm import BOUND, Machine
from pltvm.build.enclave import build_enclave
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.audit import audit
from pltvm.host.shared import HostPages
from pltvm.monitor import audit as monitor_audit
from pltvm.monitor.abi import Ocall
from tests.monitor.rig import DATA, NOWHERE, Script
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split


def fine(machine: Machine) -> None:
    """Free lists, blocks and page owners agree."""
    assert audit(machine.kernel) == []
    assert monitor_audit.audit(machine.monitor.state) == []


def _actions(script: Script, chance: random.Random, names: list[bytes]) -> None:
    """A few of the things that enclaves can do with relay pages, in any order, most of them refused."""
    for _ in range(chance.randrange(1, 8)):
        at = RELAY + chance.randrange(4) * PAGE
        pages = chance.randrange(1, 5)
        match chance.randrange(7):
            case 0:
                split(script, at, pages * PAGE, at + chance.randrange(1, 4) * PAGE)
            case 1:
                send(script, chance.choice(names), at, pages * PAGE)
            case 2:
                area = script.mmap(chance.choice([1, 3, 7]) * PAGE)
                if chance.randrange(2):
                    script.munmap(area, PAGE)
            case 3:
                handle = script.acquire(b"swap%d" % chance.randrange(3))
                script.call(handle, req_vaddr=at, req_size=pages * PAGE)
            case 4:
                script.sbrk(chance.choice([PAGE, 3 * PAGE, -PAGE, -(1 << 20)]))
            case 5:
                script.ocall(Ocall.SHM_GET, chance.randrange(4), chance.choice([PAGE, 3 * PAGE]), 0)
            case 6:
                script.ocall(chance.choice([Ocall.SHM_DETACH, Ocall.SHM_DESTROY]), chance.randrange(4))


def _server(rig: SharedRig, chance: random.Random, name: bytes, names: list[bytes]) -> None:
    script = Script()
    for _ in range(12):
        own = script.mmap(chance.choice([1, 3]) * PAGE)
        if chance.randrange(3) == 0:
            send(script, chance.choice(names), RELAY, PAGE)
        match chance.randrange(3):
            case 0:
                script.give(req_vaddr=own, req_size=chance.choice([1, 3]) * PAGE)
            case 1:
                script.give(DATA + 0x400, req_vaddr=RELAY, req_size=PAGE, resp_vaddr=own, resp_size=PAGE)
            case 2:
                script.give()
    rig.server(script, name)


def walk(script_elf: bytes, seed: int, steps: int) -> None:
    """Enclaves that move relay pages about; after each the three audits agree. At the end all is back."""
    chance = random.Random(seed)
    rig = SharedRig(script_elf)
    names = [b"a", b"b", b"c"]
    for number in range(3):
        _server(rig, chance, b"swap%d" % number, names)
    kept = []
    for _ in range(steps):
        script = Script()
        _actions(script, chance, names)
        match chance.randrange(4):
            case 0:
                script.peek(NOWHERE)
            case 1:
                script.ocall(Ocall.RETURN_RELAY)
                _actions(script, chance, names)
        pages: HostPages | bytes = BOUND
        if chance.randrange(3):
            pages = numbered(chance.randrange(1, 6))
            if chance.randrange(2):
                pages = rig.machine.relay(pages)
                kept.append(pages)
        enclave = rig.with_relay(script, pages, chance.choice(names))
        try:
            status = enclave.run(timeout=20).status
        except EnclaveError:
            status = "refused"
        fine(rig.machine)
        if enclave.alive:
            if status == "relay returned" and chance.randrange(2):
                enclave.resume(relay=chance.choice([None, BOUND, numbered(2)]), timeout=20)
                fine(rig.machine)
            if enclave.alive:
                enclave.destroy()
        if chance.randrange(6) == 0:
            rig.machine.reclaim()
        fine(rig.machine)
    for enclave in rig._made:
        if enclave.alive:
            enclave.destroy()
    for one in kept:
        one.free()
    rig.machine.reclaim()
    rig.finish()


def main() -> None:
    """Long walks, by command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(__file__).parent / "guest" / "script.c"
        elf = build_enclave([source], Path(folder) / "script.elf").read_bytes()
    for seed in range(options.seed, options.seed + options.count):
        walk(elf, seed, 25)
    print(f"{options.count} walks, {25 * options.count} enclaves: the books are right")


if __name__ == "__main__":
    main()
