"""Explains a step of a run in a sentence or two, for readers who are new to it."""

from collections.abc import Callable
from typing import Any, Final

from pltvm.view.events import permissions

Row = dict[str, Any]
_PAGE: Final = 4096
_NO_ROOM: Final = -2  # Status.NO_MONITOR_MEMORY of pltvm/monitor/abi.py

_HOST_CALLS: Final = {
    "create": "make an enclave of a program that it has put into memory",
    "create_server": "make a server enclave, which runs only when others call it",
    "create_shadow": "make a template of which enclaves can be made quickly",
    "run": "start an enclave",
    "run_shadow": "make an enclave of a template, and start it",
    "resume": "let an enclave go on",
    "stop": "keep an enclave from running",
    "destroy": "end an enclave",
    "destroy_server": "end a server",
    "destroy_shadow": "end a template",
    "extend": "take more memory for its records",
    "attest": "sign a report on an enclave",
    "attest_shadow": "sign a report on a template",
    "set_pte": "change an entry of the host's own page table",
    "relay_init": "take pages that will be handed from enclave to enclave",
    "init": "take over",
}
_OCALLS: Final = {
    "mmap": "for more memory",
    "munmap": "to take memory back",
    "sbrk": "for a larger heap",
    "read_sector": "to read a sector of its disk",
    "write_sector": "to write a sector of its disk",
    "return_relay": "to take its relay pages back",
    "get_random": "for random bytes",
    "shm_get": "for memory that enclaves share",
    "shm_detach": "to let go of shared memory",
    "shm_destroy": "to end shared memory",
}


def name_of(who: Row | None) -> str:
    """Return a name for display."""
    if who is None:
        return "the host"
    if who["kind"] == "host":
        return "the host" if not who["name"] else f"the host program {who['name']}"
    name = str(who["name"]) or f"{who['kind']} {who['number']}"
    return name if who.get("slot") is None else f"{name}, slot {who['slot']}"


def pages(count: int) -> str:
    """Return a number of pages in words."""
    return "1 page" if count == 1 else f"{count} pages"


def _call(row: Row) -> str:
    caller, callee = name_of(row["caller"]), name_of(row["callee"])
    text = f"{caller} calls the server {callee}, with the argument {row['argument']}"
    if row["size"]:
        text += (
            f", and hands it {pages(-(-int(row['size']) // _PAGE))} at {row['va']}. They leave the one "
            "page table and enter the other: nothing is copied, and the caller can read them no more"
        )
    return f"{text}. The caller waits."


def _return(row: Row) -> str:
    callee, caller = name_of(row["callee"]), name_of(row["caller"])
    return (
        f"{callee} returns {int(row['value'], 16)} to {caller}, which goes on behind its call. What it gives "
        "back moves in the same way; it is ready for its next call."
    )


def _ocall(row: Row) -> str:
    who = name_of(row["who"])
    if row["name"] == "write":
        return f"{who} asks the host to print {row['printed']!r}. An enclave has no screen of its own."
    return f"{who} asks the host {_OCALLS.get(row['name'], 'for ' + row['name'])}, and waits for the answer."


def goes_on(who: Row, is_new: bool) -> str:
    """Explain a host call that gave an enclave the hart."""
    if is_new:
        return f"The host asks the monitor to start {name_of(who)}, which has the hart now."
    return f"The host has done its part, and asks the monitor to let {name_of(who)} go on."


def _host_call(row: Row) -> str:
    text = f"The host asks the monitor to {_HOST_CALLS.get(row['name'], row['name'])}"
    if row["status"] is None:
        return f"{text}. An enclave has the hart now."
    if row["status"] == _NO_ROOM:
        return f"{text}. The monitor has no room for a record: the host has to lend it more memory first."
    if row["status"] < 0:
        return f"{text}. The monitor refuses ({row['status']}): all stays as it was."
    return f"{text}. Only the monitor can do that: the memory of enclaves is out of the host's reach."


def _trap(row: Row) -> str:
    who = name_of(row["who"])
    if row["call"]:
        return f"{who} asks the monitor: {row['call']}. The ecall leaves its code for the monitor's."
    return f"{who} traps: {row['reason']}. Its code is left, and the monitor decides."


def _fault(row: Row) -> str:
    return f"The monitor destroys an enclave. {row['report']['summary']}."


_CAUSES: Final[dict[str, Callable[[Row], str]]] = {
    "call": _call,
    "return": _return,
    "ocall": _ocall,
    "host_call": _host_call,
    "trap": _trap,
    "fault": _fault,
    "restore": lambda _row: "The machine was put back to how it was once.",
}


def sentence(row: Row) -> str:
    """Explain an event that causes others."""
    text = _CAUSES[row["kind"]](row)
    return f"T{text[1:]}" if text.startswith("the host") else text  # names keep their case


def effect(row: Row, why: str) -> str:
    """Explain an effect; `why` is the kind of the cause. Owners of pages have names for display."""
    return _EFFECTS[row["kind"]](row, why)


def _page(row: Row, why: str) -> str:
    text = f"{pages(row['pages'])} at {row['pa']}: from {row['before']} to {row['after']}"
    if row["after"] == "host":
        return f"{text}, as nobody else needs them any more; they were cleared first"
    reasons = {
        "call": "as the call hands them over",
        "return": "as the return hands them back",
        "host_call": "as the host gives them; from now on it cannot read them",
        "ocall": "as the enclave has asked for memory",
    }
    return f"{text}, {reasons[why]}" if why in reasons else text


def _pte(row: Row, _why: str) -> str:
    whose, va = name_of(row["enclave"]), row["va"] or f"table {row['table']}"
    count, level = int(row["count"]), int(row["level"])
    after, before = int(row["after"], 16), int(row["before"], 16)
    what = pages(count) if level == 2 else "a table"
    if not after:
        return f"page table of {whose}: {what} at {va} unmapped"
    where = hex((after >> 10 & (1 << 44) - 1) << 12)
    if level < 2 and after & 0xE == 0:
        return f"page table of {whose}: level {level} leads to the table at {where} for {va}"
    done = "changed" if before else "mapped"
    return f"page table of {whose}: {what} at {va} {done} to {where}, {permissions(after >> 1)}"


def _state(row: Row, _why: str) -> str:
    who = name_of(row["enclave"])
    if not row["before"]:
        return f"{who} is made"
    return f"{who} was {row['before']}, and is {row['after']}" if row["after"] else f"{who} is no more"


def _switch(row: Row, _why: str) -> str:
    before, after = name_of(row["before"]), name_of(row["after"])
    return f"the hart goes from {before} to {after}: registers saved, others loaded"


def _satp(row: Row, _why: str) -> str:
    return f"satp becomes {row['after']}: another page table says what is where"


def _pmp(row: Row, _why: str) -> str:
    return f"PMP changes: {len(row['entries'])} entries"


_EFFECTS: Final[dict[str, Callable[[Row, str], str]]] = {
    "page": _page,
    "pte": _pte,
    "state": _state,
    "switch": _switch,
    "satp": _satp,
    "pmp": _pmp,
}
CAUSES: Final = frozenset(_CAUSES)
EFFECTS: Final = frozenset(_EFFECTS)
