"""The rig for memory that is shared, moved and copied: the monitor's own audit checks the owners."""

from typing import Any

from pltvm.engine.memory import PAGE
from pltvm.host.api import Enclave, HostPages
from pltvm.host.elf import load_image
from pltvm.host.spans import NO_PAGES
from pltvm.host.symbols import Symbols
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType, HostCall
from pltvm.monitor.audit import audit
from tests.monitor.rig import LIST_PAGES, NAME, RAM, SHM_PAGES, STRUCT, Outcome, Ref, Rig, Script, Value

RELAY = abi.RELAY_BASE


def numbered(pages: int) -> bytes:
    """Pages that start with 1, 2, …"""
    return b"".join((page + 1).to_bytes(8, "little") + bytes(PAGE - 8) for page in range(pages))


class SharedRig(Rig):
    """A `Rig` for relay pages, memory that enclaves share, and shadow enclaves."""

    def __init__(self, elf: bytes, ram: int = RAM, **options: Any) -> None:
        super().__init__(elf, Machine(ram, **options))

    def check(self) -> None:
        """Every page has the owner that the bitmap says."""
        assert audit(self.state) == []

    def with_relay(self, script: Script, relay: HostPages | bytes | None, name: bytes = b"") -> Enclave:
        """A normal enclave that gets these pages when it runs."""
        if isinstance(relay, bytes):
            return self.enclave(script, relay, name)
        enclave = self.enclave(script, None, name)
        enclave.inner.relay = relay.span if relay is not None else NO_PAGES
        return enclave

    def outcome(self, enclave: Enclave, **options: Any) -> Outcome:
        """Run the enclave to its end or next pause."""
        outcome = Outcome(enclave.run(timeout=20, **options))
        self.check()
        return outcome

    def resumed(self, enclave: Enclave, **options: Any) -> Outcome:
        """As `outcome`, with resume."""
        outcome = Outcome(enclave.resume(timeout=20, **options))
        self.check()
        return outcome

    def template(self, name: bytes = b"shadow") -> Enclave:
        """A shadow template of the listed enclave."""
        inner = self.machine.driver.create(load_image(self.elf), name, EnclaveType.SHADOW)
        inner.label, inner.symbols = name.decode(), Symbols(self.elf)
        template = Enclave(self.machine.driver, inner)
        self._made.append(template)
        return template

    def instance(self, template: Enclave, script: Script, **options: Any) -> Enclave:
        """An instance that does what the list says."""
        shm = script.words.tobytes() + bytes((SHM_PAGES - LIST_PAGES) * PAGE)
        instance = template.fork(shm=shm, **options)
        self._made.append(instance)
        return instance

    def call(self, function: HostCall, *arguments: int) -> int | None:
        """A monitor call of a host that need not mean well."""
        return self.machine.monitor.call(function, *arguments)


def split(script: Script, address: Value, size: Value, at: Value) -> Ref:
    """Enclave call 92."""
    return script.ecall(Call.SPLIT, address, size, at)


def send(script: Script, name: bytes, address: Value, size: Value) -> Ref:
    """Enclave call 93."""
    script.text(name, NAME)
    script.struct(STRUCT, req_vaddr=address, req_size=size)
    return script.ecall(Call.ASYNC_CALL, NAME, STRUCT)
