"""S-mode: what a guest kernel changes without the hart, and how it gets the traps that are its own.

`sret` changes the privilege and mstatus without a trap, so both are saved at every trap of a context that
began in S-mode. Unicorn gives all traps to the hart and none to S-mode, so a trap is delivered by hand.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from unicorn import riscv_const as riscv

from pltvm.engine import context as ctx
from pltvm.engine.context import (
    FCSR,
    MSTATUS,
    MSTATUS_FS,
    MSTATUS_SIE,
    MSTATUS_SPIE,
    MSTATUS_SPP,
    PC,
    PRIV,
    REGISTER_IDS,
    Context,
    M,
    S,
)
from pltvm.engine.unicorn_library import quick

_TRAP_IDS: Final = (ctypes.c_int * 4)(
    riscv.UC_RISCV_REG_PRIV, riscv.UC_RISCV_REG_SEPC, riscv.UC_RISCV_REG_SCAUSE, riscv.UC_RISCV_REG_STVAL
)
_STVEC_ID: Final = (ctypes.c_int * 1)(riscv.UC_RISCV_REG_STVEC)
_SUPERVISOR_IDS: Final = (ctypes.c_int * 7)(
    riscv.UC_RISCV_REG_PRIV, riscv.UC_RISCV_REG_SEPC, riscv.UC_RISCV_REG_SCAUSE, riscv.UC_RISCV_REG_STVAL,
    riscv.UC_RISCV_REG_STVEC, riscv.UC_RISCV_REG_SSCRATCH, riscv.UC_RISCV_REG_SCOUNTEREN,
)  # fmt: skip
_byref: Final = ctypes.byref


def take_trap(handle: ctypes.c_void_p, context: Context, cause: int, value: int) -> bool:
    """Have the context that is loaded be at `stvec`, with what the hardware sets there: `Hart.deliver`."""
    regs = context.regs
    block = (ctypes.c_uint64 * 5)(M, regs[PC], cause, value, 0)
    pointers = ctx.pointers_to(block)
    quick.uc_reg_write_batch(handle, _TRAP_IDS, _byref(pointers), 4)
    quick.uc_reg_read_batch(handle, _STVEC_ID, _byref(pointers, 8 * 4), 1)
    vector, from_supervisor = block[4] & ~3, regs[PRIV] == S
    if vector == 0 or (from_supervisor and vector == regs[PC]):
        return False
    status = regs[MSTATUS] & ~(MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_SIE)
    status |= MSTATUS_SPIE if regs[MSTATUS] & MSTATUS_SIE else 0
    regs[MSTATUS] = status | (MSTATUS_SPP if from_supervisor else 0)
    regs[PC], regs[PRIV] = vector, S
    return True


def clear(handle: ctypes.c_void_p) -> None:
    """Zero the registers of S-mode that no context has."""
    block = (ctypes.c_uint64 * 7)(M)
    quick.uc_reg_write_batch(handle, _SUPERVISOR_IDS, _byref(ctx.pointers_to(block)), 7)


def set_privilege(handle: ctypes.c_void_p, priv: int) -> None:
    """Have the engine be in U-, S- or M-mode."""
    value = ctypes.c_uint64(priv)
    quick.uc_reg_write(handle, REGISTER_IDS[PRIV], _byref(value))


def save_privilege(handle: ctypes.c_void_p, context: Context) -> None:
    """What S-mode code changes by itself: `sret` the privilege, and it has its part of mstatus."""
    value = ctypes.c_uint64()
    quick.uc_reg_read(handle, REGISTER_IDS[PRIV], _byref(value))
    context.regs[PRIV] = value.value
    set_privilege(handle, M)  # only there mstatus is readable
    quick.uc_reg_read(handle, REGISTER_IDS[MSTATUS], _byref(value))
    context.regs[MSTATUS] = value.value
    if not value.value & MSTATUS_FS:
        _with_fcsr(handle, context, quick.uc_reg_read)
    set_privilege(handle, context.regs[PRIV])


def load_fcsr(handle: ctypes.c_void_p, context: Context) -> None:
    """Load fcsr too, of a context whose other registers are loaded, if it has turned floating point off."""
    if not context.regs[MSTATUS] & MSTATUS_FS:
        set_privilege(handle, M)
        _with_fcsr(handle, context, quick.uc_reg_write)
        set_privilege(handle, context.regs[PRIV])


def _with_fcsr(handle: ctypes.c_void_p, context: Context, access: Callable[..., int]) -> None:
    """Read or write fcsr for a context that has turned floating point off, when Unicorn would give
    whatever is in its memory, or leave what the context before had. In M-mode."""
    mstatus, fcsr = (
        ctypes.c_uint64(context.regs[MSTATUS] | MSTATUS_FS),
        ctypes.c_uint64(context.regs[FCSR]),
    )
    quick.uc_reg_write(handle, REGISTER_IDS[MSTATUS], _byref(mstatus))
    access(handle, REGISTER_IDS[FCSR], _byref(fcsr))
    mstatus.value, context.regs[FCSR] = context.regs[MSTATUS], fcsr.value
    quick.uc_reg_write(handle, REGISTER_IDS[MSTATUS], _byref(mstatus))
