"""A trace read back: the state at any moment, made of a snapshot and the events behind it."""

from collections.abc import Iterable
from typing import Any

from pltvm.debug.trace import jsonl
from pltvm.debug.trace.plain import snapshot
from pltvm.machine import Machine

PAGE, STEP = 4096, 1 << 10  # bytes of a page; what neighbouring entries differ by
Name = tuple[int, int | None]  # eid and slot of an enclave


class Replay:
    """Who owns each page, all entries of all tables, what enclaves do, who has called whom, and who has the
    hart.

    Each event must fit what was there before.
    """

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.entries: dict[tuple[int, int], tuple[int, int | None]] = {}  # entry, and whose
        self.states: dict[Name, str] = {}
        self.callers: dict[Name, Name] = {}  # of servers
        self.hart: tuple[str, Name] = ("", (0, None))
        self.satp = ""
        self.last = -1
        self.seen: dict[str, int] = {}

    def feed(self, rows: Iterable[dict[str, Any]]) -> "Replay":
        for row in rows:
            self.seen[row["kind"]] = self.seen.get(row["kind"], 0) + 1
            getattr(self, f"_{row['kind']}", self._other)(row)
            if "number" in row:
                assert row["number"] == self.last + 1
                self.last = row["number"]
        return self

    def _other(self, row: dict[str, Any]) -> None:
        assert row["kind"] in {"trace", "trap", "host_call", "ocall", "fault", "restore", "end"}, row

    def _snapshot(self, row: dict[str, Any]) -> None:
        self.owners, self.entries, self.states = {}, {}, {}
        for start, pages, owner, _ in row["owners"]:
            self.owners.update((int(start, 16) + PAGE * page, owner) for page in range(pages))
        for table, index, count, _, entry, eid, _ in row["tables"]:
            for more in range(count):
                self.entries[int(table, 16), index + more] = int(entry, 16) + more * STEP, eid
        self.states = {_name(one): one["state"] for one in row["enclaves"]}
        self.callers = {_name(one): _name(one["caller"]) for one in row["enclaves"] if one["caller"]}
        self.satp = row["satp"]
        self.hart = _who(row["who"])

    def _page(self, row: dict[str, Any]) -> None:
        for page in range(row["pages"]):
            at = int(row["pa"], 16) + PAGE * page
            assert self.owners[at] == row["before"], row
            self.owners[at] = row["after"]

    def _pte(self, row: dict[str, Any]) -> None:
        before, after = int(row["before"], 16), int(row["after"], 16)
        eid = row["enclave"]["number"] if row["enclave"] else None
        for more in range(row["count"]):
            at = int(row["table"], 16), row["index"] + more
            old, _ = self.entries.pop(at, (0, eid))
            assert old == (before and before + more * STEP), row
            if after:
                self.entries[at] = after + more * STEP, eid

    def _state(self, row: dict[str, Any]) -> None:
        number, name = row["enclave"]["number"], _name(row["enclave"])
        assert self.states.get(name, "") == row["before"], row
        self.states[name] = row["after"]
        if not row["after"]:
            del self.states[name]
            self._unwind(name)
            self.entries = {at: one for at, one in self.entries.items() if one[1] != number}

    def _unwind(self, ended: Name) -> None:
        """All chains that an enclave was in end with it."""
        top = ended
        while top in self.callers:
            top = self.callers[top]
        links = [top]
        for link in links:
            links += [callee for callee, caller in self.callers.items() if caller == link]
            self.callers.pop(link, None)

    def _switch(self, row: dict[str, Any]) -> None:
        assert self.hart == _who(row["before"]), row
        self.hart = _who(row["after"])

    def _satp(self, row: dict[str, Any]) -> None:
        assert self.satp == row["before"]
        self.satp = row["after"]

    def _call(self, row: dict[str, Any]) -> None:
        assert row["caller"] == row["who"], row
        assert self.hart == _who(row["caller"]), row
        caller, callee = _name(row["caller"]), _name(row["callee"])
        assert callee not in self.callers, row
        assert caller not in self.callers.values(), row
        self.callers[callee] = caller

    def _return(self, row: dict[str, Any]) -> None:
        assert row["callee"] == row["who"], row
        assert self.hart == _who(row["callee"]), row
        assert self.callers.pop(_name(row["callee"])) == _name(row["caller"]), row


def _name(enclave: dict[str, Any]) -> Name:
    return enclave["number"], enclave.get("slot")


def _who(who: dict[str, Any]) -> tuple[str, Name]:
    return who["kind"], _name(who)


def check(machine: Machine, lines: Iterable[str]) -> Replay:
    """The state that a trace leads to is that of the machine; gives what was replayed."""
    told = Replay().feed(jsonl.read(lines))
    there = Replay().feed([snapshot(machine)])
    for what in ("owners", "entries", "states", "callers", "hart", "satp"):
        one, other = getattr(told, what), getattr(there, what)
        assert one == other, f"{what}: {_difference(one, other)}"
    return told


def _difference(one: Any, other: Any) -> str:
    if not isinstance(one, dict):
        return f"{one} and {other}"
    keys = [key for key in (*one, *other) if one.get(key) != other.get(key)]
    return ", ".join(f"{key}: {one.get(key)} and {other.get(key)}" for key in keys[:5])
