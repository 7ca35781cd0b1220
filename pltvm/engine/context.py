"""Saved CPU state, kept when the address space or the privilege changes.

A context is one block of u64 laid out so that a single batch call to Unicorn loads or stores it:

    0 PRIV=3 | 1 mstatus | 2 satp | 3 PRIV (the target) | 4 x1 … 34 x31 | 35 pc | 36 f0 … 67 f31 | 68 fcsr

CSRs can only be written in M-mode, so loading first sets privilege 3. Saving needs only 4…68:
mstatus, satp and the privilege change only when the monitor changes them.

Floating point is always on, unless a guest kernel turns it off; then fcsr can be neither read nor written:
see `supervisor`. Turning it on at a program's first use is not possible: with `mstatus.FS` off, Unicorn runs
the compressed loads and stores as no-ops instead of trapping. In the same batch the floating-point registers
cost little; a separate call would cost more than all the others.
"""

import ctypes
from typing import Any, Final

from unicorn import riscv_const as uc

from pltvm.engine.memory import Memory
from pltvm.engine.page_table import PageTable

U, S, M = 0, 1, 3

_FIRST_PRIV, MSTATUS, SATP, PRIV, X0 = 0, 1, 2, 3, 3  # xN is at X0 + N; x0 itself has no slot
RA, SP, GP, TP = X0 + 1, X0 + 2, X0 + 3, X0 + 4
A0, A1, A2, A3, A4, A5, A6, A7 = range(X0 + 10, X0 + 18)
PC: Final = 35
F0: Final = 36
FCSR: Final = 68
SLOTS: Final = 69
SAVED_FROM: Final = X0 + 1  # the first saved register, x1

MSTATUS_SIE: Final = 1 << 1
MSTATUS_SPIE: Final = 1 << 5
MSTATUS_SPP: Final = 1 << 8
MSTATUS_FS: Final = 3 << 13
MSTATUS_TVM: Final = 1 << 20
_UXL_SXL_64: Final = (2 << 32) | (2 << 34)

REGISTER_NAMES: Final = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{i}" for i in range(8)),
    *(f"s{i}" for i in range(2, 12)),
    *("t3", "t4", "t5", "t6"),
)

REGISTER_IDS: Final = (ctypes.c_int * SLOTS)(
    uc.UC_RISCV_REG_PRIV,
    uc.UC_RISCV_REG_MSTATUS,
    uc.UC_RISCV_REG_SATP,
    uc.UC_RISCV_REG_PRIV,
    *(uc.UC_RISCV_REG_X1 + i for i in range(31)),
    uc.UC_RISCV_REG_PC,
    *(uc.UC_RISCV_REG_F0 + i for i in range(32)),
    uc.UC_RISCV_REG_FCSR,
)


def pointers_to(block: "ctypes.Array[ctypes.c_uint64]") -> "ctypes.Array[ctypes.c_void_p]":
    """Return the addresses of a block's u64, as Unicorn's batch calls take them."""
    start = ctypes.addressof(block)
    return (ctypes.c_void_p * len(block))(*range(start, start + 8 * len(block), 8))


Block = ctypes.c_uint64 * SLOTS


class Context:
    """Registers, privilege and address space of one thread of guest execution.

    `regs` is a u64 view indexed by the names in this module. `table` is the page table that `satp` names, to
    read the program's memory; None with translation off. The registers are in memory of the context itself,
    or in RAM (`in_ram`). `owner` is what its creator finds it by: the monitor's enclave, else None.
    """

    __slots__ = (
        "_block",
        "_pointers",
        "a0_pointer",
        "address",
        "loaded_pointers",
        "owner",
        "privileged",
        "regs",
        "saved_pointers",
        "table",
    )

    def __init__(
        self, priv: int = U, satp: int = 0, pc: int = 0, mstatus: int = 0, table: PageTable | None = None
    ) -> None:
        self._lie_at(Block(), table)
        self.reset(priv, satp, pc, mstatus)

    @classmethod
    def in_ram(cls, memory: Memory, pa: int, table: PageTable) -> "Context":
        """Return a user-mode context whose registers are at physical address `pa`, with their present values.

        Code that lets it run has to tell RAM that the page is written (`Memory.touch`).
        """
        context = cls.__new__(cls)
        context._lie_at(Block.from_address(memory.host_address + pa - memory.base), table)
        context.privileged = False
        return context

    def _lie_at(self, block: "ctypes.Array[ctypes.c_uint64]", table: PageTable | None) -> None:
        self._block = block
        self.address = ctypes.addressof(block)  # in this process
        self._pointers = pointers_to(block)
        self.loaded_pointers = ctypes.byref(self._pointers)
        self.saved_pointers = ctypes.byref(self._pointers, 8 * SAVED_FROM)
        self.a0_pointer = ctypes.byref(self._pointers, 8 * A0)
        self.owner: Any = None
        self.regs = memoryview(block).cast("B").cast("Q")
        self.table = table

    def reset(self, priv: int, satp: int, pc: int, mstatus: int = 0) -> None:
        """Reset the context, with every register zero."""
        regs = self.regs
        ctypes.memset(self._block, 0, 8 * SLOTS)
        self.privileged = priv != U  # its code can change privilege and mstatus itself
        regs[_FIRST_PRIV] = M
        regs[MSTATUS] = mstatus | _UXL_SXL_64 | MSTATUS_FS
        regs[SATP] = satp
        regs[PRIV] = priv
        regs[PC] = pc

    def restart(self, registers: memoryview) -> memoryview:
        """Reset the context with the given registers; return its own registers."""
        self.regs[:] = registers
        return self.regs

    def step(self, by: int) -> None:
        """Move pc by so many bytes, wrapping around at the end of the address space."""
        self.regs[PC] = self.regs[PC] + by & 0xFFFF_FFFF_FFFF_FFFF

    def register(self, number: int) -> int:
        """The value of x`number`."""
        return self.regs[X0 + number] if number else 0

    def set_register(self, number: int, value: int) -> None:
        """Set x`number`; x0 stays zero."""
        if number:
            self.regs[X0 + number] = value & 0xFFFF_FFFF_FFFF_FFFF

    def named_registers(self) -> dict[str, int]:
        """All registers by ABI name, and pc."""
        values = {name: self.register(number) for number, name in enumerate(REGISTER_NAMES)}
        return {**values, "pc": self.regs[PC]}
