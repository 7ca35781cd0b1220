"""The counter in Python: the reference for `native/profile.c`, used without the native core.

    block     a block of code is about to run: it counts as a whole, in the node of its function
    trap      may end a block early: then the block is subtracted, and the part that ran counts as a block
    left      a time slice, or Ctrl-C, may end a block early too

An instruction counts when it is done: an ecall counts, one that faults does not, and if it is repeated it
counts then. Instructions that Unicorn lacks count, as the handler does them.

A block is identified by its enclave or process, pc, physical address and size. Its code is compared whenever
Unicorn has translated code since then, as replaced code has to be translated again.

Calls are tracked by the conventions of the ABI: a jump that links x1 or x5 is a call, and a jump to either is
a return, to a call of the same thread that has not returned. A block of another function without either is a
tail call, a `longjmp`, or a server's next call.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pltvm.debug.profile.rows import BlockRow, EdgeRow, NodeRow
from pltvm.debug.profile.table import CALLS, CAUSES, MOST_FRAMES, MOST_NODES, OCALLS
from pltvm.engine.context import A0, A1, A6, A7, PC, Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import X
from pltvm.engine.trap import Cause
from pltvm.monitor import abi
from pltvm.monitor.abi import Call
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State

PLAIN, CALL, RETURN = range(3)
_MAY_CHANGE: Final = (
    29,
    93,
    94,
    220,
    221,
    281,
    435,
)  # system calls: ioctl, exit, clone, execve and their kin


class _Block:
    """Code that ran as a unit."""

    def __init__(self, who: int, pc: int, size: int, code: bytes, function: int) -> None:
        self.who, self.pc, self.size, self.code, self.function = who, pc, size, code, function
        self.times = self.seen = 0
        self.instructions, word, at = 0, 0, 0
        while at + 2 <= size:
            length = length_of(code, at)
            word = int.from_bytes(code[at : at + length], "little")
            at += length
            self.instructions += 1
        self.end = end_of(word)


def length_of(code: bytes, at: int) -> int:
    """Return the size of the instruction at `at`."""
    return 4 if code[at] & 3 == 3 else 2


def end_of(word: int) -> int:
    """Whether an instruction calls, or returns."""
    rd, rs1 = word >> 7 & 31, word >> 15 & 31
    if word & 3 != 3:
        if word & 0xF07F == 0x8002 and rd in (1, 5):  # c.jr
            return RETURN
        return CALL if word & 0xF07F == 0x9002 and rd else PLAIN  # c.jalr
    if word & 0x7F == 0x6F:
        return CALL if rd in (1, 5) else PLAIN
    if word & 0x7F != 0x67:
        return PLAIN
    return CALL if rd in (1, 5) else RETURN if rs1 in (1, 5) else PLAIN


class _Node:
    """A function with its call path."""

    def __init__(self, parent: int, function: int, site: int) -> None:
        self.parent, self.function, self.site = parent, function, site
        self.own = self.calls = 0


class _Stack:
    """One thread of guest code."""

    def __init__(self, who: int, root: int) -> None:
        self.who, self.root, self.node = who, root, root
        self.last: _Block | None = None
        self.frames: list[tuple[int, int]] = []  # node and return address


class PythonCounter:
    """Counts on a hart, without the native core."""

    lost = 0

    def __init__(
        self, hart: Hart, state: State, who: Callable[[int], int], function: Callable[[int, int], int]
    ) -> None:
        self._hart, self._state, self._who, self._function = hart, state, who, function
        self._blocks: dict[tuple[int, int, int, int], _Block] = {}
        self._replaced: list[_Block] = []
        self._nodes = [_Node(0, 0, 0)]
        self._node_of: dict[tuple[int, int, int], int] = {}
        self._edges: dict[tuple[int, int], list[int]] = {}
        self._stacks: dict[int, _Stack] = {}
        self._counts: dict[int, tuple[list[int], list[int]]] = {}
        self._translated = 0
        self._stack: _Stack | None = None
        self._running: _Block | None = None
        self._trapped: tuple[Context, _Stack, int, int, bool, int] | None = None
        hart.watch_leaving(self._on_left)
        hart.watch_translated(self._note_translated)
        hart.watch_traps(self._before, self._after)
        hart.watch(self._block, 1, 0, blocks=True)

    def forget(self) -> None:
        """Forget the owners of registers, as they may have changed."""
        self._stack = None

    def _note_translated(self, *_: object) -> None:
        self._translated += 1

    # -- blocks ----------------------------------------------------------------------------------------

    def _find(self) -> _Stack:
        context = self._hart.current
        who, stack = self._who(context.address), self._stacks.get(context.address)
        if stack is None or stack.who != who:
            root = len(self._nodes)
            if root < MOST_NODES:
                self._nodes.append(_Node(0, self._function(who, -1), 0))
            else:
                root = 0
            stack = self._stacks[context.address] = _Stack(who, root)
            self._counts.setdefault(who, ([0] * CAUSES, [0] * CALLS))
        return stack

    def _code(self, pc: int, size: int) -> tuple[int, bytes]:
        """Return the physical address and the bytes of code; unmapped bytes are zero."""
        table, code, where = self._hart.current.table, bytearray(), 0
        assert table is not None
        while len(code) < size:
            at = pc + len(code)
            part = min(size - len(code), PAGE - at % PAGE)
            spans = table.spans(at, part, X) or []
            if not code and spans:
                where = spans[0][0]
            code += b"".join(table.memory.read(pa, length) for pa, length in spans) or bytes(part)
        return where, bytes(code)

    def _block_at(self, pc: int, size: int) -> _Block:
        """Return the row of a block of the running context."""
        assert self._stack is not None
        where, code = self._code(pc, size)
        key = self._stack.who, pc, where, size
        block = self._blocks.get(key)
        if block is not None and block.seen != self._translated:
            if block.code != code:
                self._replaced.append(block)
                block = None
            else:
                block.seen = self._translated
        if block is None:
            self._stack = self._find()
            if self._stack.who != key[0]:
                return self._block_at(pc, size)
            block = _Block(key[0], pc, size, code, self._function(key[0], pc))
            block.seen = self._translated
            self._blocks[key] = block
        return block

    def _block(self, pc: int, size: int) -> None:
        """Count a block that is about to run."""
        self._running = None
        if self._hart.current.privileged:
            return
        if self._stack is None:
            self._stack = self._find()
        block = self._block_at(pc, size)
        stack = self._stack
        block.times += 1
        if (stack.last and stack.last.end) or self._nodes[stack.node].function != block.function:
            self._follow(stack, stack.last, block)
        self._nodes[stack.node].own += block.instructions
        stack.last = self._running = block

    def _on_left(self, context: Context) -> None:
        self._left(context.regs[PC])
        self._stack = None  # another context may run next

    def _left(self, pc: int) -> None:
        """Correct the count of a block that was left at `pc`."""
        block, stack = self._running, self._stack
        if block is None or stack is None or not 0 <= pc - block.pc < block.size:
            return
        self._running = stack.last = None
        block.times -= 1
        self._nodes[stack.node].own -= block.instructions
        if pc > block.pc:
            self._count(block.pc, pc - block.pc)

    def _count(self, pc: int, size: int) -> _Block:
        block = self._block_at(pc, size)
        block.times += 1
        assert self._stack is not None
        self._nodes[self._stack.node].own += block.instructions
        return block

    # -- calls -----------------------------------------------------------------------------------------

    def _enter(self, stack: _Stack, function: int, site: int) -> None:
        parent = stack.frames[-1][0] if stack.frames else stack.root
        key = parent, function, site
        node = self._node_of.get(key)
        if node is None:
            node = parent
            if len(self._nodes) < MOST_NODES:
                node = self._node_of[key] = len(self._nodes)
                self._nodes.append(_Node(*key))
        stack.node = node
        self._nodes[node].calls += 1

    def _follow(self, stack: _Stack, last: _Block | None, block: _Block) -> None:
        """Find the node for a block, given the block before it."""
        end = last.pc + last.size if last else 0
        if last and last.end == CALL and end != block.pc:
            if len(stack.frames) < MOST_FRAMES:
                stack.frames.append((stack.node, end))
                self._enter(stack, block.function, end)
                return
        elif last and last.end == RETURN:
            for depth in reversed(range(len(stack.frames))):
                if stack.frames[depth][1] == block.pc:
                    stack.node = stack.frames[depth][0]
                    del stack.frames[depth:]
                    break
        if self._nodes[stack.node].function == block.function:
            return
        for depth in reversed(range(len(stack.frames))):
            if self._nodes[stack.frames[depth][0]].function == block.function:
                stack.node = stack.frames[depth][0]
                del stack.frames[depth:]
                return
        self._enter(stack, block.function, stack.frames[-1][1] if stack.frames else 0)

    # -- traps -----------------------------------------------------------------------------------------

    def _before(self, cause: int) -> None:
        context, stack = self._hart.current, self._stack
        self._trapped = None
        if stack is not None and not context.privileged:
            self._hart.read_registers()
            regs, number = context.regs, 0
            pc = regs[PC] - 4
            causes, calls = self._counts[stack.who]
            causes[cause % CAUSES] += 1
            is_call = False
            if cause == Cause.ECALL_U:
                number, is_call = regs[A7], regs[A6] == abi.ENCLAVE_CALL
                if is_call and number == Call.OCALL:
                    calls[OCALLS + regs[A0] % 32] += 1
                if is_call and number < OCALLS:
                    calls[number] += 1
            else:
                self._left(pc)
            running = self._state.running
            self._trapped = context, stack, pc, number, is_call, running.at if running is not None else 0
        self._running = None

    def _after(self, cause: int) -> None:
        if self._trapped is None:
            self._stack = None
            return
        context, stack, pc, number, is_call, caller = self._trapped
        if self._hart.current is context:
            if cause == Cause.ILLEGAL and context.regs[PC] - pc in (2, 4):
                stack.last = self._count(pc, context.regs[PC] - pc)
            if cause == Cause.ECALL_U and not is_call and number in _MAY_CHANGE:
                self._stack = None
            return
        self._stack = None
        running = self._state.running
        if is_call and running is not None and running.context is self._hart.current:
            if number in (Call.CALL, Call.CALL_WAITING) and running.caller == caller:
                pages = pages_passed(self._state, running)
                self._note(stack.who, self._find().who, pages, back=False)
            elif number == Call.RETURN:
                self._note(self._find().who, stack.who, _pages_back(running), back=True)

    def waited(self, caller: int, callee: int, pages: int) -> None:
        """Count a call that was made when its enclave had waited."""
        self._note(caller, callee, pages, back=False)

    def _note(self, caller: int, callee: int, pages: int, back: bool) -> None:
        row = self._edges.setdefault((caller, callee), [0, 0, 0])
        row[0] += not back
        row[2 if back else 1] += pages

    # -- results ---------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[BlockRow]:
        """Yield all code that ran."""
        for block in (*self._blocks.values(), *self._replaced):
            if block.times:
                yield BlockRow(block.who, block.pc, block.code, block.times, block.function)

    def nodes(self) -> Iterator[NodeRow]:
        """Yield the tree of calls."""
        for node in self._nodes:
            yield NodeRow(node.parent, node.function, node.site, node.own, node.calls)

    def edges(self) -> Iterator[EdgeRow]:
        """Yield calls between enclaves."""
        for (caller, callee), row in self._edges.items():
            yield EdgeRow(caller, callee, *row)

    def counts(self, who: int) -> tuple[list[int], list[int]]:
        """Return traps by cause, and calls by number."""
        return self._counts.get(who, ([], []))


def pages_passed(state: State, callee: Enclave) -> int:
    """Return the number of pages that the present call of a server has passed to it."""
    return state.records.region(callee.request).pages if callee.request else 0


def _pages_back(caller: Enclave) -> int:
    """Return the pages moved by a server's return, from the caller's struct."""
    data = caller.space.table.read(caller.context.regs[A1], abi.CALL_STRUCT.size)
    if data is None:
        return 0
    told = abi.CallStruct(*abi.CALL_STRUCT.unpack(data))
    found = {}
    for va, size in ((told.req_vaddr, told.req_size), (told.resp_vaddr, told.resp_size)):
        region = caller.space.find(va, -(-size // PAGE) * PAGE) if va and size and not va % PAGE else None
        if region is not None:
            found[region.at] = region.pages
    return sum(found.values())
