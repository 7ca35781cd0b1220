"""Ocalls (§4): what an enclave asks of the host, and the monitor's check of the answer.

The monitor puts the request into the mailbox of the chain, gives the host control with status OCALL, and
takes the answer in `resume`. The host is not believed: a block it offers must be its own to give.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE, pages_for
from pltvm.monitor import abi, relay, secure_shm, storage
from pltvm.monitor.abi import FAILED, Ocall
from pltvm.monitor.space import Mapping
from pltvm.monitor.state import Enclave, State

_LARGEST: Final = abi.MMAP_TOP - abi.HEAP_BASE


def ocall(state: State, enclave: Enclave, context: Context) -> int | None:
    """Enclave call 98: a0 the ocall number, a1… its arguments. An unknown number gives −1."""
    handler = OCALLS.get(context.regs[A0])
    return FAILED if handler is None else handler(state, enclave, context)


def _write(state: State, enclave: Enclave, _context: Context) -> None:
    """3: print the text in the kbuffer."""
    state.ask(enclave, Ocall.WRITE)


def _mmap(state: State, enclave: Enclave, context: Context) -> int | None:
    """1: a1 address or 0, a2 bytes → address, 0 on failure."""
    address, size = context.regs[A1], context.regs[A2]
    if not 0 < size <= _LARGEST or address % PAGE:
        return 0
    space, asked = enclave.space, _mapped(size)
    if not space.is_free(_wanted(address, asked), asked) and space.lowest - asked * PAGE < space.heap_top:
        return 0  # no place: do not take a block from the host that would be lost
    enclave.ocall_args = (address, size)
    state.ask(enclave, Ocall.MMAP, size)
    return None


def _mapped(size: int) -> int:
    """Pages that a request maps: of a power of two, all but the record's."""
    return (1 << pages_for(size).bit_length()) - 1


def _wanted(address: int, pages: int) -> int:
    """Where a mapping of the mmap area is tried first; an address outside counts as taken."""
    return min(address, abi.MMAP_TOP) if address else abi.MMAP_TOP - pages * PAGE


def _munmap(state: State, enclave: Enclave, context: Context) -> int | None:
    """2: a1 address, a2 bytes → 0 or −1. The whole mapping goes back to the host, cleared."""
    va, size = context.regs[A1], context.regs[A2]
    space = enclave.space
    mapping = space.find(va, size) if va < abi.MMAP_TOP and not va % PAGE and size else None
    if mapping is None:
        return FAILED
    space.remove(mapping)
    state.hart.translations_changed()
    state.give_back([(mapping.block, mapping.block_pages)])
    state.ask(enclave, Ocall.MUNMAP, mapping.block)
    return None


def _sbrk(state: State, enclave: Enclave, context: Context) -> int | None:
    """4: a1 signed bytes, a page multiple → the heap top after the change, −1 on failure.

    Shrinking gives back every block that starts at or above the new top; the top becomes the end of what is
    left. By more than there is: the heap is empty.
    """
    size = context.regs[A1]
    if size >> 63:
        return _shrink(state, enclave, (1 << 64) - size)
    if size == 0:
        return enclave.space.heap_top
    space = enclave.space
    if size % PAGE or size > _LARGEST or space.heap_top + _mapped(size) * PAGE > space.lowest:
        return FAILED
    enclave.ocall_args = (0, size)
    state.ask(enclave, Ocall.SBRK, size)
    return None


def _shrink(state: State, enclave: Enclave, size: int) -> int | None:
    space = enclave.space
    new_top = space.heap_top - size
    if size % PAGE:
        return FAILED
    freed = []
    while space.heap and space.heap[-1].va >= new_top:
        mapping = space.shrink_heap()
        freed.append((mapping.block, mapping.block_pages))
    if not freed:
        return space.heap_top
    state.hart.translations_changed()
    state.give_back(freed)
    enclave.ocall_args = (0, 0)
    state.ask(enclave, Ocall.SBRK, 0, freed[0][0])
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

    For mmap and sbrk `value`, `size` are a physical block in bytes; 0 or a block that is not acceptable
    counts as the host having none. False, and nothing changed, when the enclave has to go on waiting: new
    relay pages that are not acceptable.
    """
    handler = ANSWERS.get(enclave.waiting_for)
    result = 0 if handler is None else handler(state, enclave, value, size)
    if result is None:
        return False
    enclave.waiting_for = 0
    state.answer(enclave.context, result)
    return True


def _block(state: State, asked: int, block: int, size: int) -> Mapping | None:
    """The host's block as a mapping, if it is a free, naturally aligned power of two that is big enough."""
    if not state.is_offer(block, size, asked):
        return None
    return Mapping(state.memory, block, size // PAGE, record=1)


def _take(state: State, enclave: Enclave, mapping: Mapping) -> None:
    state.owners.claim(mapping.block, mapping.block_pages, enclave.owner)
    state.memory.zero(mapping.block, mapping.block_pages * PAGE)
    state.hart.translations_changed()


def _mmap_answer(state: State, enclave: Enclave, block: int, size: int) -> int:
    wanted, asked = enclave.ocall_args
    mapping = _block(state, asked, block, size)
    if mapping is None:
        return 0
    place = enclave.space.place_for(_wanted(wanted, mapping.pages), mapping.pages)
    if place is None:
        return 0
    _take(state, enclave, mapping)
    enclave.space.insert(mapping, place)
    return place


def _sbrk_answer(state: State, enclave: Enclave, block: int, size: int) -> int:
    _, asked = enclave.ocall_args
    space = enclave.space
    if not asked:
        return space.heap_top
    mapping = _block(state, asked, block, size)
    if mapping is None or space.heap_top + mapping.size > space.lowest:
        return FAILED
    if not space.make_tables(space.heap_top, mapping.pages):
        return FAILED
    _take(state, enclave, mapping)
    space.grow_heap(mapping)
    return space.heap_top


ANSWERS: Final[dict[int, Callable[[State, Enclave, int, int], int | None]]] = {
    Ocall.MMAP: _mmap_answer,
    Ocall.SBRK: _sbrk_answer,
    Ocall.READ_SECTOR: storage.sector_answer,
    Ocall.WRITE_SECTOR: storage.sector_answer,
    Ocall.GET_RANDOM: storage.random_answer,
    Ocall.RETURN_RELAY: relay.new_pages,
    Ocall.SHM_GET: secure_shm.memory_for,
}
