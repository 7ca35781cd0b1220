"""Hooks on code: native ones count every block, and can leave the run at a block and go on."""

import ctypes
from collections.abc import Callable

import pytest

from pltvm.engine.context import PC
from pltvm.engine.trap import Cause
from tests.asm import A0, A1, A2, ZERO, addi, bne, ebreak, ecall, jal, li, nop
from tests.engine.harness import CODE, Machine

BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
STOP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
ROUNDS = 50
BODY = addi(A0, A0, 1) + nop()
LOOP = BODY + bne(A0, A1, -len(BODY))
PROGRAM = li(A1, ROUNDS) + LOOP + addi(A2, A2, 7) + ebreak()
START = CODE + len(li(A1, ROUNDS))  # of the loop
BEHIND = START + len(LOOP)


class Hook:
    """A C function for blocks, and what it was called with; with a number it stops the run at that block."""

    def __init__(self, machine: Machine, start: int = 1, end: int = 0) -> None:
        self.blocks: list[tuple[int, int]] = []
        self.stop_at: set[int] = set()
        self.data = 0
        stop = STOP(machine.hart.stop_function())

        def seen(engine: int, pc: int, size: int, data: int) -> None:
            self.data = data
            if len(self.blocks) in self.stop_at:
                self.stop_at.remove(len(self.blocks))
                stop(engine)
                return  # the block is yet to run, and the hook is called for it again
            self.blocks.append((pc, size))

        self.function = BLOCK(seen)
        machine.hart.watch_blocks(ctypes.cast(self.function, ctypes.c_void_p).value or 0, 1234, start, end)


def test_every_block_is_counted(machine: Machine) -> None:
    hook = Hook(machine)
    context = machine.space(PROGRAM).context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    first, last = hook.blocks[0], hook.blocks[-1]
    assert first == (CODE, BEHIND - CODE)  # up to the branch, the first time round
    assert hook.blocks[1:-1] == [(START, len(LOOP))] * (ROUNDS - 1)
    assert last[0] == BEHIND
    assert hook.data == 1234


def test_a_second_run_counts_the_same(machine: Machine) -> None:
    """Also the code that was translated before."""
    hook = Hook(machine)
    space = machine.space(PROGRAM)
    machine.run(space.context())
    first = list(hook.blocks)
    hook.blocks.clear()
    machine.run(space.context())
    assert hook.blocks == first


@pytest.mark.parametrize("block", [0, 1, 2, 25, ROUNDS - 1, ROUNDS])
def test_a_stop_is_at_that_block_and_the_run_goes_on(machine: Machine, block: int) -> None:
    plain = Machine()
    expected = plain.space(PROGRAM).context()
    plain.run(expected)

    hook = Hook(machine)
    hook.stop_at = {block}
    context = machine.space(PROGRAM).context()
    end = machine.run(context)
    assert end.cause == Cause.WFI
    assert end.pc == (CODE if block == 0 else BEHIND if block == ROUNDS else START)
    assert context.register(A0) == block
    assert len(hook.blocks) == block
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A0) == ROUNDS
    assert context.register(A2) == 7
    assert len(hook.blocks) == ROUNDS + 1
    assert context.named_registers() == expected.named_registers()


def test_a_handler_that_goes_on_at_once(machine: Machine) -> None:
    """As a fuzzer does with a budget: the run is not left."""
    hook = Hook(machine)
    hook.stop_at = {3, 4, 30}
    seen = []
    machine.hart.handlers[Cause.WFI] = lambda context: seen.append((context.regs[PC], context.register(A0)))
    context = machine.space(PROGRAM).context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert seen == [(START, 3), (START, 4), (START, 30)]
    assert (context.register(A0), context.register(A2)) == (ROUNDS, 7)


def test_a_stop_in_a_handler_s_first_block(machine: Machine) -> None:
    """Behind an ecall, too, the block that is stopped at has not run."""
    hook = Hook(machine)
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: hook.stop_at.add(len(hook.blocks))
    context = machine.space(ecall() + addi(A0, A0, 1) + ebreak()).context()
    end = machine.run(context)
    assert (end.cause, end.pc) == (Cause.WFI, CODE + 4)
    assert context.register(A0) == 0
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A0) == 1


def test_only_blocks_in_the_range(machine: Machine) -> None:
    hook = Hook(machine, START, START + 4)
    machine.run(machine.space(PROGRAM).context())
    assert {pc for pc, _ in hook.blocks} == {START}
    assert len(hook.blocks) == ROUNDS - 1


# -- Python functions --------------------------------------------------------------------------------------


def watch(machine: Machine, blocks: bool) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    machine.hart.watch(lambda pc, size: seen.append((pc, size)), CODE, CODE + 0xFFF, blocks)
    return seen


def test_each_instruction(machine: Machine) -> None:
    seen = watch(machine, blocks=False)
    code = addi(A0, A0, 1) + nop() + jal(ZERO, 8) + nop() + ebreak()
    machine.run(machine.space(code).context())
    assert [pc - CODE for pc, _ in seen][:4] == [0, 4, 8, 16]
    assert all(size == 4 for _, size in seen[:3])


def test_each_block(machine: Machine) -> None:
    seen = watch(machine, blocks=True)
    machine.run(machine.space(PROGRAM).context())
    assert len(seen) == ROUNDS + 1
    assert seen[1] == (START, len(LOOP))


def test_registers_as_they_are_at_an_instruction(machine: Machine) -> None:
    space = machine.space(addi(A0, A0, 1) * 5 + ebreak())
    context = space.context()
    values = []

    def look(_pc: int, _size: int) -> None:
        machine.hart.read_registers()
        values.append(context.register(A0))

    machine.hart.watch(look, CODE, CODE + 0xFFF, False)
    machine.run(context)
    assert values[:6] == [0, 1, 2, 3, 4, 5]
    assert context.register(A0) == 5


@pytest.mark.parametrize("blocks", [False, True])
def test_an_exception_of_the_function_comes_out_of_the_run(machine: Machine, blocks: bool) -> None:
    def fail(_pc: int, _size: int) -> None:
        raise RuntimeError("from the function")

    fails: list[Callable[[int, int], None]] = [fail]
    machine.hart.watch(lambda pc, size: fails[0](pc, size), CODE, CODE + 0xFFF, blocks)
    space = machine.space(addi(A0, A0, 1) + ebreak())
    machine.hart.current = space.context()
    with pytest.raises(RuntimeError, match="from the function"):
        machine.hart.run()
    fails[0] = lambda _pc, _size: None
    assert machine.run(space.context()).cause == Cause.BREAKPOINT


def test_a_pause_is_at_that_block_and_the_run_goes_on(machine: Machine) -> None:
    blocks: list[int] = []
    pauses = {0, 25, ROUNDS}

    def seen(pc: int, _size: int) -> None:
        if len(blocks) in pauses:
            pauses.remove(len(blocks))
            machine.hart.pause()
        else:
            blocks.append(pc)

    machine.hart.watch(seen, CODE, CODE + 0xFFF, blocks=True)
    context = machine.space(PROGRAM).context()
    for place, done in ((CODE, 0), (START, 25), (BEHIND, ROUNDS)):
        end = machine.run(context)
        assert (end.cause, end.pc, context.register(A0)) == (Cause.WFI, place, done)
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert len(blocks) == ROUNDS + 1
    assert context.register(A2) == 7
