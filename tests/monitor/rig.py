"""A machine whose enclaves do what lists say: the Python half of tests/guest/script.c.

    caller, server = Script(), Script()
    page = caller.mmap(PAGE)
    reply = caller.call(handle, req_vaddr=page, req_size=PAGE)
    server.give(req_vaddr=0)

Each method appends a step and gives a `Ref`: later steps may use its result (`page + 8`), and after the run
the test reads it: `rig.run(caller)[page]`.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pltvm.engine.memory import PAGE
from pltvm.host.api import Enclave, HostPages, Result
from pltvm.host.elf import load_image
from pltvm.host.symbols import Symbols
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType, Ocall
from pltvm.monitor.pages import PRIVATE
from tests.limits import stopped_in

RAM: Final = 256 << 20
MINUS_1: Final = 2**64 - 1
BUSY: Final = 2**64 - 2
NOWHERE: Final = 0x20_0000_0000  # in no mapping of any test

LIST_PAGES: Final = 8
DATA: Final = abi.SHM_BASE + LIST_PAGES * PAGE  # shared memory that the list does not use: two pages
SHM_PAGES: Final = LIST_PAGES + 2
_BLANK: Final = bytes(4096)  # a part of the bitmap whose pages are nobody's
STRUCT: Final = DATA + 0x800  # where `call` and `give` put their structs
NAME: Final = DATA + 0xF00
_HEADER, _STEP, _RELEASED = 1024, 128, 16
_FIELDS: Final = ("req_arg", "resp_val", "req_vaddr", "req_size", "resp_vaddr", "resp_size")

(
    END,
    CALL,
    PEEK,
    POKE,
    FILL,
    SUM,
    JUMP,
    ODD,
    RECURSE,
    LOOP,
    BUMP,
    PRINT,
    RAW,
    SET_FP,
    GET_FP,
    REPEAT,
    PEEK4,
    SCRATCH,
) = range(18)
ODD_INSTRUCTIONS: Final = {
    "zero": 0, "ebreak": 1, "mhartid": 2, "satp": 3, "write satp": 4, "sret": 5, "mret": 6, "sfence": 7,
    "wfi": 8, "c.ebreak": 9, "mstatus": 10, "pmpaddr0": 11, "ones": 12, "write cycle": 13, "sstatus": 14,
}  # fmt: skip


class Ref(NamedTuple):
    """The result of step `step`, plus `offset`."""

    step: int
    offset: int = 0

    def __add__(self, more: int) -> "Ref":  # type: ignore[override]
        return Ref(self.step, self.offset + more)

    def __sub__(self, less: int) -> "Ref":
        return Ref(self.step, self.offset - less)


Value = int | Ref


class Script:
    """The list of one enclave. Its memory shared with the host holds it, then two pages of data."""

    def __init__(self) -> None:
        self.words = array("Q", bytes(LIST_PAGES * PAGE))
        self.length = 0

    def step(self, code: int, *operands: Value) -> Ref:
        """Append a step."""
        at = (_HEADER + _STEP * self.length) // 8
        assert at + _STEP // 8 < len(self.words), "the list is full"
        self.words[at] = code
        for index, operand in enumerate(operands):
            ref, value = (operand.step + 1, operand.offset) if isinstance(operand, Ref) else (0, operand)
            self.words[at + 3 + 2 * index] = ref
            self.words[at + 4 + 2 * index] = value & MINUS_1
        self.length += 1
        return Ref(self.length - 1)

    # -- enclave calls -----------------------------------------------------------------------------------

    def ecall(self, function: int, *arguments: Value) -> Ref:
        return self.step(CALL, function, *arguments)

    def exit(self, value: Value) -> Ref:
        return self.ecall(Call.EXIT, value)

    def ocall(self, number: int, *arguments: Value) -> Ref:
        return self.ecall(Call.OCALL, number, *arguments)

    def mmap(self, size: Value, address: Value = 0) -> Ref:
        return self.ocall(Ocall.MMAP, address, size)

    def munmap(self, address: Value, size: Value) -> Ref:
        return self.ocall(Ocall.MUNMAP, address, size)

    def sbrk(self, size: int) -> Ref:
        return self.ocall(Ocall.SBRK, size)

    def enclave_id(self) -> Ref:
        return self.ecall(Call.ENCLAVE_ID)

    def caller_id(self) -> Ref:
        return self.ecall(Call.CALLER_ID)

    def yield_(self) -> Ref:
        return self.ecall(Call.YIELD)

    def acquire(self, name: bytes, at: Value = NAME) -> Ref:
        self.text(name, at)
        return self.ecall(Call.ACQUIRE, at)

    def struct(self, at: Value, **fields: Value) -> None:
        for index, name in enumerate(_FIELDS):
            self.poke(at + 8 * index, fields.pop(name, 0))
        assert not fields

    def call(self, handle: Value, at: Value = STRUCT, **fields: Value) -> Ref:
        """Call a server with a struct at `at`; read the struct afterwards with `results`."""
        self.struct(at, **fields)
        return self.ecall(Call.CALL, handle, at)

    def results(self, at: Value = STRUCT) -> "dict[str, Ref]":
        return {name: self.peek(at + 8 * index) for index, name in enumerate(_FIELDS)}

    def give(self, at: Value = STRUCT, **fields: Value) -> Ref:
        """Return from a server; the next call goes on behind this step."""
        self.struct(at, **fields)
        return self.ecall(Call.RETURN, at)

    # -- everything else ---------------------------------------------------------------------------------

    def peek(self, address: Value) -> Ref:
        return self.step(PEEK, address)

    def poke(self, address: Value, value: Value) -> Ref:
        return self.step(POKE, address, value)

    def text(self, text: bytes, at: Value) -> None:
        """Put a text and, except behind 16 bytes, a NUL."""
        padded = text + bytes(-len(text) % 8 if len(text) % 8 or len(text) == 16 else 8)
        for offset in range(0, len(padded), 8):
            self.poke(at + offset, int.from_bytes(padded[offset : offset + 8], "little"))

    def entry(self, number: int) -> Ref:
        """Register x`number` at the last entry."""
        return self.peek(abi.SHM_BASE + 64 + 8 * number)

    def print(self, text: bytes) -> Ref:
        self.text(text, DATA)
        return self.step(PRINT, DATA)

    def loop(self) -> Ref:
        """Compute until the host says that it is enough: `stopped_in_loop`, `end_loop`."""
        return self.step(LOOP)

    def odd(self, name: str) -> Ref:
        return self.step(ODD, ODD_INSTRUCTIONS[name])


class Memory:
    """Reads the list of an enclave in its shared memory: results, entry registers."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.words = memoryview(raw).cast("Q")

    def __getitem__(self, ref: Ref) -> int:
        at = (_HEADER + _STEP * ref.step) // 8
        assert self.words[at + 2], f"step {ref.step} was not done"
        return (self.words[at + 1] + ref.offset) & MINUS_1

    def done(self, ref: Ref) -> bool:
        return bool(self.words[(_HEADER + _STEP * ref.step) // 8 + 2])

    @property
    def entries(self) -> int:
        """How often the enclave was entered."""
        return self.words[1]

    @property
    def entry(self) -> list[int]:
        """x0…x31 at the last entry."""
        return list(self.words[8:40])

    @property
    def regs(self) -> list[int]:
        """Registers after a RAW step."""
        return list(self.words[40:72])

    def values(self, refs: "dict[str, Ref]") -> dict[str, int]:
        return {name: self[ref] for name, ref in refs.items()}


class Outcome(Memory):
    """How a run ended, and what its steps gave."""

    def __init__(self, result: Result) -> None:
        assert result.shm is not None
        super().__init__(result.shm)
        self.result = result

    @property
    def fault(self) -> Any:
        """The fault as the monitor told it."""
        assert self.result.status == "faulted", self.result
        assert self.result.fault is not None
        return self.result.fault.fault

    @property
    def output(self) -> str:
        return self.result.output


@dataclass
class Server:
    """A server enclave with a list."""

    enclave: Enclave
    pages: HostPages

    @property
    def eid(self) -> int:
        return self.enclave.eid

    @property
    def now(self) -> Memory:
        """Its list as it is now."""
        return Memory(self.pages.read())

    def load(self, script: Script) -> None:
        """Replace its list: what happens at the next call."""
        self.pages._driver.memory.write(self.pages.pa, script.words.tobytes())


@dataclass
class Rig:
    """A machine and ways to fill it. `check` is what must hold whenever the host has control."""

    elf: bytes
    machine: Machine = field(default_factory=lambda: Machine(RAM))
    leak: int = 0  # pages that the test knows to be lost

    def __post_init__(self) -> None:
        self.pages_at_start = self.free_pages
        self._made: list[Enclave] = []

    @property
    def state(self) -> Any:
        return self.machine.monitor.state

    @property
    def free_pages(self) -> int:
        """Pages that the host kernel has, counting those that it lent to the monitor for its records."""
        lent = sum(pages for _, pages in self.machine.monitor.state.records.lent())
        return self.machine.kernel.blocks.free_pages + lent

    def _create(
        self, script: Script, kind: EnclaveType, name: bytes, relay: bytes | None, **options: Any
    ) -> tuple[Enclave, HostPages]:
        driver = self.machine.driver
        shm = HostPages(driver, script.words.tobytes() + bytes((SHM_PAGES - LIST_PAGES) * PAGE))
        inner = driver.create(load_image(self.elf), name, kind, shm=shm.span, **options)
        inner.label, inner.symbols = name.decode() or "script", Symbols(self.elf)
        if relay is not None:
            inner.relay = HostPages(driver, relay).span
        enclave = Enclave(driver, inner)
        self._made.append(enclave)
        return enclave, shm

    def enclave(
        self, script: Script, relay: bytes | None = None, name: bytes = b"", **options: Any
    ) -> Enclave:
        """A normal enclave that does what the list says."""
        return self._create(script, EnclaveType.NORMAL, name, relay, **options)[0]

    def server(self, script: Script, name: bytes = b"server", **options: Any) -> Server:
        """A server that does what the list says, call after call."""
        return Server(*self._create(script, EnclaveType.SERVER, name, None, **options))

    def run(self, script: Script, **options: Any) -> Outcome:
        """Create a normal enclave from the list and run it to its end."""
        outcome = Outcome(self.enclave(script, **options).run(timeout=20))
        self.check()
        return outcome

    def finish(self) -> None:
        """End what still lives; every page must be back."""
        self.check()
        for enclave in reversed(self._made):
            if enclave.alive:
                enclave.destroy()
        self.check()
        assert self.free_pages == self.pages_at_start - self.leak
        assert not self.machine.monitor.errors, "an error of ours is a bug"

    # -- page owners -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Derive the page bitmap anew from what lives and from the page tables, and compare."""
        state, machine = self.state, self.machine
        base, owners = machine.memory.base, state.owners
        expected = array("I", bytes(4 * len(owners.entries)))

        def claim(pa: int, pages: int, owner: int) -> None:
            for index in range((pa - base) // PAGE, (pa - base) // PAGE + pages):
                assert expected[index] == 0, f"page {base + index * PAGE:#x} has two owners"
                expected[index] = PRIVATE | owner

        blocks = machine.kernel.blocks
        bitmap = machine.kernel.bitmap
        for pa, pages in [
            (base, 512),
            (bitmap, blocks.size(bitmap) // PAGE),
            (machine.kernel.pt_area, blocks.size(machine.kernel.pt_area) // PAGE),
            *state.records.lent(),
        ]:
            claim(pa, pages, 0)
        for enclave in state.enclaves.values():
            claim(enclave.block, enclave.block_pages, enclave.owner)
            for mapping in enclave.space.all_regions():
                claim(mapping.block, mapping.block_pages, enclave.owner)
        for enclave in state.enclaves.values():
            mailbox = {a & ~(PAGE - 1) for a in enclave.mailbox}
            shm = range(enclave.shm_pa, enclave.shm_pa + enclave.shm_size, PAGE)
            for pa in [enclave.kbuffer, *mailbox, *shm]:
                expected[(pa - base) // PAGE] += 1
            self._check_tables(enclave)
        said, right = owners.entries.tobytes(), expected.tobytes()
        for at in range(0, len(said), len(_BLANK)):  # most of it is nobody's
            if any(part[at : at + len(_BLANK)] != _BLANK for part in (said, right)):
                first, pages = at // expected.itemsize, len(_BLANK) // expected.itemsize
                assert owners.who(first, pages) == expected[first : first + pages].tolist(), (
                    f"from page {first}"
                )

    def _check_tables(self, enclave: Any) -> None:
        """Every page that an enclave reaches is its own, a kbuffer (its own or its top caller's) or shm."""
        owners = self.state.owners
        kbuffer = self.state.enclave(enclave.top).kbuffer
        for leaf in enclave.space.table.leaves():
            pa = leaf.pte >> 10 << 12
            if leaf.va == abi.KBUFFER:
                assert pa in (kbuffer, enclave.kbuffer)
            elif abi.SHM_BASE <= leaf.va < abi.SECURE_SHM_TOP:
                assert pa == enclave.shm_pa + leaf.va - abi.SHM_BASE
            else:
                assert owners.owner(pa) == enclave.eid + 1, f"{leaf.va:#x} in {enclave}"
        for pa in enclave.space.table.tables():
            assert owners.owner(pa) == enclave.eid + 1


def stopped_in_loop(enclave: Enclave) -> Result:
    """Run it until a time limit finds it in its loop, or in that of a server that it calls."""
    return stopped_in(enclave, " at loop+")


def end_loop(enclave: Enclave) -> None:
    """Its loop ends when it goes on."""
    enclave._driver.memory.write(enclave._inner.shm.pa + _RELEASED, (1).to_bytes(8, "little"))


@contextmanager
def while_host_has_control(machine: Machine, act: Callable[[int], None]) -> Iterator[list[int]]:
    """Call `act(status)` whenever control comes back to the host, before the driver sees it."""
    statuses: list[int] = []
    driver = machine.driver

    def vector(status: int) -> bool:
        statuses.append(status)
        act(status)
        return driver.control_is_back(status)

    machine.monitor.set_host_vector(vector)
    try:
        yield statuses
    finally:
        machine.monitor.set_host_vector(driver.control_is_back)
