"""The host of the stress driver: its memory, the enclaves it lays out, and the ways it gets that wrong.

    mailbox page   0 parameters | 256 ocall, arg0, arg1, syscall, return value, eid | 1024 report

A block, by pages: monitor's, root, spare, low middle table, low leaf table, code, data; then, but for a
template: middle and leaf table of the stack, two stack pages. Two pages are mapped at the bottom: code (zeros
but for one instruction) at 0x1000 and data at 0x2000.
"""

from collections.abc import Callable
from typing import Any, Final

from pltvm.engine.memory import Memory
from pltvm.engine.sv39 import RW, RX, G, U, make_pte
from pltvm.monitor import abi
from pltvm.monitor.abi import CreateParams
from tests.model.entities import PAGE, STACK_TOP, TEMPLATE, Birth, Block, tables_of

CODE: Final = 0x1000
DATA: Final = 0x2000
MAILBOX: Final = 256
RETVAL, EID, REPORT = MAILBOX + 32, MAILBOX + 40, 1024
STACK_PAGES: Final = 2
INSTANCE_PAGES: Final = 4  # of a copy of a template: three tables and the data page
INSTANCE_STACK: Final = 16
LOAD: Final = 0x0005_3503  # ld a0, 0(a0)
_LAID_OUT: Final = {True: 7, False: 11}  # pages of a block, for a template or not
_DIRT: Final = 0xDEAD_BEEF_DEAD_BEEF


class Arena:
    """Pages of the host, handed out in naturally aligned blocks or, for relay pages, in any."""

    def __init__(self, memory: Memory, start: int, pages: int) -> None:
        self.memory, self.start, self.pages = memory, start, pages
        self._free = bytearray(b"\1" * pages)

    def take(self, pages: int, aligned: bool = True) -> int:
        """Physical address, 0 when there is no room. The pages are dirty."""
        wanted, step, at = b"\1" * pages, pages if aligned else 1, 0
        while True:
            at = self._free.find(wanted, at)
            if at < 0:
                return 0
            rounded = -(-at // step) * step
            if rounded == at:
                break
            at = rounded
        self._free[at : at + pages] = bytes(pages)
        pa = self.start + at * PAGE
        for page in (pa, pa + (pages - 1) * PAGE):
            self.memory.store(page, _DIRT)
            self.memory.store(page + PAGE - 8, _DIRT)
        return pa

    def give(self, pa: int, pages: int) -> None:
        at = (pa - self.start) // PAGE
        assert not any(self._free[at : at + pages]), f"{pa:#x}, {pages} pages came back twice"
        self._free[at : at + pages] = b"\1" * pages

    @property
    def free_pages(self) -> int:
        return self._free.count(1)


def lay_out(
    memory: Memory, kind: str, block: int, pages: int, mailbox: int, kbuffer: int, shm: Block
) -> Birth:
    """Fill a block as the host's driver does. What it looks like then, for the model."""
    used = _LAID_OUT[kind == TEMPLATE]
    memory.zero(block, min(used, pages) * PAGE)
    root, middle, leaf, code, data, high, stack_leaf, stack = (
        block + PAGE * n for n in (1, 3, 4, 5, 6, 7, 8, 9)
    )
    store = memory.store
    store(root, make_pte(middle, 1))
    store(middle, make_pte(leaf, 1))
    store(leaf + 8 * (CODE // PAGE), make_pte(code, RX))
    store(leaf + 8 * (DATA // PAGE), make_pte(data, RW))
    store(code, LOAD)
    areas = [(CODE, DATA, False), (DATA, DATA + PAGE, True)]
    tables = tables_of(CODE, 2)
    if kind != TEMPLATE:
        bottom = STACK_TOP - STACK_PAGES * PAGE
        store(root + 8 * (bottom >> 30), make_pte(high, 1))
        store(high + 8 * (bottom >> 21 & 511), make_pte(stack_leaf, 1))
        for page in range(STACK_PAGES):
            store(stack_leaf + 8 * ((bottom >> 12 & 511) + page), make_pte(stack + page * PAGE, RW))
        areas.append((bottom, STACK_TOP, True))
        tables |= tables_of(bottom, STACK_PAGES)
    stack_pages = 0 if kind == TEMPLATE else STACK_PAGES
    free = pages - used
    return Birth(block, pages, free, frozenset(tables), tuple(areas), mailbox, kbuffer, shm, stack_pages)


def instance_of(template: Birth, block: int, pages: int, mailbox: int, kbuffer: int, shm: Block) -> Birth:
    """What an instance in this block will look like."""
    free = pages - 1 - INSTANCE_PAGES - INSTANCE_STACK  # the first page holds its registers
    areas = (*template.areas, (STACK_TOP - INSTANCE_STACK * PAGE, STACK_TOP, True))
    return Birth(block, pages, free, template.tables, areas, mailbox, kbuffer, shm)


def mailbox_of(page: int) -> tuple[int, ...]:
    return tuple(page + MAILBOX + 8 * index for index in range(5))


def create_params(kind: str, name: bytes, birth: Birth, slots: int = 1) -> CreateParams:
    kinds = {"normal": 0, "server": 1, "template": 2, "concurrent server": 3 | slots << 8}
    free_mem = birth.block + (birth.pages - birth.free) * PAGE
    return CreateParams(
        birth.mailbox + EID, name, kinds[kind], birth.block, birth.pages * PAGE, CODE, free_mem,
        birth.kbuffer, PAGE, birth.shm[0], birth.shm[1] * PAGE, *mailbox_of(birth.mailbox),
    )  # fmt: skip


# -- what a hostile host gets wrong: parameters, then page tables --------------------------------------------

Wrong = Callable[[CreateParams, int], dict[str, Any]]  # parameters and a private page → what to change

WRONG_PARAMETERS: Final[list[Wrong]] = [
    lambda p, _: {"paddr": p.paddr + PAGE},
    lambda p, private: {"paddr": private & -p.size},
    lambda p, _: {"paddr": abi.MASK64 & -p.size},
    lambda _, private: {"kbuffer": private},
    lambda p, _: {"kbuffer": p.kbuffer + 8},
    lambda p, _: {"kbuffer": p.paddr + p.size - PAGE},
    lambda _, __: {"kbuffer": 0},
    lambda p, _: {"kbuffer_size": 2 * PAGE},
    lambda p, _: {"ocall": p.ocall + 4},
    lambda p, _: {"arg0": p.paddr + PAGE + 8},
    lambda _, private: {"arg1": private},
    lambda _, __: {"syscall": abi.MASK64 - 7},
    lambda _, private: {"retval": private + 16},
    lambda p, _: {"eid_pointer": p.paddr + 3 * PAGE},
    lambda _, private: {"eid_pointer": private},
    lambda _, private: {"eid_pointer": private - 2},
    lambda _, __: {"entry": 0},
    lambda p, _: {"size": p.size - PAGE},
    lambda _, __: {"size": 0},
    lambda _, __: {"size": 2 * PAGE},
    lambda _, __: {"size": 1 << 63},
    lambda p, _: {"free_mem": p.free_mem + 8},
    lambda p, _: {"free_mem": p.paddr + p.size + PAGE},
    lambda p, _: {"free_mem": p.paddr},
    lambda _, private: {"shm_paddr": private, "shm_size": PAGE},
    lambda p, _: {"shm_paddr": p.kbuffer + 8, "shm_size": PAGE},
    lambda p, _: {"shm_paddr": p.paddr, "shm_size": PAGE},
    lambda p, _: {"shm_paddr": p.kbuffer, "shm_size": PAGE // 2},
    lambda p, _: {"shm_paddr": p.kbuffer, "shm_size": 1 << 40},
]
WRONG_LAYOUT_PARAMETERS: Final[list[Wrong]] = [
    lambda _, __: {"entry": 0x5000},
    lambda _, __: {"entry": DATA},
    lambda _, __: {"entry": 1 << 40 | CODE},
    lambda p, _: {"free_mem": p.paddr + 4 * PAGE},
    lambda p, _: {"free_mem": p.paddr + 6 * PAGE},
]
# Offset of an entry in the block, and what to put there: block, a page outside → entry.
_ROOT, _MIDDLE, _LEAF = PAGE, 3 * PAGE, 4 * PAGE
WRONG_TABLES: Final[list[tuple[int, Callable[[int, int], int]]]] = [
    (_LEAF + 24, lambda _, other: make_pte(other, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + PAGE, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + 2 * PAGE, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + _LEAF, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + 6 * PAGE, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + 5 * PAGE, RW)),
    (_LEAF + 24, lambda block, _: make_pte(block + 15 * PAGE, RW)),
    (_LEAF + 16, lambda block, _: make_pte(block + 6 * PAGE, RW & ~U)),
    (_LEAF + 16, lambda block, _: make_pte(block + 6 * PAGE, RW | G)),
    (_LEAF + 16, lambda block, _: make_pte(block + 6 * PAGE, RW | 1 << 54)),
    (_LEAF + 24, lambda _, __: make_pte(1 << 50, RW)),
    (_MIDDLE + 8, lambda _, other: make_pte(other, 1)),
    (_MIDDLE + 8, lambda block, _: make_pte(block + _LEAF, 1)),
    (_MIDDLE + 8, lambda block, _: make_pte(block + PAGE, 1)),
    (_MIDDLE + 8, lambda block, _: make_pte(block + 2 * PAGE, 1)),
    (_MIDDLE + 8, lambda block, _: make_pte(block & -(1 << 21), RW)),
    (_ROOT + 8, lambda block, _: make_pte(block + _MIDDLE, 1)),
    (_ROOT + 8, lambda _, __: make_pte(0, 1)),
    (_ROOT + 8 * 0x40, lambda block, _: make_pte(block + _MIDDLE, 1)),
]
