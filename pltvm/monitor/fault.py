"""What the monitor can report about an enclave that it had to destroy.

The monitor knows addresses, registers and owners; code that has the ELF adds symbols and source lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from pltvm.engine.context import PC, RA, SP, X0, Context
from pltvm.engine.decode import disassemble
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import R, W, X, pte_address
from pltvm.engine.trap import Cause, faulting_access, fetch
from pltvm.monitor import abi, chain
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.pages import SHARED, PageOwners
from pltvm.monitor.records import Region
from pltvm.monitor.state import State

STACK_KEPT: Final = 32 << 10  # bytes of each enclave's stack
_MOST_LEAVES: Final = 1 << 16  # pages that are visited: 256 MiB
_S0: Final = X0 + 8
_OLDEST: Final = 2  # the first function of the older call interface


@dataclass(frozen=True, slots=True)
class Activation:
    """One enclave of a chain, with the data for a walk of its stack.

    If it waits in a call, `pc` is that of the `ecall`. `stack` has at most STACK_KEPT bytes from `stack_at`
    on, which is `sp`, or the start of the stack if sp is below it.
    """

    eid: int
    name: str
    pc: int
    ra: int
    sp: int
    s0: int
    stack_at: int = 0
    stack: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Contiguous pages of an enclave with the same permissions."""

    start: int
    end: int
    permissions: str  # "RW-", "R-X": those of the entries; pages that are both have one at a time


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an enclave was destroyed.

    `address` and `size` are the bytes that it may not access, None if the fault is no access. `owner` says
    in words who owns the physical page mapped there, or that there is none; `near` are the mappings at the
    address, or the nearest ones below and above. `activations` are the enclaves of the chain, from the one
    that faulted to the top caller. `stack_low` is the lowest address of its stack.
    """

    eid: int
    name: str
    reason: str
    pc: int
    instruction: str
    registers: dict[str, int]
    address: int | None = None
    size: int | None = None
    owner: str = ""
    given_away: bool = False  # the enclave had the page, and passed it on
    chain: tuple[str, ...] = ()  # from the top caller to the one that faulted
    destroyed: tuple[int, ...] = ()
    server: bool = False
    code: str = ""  # the bytes of the instruction, in hexadecimal
    near: tuple[Mapped, ...] = ()
    stack_low: int = 0
    activations: tuple[Activation, ...] = field(default=(), repr=False)


def describe_access(cause: int, context: Context) -> tuple[int, int] | None:
    """Return address and size of the access that failed at pc; None if the instruction accesses nothing."""
    access = faulting_access(cause, context)
    return (access.address, access.size) if access else None


def instruction_at(context: Context) -> str:
    """The instruction at pc in words."""
    code = fetch(context)
    return disassemble(code, context.regs[PC]) if code else "(none: the page is not executable)"


def describe_owner(owners: PageOwners, context: Context, address: int) -> str:
    """Return the owner of the page mapped at `address`, in words."""
    pte = context.table.entry(address) if context.table else 0
    if not pte:
        return "nothing is mapped there"
    pa = pte_address(pte)
    if not owners.memory.contains(pa):
        return "mapped outside guest RAM"
    owner = owners.owner(pa)
    if owner is None:
        return "the page belongs to the host"
    if owner & SHARED:
        return "the page belongs to memory shared between enclaves"
    return f"the page belongs to enclave {owner - 1}" if owner else "the page belongs to the monitor"


def unknown_call(a6: int, a7: int) -> str:
    """Describe an `ecall` that is not in §2; say so if it belongs to another interface of Penglai."""
    text = f"unknown enclave call: a6 = {a6:#x}, a7 = {a7}"
    if a7 == abi.ENCLAVE_CALL:
        return f"{text}: the PMP variant of Penglai has the two the other way round; build for Penglai-TVM"
    if a6 == 0 and a7 >= _OLDEST:
        return f"{text}: an older call interface of Penglai has a6 = 0, as Linux programs may; build anew"
    return text


def reason_for(cause: int) -> str:
    """The cause of a trap in words."""
    try:
        return Cause(cause).text
    except ValueError:
        return f"trap {cause}"


def describe(
    state: State, enclave: Enclave, context: Context, reason: str, cause: Cause | None = None
) -> Fault:
    """Return the Fault of `enclave`, whose registers are in `context`; changes nothing."""
    access = describe_access(cause, context) if cause is not None else None
    gone = passed_on(state, enclave, access[0]) if access else None
    mapped = _mapped(context)
    low = next((one.start for one in mapped if one.end == abi.STACK_TOP), 0)
    owner = gone or (describe_owner(state.owners, context, access[0]) if access else "")
    return Fault(
        eid=enclave.eid,
        name=enclave.name.decode("ascii", "backslashreplace"),
        reason=reason,
        pc=context.regs[PC],
        instruction=instruction_at(context),
        registers=context.named_registers(),
        address=access[0] if access else None,
        size=access[1] if access else None,
        owner=owner,
        given_away=gone is not None,
        chain=tuple(str(link) for link in chain.links(state, enclave))[::-1],
        server=bool(enclave.is_server),
        code=fetch(context).hex(),
        near=_near(mapped, access[0]) if access else (),
        stack_low=low,
        activations=tuple(
            _activation(link, context if link.at == enclave.at else None, low)
            for link in chain.links(state, enclave)
        ),
    )


def _activation(enclave: Enclave, context: Context | None, low: int) -> Activation:
    """Return the activation of an enclave; for the one that faulted, `context` has the pc and `low` ends its
    stack."""
    pc = context.regs[PC] if context else enclave.context.regs[PC] - 4
    return activation(enclave, pc, context, low if context else 0)


def activation(enclave: Enclave, pc: int, context: Context | None = None, low: int = 0) -> Activation:
    """Return the activation of an enclave at `pc`, whose stack ends at `low`: a debug port."""
    regs, table = (context or enclave.context).regs, enclave.space.table
    sp, stack = regs[SP], b""
    at = max(sp, low)
    if 0 < at < abi.STACK_TOP:
        size = min(STACK_KEPT, abi.STACK_TOP - at)
        stack = table.read(at, size) or table.read(at, min(size, -at % PAGE or PAGE)) or b""
    name = enclave.name.decode("ascii", "backslashreplace")
    return Activation(enclave.eid, name, pc & abi.MASK64, regs[RA], sp, regs[_S0], at, stack)


def _mapped(context: Context) -> list[Mapped]:
    """Return the mappings in order, equal neighbours as one; only the first _MOST_LEAVES pages."""
    found: list[Mapped] = []
    if context.table is None:
        return found
    for leaf in islice(context.table.leaves(), _MOST_LEAVES):
        flags = "".join(letter if leaf.pte & bit else "-" for letter, bit in (("R", R), ("W", W), ("X", X)))
        last = found[-1] if found else None
        if last is not None and last.end == leaf.va and last.permissions == flags:
            found[-1] = Mapped(last.start, leaf.va + PAGE, flags)
        else:
            found.append(Mapped(leaf.va, leaf.va + PAGE, flags))
    return found


def _near(mapped: list[Mapped], address: int) -> tuple[Mapped, ...]:
    """Return the mapping at the address, or else the nearest ones below and above, if any."""
    here = [one for one in mapped if one.start <= address < one.end]
    below = [one for one in mapped if one.end <= address][-1:]
    above = [one for one in mapped if one.start > address][:1]
    return tuple(here or below + above)


def passed_on(state: State, enclave: Enclave, address: int) -> str | None:
    """Return who has the memory that the enclave passed on from `address`; None if it did not."""
    if enclave.space.table.entry(address):
        return None
    for callee in state.enclaves.values():
        start = callee.request_va if callee.caller == enclave.at else 0
        if start and start <= address < start + callee.request_size:
            return f"the page was passed to {callee} and has not come back"
    holders: list[tuple[str, Iterable[Region]]] = [
        (f"to {other}", other.space.all_regions()) for other in state.enclaves.values()
    ]
    holders += [
        (f"to the name {name.decode('ascii', 'backslashreplace')!r}", regions)
        for name, regions in state.bound.items()
    ]
    for holder, regions in holders:
        for region in regions:
            start = region.origin_va
            if region.origin_eid == enclave.eid and start <= address < start + region.size:
                return f"the page was passed {holder} and has not come back"
    return None
