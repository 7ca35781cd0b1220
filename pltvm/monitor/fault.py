"""What the monitor can tell about an enclave that it had to destroy.

The monitor knows addresses, registers and owners; symbols and source lines are added by whoever has the ELF.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pltvm.engine.context import PC, Context
from pltvm.engine.decode import disassemble
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause, faulting_access, fetch
from pltvm.monitor import abi, chain
from pltvm.monitor.pages import SHARED, PageOwners
from pltvm.monitor.records import Region
from pltvm.monitor.state import Enclave, State

_OLDEST: Final = 2  # the first function of the older call interface


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an enclave was destroyed.

    `address` and `size` are the bytes it may not touch, None for a fault that is no access. `owner` says in
    words whom the physical page belongs to that is mapped there, or that there is none.
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


def describe_access(cause: int, context: Context) -> tuple[int, int] | None:
    """Address and bytes of what the instruction at pc could not access; None if it accesses nothing."""
    access = faulting_access(cause, context)
    return (access.address, access.size) if access else None


def instruction_at(context: Context) -> str:
    """The instruction at pc in words."""
    code = fetch(context)
    return disassemble(code, context.regs[PC]) if code else "(none: the page is not executable)"


def describe_owner(owners: PageOwners, context: Context, address: int) -> str:
    """Whom the page mapped at `address` belongs to."""
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
    """An `ecall` that is none of §2 in words; binaries of Penglai's other interfaces are called that."""
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
    """What is to be said of a fault of `enclave`, whose registers are in `context`; changes nothing."""
    access = describe_access(cause, context) if cause is not None else None
    gone = _passed_on(state, enclave, access[0]) if access else None
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
    )


def _passed_on(state: State, enclave: Enclave, address: int) -> str | None:
    """Who has the memory that the enclave had at `address` and passed on; None if it is not such."""
    if enclave.space.table.entry(address):
        return None
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
