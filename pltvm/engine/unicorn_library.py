"""Unicorn's shared library, called directly: the binding's own wrappers cost more than the calls."""

import ctypes
from typing import Final

import unicorn
from unicorn import unicorn_const as uc_const
from unicorn.unicorn_py3.unicorn import uclib as _loaded_library

from pltvm.errors import EngineError

# Second handles of the same shared object, without the binding's argument conversions. Only `emu_start` lets
# other threads run meanwhile; for the short calls that would cost a third of their time.
library: Final = ctypes.CDLL(_loaded_library._name)
quick: Final = ctypes.PyDLL(_loaded_library._name)
library.uc_emu_start.argtypes = [ctypes.c_void_p] + [ctypes.c_uint64] * 3 + [ctypes.c_size_t]

# CSRs.
CYCLE, TIME, INSTRET = 0xC00, 0xC01, 0xC02


def control_word(request: int, arguments: int) -> ctypes.c_int:
    """Return the first word of a `uc_ctl` call that sets a value."""
    word = request | arguments << 26 | uc_const.UC_CTL_IO_WRITE << 30
    return ctypes.c_int(word - (1 << 32) if word >> 31 else word)


FLUSH_TLB: Final = control_word(uc_const.UC_CTL_TLB_FLUSH, 0)
FLUSH_CODE: Final = control_word(uc_const.UC_CTL_TB_FLUSH, 0)  # what was translated


def new_engine(base: int, size: int, host_address: int) -> unicorn.Uc:
    """Return a RISC-V CPU whose memory at physical address `base` is this memory of the process."""
    try:
        engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        engine.ctl_set_tlb_mode(uc_const.UC_TLB_CPU)
        engine.mem_map_ptr(base, size, uc_const.UC_PROT_ALL, host_address)
    except unicorn.UcError as error:
        raise EngineError(f"Unicorn did not start: {error}") from error
    return engine


def check(status: int) -> None:
    """Raise EngineError unless the status is success."""
    if status != uc_const.UC_ERR_OK:
        raise EngineError(f"Unicorn: {unicorn.UcError(status)}")


class _CsrOperations(ctypes.Structure):
    """QEMU's `riscv_csr_operations`; without a predicate the CSR does not exist."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("predicate", "read", "write", "op")]


def _remove_host_counters() -> None:
    """Make `rdcycle` and `rdinstret` trap, as `rdtime` does: Unicorn answers them from the host's clock and
    does not look at `mcounteren`."""
    try:
        set_operations = quick.riscv_set_csr_ops_riscv64
    except AttributeError as error:
        raise EngineError("this Unicorn cannot hide the host's cycle counter: use unicorn 2.1.4") from error
    for csr in (CYCLE, INSTRET):
        set_operations(csr, ctypes.byref(_CsrOperations()))


_remove_host_counters()
