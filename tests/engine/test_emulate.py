"""Programs with instructions that Unicorn lacks: they run, and what they load and store is what they may."""

import random
import threading
import time

import pytest

from pltvm.engine import context as ctx
from pltvm.engine import pmp, sv39
from pltvm.engine.context import PC
from pltvm.engine.decode import Access
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from tests import asm
from tests.asm import A0, A1, A2, A3, RA, T0, T1, ZERO, addi, bne, c_nop, ecall, fence_i, jalr, li, nop, sd
from tests.engine.bit_instructions import IMMEDIATE, MASK, REGISTERS, UNARY, assemble
from tests.engine.harness import (
    ALL_MEMORY,
    BASE,
    CODE,
    DATA,
    NOWHERE,
    RETURN,
    RW_X,
    RX_W,
    End,
    Machine,
    run,
    word,
)

TEXTS = (
    "sh1add a2, a0, a1",
    "c.lbu a0, 3(a1)",
    "c.lh a0, 2(a1)",
    "c.sb a0, 1(a1)",
    "c.sh a0, 2(a1)",
    "c.not a0",
)


@pytest.fixture(scope="module")
def code() -> dict[str, bytes]:
    """Instructions by the text in front of the operands."""
    return {text.split()[0]: made for text, made in zip(TEXTS, assemble(TEXTS), strict=True)}


def test_every_instruction_of_registers_runs_in_one_program(machine):
    """One behind the other, into memory, with random operands."""
    rng = random.Random(5)
    texts, results, program = [], [], b""
    for name in [*REGISTERS, *UNARY, *IMMEDIATE]:
        a, b, number = rng.getrandbits(64), rng.getrandbits(64), rng.randrange(32)
        if name in REGISTERS:
            texts.append(f"{name} a0, a1, a2")
            results.append(REGISTERS[name](a, b))
        elif name in UNARY:
            texts.append(f"{name} a0, a1")
            results.append(UNARY[name](a))
        else:
            texts.append(f"{name} a0, a1, {number}")
            results.append(IMMEDIATE[name][1](a, number))
        program += li(A1, a) + li(A2, b) + b"%03d!" % (len(texts) - 1) + sd(A0, T0) + addi(T0, T0, 8)
    for n, instruction in enumerate(assemble(texts)):
        program = program.replace(b"%03d!" % n, instruction)
    space = machine.space(b"")
    for page in range(0, len(program), PAGE):
        space.map(CODE + page, sv39.RX, (program + ecall())[page : page + PAGE])
    context = space.context()
    context.set_register(T0, DATA)
    assert machine.run(context) == End(Cause.ECALL_U, CODE + len(program) + 4)
    data = space.table.read(DATA, 8 * len(results))
    assert [int.from_bytes(data[8 * n : 8 * n + 8], "little") for n in range(len(results))] == results


@pytest.mark.parametrize("at", [CODE, CODE + PAGE - 4, CODE + PAGE - 2], ids=["start", "end", "across"])
@pytest.mark.parametrize("name", ["sh1add", "c.not", "c.lbu"])
def test_wherever_on_a_page(machine, code, name, at):
    space = machine.space()
    space.map(CODE, sv39.RX, pages=2)
    space.memory.write(space.table.translate(CODE) + at - CODE, code[name] + ecall())
    space.table.write(DATA, b"\1\2\3\4")
    context = space.context(pc=at)
    context.set_register(A1, DATA)
    assert machine.run(context) == End(Cause.ECALL_U, at + len(code[name]) + 4)
    assert (
        context.register(A2 if name == "sh1add" else A0) == {"sh1add": DATA, "c.not": MASK, "c.lbu": 4}[name]
    )


def test_half_of_it_on_a_page_that_is_not_there(machine, code):
    space = machine.space(c_nop() * (PAGE // 2 - 1) + code["sh1add"][:2])
    end = machine.run(space.context(pc=CODE + PAGE - 2))
    assert (end.cause, end.access) == (Cause.FETCH_PAGE, Access(CODE + PAGE, 2))


def test_skipped_one_in_every_place_of_a_block(machine, code):
    """Blocks of which they are the first, the last, or all; each a second time, as translated before."""
    for program, times in (
        (code["c.not"] + nop() + ecall(), 1),
        (nop() + code["c.not"] + ecall(), 1),
        (code["c.not"] * 7 + ecall(), 7),
        ((nop() + code["c.not"] + c_nop()) * 300 + ecall(), 300),
    ):
        space = machine.space(program)
        for _ in range(2):
            traps = machine.hart.traps
            context = space.context()
            assert machine.run(context) == End(Cause.ECALL_U, CODE + len(program))
            assert context.register(A0) == (MASK if times % 2 else 0)
            assert machine.hart.traps == traps + times + 1
        assert space.table.read(CODE, len(program)) == program, "RAM is as it was"


@pytest.mark.parametrize("slice_", [1, 2, 3, 7])
def test_time_slices_count_it_once(machine, code, slice_):
    """The same slices when the blocks are new as when they were translated before."""
    program = li(A1, 20) + code["c.not"] + addi(A1, A1, -1) + bne(A1, ZERO, -6) + ecall()
    space, hart = machine.space(program), machine.hart
    places = []
    for _ in range(2):
        seen = []
        hart.handlers[Cause.TIMER] = lambda context, seen=seen: seen.append(context.regs[PC])
        hart.set_time_slice(slice_)
        context = space.context()
        assert machine.run(context).cause == Cause.ECALL_U
        hart.set_time_slice(0)
        assert (context.register(A0), context.register(A1)) == (0, 0)
        places.append(seen)
    assert places[0] == places[1]
    assert abs(len(places[0]) - 62 // slice_) <= 1


@pytest.mark.parametrize("blocks", [True, False])
def test_blocks_and_instructions_are_watched_once(machine, code, blocks):
    seen = []
    machine.hart.watch(lambda pc, _size: seen.append(pc - CODE), CODE, CODE + PAGE - 1, blocks)
    context = machine.space(nop() + code["c.not"] + nop() + ecall()).context()
    machine.run(context)
    assert seen == ([0, 6] if blocks else [0, 4, 6, 10])
    assert context.register(A0) == MASK


def test_block_that_calls_back_and_forth_between_address_spaces(machine, code):
    """The same addresses with other code: what one has there is nothing to the other."""
    plain = machine.space(addi(A0, ZERO, 5) + ecall(), asid=1)
    other = machine.space(code["c.not"] + nop()[:2] + nop()[2:] + ecall(), asid=2)
    for _ in range(3):
        first, second = plain.context(), other.context()
        assert machine.run(first).pc == CODE + 8
        assert machine.run(second).pc == CODE + 10
        assert (first.register(A0), second.register(A0)) == (5, MASK)


def test_a_guest_kernel_has_the_cpu_that_unicorn_has(machine, code):
    for name, cause in (("sh1add", Cause.ILLEGAL), ("c.not", Cause.ECALL_U)):
        space = machine.space()
        space.map(CODE, sv39.RX & ~sv39.U, code[name] + ecall())
        context = space.context(priv=ctx.S)
        assert machine.run(context).cause == cause
        assert context.register(A0) == context.register(A2) == 0


@pytest.mark.parametrize("half", [0x8C40, 0x9000, 0x9C79, 0x9C7D])
def test_reserved_ones_beside_zcb_are_illegal(machine, half):
    assert run(machine, nop() + half.to_bytes(2, "little") + ecall())[2] == End(Cause.ILLEGAL, CODE + 4)


def test_one_that_the_program_itself_put_there(machine, code):
    """It stores c.not over a c.nop that ran before, and then another instruction over that."""
    loop = asm.sh(T1, T0) + fence_i() + jalr(RA, T0)
    program = b"".join(
        li(T1, int.from_bytes(half, "little")) + loop
        for half in (c_nop(), code["c.not"], asm.c_li(A0, 5), code["c.not"])
    )
    space = machine.space(program + ecall())
    space.map(DATA, RW_X, c_nop() + addi(A3, A0, 0) + asm.add(A2, A2, A0) + RETURN)
    context = space.context()
    context.set_register(T0, DATA)
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A3) == MASK - 5
    assert context.register(A2) == 0 + MASK + 5 + (MASK - 5) & MASK


def test_stopped_by_another_thread_while_blocks_are_new(machine, code):
    """Wherever the request comes, RAM is as it was and the program goes on."""
    count = 300
    program = b"".join(nop() + code["c.not"] for _ in range(count)) + ecall()
    hart, interrupts = machine.hart, []
    hart.handlers[Cause.INTERRUPT] = interrupts.append
    done = threading.Event()

    def bother() -> None:
        while not done.is_set():
            hart.interrupt()
            hart.refresh_tlb()
            time.sleep(0.00002)  # with another core for itself it would leave no block the time to run

    thread = threading.Thread(target=bother)
    thread.start()
    try:
        for asid in range(1, 11):
            space = machine.space(program, asid=asid)
            context = space.context()
            assert machine.run(context) == End(Cause.ECALL_U, CODE + len(program))
            assert context.register(A0) == 0
            assert space.table.read(CODE, len(program)) == program
    finally:
        done.set()
        thread.join()
    assert interrupts


# -- loads and stores --------------------------------------------------------------------------------------


def transfer(machine, instruction: bytes, va: int, value: int = 0, flags: int = sv39.RW, pages: int = 1):
    """Run a load or store with A1 = `va` and A0 = `value`, where `pages` are mapped at DATA."""
    space = machine.space(instruction + ecall())
    space.map(DATA, flags, bytes(range(0x80, 0x100)) * (PAGE * pages // 128), pages)
    context = space.context()
    context.set_register(A0, value)
    context.set_register(A1, va)
    return context, space, machine.run(context)


@pytest.mark.parametrize("offset", [0, 1, PAGE - 4, PAGE - 3, PAGE - 2])
def test_loads_and_stores_wherever_they_are(machine, code, offset):
    """Misaligned and across the end of a page too."""
    va, value = DATA + offset, 0x1_2345_89AB
    expected = {"c.lbu": lambda b: b[3], "c.lh": lambda b: int.from_bytes(b[2:4], "little") - 0x10000 & MASK}
    for name in expected:
        context, space, end = transfer(machine, code[name], va, pages=2)
        assert end == End(Cause.ECALL_U, CODE + 6)
        assert context.register(A0) == expected[name](space.table.read(va, 4))
    for name, at, size in (("c.sb", 1, 1), ("c.sh", 2, 2)):
        context, space, end = transfer(machine, code[name], va, value, pages=2)
        assert end == End(Cause.ECALL_U, CODE + 6)
        before = bytearray(bytes(range(0x80, 0x100)) * (PAGE // 64))
        before[offset + at : offset + at + size] = value.to_bytes(8, "little")[:size]
        assert space.table.read(DATA, 2 * PAGE) == before
        assert context.register(A0) == value


@pytest.mark.parametrize(
    ("name", "cause", "at", "size"),
    [
        ("c.lbu", Cause.LOAD_PAGE, 3, 1),
        ("c.lh", Cause.LOAD_PAGE, 2, 2),
        ("c.sb", Cause.STORE_PAGE, 1, 1),
        ("c.sh", Cause.STORE_PAGE, 2, 2),
    ],
)
def test_faults_as_others_do(machine, code, name, cause, at, size):
    for va in (NOWHERE, MASK - 3, 1 << 45, 0):
        context, _, end = transfer(machine, code[name], va, 7)
        assert end == End(cause, CODE, Access(va + at & MASK, size))
        assert context.register(A0) == 7
    if size == 2:
        _, space, end = transfer(machine, code[name], DATA + PAGE - 3, 7)
        assert end == End(cause, CODE, Access(DATA + PAGE, 1)), "the part that is not there"
        assert space.table.read(DATA + PAGE - 1, 1) == b"\xff"
    # Pages of a kernel, and such as are for other accesses.
    for flags in (sv39.RW & ~sv39.U, sv39.V | sv39.X | sv39.U, sv39.READ_ONLY_DATA):
        allowed = flags == sv39.READ_ONLY_DATA and cause == Cause.LOAD_PAGE
        _, _, end = transfer(machine, code[name], DATA, flags=flags)
        assert end.cause == (Cause.ECALL_U if allowed else cause)


def test_the_same_fault_as_of_the_instruction_that_unicorn_has(code):
    """c.lbu is lbu and c.sh is sh: for every combination of permissions the same end and the same entry."""
    pairs = [("c.lbu", asm.lb(A0, A1, 3)), ("c.sh", asm.sh(A0, A1, 2))]
    for permissions in range(16):
        flags = sv39.V | permissions << 1
        for name, full in pairs:
            ends = []
            for instruction in (code[name], full):
                _, space, end = transfer(Machine(), instruction, DATA, flags=flags)
                ends.append((end.cause, end.access, space.table.entry(DATA) & 0xFF))
            assert ends[0] == ends[1], f"{name} {permissions:04b}"


def test_accessed_and_dirty_are_set(machine, code):
    for name, seen in (("c.lbu", sv39.A), ("c.sb", sv39.A | sv39.D)):
        _, space, end = transfer(machine, code[name], DATA, flags=sv39.RW & ~(sv39.A | sv39.D))
        assert end.cause == Cause.ECALL_U
        assert space.table.entry(DATA) & (sv39.A | sv39.D) == seen


def test_pmp_is_asked(machine, code):
    """Of the page, and of every table on the way to it."""
    for name, cause in (("c.lbu", Cause.LOAD_ACCESS), ("c.sb", Cause.STORE_ACCESS)):
        space = machine.space(nop() + code[name] + ecall())
        tables = list(space.table.tables())
        data_table = space.table.slot(DATA) & -PAGE
        assert data_table in tables
        assert data_table != space.table.slot(CODE) & -PAGE
        for page in (space.table.translate(DATA), data_table):
            for permissions in (pmp.NO_ACCESS, pmp.READ_ONLY):
                machine.set_pmp({0: pmp.Entry(page, PAGE, permissions), **ALL_MEMORY})
                context = space.context()
                context.set_register(A1, DATA)
                context.set_register(A0, 0x55)
                end = machine.run(context)
                read_only = permissions == pmp.READ_ONLY and (
                    cause == Cause.LOAD_ACCESS or page == data_table
                )
                assert end.cause == (Cause.ECALL_U if read_only else cause)
        machine.set_pmp(ALL_MEMORY)


def test_page_outside_ram(machine, code):
    for name in ("c.lbu", "c.sh"):
        space = machine.space(code[name] + ecall())
        for outside in (BASE - PAGE, 0, 1 << 50):
            space.point(DATA, outside, sv39.RW)
            context = space.context()
            context.set_register(A1, DATA)
            machine.hart.translations_changed()
            assert machine.run(context) == End(Cause.OUTSIDE_RAM, CODE)


def test_store_flips_a_page_and_the_new_code_runs(machine, code):
    """A loop writes `addi a0, a0, N` byte by byte to another page and calls it."""
    target = word(addi(A2, A2, 1) + RETURN)
    program = li(A1, DATA - 1) + b"".join(
        asm.srli(A0, T1, 8 * n) + code["c.sb"] + addi(A1, A1, 1) for n in range(8)
    )
    program += fence_i() + jalr(RA, T0) + asm.addi(A3, A3, -1)
    space = machine.space()
    space.map(CODE, sv39.RX, program + ecall())
    space.map(DATA, RX_W, ecall())
    for step, value in enumerate((target, target + (1 << 20)), 1):
        context = space.context()
        context.set_register(T0, DATA)
        context.set_register(T1, value)
        assert machine.run(context).cause == Cause.ECALL_U
        assert context.register(A2) == step
    assert machine.hart.flips >= 2


def test_store_to_the_page_that_it_runs_on(machine, code):
    """The page flips until it is left writable and executable, and no stale instruction runs."""
    change = li(A1, CODE + 0x7FF) + code["c.sb"] + li(T0, CODE + 0x800) + jalr(RA, T0) + ecall()
    space = machine.space()
    program = change.ljust(0x800, b"\0") + b"\0" + (addi(A2, ZERO, 7) + RETURN)[1:]
    space.map(CODE, RW_X, program)
    context = space.context()
    context.set_register(A0, addi(A2, ZERO, 7)[0])
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A2) == 7


def test_two_loads_that_cross_into_a_page_that_flips(machine, code):
    space = machine.space(code["c.sh"] + ecall())
    for va in (DATA, DATA + PAGE):
        space.map(va, RX_W)
    context = space.context()
    context.set_register(A0, 0x1234)
    context.set_register(A1, DATA + PAGE - 3)
    assert machine.run(context).cause == Cause.ECALL_U
    assert space.table.read(DATA + PAGE - 1, 2) == b"\x34\x12"
    assert machine.hart.flips == 1
