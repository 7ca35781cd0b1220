"""S-mode: state that a guest kernel changes without the hart, and delivery of its own traps.

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
    """Set the loaded context to `stvec`, with the registers as hardware sets them: `Hart.deliver`."""
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
    """Zero the S-mode registers that no context saves."""
    block = (ctypes.c_uint64 * 7)(M)
    quick.uc_reg_write_batch(handle, _SUPERVISOR_IDS, _byref(ctx.pointers_to(block)), 7)


def set_privilege(handle: ctypes.c_void_p, priv: int) -> None:
    """Set the engine to U-, S- or M-mode."""
    value = ctypes.c_uint64(priv)
    quick.uc_reg_write(handle, REGISTER_IDS[PRIV], _byref(value))


def save_privilege(handle: ctypes.c_void_p, context: Context) -> None:
    """Save what S-mode code can change itself: the privilege, by `sret`, and its part of mstatus."""
    value = ctypes.c_uint64()
    quick.uc_reg_read(handle, REGISTER_IDS[PRIV], _byref(value))
    context.regs[PRIV] = value.value
    set_privilege(handle, M)  # mstatus is readable only there
    quick.uc_reg_read(handle, REGISTER_IDS[MSTATUS], _byref(value))
    context.regs[MSTATUS] = value.value
    if not value.value & MSTATUS_FS:
        _with_fcsr(handle, context, quick.uc_reg_read)
    set_privilege(handle, context.regs[PRIV])


def load_fcsr(handle: ctypes.c_void_p, context: Context) -> None:
    """Load fcsr too, if the context, whose other registers are loaded, has turned floating point off."""
    if not context.regs[MSTATUS] & MSTATUS_FS:
        set_privilege(handle, M)
        _with_fcsr(handle, context, quick.uc_reg_write)
        set_privilege(handle, context.regs[PRIV])


def _with_fcsr(handle: ctypes.c_void_p, context: Context, access: Callable[..., int]) -> None:
    """Read or write fcsr for a context that has turned floating point off: without this, Unicorn would return
    uninitialized memory, or keep the value of the context before. In M-mode."""
    mstatus, fcsr = (
        ctypes.c_uint64(context.regs[MSTATUS] | MSTATUS_FS),
        ctypes.c_uint64(context.regs[FCSR]),
    )
    quick.uc_reg_write(handle, REGISTER_IDS[MSTATUS], _byref(mstatus))
    access(handle, REGISTER_IDS[FCSR], _byref(fcsr))
    mstatus.value, context.regs[FCSR] = context.regs[MSTATUS], fcsr.value
    quick.uc_reg_write(handle, REGISTER_IDS[MSTATUS], _byref(mstatus))
