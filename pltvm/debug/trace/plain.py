"""Events and snapshots as plain data for JSON.

Numbers that may need 64 bits (addresses, page-table entries, registers) are texts in hexadecimal, as many
readers of JSON have only 53 bits. Counts and small numbers are numbers.
"""

from dataclasses import fields
from typing import Any, Final

from pltvm.engine.context import SATP
from pltvm.host.report import FaultReport
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State
from pltvm.view.changes import Tables, name_of_state
from pltvm.view.events import Event
from pltvm.view.who import Names, Owner, Who

Plain = dict[str, Any]

_IN_HEX: Final = frozenset(
    {"pc", "pa", "va", "table", "argument", "value", "arguments", "before", "after", "entries"}
)
_PLACES: Final = "places"


def of_event(event: Event) -> Plain:
    """Return one event: its kind, time, context and place, then the fields of its kind."""
    row: Plain = {"kind": event.kind}
    for field in fields(event):
        name = field.name
        if name == _PLACES:
            row["where"] = event.where
            if callers := event.callers:
                row["callers"] = callers
        else:
            row[name] = _shown(getattr(event, name), name in _IN_HEX)
    return row


def _shown(value: Any, in_hex: bool) -> Any:
    if isinstance(value, Who):
        row = {"kind": value.kind, "number": value.number, "name": value.name}
        return row if value.slot is None else {**row, "slot": value.slot}
    if isinstance(value, Owner):
        return of_owner(value)
    if isinstance(value, FaultReport):
        return {"summary": value.summary, **value.to_dict()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple):
        return [_shown(one, in_hex) for one in value]
    return hex(value) if in_hex and isinstance(value, int) else value


def of_owner(owner: Owner) -> str:
    """Return an owner of pages: "host", "monitor", "enclave 3", "shared 0"."""
    return f"{owner.kind} {owner.number}" if owner.kind in ("enclave", "shared") else owner.kind


def snapshot(machine: Machine) -> Plain:
    """Return the present state: enclaves, owners, PMP, all page-table entries, and the running context.

    Each slot of a concurrent server counts as an enclave: they have the same number.
    """
    state, hart, names = machine.monitor.state, machine.hart, Names(machine.driver)
    return {
        "kind": "snapshot",
        "clock": hart.clock,
        "who": _shown(names.current(), False),
        "satp": hex(hart.current.regs[SATP]),
        "enclaves": [_enclave(state, slot, names) for slot in state.all_slots()],
        "owners": [[hex(row.start), row.pages, of_owner(row.owner), row.what] for row in machine.owners],
        "pmp": [[row.number, hex(row.start), hex(row.end), row.permissions] for row in machine.pmp],
        "tables": [
            [hex(row.table), row.index, row.count, row.level, hex(row.after), row.eid, _shown(row.va, True)]
            for row in Tables(state).everything()
        ],
    }


def _enclave(state: State, enclave: Enclave, names: Names) -> Plain:
    caller = names.enclave(state.enclave(enclave.caller)) if enclave.caller else None
    return {
        "number": enclave.eid,
        **({"slot": enclave.slot} if enclave.concurrent else {}),
        "name": names.enclave(enclave).name,
        "type": EnclaveType(enclave.kind).name.lower(),
        "state": name_of_state(enclave.state),
        "caller": _shown(caller, False),
        "root": hex(enclave.root),
    }
