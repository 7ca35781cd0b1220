"""The counter in C (`native/profile.c`): its table, and its calls of Python.

It asks Python for the owner of unknown registers on the hart, and for the function of a new block; both are
rare.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Final

from pltvm import native
from pltvm.debug.profile.rows import BlockRow, EdgeRow, NodeRow
from pltvm.debug.profile.table import Counts, Stack, Table
from pltvm.engine.context import PC, Context
from pltvm.engine.hart import Hart

_FIND: Final = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
_ADDED: Final = ctypes.CFUNCTYPE(None, ctypes.c_uint64)


class NativeCounter:
    """Counts on a hart, with the native core."""

    def __init__(self, hart: Hart, who: Callable[[int], int], function: Callable[[int, int], int]) -> None:
        core = native.core
        assert core is not None
        self._hart, self._who, self._function = hart, who, function
        self.table = table = Table()
        self._stacks: dict[int, Stack] = {}
        self._retired: list[Stack] = []  # C may still have their addresses
        self._counts: list[Counts] = []
        self._made = 0  # stacks
        self._callbacks = _FIND(self._find), _ADDED(self._added)
        table.hart = ctypes.addressof(hart.core)
        table.find, table.added = (ctypes.cast(one, ctypes.c_void_p) for one in self._callbacks)
        where = ctypes.addressof(table)
        self._left = core.pltvm_profile_left
        self._left.argtypes, self._left.restype = [ctypes.c_void_p, ctypes.c_uint64], None
        self._forget, self._flush = core.pltvm_profile_forget, core.pltvm_profile_flush
        self._leave = core.pltvm_profile_leave
        for one in (self._forget, self._flush, self._leave):
            one.argtypes, one.restype = [ctypes.c_void_p], None
        self._waited = core.pltvm_profile_waited
        self._waited.argtypes, self._waited.restype = [ctypes.c_void_p, *[ctypes.c_uint64] * 3], None
        hart.watch_leaving(self._on_left)
        hart.watch_translated(_address(core.pltvm_profile_translated), where)
        table.trap, table.data = hart.replace_traps(_address(core.pltvm_profile_trap), where)
        hart.watch_blocks(_address(core.pltvm_profile_block), where)
        hart.refresher = self._refresh

    def forget(self) -> None:
        """Forget the owners of registers, as they may have changed."""
        self._forget(ctypes.addressof(self.table))

    def waited(self, caller: int, callee: int, pages: int) -> None:
        """Count a call that was made when its enclave had waited."""
        self._waited(ctypes.addressof(self.table), caller, callee, pages)

    def _refresh(self) -> None:
        """Flush at the next block, which is looked up; from any thread."""
        self.table.refresh = 1
        self.table.stamp = 0

    def _find(self, registers: int, _pc: int) -> int:
        """Return the address of the Stack of these registers."""
        try:
            who = self._who(registers)
            stack = self._stacks.get(registers)
            if stack is None or stack.who != who:
                if stack is not None:
                    self._retired.append(stack)
                stack = self._stacks[registers] = self._new_stack(registers, who)
        except BaseException as error:  # must not unwind through C frames
            self._hart.raise_later(error)
            stack = self._stacks.get(registers) or self._new_stack(registers, 0)
            self._retired.append(stack)
        return ctypes.addressof(stack)

    def _new_stack(self, registers: int, who: int) -> Stack:
        while len(self._counts) <= who:
            self._counts.append(Counts())
        table = self.table
        root = table.node_count
        if root < len(table.node_rows):
            table.node_count += 1
            table.node_rows[root].function = self._function(who, -1)
        else:
            root = 0
        self._made += 1
        counts = ctypes.addressof(self._counts[who])
        return Stack(registers=registers, who=who, counts=counts, number=self._made, node=root, root=root)

    def _added(self, index: int) -> None:
        try:
            row = self.table.block_rows[index]
            row.function = self._function(row.who, row.pc)
        except BaseException as error:
            self._hart.raise_later(error)

    def _on_left(self, context: Context) -> None:
        self._left(ctypes.addressof(self.table), context.regs[PC])
        self._leave(ctypes.addressof(self.table))  # another context may run next

    # -- results ---------------------------------------------------------------------------------------

    @property
    def lost(self) -> int:
        """The number of blocks that ran but did not fit into the table."""
        return self.table.lost

    def blocks(self) -> Iterator[BlockRow]:
        """Yield all code that ran."""
        table = self.table
        self._flush(ctypes.addressof(table))
        for index in range(1, table.block_count):
            row = table.block_rows[index]
            if row.times:
                code = bytes(table.code_bytes[row.code : row.code + row.size])
                yield BlockRow(row.who, row.pc, code, row.times, row.function)

    def nodes(self) -> Iterator[NodeRow]:
        """Yield the tree of calls; the first node is a placeholder, and each comes after its parent."""
        rows: Any = self.table.node_rows
        self._flush(ctypes.addressof(self.table))
        for index in range(self.table.node_count):
            row = rows[index]
            yield NodeRow(row.parent, row.function, row.site, row.self, row.calls)

    def edges(self) -> Iterator[EdgeRow]:
        """Yield calls between enclaves."""
        for index in range(self.table.edge_count):
            row = self.table.edge_rows[index]
            yield EdgeRow(row.caller, row.callee, row.calls, row.pages, row.back)

    def counts(self, who: int) -> tuple[list[int], list[int]]:
        """Return traps by cause, and calls by number."""
        if who >= len(self._counts):
            return [], []
        return list(self._counts[who].causes), list(self._counts[who].calls)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
