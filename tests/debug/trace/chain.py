"""What `pltvm demo` runs: a caller, its server, and that one's server; and a trace of it."""

from pathlib import Path

from pltvm import Enclave, Machine
from pltvm.build import guest
from pltvm.debug.trace.collect import tracing

ELF = {name: example.elf for name, example in guest.examples().items()}
RAM = 32 << 20


def make(machine: Machine) -> Enclave:
    """The enclaves, and the one to run."""
    machine.create(ELF["server"], name="test-server", type="server")
    machine.create(ELF["server1"], name="test-server1", type="server")
    numbers = [number.to_bytes(4, "little") for number in (11111, 22222)]
    return machine.create(ELF["caller"], name="caller", shm=numbers[0], relay=numbers[1])


def traced(path: Path, **options: bool) -> Machine:
    """Run it, and have a trace of all of it."""
    machine = Machine(RAM, **options)
    with tracing(machine, path):
        assert make(machine).run().ok
    return machine
