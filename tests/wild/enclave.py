"""An enclave that makes any call with any arguments, and traps of any cause."""

from array import array
from random import Random
from typing import Any, Final

from pltvm.engine.context import A0, PC, X0
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import W
from pltvm.engine.trap import Cause
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, Ocall
from pltvm.monitor.secure_shm import attached
from tests.wild.host import NAMES
from tests.wild.values import Values

_EDGES: Final = (
    *(0, 0x1000, 0x2000, 0x3000, abi.HEAP_BASE, abi.MMAP_TOP, abi.MMAP_TOP - PAGE, abi.MMAP_TOP - 3 * PAGE),
    *(abi.STACK_TOP, abi.STACK_TOP - 2 * PAGE, abi.RELAY_BASE, abi.RELAY_BASE + PAGE, abi.SHM_BASE),
    *(abi.SECURE_SHM_TOP, abi.SECURE_SHM_TOP - PAGE, abi.KBUFFER, abi.KBUFFER + PAGE, 0x20_0000_0000),
    *(1 << 38, 1 << 39, abi.MASK64 - 23, abi.MASK64 - PAGE + 1, 1 << 63, (1 << 64) - (1 << 38)),
)
_WEIGHTS: Final[dict[int, int]] = {
    Call.OCALL: 40, Call.CALL: 18, Call.RETURN: 10, Call.ACQUIRE: 4, Call.EXIT: 1, Call.REPORT: 1,
    Call.ASYNC_CALL: 5, Call.SPLIT: 6, Call.CALLER_ID: 1, Call.ENCLAVE_ID: 1, Call.YIELD: 1,
    Call.DERIVE_KEY: 2, Call.SHM_ATTACH: 5, Call.SHM_STAT: 4, -1: 1,
}  # fmt: skip
_CAUSES: Final = tuple(cause for cause in Cause if cause != Cause.ECALL_U)
_SIZES: Final = (PAGE, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 7 * PAGE, 15 * PAGE, 100, 0)


class Guest:
    """Makes up what the running enclave does. It writes to memory only what that enclave can write."""

    def __init__(self, rng: Random, machine: Machine, values: Values) -> None:
        self.rng, self.values = rng, values
        self.hart, self.state = machine.hart, machine.monitor.state

    @property
    def space(self) -> Any:
        return self.state.running.space

    def pointer(self) -> int:
        """An address: in or near what is mapped, at the end of a page, or at an edge."""
        rng, space = self.rng, self.space
        near = rng.choice((0, 0, 0x40, 0x40, 1, 8, PAGE - 24, PAGE - 8, PAGE - 1, -24, -1))
        mappings = [m.va for m in space.all_regions()]
        mappings += [one.va for one, _ in attached(self.state, self.state.running)]
        if mappings and rng.random() < 0.4:
            return rng.choice(mappings) + near & abi.MASK64
        return rng.choice(_EDGES) + near & abi.MASK64

    def put(self, data: bytes) -> int:
        """Where `data` lies, if the enclave can write there."""
        places = 0x2040, 0x2040, 0x2040, 0x2040, 0x3000 - len(data), abi.STACK_TOP - PAGE - 24
        va = self.rng.choice(places) if self.rng.random() < 0.9 else self.pointer()
        self.space.table.write(va, data)
        return va

    def struct(self) -> int:
        """A call struct."""
        va, size = self.range()
        fields = (self.values.number(), 0, va, size, *self.range())
        if self.rng.random() < 0.15:
            fields = tuple(self.values.spoil(fields, 3))  # type: ignore[assignment]
        return self.put(abi.CALL_STRUCT.pack(*fields))

    def range(self) -> tuple[int, int]:
        """Mostly a mapping or pages of it."""
        rng = self.rng
        mappings = self.space.all_regions()
        if not mappings or rng.random() < 0.1:
            return rng.choice(((0, 0), (self.pointer(), self.values.size())))
        one = rng.choice(mappings)
        return rng.choice(((one.va, one.size), (one.va, PAGE), (one.va + one.size - PAGE, PAGE)))

    def name(self) -> int:
        return self.put(self.rng.choice(NAMES)[:16].ljust(self.rng.choice((1, 16, 17)), b"\0"))

    def next(self) -> Cause:
        """Set the registers of what is to come; the cause of the trap."""
        rng = self.rng
        regs = self.hart.current.regs
        if rng.random() < 0.02:
            regs[PC] = rng.choice((self.pointer(), self.values.number()))
            regs[X0 + 1 : PC] = array("Q", [self.values.number() for _ in range(31)])
            return rng.choice(_CAUSES)
        number = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        arguments = self.arguments(number)
        if rng.random() < 0.15:
            arguments = self.values.spoil(arguments, 3)
        arguments += [self.values.number() for _ in range(6 - len(arguments))]
        a6 = abi.ENCLAVE_CALL
        if number < 0:
            number, a6 = rng.choice(((29, 0), (100, a6), (0, a6), (self.values.number(), a6), (99, 0)))
        regs[A0 : A0 + 8] = array("Q", [*(one & abi.MASK64 for one in arguments), a6, number])
        return Cause.ECALL_U

    def arguments(self, number: int) -> list[Any]:
        rng, values = self.rng, self.values
        if number == Call.CALL:
            servers = [server.eid for server in self.state.servers.values()]
            return [rng.choice(servers) if servers and rng.random() < 0.8 else values.eid(), self.struct()]
        if number == Call.RETURN:
            return [self.struct()]
        if number == Call.ACQUIRE:
            return [self.name()]
        if number == Call.REPORT:
            return [rng.choice((0, self.name())), self.pointer(), values.number()]
        if number == Call.ASYNC_CALL:
            return [self.name(), self.struct()]
        if number == Call.SPLIT:
            va, size = self.range()
            return [va, size, va + rng.choice((PAGE, 2 * PAGE, size // 2))]
        if number == Call.DERIVE_KEY:
            return [rng.randrange(3), self.pointer(), rng.choice((1, 32, 8160, 8161, values.number()))]
        if number in (Call.SHM_ATTACH, Call.SHM_STAT):
            return [rng.randrange(4), self.pointer()]
        return self.ocall() if number == Call.OCALL else [values.number()]

    def ocall(self) -> list[Any]:
        rng, values = self.rng, self.values
        number = rng.choice(tuple(Ocall)) if rng.random() < 0.97 else values.number()
        size = rng.choice(_SIZES)
        if number == Ocall.MMAP:
            return [number, rng.choice((0, 0, self.pointer() & -PAGE, self.pointer())), size]
        if number == Ocall.MUNMAP:
            return [number, *self.range()]
        if number == Ocall.SBRK:
            return [number, rng.choice((size, size, -size & abi.MASK64, values.size()))]
        if number == Ocall.GET_RANDOM:
            return [number, self.pointer(), rng.choice((8, 100, size, values.number()))]
        if number in (Ocall.SHM_GET, Ocall.SHM_DETACH, Ocall.SHM_DESTROY):
            return [number, rng.randrange(4), size, rng.choice((0, 0, abi.SHM_EXCLUSIVE, values.number()))]
        return [number, values.number(), values.number()]

    def scribble(self) -> None:
        """Change something that the enclave can change."""
        va = self.pointer() & -8
        if self.space.table.translate(va, W) is not None:
            self.space.table.write(va, self.values.number().to_bytes(8, "little"))
