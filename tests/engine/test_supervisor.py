"""A guest kernel in S-mode: what it changes is saved, it gets its traps, the next one finds zeros."""

import pytest

from pltvm.engine import sv39
from pltvm.engine.context import MSTATUS, MSTATUS_FS, PC, PRIV, Context, S, U
from pltvm.engine.trap import Cause
from tests.asm import A0, A1, A2, A3, A4, A5, ZERO, csrrs, csrrw, ecall, li, nop, sret
from tests.engine.harness import CODE, DATA, Machine

SSTATUS, STVEC, SCOUNTEREN, SSCRATCH, SEPC, SCAUSE, STVAL = 0x100, 0x105, 0x106, 0x140, 0x141, 0x142, 0x143
SIE, SPIE, SPP, SUM = 1 << 1, 1 << 5, 1 << 8, 1 << 18
VECTOR = CODE + 0x800
LOOK = ((A0, SEPC), (A1, SCAUSE), (A2, STVAL), (A3, SSTATUS))


def read(*registers: tuple[int, int]) -> bytes:
    return b"".join(csrrs(register, csr) for register, csr in registers) + ecall()


def write(csr: int, value: int) -> bytes:
    return li(A0, value) + csrrw(ZERO, csr, A0)


def kernel(machine: Machine, code: bytes, asid: int = 1) -> Context:
    """A context in S-mode that runs `code`; at VECTOR it looks at the trap. User code is at DATA."""
    space = machine.space(code.ljust(VECTOR - CODE, b"\0") + read(*LOOK), sv39.RX & ~sv39.U, asid)
    space.map(DATA, sv39.RX, nop() + ecall())
    return space.context(priv=S)


def looked(context: Context) -> list[int]:
    return [context.register(register) for register, _ in LOOK]


def test_mstatus_and_privilege_are_saved_as_the_kernel_leaves_them(machine: Machine) -> None:
    status = SUM | SPIE
    context = kernel(machine, write(SSTATUS, status) + ecall() + read(*LOOK))
    other = kernel(machine, ecall() + read(*LOOK), asid=2)
    for one, expected in ((context, status), (other, 0)):
        assert machine.run(one).cause == Cause.ECALL_U
        assert one.regs[MSTATUS] & (SIE | SPIE | SPP | SUM) == expected
        assert one.regs[PRIV] == S
    for one, expected in ((context, status), (other, 0)):
        machine.run(one)
        assert one.register(A3) & (SIE | SPIE | SPP | SUM) == expected


def test_floating_point_that_a_kernel_turned_off_stays_off(machine: Machine) -> None:
    """Also behind a trap, for which fcsr is read, and behind another program, after which it is written."""
    context = kernel(machine, write(SSTATUS, 0) + ecall() + (csrrs(A1, SSTATUS) + ecall()) * 2)
    other = kernel(machine, ecall(), asid=2)
    waits = [True]

    def handle(trapped: Context) -> None:
        if waits:
            waits.pop()
        else:
            machine.hart.stop()

    machine.hart.handlers[Cause.ECALL_U] = handle
    machine.hart.current = context
    machine.hart.run()
    assert context.register(A1) & MSTATUS_FS == 0
    machine.hart.current = other
    machine.hart.run()
    context.set_register(A1, MSTATUS_FS)
    machine.hart.current = context
    machine.hart.run()
    assert context.register(A1) & MSTATUS_FS == 0
    assert context.regs[MSTATUS] & MSTATUS_FS == 0


def test_return_to_user_mode_is_seen(machine: Machine) -> None:
    context = kernel(machine, write(SEPC, DATA) + write(SSTATUS, SPIE) + sret())
    end = machine.run(context)
    assert (end.cause, end.pc) == (Cause.ECALL_U, DATA + 8)
    assert context.regs[PRIV] == U
    assert context.regs[MSTATUS] & (SIE | SPIE) == SIE | SPIE


@pytest.mark.parametrize("enabled", [0, SIE])
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("priv", [U, S])
def test_a_trap_is_delivered_as_the_hardware_does_it(
    machine: Machine, priv: int, mode: int, enabled: int
) -> None:
    """Traps go to the base of the vector whatever its mode: only interrupts are spread."""
    context = kernel(machine, write(STVEC, VECTOR | mode) + ecall())
    machine.run(context)
    context.regs[PC], context.regs[PRIV] = DATA + 4, priv
    context.regs[MSTATUS] |= enabled | SPP | SPIE | SUM
    others = context.regs[MSTATUS] & ~(SPP | SPIE | SIE)
    assert machine.hart.deliver(context, Cause.STORE_PAGE, 0x1234_5678_9ABC)
    assert (context.regs[PC], context.regs[PRIV]) == (VECTOR, S)
    assert context.regs[MSTATUS] & ~(SPP | SPIE | SIE) == others
    assert machine.run(context).pc == VECTOR + 4 * (len(LOOK) + 1)
    epc, cause, value, status = looked(context)
    assert (epc, cause, value) == (DATA + 4, Cause.STORE_PAGE, 0x1234_5678_9ABC)
    previous = (SPP if priv == S else 0) | (SPIE if enabled else 0)
    assert status & (SPP | SPIE | SIE) == previous
    assert context.regs[MSTATUS] & (SPP | SPIE | SIE) == previous


def test_delivery_in_a_handler_goes_on_at_the_vector(machine: Machine) -> None:
    hart = machine.hart
    hart.handlers[Cause.ILLEGAL] = lambda context: hart.deliver(context, Cause.ILLEGAL, 7)
    context = kernel(machine, write(STVEC, VECTOR) + b"\xff" * 4)
    assert machine.run(context).cause == Cause.ECALL_U
    assert looked(context)[:3] == [CODE + len(write(STVEC, VECTOR)), Cause.ILLEGAL, 7]


def test_a_trap_without_a_vector_or_at_its_first_instruction_is_not_delivered(machine: Machine) -> None:
    context = kernel(machine, ecall() + write(STVEC, VECTOR) + ecall())
    machine.run(context)
    before = bytes(context.regs)
    assert not machine.hart.deliver(context, Cause.ILLEGAL, 0)
    assert bytes(context.regs) == before
    machine.run(context)
    context.regs[PC] = VECTOR
    before = bytes(context.regs)
    assert not machine.hart.deliver(context, Cause.ILLEGAL, 0)
    assert bytes(context.regs) == before
    context.regs[PRIV] = U
    assert machine.hart.deliver(context, Cause.ILLEGAL, 0)


def test_another_kernel_finds_zeros(machine: Machine) -> None:
    registers = (STVEC, SCOUNTEREN, SSCRATCH, SEPC, SCAUSE, STVAL)
    look = read(*zip((A0, A1, A2, A3, A4, A5), registers, strict=True))
    context = kernel(machine, b"".join(write(csr, 4) for csr in registers) + look + look)
    machine.run(context)
    assert [context.register(register) for register in (A0, A1, A2, A3, A4, A5)] == [4] * 6
    machine.hart.clear_supervisor()
    machine.run(context)
    assert [context.register(register) for register in (A0, A1, A2, A3, A4, A5)] == [0] * 6
