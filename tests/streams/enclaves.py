"""Random programs as enclaves: in U-mode, run by the driver, alone or as a server that is called."""

import hashlib
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.host.building import attest
from pltvm.host.clients import PYTHON
from pltvm.host.elf import EnclaveImage, Piece
from pltvm.host.enclave import RELAY_PAGE, DriverEnclave
from pltvm.host.shared import BOUND, RelayMemory
from pltvm.host.spans import NO_PAGES
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Status
from tests import asm
from tests.streams.programs import CODE, DATA, STRUCTS, Program, Writer
from tests.streams.world import Broken, World

SLICES: Final = 4  # until an enclave that still runs is destroyed
# A server that gives back what it got: fields 2 and 3 of its struct.
_ECHO: Final = (
    *(asm.li(asm.A0, STRUCTS), asm.sd(asm.A1, asm.A0, 16), asm.sd(asm.A2, asm.A0, 24)),
    *(asm.li(asm.A6, abi.ENCLAVE_CALL), asm.li(asm.A7, abi.Call.RETURN), asm.ecall()),
)
_ENDS: Final = {
    Status.OK: "exited",
    Status.ERROR: "destroyed",
    Status.TIMER: "still running",
    RELAY_PAGE: "returned its pages",
}


def image_of(program: Program) -> EnclaveImage:
    """What the driver loads for a program."""
    code = Piece(CODE, len(program.code), program.code, program.writable, "code")
    return EnclaveImage(program.entry, (code, Piece(DATA, PAGE, program.data, True, "data")))


class EnclaveWorld(World):
    """Programs run as enclaves, beside a server that returns at once."""

    def __init__(self, seed: str, audit_every: int = 1) -> None:
        super().__init__(seed, audit_every)
        echo = Program(b"".join(_ECHO), bytes(PAGE), CODE, writable=False)
        self.echo = self.driver.create(image_of(echo), b"server", EnclaveType.SERVER)
        self.shm, self.disk = self.machine.shm(2 * PAGE), self.machine.shm(PAGE)
        self.machine.use_for_persistency(self.disk)
        own = self.state.enclaves[self.victim.eid]
        self.writer = Writer(
            self.rng,
            (
                *(CODE, CODE + 2 * PAGE, CODE + 3 * PAGE, DATA, DATA, DATA + PAGE, STRUCTS),
                *(abi.STACK_TOP - 64, abi.STACK_TOP, abi.STACK_TOP - abi.DEFAULT_STACK, abi.KBUFFER),
                *(
                    abi.SHM_BASE,
                    abi.RELAY_BASE,
                    abi.HEAP_BASE,
                    abi.MMAP_TOP - 3 * PAGE,
                    abi.MMAP_TOP - 7 * PAGE,
                ),
                *(abi.SECURE_SHM_TOP - PAGE, 0, 1 << 38, (1 << 64) - 4, (1 << 64) - PAGE, 1 << 39, 1 << 63),
                *(self.memory.base, own.block, own.block + 3 * PAGE, self.machine.kernel.pt_area),
            ),
        )
        for segment in self.state.segments.values():  # its key is no secret, so its content is none
            self.memory.zero(segment.block + PAGE, segment.pages * PAGE)
        self._free = self._free_pages()
        self.remember()
        self.text = bytearray()
        self.driver.clients[PYTHON].output = self.text.extend

    def guarded(self) -> list[tuple[int, int]]:
        kernel = self.machine.kernel
        return [*super().guarded(), (kernel.pt_area, kernel.blocks.size(kernel.pt_area) // PAGE)]

    def _free_pages(self) -> int:
        """Pages of the host, with those that it lent to the monitor for its records."""
        return self.machine.kernel.blocks.free_pages + sum(pages for _, pages in self.state.records.lent())

    def stream(self) -> str:
        """Run one random program; how it ended."""
        self.streams += 1
        rng, driver = self.rng, self.driver
        as_server = rng.random() < 0.25
        program = self.writer.enclave()
        shm = self.shm.span if rng.random() < 0.5 else NO_PAGES
        relay = RelayMemory(driver, bytes(rng.choice((1, 3)) * PAGE)) if rng.random() < 0.4 else None
        name = rng.choice((b"", b"", b"wild", b"\xff\xfe", b"sixteen-bytes-id"))
        if as_server:
            server = driver.create(image_of(program), b"wild", EnclaveType.SERVER, shm=shm)
            enclave = driver.create(image_of(self.writer.caller()), b"", EnclaveType.NORMAL)
        else:
            server = None
            enclave = driver.create(image_of(program), name, EnclaveType.NORMAL, shm=shm)
        end = self._run(enclave, relay if not as_server else None)
        self.check(self.audited)
        self._clean_up([one for one in (enclave, server) if one is not None], relay)
        return ("server, " if as_server else "enclave, ") + end

    def _run(self, enclave: DriverEnclave, relay: RelayMemory | None) -> str:
        rng, driver = self.rng, self.driver
        self.limit()
        status = driver.run(enclave, relay.span if relay else NO_PAGES)
        for _ in range(SLICES):
            self._note(enclave, status)
            if not enclave.alive:
                break
            if rng.random() < 0.2:
                attest(driver.kernel, enclave, rng.getrandbits(64))
            if rng.random() < 0.1:
                driver.stop(enclave)
            pages = BOUND.span if status == RELAY_PAGE and rng.random() < 0.3 else NO_PAGES
            self.limit()
            status = driver.resume(enclave, pages)
        self._note(enclave, status)
        return _ENDS.get(status, f"status {status}")

    def _note(self, enclave: DriverEnclave, status: int) -> None:
        report = self.driver.fault
        fault = report.fault if report is not None and status == Status.ERROR else None
        self.note(status, self.hart.clock, enclave.value, fault, hashlib.sha256(self.text).digest())
        self.text.clear()
        if fault is not None:
            self.must_not_know(fault.registers.values())
        elif enclave.eid in self.state.enclaves:
            self.must_not_know(self.state.enclaves[enclave.eid].context.regs)

    def _clean_up(self, enclaves: list[DriverEnclave], relay: RelayMemory | None) -> None:
        """End what is left; all memory must be back."""
        self.must_not_know((), self.shm.read())
        for enclave in enclaves:
            if enclave.alive:
                block = self.state.enclaves[enclave.eid]
                self.must_not_know((), self.memory.read(block.block, block.block_pages * PAGE))
                self.driver.destroy(enclave)
            self.driver.let_go(enclave)
        self.machine.reclaim()
        if relay is not None:
            relay.free()
        if self._free_pages() != self._free:
            raise Broken(f"{self._free - self._free_pages()} pages are lost")
        self.check_owners()
        self.check_books()
