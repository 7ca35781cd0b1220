"""What `pltvm demo` runs: a caller, its server, and that one's server; a trace of it; chains that wait."""

from pathlib import Path
from struct import pack

from pltvm import Enclave, Machine
from pltvm.build import guest
from pltvm.debug.trace.collect import tracing
from pltvm.monitor.abi import Status

ELF = {name: example.elf for name, example in guest.examples().items()}
RAM = 32 << 20
FRONT, COUNTER = 0, 1  # eids of the servers of `queueing`


def make(machine: Machine) -> Enclave:
    """The enclaves, and the one to run."""
    machine.create(ELF["server"], name="test-server", type="server")
    machine.create(ELF["server1"], name="test-server1", type="server")
    numbers = [number.to_bytes(4, "little") for number in (11111, 22222)]
    return machine.create(ELF["caller"], name="caller", shm=numbers[0], relay=numbers[1])


def client(machine: Machine, name: str, times: int) -> Enclave:
    """An enclave that adds to the counter so many times, and waits while it has no room."""
    made = machine.create(ELF["count-client"], name=name, shm=pack("<QQ", 0, times))
    made.inner.gives_way = True
    return made


def queueing(machine: Machine, slots: int) -> list[Enclave]:
    """Three chains in slots of the server "front", of which so many are in the server "counter" too, and the
    others wait for it. Each makes two calls of both."""
    machine.create(ELF["counter-front"], name="front", type="concurrent", slots=3)
    machine.create(ELF["counter"], name="counter", type="concurrent", slots=slots)
    clients = [client(machine, f"client{number}", 2) for number in range(3)]
    statuses = [machine.driver.run(one.inner) for one in clients]
    assert statuses == [Status.YIELD] * slots + [Status.WAITING] * (3 - slots)
    return clients


def finish(clients: list[Enclave]) -> None:
    """Let them go on in turn, each to its next pause, until all have ended."""
    while living := [one for one in clients if one.alive]:
        for one in living:
            one._driver.resume(one.inner)


def traced(path: Path, **options: bool) -> Machine:
    """Run it, and have a trace of all of it."""
    machine = Machine(RAM, **options)
    with tracing(machine, path):
        assert make(machine).run().ok
    return machine
