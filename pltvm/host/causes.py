"""Suggests causes of a fault, in sentences, in addition to its place and the accessed memory.

A report begins with facts. This file draws conclusions, with a rule for each kind of mistake; a rule that
does not apply gives nothing.
"""

from collections.abc import Iterator
from typing import Final

from pltvm.engine.sv39 import canonical
from pltvm.errors import ElfError
from pltvm.host.elf import load_named
from pltvm.host.elf_details import PF_W, PF_X
from pltvm.host.elf_doubts import doubts
from pltvm.host.elf_evidence import LINUX_CALLS
from pltvm.host.elf_headers import read_headers
from pltvm.host.elf_table import human
from pltvm.host.extensions import extension_of
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import ENCLAVE_CALL, HEAP_BASE, MASK64, PAGE, STACK_TOP, Call
from pltvm.monitor.fault import Fault, Mapped

_GUARD: Final = 1 << 20  # bytes below a stack: accesses there mean that it is used up
OVERFLOW: Final = "stack overflow: sp is below the stack; --stack-size gives it more"
_LEAST_TEXT: Final = 5  # characters of text in an address, to be no accident
_ILLEGAL, _BREAKPOINT = "illegal instruction", "breakpoint"
_OF_BUILD: Final = "built for "  # start of a warning about extensions


def overflows(fault: Fault) -> bool:
    """Whether the stack is used up."""
    low, sp, address = fault.stack_low, fault.registers.get("sp", 0), fault.address
    if not low:
        return False
    touched = address is not None and low - _GUARD <= address < low
    return low - _GUARD <= sp < low or (touched and low <= sp < STACK_TOP)


def touched(fault: Fault) -> str:
    """Return the owner of the bytes that a fault accessed: from the monitor, or the stack that ends there."""
    if overflows(fault) and fault.address is not None and fault.address < fault.stack_low:
        size = human(STACK_TOP - fault.stack_low)
        return f"stack overflow: the stack of {size} ends here; --stack-size gives it more"
    return fault.owner


def notes(fault: Fault, symbols: Symbols | None) -> Iterator[str]:
    """Yield the suggested causes, a line each."""
    yield from _about_address(fault, symbols)
    yield from _about_calls(fault)
    yield from _about_abort(fault, symbols)
    yield from _about_instruction(fault, symbols)
    yield from _about_build(fault, symbols)


def _about_address(fault: Fault, symbols: Symbols | None) -> Iterator[str]:
    address = fault.address
    if address is None or (overflows(fault) and address < fault.stack_low):
        return
    here = next((one for one in fault.near if one.start <= address < one.end), None)
    section = symbols.section_of(address) if symbols is not None else None
    if here is None:
        text = _as_text(address)
        if text:
            yield f"the address is the text {text}: it was written over a pointer or a return address"
        elif not canonical(address):
            yield "no page can have this address (Sv39): what is no pointer was used as one"
        if canonical(address) and fault.near and not fault.given_away:
            yield from (f"nearest: {_distance(one, address, symbols)}" for one in fault.near)
        if address < PAGE:
            yield "a null pointer, or a member of what one points to"
        return
    if "W" not in here.permissions and fault.reason.startswith("store"):
        what = section.name if section is not None else "its pages"
        data = section is not None and not section.line & PF_X
        kind = "read-only data" if data else "code" if section is not None else "read-only memory"
        yield f"it stores to {kind} of its own: {what}, mapped {here.permissions.lower()}"
    elif fault.owner:
        yield f"there is {_name(here, symbols)}, mapped {here.permissions.lower()}"


def _as_text(address: int) -> str:
    """Return the bytes of an address in quotes if they are text, else ""."""
    text = address.to_bytes(8, "little").rstrip(b"\0").decode("latin-1")
    return f'"{text}"' if len(text) >= _LEAST_TEXT and text.isascii() and text.isprintable() else ""


def _distance(one: Mapped, address: int, symbols: Symbols | None) -> str:
    if address < one.start:
        return f"{_name(one, symbols)}, {human(one.start - address)} above"
    below = human(address - one.end) if address > one.end else "right"
    return f"{_name(one, symbols)}, {below} below"


def _name(one: Mapped, symbols: Symbols | None) -> str:
    """Return the name of a mapping, with its addresses and permissions."""
    where = f"{one.start:#x}–{one.end:#x} {one.permissions.lower()}"
    if one.end == STACK_TOP:
        return f"the stack ({where})"
    section = (
        symbols.section_of(one.end - 1) or symbols.section_of(one.start) if symbols is not None else None
    )
    if section is not None:
        return f"{section.name} ({where})"
    return f"{'the ELF' if one.start < HEAP_BASE else 'memory that it got'} ({where})"


def _about_calls(fault: Fault) -> Iterator[str]:
    registers = fault.registers
    a6, a7 = registers.get("a6", 0), registers.get("a7", 0)
    if fault.reason.startswith("unknown enclave call"):
        known = ", ".join(f"{one.value} {one.name.lower()}" for one in Call)
        if a6 == ENCLAVE_CALL:
            yield f"an enclave has no call {a7}; it has {known}"
        if a7 in LINUX_CALLS:
            yield f"{a7} is {LINUX_CALLS[a7]} for Linux: is this a host program, or built with a C library?"
        return
    if fault.reason != _BREAKPOINT or a6 != ENCLAVE_CALL or registers.get("a0") != MASK64:
        return
    if a7 == Call.EXIT and fault.server:
        yield "exit (call 99) was refused: a server ends a call with SERVER_RETURN (call 95), and never exits"
    if a7 == Call.RETURN:
        yield "SERVER_RETURN (call 95) was refused: nobody called, or its argument is not its own memory"
        if not fault.server:
            yield "a server runs when an enclave calls it: pltvm run CALLER --server NAME=FILE"


def _about_abort(fault: Fault, symbols: Symbols | None) -> Iterator[str]:
    """The SDK's malloc stops at memory that is not its own."""
    if fault.reason != _BREAKPOINT or symbols is None or symbols.locate(fault.pc).symbol != "abort":
        return
    caller = symbols.locate(fault.registers.get("ra", 0) - 1).symbol
    if caller in ("free", "realloc"):
        yield f"{caller} got what malloc did not give, or was freed before; or its size was overwritten"
        yield "the memory checker says which: pltvm build --check"


def _about_instruction(fault: Fault, symbols: Symbols | None) -> Iterator[str]:
    if fault.reason != _ILLEGAL:
        return
    section = symbols.section_of(fault.pc) if symbols is not None else None
    if section is not None and not section.line & PF_X:
        kind = "data" if section.line & PF_W else "read-only data"
        yield f"the pc is in {section.name}, which is {kind} and no code"
    elif what := extension_of(bytes.fromhex(fault.code)):
        yield f"the instruction is {what}"


def _about_build(fault: Fault, symbols: Symbols | None) -> Iterator[str]:
    """Yield warnings of `pltvm info` that may be the cause."""
    operands = fault.instruction.partition(" ")[2]
    address = fault.address
    said: list[str] = []
    if address is not None:
        for register, what in (
            ("tp", "variables of each thread, for which nobody has set tp up"),
            ("gp", "variables relative to gp, which nobody has set: link with -Wl,--no-relax-gp, or set it"),
        ):
            if f"({register})" in operands and not fault.registers.get(register):
                said.append(register)
                yield f"{register} is 0: the code uses {what}"
    if symbols is None or not symbols.source:
        return
    try:
        data, image = load_named(symbols.source)
        found = list(doubts(read_headers(data)))
    except ElfError:
        return
    for warning, (start, end) in zip(image.warnings, image.places, strict=True):
        if warning.startswith(_OF_BUILD):
            related = fault.reason == _ILLEGAL
        else:
            related = start < end and any(at is not None and start <= at < end for at in (address, fault.pc))
        if related:
            yield f"pltvm info warns: {warning}"
    for doubt in found:
        if address is None or doubt.register in said:
            continue
        if doubt.explains(address, fault.registers):
            yield f"pltvm info warns: {doubt.text}"
