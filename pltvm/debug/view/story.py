"""Turns a trace into steps, each a cause with its effects, and the data to show any moment on the page.

A trap and its call, ocall or return are one step. Times are numbers of steps, as the machine's clock does not
advance by itself.

All numbers fit into 53 bits, as in JavaScript; larger addresses are texts.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from pltvm.debug.view import explain
from pltvm.debug.view.explain import Row
from pltvm.errors import PltvmError
from pltvm.view.events import flags

MOST_STEPS: Final = 20_000
_PAGE: Final = 4096
_ADDRESS: Final = (1 << 44) - 1
_MERGED: Final = ("call", "ocall", "return", "fault")  # joined with their trap


class Story:
    """Reads the rows of a trace (`pltvm.debug.trace.jsonl.read`). Raises PltvmError if it is no trace."""

    def __init__(self, rows: Iterable[Row], most: int = MOST_STEPS) -> None:
        self.steps: list[Row] = []
        self.lanes: list[Row] = [{"key": "host 0", "label": "host", "kind": "host"}]
        self._lane_of: dict[str, int] = {"host 0": 0}
        self._names: dict[str, str] = {"host 0": "host"}  # of owners
        self.start: Row = {}
        self.ram = [0, 0]
        self.cut = False
        self._owners: list[tuple[int, int, str, str]] = []  # at the start: address, pages, owner, what
        self._ran: set[int] = set()  # lanes that have had the hart
        self._asked: dict[int, Row] = {}  # by lane: the step at which it gave up the hart
        try:
            self._read(rows, most)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise PltvmError(f"the trace is damaged: {type(error).__name__}: {error}") from None
        if not self.start:
            raise PltvmError("the trace is empty: it has no snapshot of the start")
        self._cuts = self._boundaries()

    # -- reading -----------------------------------------------------------------------------------------

    def _read(self, rows: Iterable[Row], most: int) -> None:
        for row in rows:
            kind = row["kind"]
            if kind == "trace":
                self.ram = [int(one, 16) for one in row["ram"]]
            elif kind == "snapshot":
                self._snapshot(row)
            elif kind in explain.CAUSES:
                if len(self.steps) >= most:
                    self.cut = True
                    return
                self._cause(row)
            elif kind in explain.EFFECTS:
                self._effect(row)

    def lane(self, who: Row | None) -> int:
        """Return the number of the lane of an enclave, a process, or the host."""
        if who is None:
            return 0
        kind = str(who["kind"])
        slot = who.get("slot")
        owner = "host 0" if kind == "host" and not who["name"] else f"{kind} {who['number']}"
        key = owner if slot is None else f"{owner} slot {slot}"
        if key not in self._lane_of:
            self._names[owner] = explain.name_of(dict(who) | {"slot": None})
            self._lane_of[key] = len(self.lanes)
            self.lanes.append({"key": key, "label": explain.name_of(who), "kind": kind})
        return self._lane_of[key]

    def _snapshot(self, row: Row) -> None:
        entries = [
            [int(table, 16), index, count, level, *_entry(int(after, 16)), va]
            for table, index, count, level, after, _eid, va in row["tables"]
        ]
        owners = [
            (int(pa, 16), int(count), str(owner), str(what)) for pa, count, owner, what in row["owners"]
        ]
        enclaves = []
        for one in row["enclaves"]:
            lane = self.lane({"kind": "enclave", **{key: one.get(key) for key in ("number", "name", "slot")}})
            enclaves.append([lane, int(one["root"], 16), one["state"]])
        found = {"hart": self.lane(row["who"]), "enclaves": enclaves, "entries": entries}
        if not self.start:
            self.start, self._owners = found, owners
        else:  # the machine was restored
            step = self.steps[-1]
            step["again"] = found | {"owners": owners}

    def _cause(self, row: Row) -> None:
        last = self.steps[-1] if self.steps else None
        merged = row["kind"] in _MERGED and last is not None and last["kind"] == "trap"
        step: Row = last if merged and last is not None and last["traps"] == row["traps"] else {}
        if not step:
            step.update(effects=[], moves=[], entries=[], states=[])
            self.steps.append(step)
        step.update(
            kind=row["kind"],
            traps=row["traps"],
            clock=row["clock"],
            number=row["number"],
            lane=self.lane(row["who"]),
            hart=self.lane(row["who"]),
            where=row["where"],
            pc=row["pc"],
            say=explain.sentence(row),
        )
        if row["kind"] in ("call", "return"):
            source, target = ("caller", "callee") if row["kind"] == "call" else ("callee", "caller")
            step["arrow"] = [self.lane(row[source]), self.lane(row[target])]

    def _effect(self, row: Row) -> None:
        if not self.steps:
            return
        step = self.steps[-1]
        named = row
        if row["kind"] == "page":
            named = row | {key: self._label(row[key]) for key in ("before", "after")}
        step["effects"].append([row["kind"], explain.effect(named, step["kind"])])
        if row["kind"] == "page":
            step["moves"].append([int(row["pa"], 16), row["pages"], row["after"]])
        elif row["kind"] == "pte":
            lane = self.lane(row["enclave"])
            root = int(row["table"], 16) if row["level"] == 0 else 0
            entry = _entry(int(row["after"], 16))
            step["entries"].append(
                [
                    int(row["table"], 16),
                    row["index"],
                    row["count"],
                    row["level"],
                    *entry,
                    row["va"],
                    lane,
                    root,
                ]
            )
        elif row["kind"] == "state":
            step["states"].append([self.lane(row["enclave"]), row["after"]])
        elif row["kind"] == "switch":
            self._switch(step, row)

    def _switch(self, step: Row, row: Row) -> None:
        step["hart"] = lane = self.lane(row["after"])
        if step["kind"] == "host_call" and lane:
            is_new = [lane, "running"] in step["states"] and lane not in self._ran
            step["say"] = explain.goes_on(row["after"], is_new)
        self._ran.add(lane)
        # An ecall is in a header: the reader wants to see its caller, which is where the code goes on.
        waits = self._asked.pop(lane, None)
        if waits is not None and row["where"]:
            waits["then"] = row["where"]
        if step["lane"] != lane and step["where"]:
            self._asked[step["lane"]] = step

    # -- RAM ---------------------------------------------------------------------------------------------

    def _boundaries(self) -> list[int]:
        """Return the addresses at which the owner changes at some moment."""
        rows = list(self._owners)
        for step in self.steps:
            rows += [(pa, count, owner, "") for pa, count, owner in step["moves"]]
            rows += step.get("again", {}).get("owners", ())
        return sorted({at for pa, count, *_ in rows for at in (pa, pa + count * _PAGE)})

    def _pieces(self, pa: int, count: int) -> list[int]:
        """Return the numbers of the pieces of RAM in a range."""
        first, end = bisect_left(self._cuts, pa), bisect_left(self._cuts, pa + count * _PAGE)
        return list(range(first, min(end, len(self._cuts) - 1)))

    def plain(self) -> Row:
        """Return everything, for JSON."""
        owners: list[str] = []
        number_of: dict[str, int] = {}

        def owner(name: str) -> int:
            if name not in number_of:
                number_of[name] = len(owners)
                owners.append(name)
            return number_of[name]

        pieces = [
            [start, (end - start) // _PAGE, ""]
            for start, end in zip(self._cuts, self._cuts[1:], strict=False)
        ]

        def spread(rows: Iterable[Any]) -> list[list[int]]:
            return [[at, owner(row[2])] for row in rows for at in self._pieces(row[0], row[1])]

        begin = spread(self._owners)
        for pa, count, _, what in self._owners:
            for at in self._pieces(pa, count):
                pieces[at][2] = what
        steps = []
        for step in self.steps:
            row = {key: value for key, value in step.items() if key != "again"} | {
                "moves": spread(step["moves"])
            }
            if "again" in step:
                again = dict(step["again"])
                row["again"] = again | {"owners": spread(again["owners"])}
            steps.append(row)
        return {
            "ram": self.ram,
            "lanes": self.lanes,
            "pieces": pieces,
            "start": self.start | {"owners": begin},
            "steps": steps,
            "owners": [[name, self._label(name)] for name in owners],
            "cut": self.cut,
        }

    def _label(self, owner: str) -> str:
        """Return an owner's name for display."""
        return self._names.get(owner, owner)


def _entry(pte: int) -> tuple[int, str]:
    """Return the target of an entry, and its letters; "table" for one that points to a table, "" for none."""
    if not pte:
        return 0, ""
    return (pte >> 10 & _ADDRESS) * _PAGE, "table" if pte & 0xF == 1 else flags(pte)[1:5]
