"""Random programs: instructions with the set-up that lets them get somewhere.

A program is code for some pages: registers are filled with addresses that matter, then come instructions of
a random mixture, calls with arguments, stores into the own code. Where it lies in its pages is random too:
at the start, across pages, or with its end on the last bytes before a page that is not mapped.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import make_pte
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, HostCall, Ocall
from tests import asm
from tests.streams import instructions
from tests.streams.instructions import POINTERS

CODE: Final = 0x1000
CODE_PAGES: Final = 3
CODE_END: Final = CODE + CODE_PAGES * PAGE  # where nothing is mapped
DATA: Final = 0x8000
HANDLER: Final = 0x2_0000  # of kernels: the trap vector
USER: Final = 0x4000_0000  # of kernels: a page of code for user mode, one of data, both for its mode alone
SAVE: Final = DATA + 0xF00  # where the handler keeps registers, counts traps, and where it goes on
TRAPS: Final = 60  # that the handler takes before it ends the kernel
STRUCTS: Final = DATA + 0x100  # six call structs, 64 bytes each
NAMES: Final = DATA + 0x400  # 16 bytes each
NAME_LIST: Final = (b"server", b"wild", b"victim", b"", b"sixteen-bytes-id", b"\xff\xfe", b"template")

Part = Callable[[], bytes]
_MASK: Final = abi.MASK64


@dataclass(frozen=True)
class Program:
    """Code from CODE on, what lies at DATA, and where it starts."""

    code: bytes
    data: bytes
    entry: int
    writable: bool = True  # the code
    user: bytes = b""  # of kernels: code at USER


class Writer:
    """Writes programs for one machine, from one source of randomness. `addresses` are those worth a try."""

    def __init__(self, rng: Random, addresses: Sequence[int]) -> None:
        self.rng = rng
        self.addresses = addresses

    # -- numbers

    def address(self) -> int:
        """One worth a try, or near to it."""
        rng = self.rng
        near = rng.choice((0, 0, 0, 0, 8, 1, 2, -1, -2, -8, PAGE, -PAGE, PAGE - 2, PAGE - 4, PAGE - 9, 0x800))
        return rng.choice(self.addresses) + near & _MASK

    def number(self) -> int:
        """Any number of 64 bits, mostly one at an edge."""
        rng, kind = self.rng, self.rng.randrange(6)
        if kind == 0:
            return self.address()
        if kind == 1:
            return rng.randrange(20)
        if kind == 2:
            return rng.choice((1, 1, 2, 3, 4, 16, 0x200, 1 << 18, 1 << 24)) * PAGE
        if kind == 3:
            return (1 << rng.randrange(64)) + rng.choice((0, 0, -1, 1)) & _MASK
        return -rng.randrange(1, 5000) & _MASK if kind == 4 else rng.getrandbits(64)

    # -- parts

    def pointers(self, count: int) -> bytes:
        registers = self.rng.sample(POINTERS, count)
        return b"".join(asm.li(register, self.address()) for register in registers)

    def set_registers(self, values: dict[int, int]) -> bytes:
        return b"".join(asm.li(register, value) for register, value in values.items())

    def self_changing(self) -> bytes:
        """Store an instruction into the code that runs, and perhaps jump to it."""
        rng = self.rng
        target = rng.randrange(CODE, CODE_END - 8, 2)
        new = int.from_bytes(b"".join(instructions.some(rng, instructions.KINDS, 2))[:4], "little")
        store = rng.choice((asm.sb, asm.sh, asm.sw, asm.sd))
        code = asm.li(asm.T0, target) + asm.li(asm.T1, new) + store(asm.T1, asm.T0, rng.choice((0, 0, 2, 4)))
        code += asm.fence_i() if rng.random() < 0.3 else b""
        return code + (asm.jalr(asm.RA, asm.T0) if rng.random() < 0.3 else b"")

    def loop(self, body: bytes) -> bytes:
        """`body` a few times."""
        times = asm.li(asm.S11, self.rng.randrange(1, 40)) if self.rng.random() < 0.9 else b""
        back = len(body) + 4
        return times + body + asm.addi(asm.S11, asm.S11, -1) + asm.bne(asm.S11, asm.ZERO, -back)

    def body(self, calls: Part, size: int) -> bytes:
        """About `size` bytes of parts, in a style of its own."""
        rng, parts, total = self.rng, [], 0
        kinds = rng.choice((instructions.KINDS, instructions.QUIET, instructions.CALM, instructions.UNIFORM))
        share = rng.choice((0.05, 0.2, 0.7))  # of calls
        while total < size:
            roll = rng.random()
            if roll < share:
                part = calls()
            elif roll < share + 0.1:
                part = self.pointers(2)
            elif roll < share + 0.13 and kinds is not instructions.CALM:
                part = self.self_changing()
            else:
                part = b"".join(instructions.some(rng, kinds, rng.randrange(1, 9)))
            if roll > 0.95:
                part = self.loop(part)
            parts.append(part)
            total += len(part)
        return b"".join(parts)

    def placed(self, body: bytes, start: bytes) -> tuple[bytes, int]:
        """All code pages with `body` somewhere in them, and where it starts; `start` comes before it."""
        rng, room = self.rng, CODE_PAGES * PAGE
        code = (start + body)[:room]
        at = rng.choice((0, room - len(code), room - len(code), rng.randrange(0, room - len(code) + 1, 2)))
        at = min(at + 1 & -2, room - len(code)) & -2
        filling = rng.choice(
            (bytes(room), asm.nop() * (room // 4), rng.randbytes(room), b"\1\0" * (room // 2))
        )
        return filling[:at] + code + filling[at + len(code) : room], CODE + at

    def data(self) -> bytes:
        """A page with call structs, names, and numbers at random."""
        rng = self.rng
        page = bytearray(rng.randbytes(64) * 64)
        for index in range(6):
            fields = [self.number(), 0, self.address(), rng.choice((PAGE, 2 * PAGE, self.number()))]
            fields += [self.address(), self.number()]
            at = STRUCTS - DATA + 64 * index
            page[at : at + 48] = abi.CALL_STRUCT.pack(*fields)
        for index, name in enumerate(NAME_LIST):
            at = NAMES - DATA + 16 * index
            page[at : at + 16] = name.ljust(16, b"\0")
        page[SAVE - DATA : SAVE - DATA + 32] = struct.pack("<4Q", 0, 0, TRAPS, CODE)
        return bytes(page)

    # -- enclaves

    def enclave(self) -> Program:
        """A program for an enclave, or for a server."""
        rng = self.rng
        body = self.body(self.enclave_call, rng.choice((40, 200, 600, 1500)))
        if rng.random() < 0.2:
            body += asm.ecall() if rng.random() < 0.5 else rng.randbytes(2)
        code, entry = self.placed(body, self.pointers(len(POINTERS)) if rng.random() < 0.9 else b"")
        return Program(code, self.data(), entry, writable=rng.random() < 0.5)

    def enclave_page(self) -> bytes:
        """A page that starts with a program for an enclave."""
        return (self.pointers(len(POINTERS)) + self.body(self.enclave_call, 400)).ljust(PAGE, b"\0")[:PAGE]

    def enclave_call(self) -> bytes:
        """An ecall, mostly of a number that there is; arguments are right, wild, or what is there."""
        rng = self.rng
        number = rng.choice(tuple(Call)) if rng.random() < 0.5 else Call.OCALL
        if number == Call.EXIT and rng.random() < 0.8:
            number = Call.ENCLAVE_ID
        registers = {asm.A7: int(number), asm.A6: abi.ENCLAVE_CALL}
        if rng.random() < 0.04:
            registers[rng.choice((asm.A6, asm.A7))] = rng.choice((29, 0, 100, self.number()))
        arguments = list(range(asm.A0, asm.A4))
        if number == Call.OCALL:
            registers[asm.A0] = rng.choice(tuple(Ocall)) if rng.random() < 0.95 else self.number()
            arguments.remove(asm.A0)
        for register in arguments:
            if rng.random() < 0.9:
                registers[register] = self.argument(number, register)
        code = self.set_registers(registers) + asm.ecall()
        return code + (asm.addi(rng.choice(POINTERS), asm.A0, 0) if rng.random() < 0.5 else b"")

    def argument(self, number: int, register: int) -> int:
        rng = self.rng
        right: dict[tuple[int, int], tuple[int, ...]] = {
            (Call.CALL, asm.A0): (0, 1, 2, 3, 4, 5, 6),
            (Call.CALL, asm.A1): tuple(STRUCTS + 64 * n for n in range(6)),
            (Call.RETURN, asm.A0): tuple(STRUCTS + 64 * n for n in range(6)),
            (Call.ASYNC_CALL, asm.A1): tuple(STRUCTS + 64 * n for n in range(6)),
            (Call.ACQUIRE, asm.A0): tuple(NAMES + 16 * n for n in range(7)),
            (Call.ASYNC_CALL, asm.A0): tuple(NAMES + 16 * n for n in range(7)),
            (Call.REPORT, asm.A0): (0, NAMES),
            (Call.SPLIT, asm.A0): (abi.RELAY_BASE, abi.RELAY_BASE + PAGE),
            (Call.SPLIT, asm.A1): (PAGE, 2 * PAGE, 3 * PAGE),
            (Call.SPLIT, asm.A2): (abi.RELAY_BASE + PAGE, abi.RELAY_BASE + 2 * PAGE),
            (Call.OCALL, asm.A1): (0, PAGE, 2, 3, DATA, abi.MMAP_TOP - 3 * PAGE, -PAGE & _MASK),
            (Call.OCALL, asm.A2): (PAGE, 3 * PAGE, 7 * PAGE, 100, 0),
            (Call.OCALL, asm.A3): (0, abi.SHM_EXCLUSIVE),
        }
        known = right.get((number, register))
        if known is not None and rng.random() < 0.7:
            return rng.choice(known)
        return rng.choice((self.address, self.address, self.number))()

    def caller(self) -> Program:
        """A fixed enclave that passes a mapping to the server "wild", three times, and ends."""
        mapping, fields, name = asm.S2, asm.S3, NAMES + 16
        once = self._call(Call.OCALL, Ocall.MMAP, 0, 3 * PAGE) + asm.addi(mapping, asm.A0, 0)
        once += asm.li(fields, STRUCTS) + asm.sd(mapping, fields, 16) + asm.li(asm.T0, PAGE)
        once += asm.sd(asm.T0, fields, 24) + self._call(Call.ACQUIRE, name) + asm.addi(asm.S4, asm.A0, 0)
        once += asm.addi(asm.A1, fields, 0) + asm.li(asm.A7, Call.CALL) + asm.ecall()
        code = once * 3 + self._call(Call.EXIT, 7)
        return Program(code.ljust(CODE_PAGES * PAGE, b"\0"), self.data(), CODE, writable=False)

    def _call(self, number: int, *arguments: int) -> bytes:
        registers = {asm.A0 + index: value for index, value in enumerate(arguments)}
        return self.set_registers(registers | {asm.A6: abi.ENCLAVE_CALL, asm.A7: number}) + asm.ecall()

    # -- kernels

    def kernel(self, tables: Sequence[int], eids: Sequence[int], params: int) -> Program:
        """A program for S-mode, or for S-mode that goes into user mode.

        `tables` are pages of the PT area, at `params` lie good parameters of a create call.
        """
        rng = self.rng
        calls = partial(self.kernel_part, tables, eids, params)
        handled = rng.random() < 0.85
        start = asm.li(asm.T0, HANDLER) + asm.csrrw(0, 0x105, asm.T0) if handled else b""
        start += asm.li(asm.T0, SAVE) + asm.csrrw(0, 0x140, asm.T0) if rng.random() < 0.95 else b""
        if rng.random() < 0.3:  # to user mode, which starts anywhere in its page
            target = USER + rng.choice((0, 0, 0, 2, rng.randrange(0, PAGE, 2)))
            start += asm.li(asm.T0, target) + asm.csrrw(0, 0x141, asm.T0) + asm.li(asm.T0, 1 << 8)
            start += (
                _word(0x1000_3073 | asm.T0 << 15) + self.pointers(5) + _word(0x1020_0073)
            )  # csrc sstatus; sret
        else:
            start += self.pointers(len(POINTERS))
        code, entry = self.placed(self.body(calls, rng.choice((40, 200, 600, 1500))), start)
        user = self.body(self.user_call, rng.choice((40, 400, PAGE)))[:PAGE]
        return Program(code, self.data(), entry, user=user)

    def user_call(self) -> bytes:
        """An ecall of user mode: it may try what is the kernel's."""
        rng = self.rng
        registers = {asm.A7: rng.choice((abi.HOST_CALL, 8, 1, 0)), asm.A6: rng.choice((97, 99, 101))}
        return self.set_registers(registers) + asm.ecall()

    def kernel_part(self, tables: Sequence[int], eids: Sequence[int], params: int) -> bytes:
        """Something privileged: CSRs, a fence, a call of the monitor."""
        rng, roll = self.rng, self.rng.random()
        if roll < 0.35:
            return instructions.csr(rng, instructions.SUPERVISOR_CSRS)
        if roll < 0.45:
            root = rng.choice((*tables, self.address())) >> 12
            satp = rng.choice((8, 8, 8, 0, 9, rng.randrange(16))) << 60 | rng.getrandbits(16) << 44 | root
            return asm.li(asm.T0, satp) + _word(0x1800_1073 | asm.T0 << 15 | rng.randrange(2) << 13)
        if roll < 0.55:
            return asm.li(asm.T0, self.address()) + _word(0x1200_0073 | asm.T0 << 15)
        return self.host_call(tables, eids, params)

    def host_call(self, tables: Sequence[int], eids: Sequence[int], params: int) -> bytes:
        """A monitor call."""
        rng = self.rng
        number = rng.choice(tuple(HostCall)) if rng.random() < 0.6 else HostCall.SET_PTE
        arguments = [rng.choice((self.number(), self.address())) for _ in range(5)]
        if number == HostCall.SET_PTE:
            slot = rng.choice(tables) + 8 * rng.choice((0, 1, 2, 511, 256, rng.randrange(512)))
            page = rng.choice((*tables, self.address(), self.address())) & -PAGE
            flags = rng.choice((1, 0xC7, 0xCF, 0xDF, 0xC3, rng.getrandbits(10)))
            arguments[:4] = rng.choice((1, 1, 1, 2, 3, 4, 5)), slot, make_pte(page, flags), rng.randrange(4)
        elif rng.random() < 0.6:
            arguments[0] = rng.choice(eids)
            if number == HostCall.CREATE or rng.random() < 0.1:  # and use it, in whatever way
                number, arguments[0] = HostCall.CREATE, params
        if rng.random() < 0.03:
            number = rng.choice((0, 1, 82, 200, self.number()))
        registers = {asm.A0 + index: value & _MASK for index, value in enumerate(arguments)}
        registers |= {
            asm.A6: int(number),
            asm.A7: abi.HOST_CALL if rng.random() < 0.98 else rng.randrange(20),
        }
        return self.set_registers(registers) + asm.ecall()


def _word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def handler() -> bytes:
    """A trap vector: it goes on behind what trapped; after a fetch fault, somewhere in the code; and ends the
    kernel after so many traps."""
    swap = asm.csrrw(asm.SP, 0x140, asm.SP)
    save = asm.sd(asm.T0, asm.SP, 0) + asm.sd(asm.T1, asm.SP, 8)
    count = asm.ld(asm.T0, asm.SP, 16) + asm.addi(asm.T0, asm.T0, -1) + asm.sd(asm.T0, asm.SP, 16)
    end = asm.li(asm.A7, 8) + asm.ecall()
    count += asm.bne(asm.T0, asm.ZERO, 4 + len(end)) + end
    behind = asm.csrrs(asm.T1, 0x141) + asm.addi(asm.T1, asm.T1, 4)
    onward = asm.ld(asm.T1, asm.SP, 24) + asm.addi(asm.T1, asm.T1, 26) + asm.sd(asm.T1, asm.SP, 24)
    fetch = asm.csrrs(asm.T0, 0x142) + asm.addi(asm.T0, asm.T0, -12)
    fetch += asm.bne(asm.T0, asm.ZERO, 4 + len(onward)) + onward
    leave = asm.csrrw(0, 0x141, asm.T1) + asm.ld(asm.T0, asm.SP, 0) + asm.ld(asm.T1, asm.SP, 8)
    return swap + save + count + behind + fetch + leave + swap + _word(0x1020_0073)
