"""Ocalls (§4): requests of an enclave to the host, and the monitor's check of the answers.

The monitor puts the request into the mailbox of the chain, gives the host control with status OCALL, and
takes the answer in `resume`. The host is not trusted: a block that it offers must be its own.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE, Block, pages_for
from pltvm.monitor import abi, chain, relay, secure_shm, slots, storage
from pltvm.monitor.abi import FAILED, Ocall
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.records import Region
from pltvm.monitor.state import State

_LARGEST: Final = abi.MMAP_TOP - abi.HEAP_BASE


def ocall(state: State, enclave: Enclave, context: Context) -> int | None:
    """Enclave call 98: a0 the ocall number, a1… its arguments. An unknown number gives −1."""
    handler = OCALLS.get(context.regs[A0])
    return FAILED if handler is None else handler(state, enclave, context)


def _write(state: State, enclave: Enclave, _context: Context) -> None:
    """3: print the text in the kbuffer."""
    chain.ask(state, enclave, Ocall.WRITE)


def _mmap(state: State, enclave: Enclave, context: Context) -> int | None:
    """1: a1 address or 0, a2 bytes → address, 0 on failure."""
    address, size = context.regs[A1], context.regs[A2]
    if not 0 < size <= _LARGEST or address % PAGE:
        return 0
    space, asked = enclave.space, _mapped(size)
    below = space.lowest - asked * PAGE
    if not space.is_free(_wanted(address, asked), asked) and below < enclave.home.heap_top:
        return 0  # no place: do not ask the host for a block that could not be mapped
    enclave.asked_where, enclave.asked_size = address, size
    chain.ask(state, enclave, Ocall.MMAP, size)
    return None


def _mapped(size: int) -> int:
    """Return the pages that a request maps: a power of two, minus the page of the record."""
    return (1 << pages_for(size).bit_length()) - 1


def _wanted(address: int, pages: int) -> int:
    """Return the address tried first for a mapping of the mmap area; one outside counts as taken."""
    return min(address, abi.MMAP_TOP) if address else abi.MMAP_TOP - pages * PAGE


def _munmap(state: State, enclave: Enclave, context: Context) -> int | None:
    """2: a1 address, a2 bytes → 0 or −1. The whole mapping goes back to the host, cleared."""
    va, size = context.regs[A1], context.regs[A2]
    space = enclave.space
    region = space.find(va, size) if va < abi.MMAP_TOP and not va % PAGE and size else None
    if region is None or not slots.may_give(state, enclave, region):
        return FAILED
    block = region.whole
    space.remove(region)
    chain.lose(state, enclave, region)
    state.records.free_region(region)
    state.give_back([block])
    chain.ask(state, enclave, Ocall.MUNMAP, block.pa)
    return None


def _sbrk(state: State, enclave: Enclave, context: Context) -> int | None:
    """4: a1 signed bytes, a page multiple → the heap top after the change, −1 on failure.

    Shrinking gives back every block that starts at or above the new top, and the top becomes the end of the
    remaining heap. Shrinking by more than its size leaves the heap empty.
    """
    size, top = context.regs[A1], enclave.home.heap_top
    if size >> 63:
        return _shrink(state, enclave, (1 << 64) - size)
    if size == 0:
        return top
    if size % PAGE or size > _LARGEST or top + _mapped(size) * PAGE > enclave.space.lowest:
        return FAILED
    enclave.asked_where, enclave.asked_size = 0, size
    chain.ask(state, enclave, Ocall.SBRK, size)
    return None


def _shrink(state: State, enclave: Enclave, size: int) -> int | None:
    home = enclave.home
    new_top = home.heap_top - size
    if size % PAGE:
        return FAILED
    freed = []
    while home.heap and state.records.region(home.heap).va >= new_top:
        region = enclave.space.shrink_heap()
        freed.append(region.whole)
    if not freed:
        return home.heap_top
    state.give_back(freed)
    enclave.asked_where = enclave.asked_size = 0
    chain.ask(state, enclave, Ocall.SBRK, 0, freed[0].pa)
    return None


OCALLS: Final[dict[int, Callable[[State, Enclave, Context], int | None]]] = {
    Ocall.MMAP: _mmap,
    Ocall.MUNMAP: _munmap,
    Ocall.WRITE: _write,
    Ocall.SBRK: _sbrk,
    Ocall.READ_SECTOR: storage.read_sector,
    Ocall.WRITE_SECTOR: storage.write_sector,
    Ocall.GET_RANDOM: storage.get_random,
    Ocall.RETURN_RELAY: relay.give_back,
    Ocall.SHM_GET: secure_shm.get,
    Ocall.SHM_DETACH: secure_shm.detach,
    Ocall.SHM_DESTROY: secure_shm.destroy,
}


# -- the host's answers ------------------------------------------------------------------------------------


def answer(state: State, enclave: Enclave, value: int, size: int) -> bool:
    """Give the enclave the result of the ocall it waits for.

    For mmap and sbrk `value` and `size` are a physical block, in bytes; 0 or an unacceptable block means
    that the host has none. Returns False, and changes nothing, when the enclave has to go on waiting because
    new relay pages are not acceptable.
    """
    handler = ANSWERS.get(enclave.waiting_for)
    result = 0 if handler is None else handler(state, enclave, value, size)
    if result is None:
        return False
    enclave.waiting_for = 0
    state.answer(enclave.context, result)
    return True


def _take(state: State, enclave: Enclave, block: Block) -> Region:
    """Clear an acceptable block, give it to the enclave, and return it as a region."""
    pa, pages = block
    state.owners.claim(pa, pages, enclave.owner)
    state.memory.zero(pa, pages * PAGE)
    return state.records.new_region(pa, pages, hidden=1)


def _mmap_answer(state: State, enclave: Enclave, block: int, size: int) -> int:
    if not state.is_offer(block, size, enclave.asked_size):
        return 0
    pages = size // PAGE - 1
    place = enclave.space.place_for(_wanted(enclave.asked_where, pages), pages)
    if place is None:
        return 0
    enclave.space.insert(_take(state, enclave, Block(block, size // PAGE)), place)
    return place


def _sbrk_answer(state: State, enclave: Enclave, block: int, size: int) -> int:
    space, top = enclave.space, enclave.home.heap_top
    if not enclave.asked_size:
        return top
    pages = size // PAGE - 1
    if not state.is_offer(block, size, enclave.asked_size) or top + pages * PAGE > space.lowest:
        return FAILED
    if not space.make_tables(top, pages):
        return FAILED
    space.grow_heap(_take(state, enclave, Block(block, size // PAGE)))
    return enclave.home.heap_top


ANSWERS: Final[dict[int, Callable[[State, Enclave, int, int], int | None]]] = {
    Ocall.MMAP: _mmap_answer,
    Ocall.SBRK: _sbrk_answer,
    Ocall.READ_SECTOR: storage.sector_answer,
    Ocall.WRITE_SECTOR: storage.sector_answer,
    Ocall.GET_RANDOM: storage.random_answer,
    Ocall.RETURN_RELAY: relay.new_pages,
    Ocall.SHM_GET: secure_shm.memory_for,
}
