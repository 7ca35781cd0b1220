"""Saved CPU state: register names and numbers, a fresh start, floating point only when asked for."""

import ctypes

import pytest

from pltvm.engine import context as ctx
from pltvm.engine.context import Context, M, S, U
from tests.asm import A0, A7, GP, RA, SP, TP


def test_slots_are_named_as_the_abi_names_registers():
    context = Context(pc=0x1000)
    for number in range(32):
        context.set_register(number, 100 + number)
    regs = context.regs
    numbers = {ctx.RA: RA, ctx.SP: SP, ctx.GP: GP, ctx.TP: TP, ctx.A0: A0, ctx.A7: A7}
    assert {slot: regs[slot] for slot in numbers} == {slot: 100 + n for slot, n in numbers.items()}
    named = context.named_registers()
    assert (named["zero"], named["ra"], named["a0"], named["t6"]) == (0, 101, 110, 131)
    assert [named[name] for name in ctx.REGISTER_NAMES[1:]] == list(range(101, 132))
    assert named["pc"] == 0x1000


def test_x0_stays_zero_and_touches_nothing():
    context = Context(U, satp=8 << 60, pc=4)
    before = bytes(context.regs)
    context.set_register(0, 77)
    assert bytes(context.regs) == before
    assert context.register(0) == 0


@pytest.mark.parametrize(("value", "stored"), [(-1, (1 << 64) - 1), (1 << 64, 0), (-(1 << 63), 1 << 63)])
def test_registers_are_64_bits(value, stored):
    context = Context()
    context.set_register(A0, value)
    assert context.register(A0) == stored


def test_reset_forgets_everything():
    context = Context(U, satp=5, pc=6, mstatus=ctx.MSTATUS_TVM)
    for number in range(1, 32):
        context.set_register(number, number)
        context.regs[ctx.F0 + number] = number
    context.regs[ctx.FCSR] = 1
    context.reset(M, satp=7, pc=8)
    assert all(context.register(number) == 0 for number in range(32))
    assert (context.regs[ctx.PRIV], context.regs[ctx.SATP], context.regs[ctx.PC]) == (M, 7, 8)
    assert not context.regs[ctx.MSTATUS] & ctx.MSTATUS_TVM
    assert not any(context.regs[ctx.F0 :])


def test_a_context_starts_as_it_is_told(machine):
    table = machine.space().table
    context = Context(S, satp=5, pc=6, mstatus=ctx.MSTATUS_TVM, table=table)
    assert context.table is table
    assert [context.regs[slot] for slot in (ctx.PRIV, ctx.SATP, ctx.PC)] == [S, 5, 6]
    assert context.regs[ctx.MSTATUS] & ctx.MSTATUS_TVM


def test_by_default_all_is_zero_but_what_loading_needs():
    context = Context()
    on = {0: M, ctx.MSTATUS: ctx.MSTATUS_FS | 2 << 32 | 2 << 34}  # 64-bit modes, floating point
    assert {slot: value for slot, value in enumerate(context.regs) if value} == on
    assert context.table is None
    context.regs[ctx.MSTATUS] |= ctx.MSTATUS_SIE
    context.reset(U, 0, 0)
    assert {slot: value for slot, value in enumerate(context.regs) if value} == on


def test_all_is_loaded_and_saving_begins_at_x1():
    context = Context()
    for slot in range(ctx.SLOTS):
        context.regs[slot] = slot
    for pointers, first in ((context.loaded_pointers, 0), (context.saved_pointers, ctx.SAVED_FROM)):
        addresses = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))[: ctx.SLOTS - first]
        slots = [ctypes.c_uint64.from_address(address).value for address in addresses]
        assert slots == list(range(first, ctx.SLOTS))


@pytest.mark.parametrize(
    ("pc", "by", "end"), [(8, 4, 12), (8, -4, 4), (0, -4, (1 << 64) - 4), ((1 << 64) - 2, 4, 2)]
)
def test_steps_go_around_the_end_of_the_address_space(pc, by, end):
    context = Context(pc=pc)
    context.step(by)
    assert context.regs[ctx.PC] == end


def test_code_that_changes_privilege_by_itself_is_known():
    context = Context()
    assert context.privileged is False
    for priv, privileged in ((S, True), (M, True), (U, False)):
        assert Context(priv).privileged is privileged
        context.reset(priv, 0, 0)
        assert context.privileged is privileged


def test_pointers_are_to_each_number_of_a_block():
    block = (ctypes.c_uint64 * 5)(*range(10, 15))
    numbers = [ctypes.c_uint64.from_address(pointer).value for pointer in ctx.pointers_to(block)]
    assert numbers == [10, 11, 12, 13, 14]


def test_restart_copies_the_registers_of_another():
    template, context = Context(U, satp=1, pc=2), Context(M)
    template.set_register(A0, 3)
    context.regs[ctx.F0] = 5
    assert context.restart(template.regs) is context.regs
    assert bytes(context.regs) == bytes(template.regs)
    context.set_register(A0, 4)
    assert template.register(A0) == 3


def test_floating_point_is_always_on():
    assert Context().regs[ctx.MSTATUS] & ctx.MSTATUS_FS == ctx.MSTATUS_FS
