"""Sectors and random numbers (§4, ocalls 5, 6, 8): the host serves them, the monitor checks pointers.

The host sees all of this and guarantees nothing; an enclave that needs more has to encrypt and verify.
"""

from pltvm.engine.context import A1, A2, Context
from pltvm.engine.sv39 import W
from pltvm.monitor import chain
from pltvm.monitor.abi import FAILED, Ocall
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State


def read_sector(state: State, enclave: Enclave, context: Context) -> None:
    """5: a1 sector → 0 or −1; the data is passed in the host memory named for persistency."""
    chain.ask(state, enclave, Ocall.READ_SECTOR, context.regs[A1])


def write_sector(state: State, enclave: Enclave, context: Context) -> None:
    """6: a1 sector → 0 or −1; the data is in the host memory named for persistency."""
    chain.ask(state, enclave, Ocall.WRITE_SECTOR, context.regs[A1])


def sector_answer(_state: State, _enclave: Enclave, value: int, _size: int) -> int:
    """Check the host's answer: 0 is success, anything else failure."""
    return FAILED if value else 0


def get_random(state: State, enclave: Enclave, context: Context) -> int | None:
    """8: a1 → buffer, a2 bytes → number of bytes. −1 for a bad buffer, without asking the host (§10)."""
    buffer, size = context.regs[A1], context.regs[A2]
    if not size:
        return 0
    if enclave.space.table.spans(buffer, size, W) is None:
        return FAILED
    enclave.asked_where, enclave.asked_size = buffer, size
    chain.ask(state, enclave, Ocall.GET_RANDOM, size)
    return None


def random_answer(state: State, enclave: Enclave, pa: int, size: int) -> int:
    """Copy the host's answer: `size` bytes at `pa` in its memory, at most as many as were requested.

    The buffer was checked at the request, and only the waiting enclave could unmap it.
    """
    data = state.read_host(pa, size) if 0 < size <= enclave.asked_size else None
    if data is None or not enclave.space.table.write(enclave.asked_where, data):
        return FAILED
    return size
