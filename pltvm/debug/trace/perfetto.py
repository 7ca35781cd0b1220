"""A trace in Chrome's Trace Event Format, for https://ui.perfetto.dev and chrome://tracing.

    process "enclaves"   a track for each enclave, or slot of a concurrent server: its state and, around that,
                         the caller of a server
    process "host"       a track for each thread of the host program, or one for the host: which has the hart
    process "memory"     counters: pages by owner

Flows lead along the chain, from a caller to its server and back. Other events are marks on the track that had
the hart. A microsecond is a tick of the machine's clock, plus one for each event, as the clock does not
advance while an enclave computes. The file is an array that may lack its end, as the format allows.
"""

import json
from typing import IO, Any, Final

from pltvm.debug.trace.plain import of_event
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType
from pltvm.view.events import Call, Event, Ocall, Page, Return, State, Switch
from pltvm.view.who import Names, Owner, Who

ENCLAVES, HOST, MEMORY = 1, 2, 3  # numbers of processes
_PROCESSES: Final = {ENCLAVES: "enclaves", HOST: "host", MEMORY: "memory"}
_BUSY: Final = frozenset({"running", "waiting", "calling", "queued"})  # states that are shown
_SLOT: Final = 1 << 20  # what the number of a track has for each slot of a concurrent server
_NOT_ARGUMENTS: Final = frozenset({"kind", "who", "enclave", "caller", "callee"})
Row = dict[str, Any]


class Perfetto:
    """Writes a trace of `machine` to `file`."""

    def __init__(self, file: IO[str], machine: Machine) -> None:
        self._file, self._machine = file, machine
        self._ts, self._clock = 0, machine.hart.clock
        self._open: dict[tuple[int, int], list[str]] = {}  # open slices of each track, the innermost last
        self._named: set[tuple[int, int, str]] = set()
        self._flow_ends = 0
        self._states: dict[tuple[int, int], str] = {}  # of each enclave's track
        self._ocalls: dict[tuple[int, int], str] = {}  # the ocall that an enclave waits for, likewise
        self._pages: dict[Owner, int] = {}
        self._any = False
        for pid, name in _PROCESSES.items():
            self._meta("process_name", pid, 0, name=name)
            self._meta("process_sort_index", pid, 0, sort_index=pid)
        self._begin()

    def _begin(self) -> None:
        """Write the whole state, at the start or after a restore."""
        machine = self._machine
        for owner in self._pages:
            self._pages[owner] = 0
        for row in machine.owners:
            self._pages[row.owner] = self._pages.get(row.owner, 0) + row.pages
        for owner in self._pages:
            self._count(owner)
        for enclave in machine.enclaves:
            concurrent = enclave.type is EnclaveType.CONCURRENT_SERVER
            for one in enclave.slots if concurrent else (enclave,):
                slot = one.slot if concurrent else None
                self._state(Who("enclave", one.eid, one.name, slot), one.state)
        who = Names(machine.driver).current()
        if who.kind != "enclave":
            self._push(self._track(who), "running", "hart")

    # -- rows --------------------------------------------------------------------------------------------

    def _write(self, ph: str, pid: int, tid: int, **fields: Any) -> None:
        row = {"ph": ph, "pid": pid, "tid": tid, "ts": self._ts, **fields}
        self._file.write(("[\n", ",\n")[self._any] + json.dumps(row, separators=(",", ":")))
        self._any = True

    def _meta(self, what: str, pid: int, tid: int, **arguments: Any) -> None:
        self._write("M", pid, tid, name=what, args=arguments)

    def _track(self, who: Who) -> tuple[int, int]:
        """Return process and number of a track, after writing its name."""
        pid, slot = (ENCLAVES if who.kind == "enclave" else HOST), who.slot or 0
        number = who.number + 1 if who.kind == "enclave" else max(who.number, 1)
        tid = number + slot * _SLOT
        key = pid, tid, str(who)
        if key not in self._named:
            self._named.add(key)
            self._meta("thread_name", pid, tid, name=str(who))
            self._meta("thread_sort_index", pid, tid, sort_index=number)
        return pid, tid

    def _push(self, track: tuple[int, int], name: str, category: str, **arguments: Any) -> None:
        self._open.setdefault(track, []).append(category)
        self._write("B", *track, name=name, cat=category, args=arguments)

    def _pop(self, track: tuple[int, int], category: str | None = None) -> None:
        """End the innermost slice of a track, if it is of this category."""
        slices = self._open.get(track, [])
        if slices and category in (None, slices[-1]):
            slices.pop()
            self._write("E", *track)

    def _close(self, track: tuple[int, int]) -> None:
        while self._open.get(track):
            self._pop(track)
        self._open.pop(track, None)

    def _flow(self, name: str) -> Row:
        """Return the fields of the two ends of a flow: each binds to the slice that began, or ended, last."""
        self._flow_ends += 1
        return {"name": name, "cat": "chain", "id": (self._flow_ends + 1) // 2}

    def _count(self, owner: Owner) -> None:
        self._write("C", MEMORY, 0, name=str(owner), args={"pages": self._pages[owner]})

    # -- events ------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """One more event."""
        self._ts += 1 + max(event.clock - self._clock, 0)
        self._clock = event.clock
        if isinstance(event, State):
            self._state(event.enclave, event.after)
        elif isinstance(event, Call):
            self._call(event)
        elif isinstance(event, Return):
            self._return(event)
        elif isinstance(event, Switch):
            self._switch(event)
        else:
            if isinstance(event, Ocall):
                self._ocalls[self._track(event.who)] = event.text
            elif isinstance(event, Page):
                self._moved(event)
            self._mark(event)
        if event.kind == "restore":
            for track in list(self._open):
                self._close(track)
            self._states.clear()
            self._begin()

    def _mark(self, event: Event) -> None:
        fields = {name: value for name, value in of_event(event).items() if name not in _NOT_ARGUMENTS}
        self._write("i", *self._track(event.who), name=event.text, cat=event.kind, s="t", args=fields)

    def _state(self, who: Who, state: str) -> None:
        track = self._track(who)
        if self._states.get(track) == state:
            return  # already shown by a call or return
        self._pop(track, "state")
        self._states[track] = state
        if not state:
            self._close(track)
            del self._states[track]
        if state in _BUSY:
            name = self._ocalls.pop(track, state) if state == "waiting" else state
            self._push(track, name, "state")

    def _call(self, event: Call) -> None:
        caller, callee = self._track(event.caller), self._track(event.callee)
        self._state(event.caller, "calling")
        self._write("s", *caller, **self._flow("call"))
        self._pop(callee, "state")
        memory = {"va": hex(event.va), "size": event.size} if event.size else {}
        where = {"argument": hex(event.argument), **memory, "where": event.where}
        self._push(callee, f"called by {event.caller}", "call", **where)
        self._write("f", *callee, **self._flow("call"), bp="e")

    def _return(self, event: Return) -> None:
        callee, caller = self._track(event.callee), self._track(event.caller)
        self._pop(callee, "state")
        self._states[callee] = "runnable"
        self._write("s", *callee, **self._flow("return"))
        self._pop(callee, "call")
        self._state(event.caller, "running")
        self._write("f", *caller, **self._flow("return"), bp="e")

    def _switch(self, event: Switch) -> None:
        if event.before.kind != "enclave":
            self._pop(self._track(event.before), "hart")
        if event.after.kind != "enclave":
            self._push(self._track(event.after), "running", "hart")

    def _moved(self, event: Page) -> None:
        pages = self._pages
        for owner, change in ((event.before, -event.pages), (event.after, event.pages)):
            pages[owner] = pages.get(owner, 0) + change
            self._count(owner)
            if not pages[owner]:
                del pages[owner]

    def end(self, _events: int) -> None:
        """End the trace."""
        self._ts += 1
        for track in list(self._open):
            self._close(track)
        self._file.write("\n]\n")
