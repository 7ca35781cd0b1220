"""Reports events to hooks.

While there are hooks, the handlers of traps, the way to the monitor and the way back to the host are replaced
by functions here, which call the replaced ones and report events. The native core then leaves all calls to
Python. When the last hook is removed, everything is as if this file did not exist.

A hook may look at the machine, and change registers and memory. If a hook raises, the run ends and raises
that error; no hook is called in between. Outside a run, `Machine.create` raises it, or else the next run or
the end of the watch, whichever comes first.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pltvm.engine.context import A0, A1, A2, A6, A7, PC, PRIV, SATP, Context, S
from pltvm.engine.handlers import Handler
from pltvm.engine.trap import Cause
from pltvm.errors import FromCallback, SnapshotError
from pltvm.host import backtrace
from pltvm.host.driver import Driver
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.symbols import Location
from pltvm.host.text import one_line
from pltvm.monitor import abi, chain
from pltvm.monitor.abi import Call, HostCall, Ocall, Status
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.fault import activation, reason_for
from pltvm.view import events
from pltvm.view.changes import Change, Moved, Owners, Row, States, Tables
from pltvm.view.events import KINDS, permissions
from pltvm.view.who import HOST, Names, Owner, Who

Hook = Callable[[Any], object]

_PRINTED: Final = abi.WRITE_LIMIT
_ECALL: Final = int(Cause.ECALL_U)
_ECALL_SIZE: Final = 4  # bytes; also of wfi
EVERY: Final = "event"  # the kind of hooks that get all events
_IN_RAM: Final = {"page", "pte"}  # kinds found by comparing RAM, which takes the longest


class Watching(events.Places):
    """All hooks of one machine, and the events reported to them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._monitor = driver.kernel.monitor
        self._state = self._monitor.state
        self._hart, self._memory = self._state.hart, self._state.memory
        self.names = Names(driver)
        self._hooks: dict[str, list[Hook]] = {}
        self._told: dict[str, tuple[Hook, ...]] = {}
        self._wanted: set[str] = set()  # kinds for which there are hooks
        self._error: Exception | None = None  # raised by a hook: no hook is called until it is raised again
        self._number = self._first_trap = 0
        self._pc = 0
        self._telling = 0  # number of hooks being called
        self._undo: list[Callable[[], None]] = []

    # -- the hooks ---------------------------------------------------------------------------------------

    def add(self, hooks: dict[str, Hook]) -> None:
        """Add these hooks."""
        if not self._hooks:
            self._begin()
        for kind, hook in hooks.items():
            self._hooks.setdefault(kind, []).append(hook)
        self._sort()

    def remove(self, hooks: dict[str, Hook]) -> None:
        """Remove these hooks."""
        for kind, hook in hooks.items():
            self._hooks[kind].remove(hook)
            if not self._hooks[kind]:
                del self._hooks[kind]
        self._sort()
        if hooks and not self._hooks:
            self._end()

    def _sort(self) -> None:
        every, before = self._hooks.get(EVERY, []), self._wanted
        self._told = {kind: tuple(self._hooks.get(kind, [])) + tuple(every) for kind in KINDS}
        self._wanted = {kind for kind, hooks in self._told.items() if hooks}
        if self._wanted - before & {"state", *_IN_RAM}:
            self._look_at_all()

    @property
    def active(self) -> bool:
        """Whether there are any hooks."""
        return bool(self._hooks)

    # -- taking the place of handlers --------------------------------------------------------------------

    def _begin(self) -> None:
        state, monitor, handlers = self._state, self._monitor, self._hart.handlers
        self._number, self._first_trap = 0, self._hart.traps
        self.names.forget()
        self._look_anew()
        for cause in Cause:
            before = handlers[cause]
            handlers[cause] = mine = partial(self._on_trap, cause, before)
            self._undo.append(partial(self._give_back, cause, mine, before))
        self._vector = state.host_vector
        self._call = self._replace(monitor, "call", self._on_host_call)
        self._set_vector = self._replace(monitor, "set_host_vector", self._on_new_vector)
        self._protect = self._replace(self._hart, "protect", self._on_protect)
        self._run = self._replace(self._hart, "run", self._on_run)
        state.host_vector = self._on_control

    def _replace(self, thing: object, name: str, mine: Callable[..., Any]) -> Callable[..., Any]:
        """Replace a method of this one object, and return the former one."""
        before, own = getattr(thing, name), vars(thing)
        was_replaced = name in own
        setattr(thing, name, mine)

        def undo() -> None:
            if own.get(name) != mine:
                return  # replaced again later, by a function that calls `mine`
            if was_replaced:
                setattr(thing, name, before)
            else:
                delattr(thing, name)

        self._undo.append(undo)
        return before  # type: ignore[no-any-return]

    def _give_back(self, cause: int, mine: object, before: Handler) -> None:
        if self._hart.handlers[cause] is mine:
            self._hart.handlers[cause] = before

    def _end(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._state.host_vector = self._vector

    def _look_anew(self) -> None:
        """Take the present state as the base of further changes."""
        self._look_at_all()
        self._who, self._satp = self.names.current(), self._hart.current.regs[SATP]
        self._report = self._driver.fault

    def _look_at_all(self) -> None:
        """Do the same for changes found in RAM, if there are hooks for them."""
        state = self._state
        if self._wanted & {"state", *_IN_RAM}:
            self._states = States(state)
        if self._wanted & _IN_RAM:
            self._owners, self._tables = Owners(state), Tables(state)
            bitmap = self._owners.pages
            self._tables.include(bitmap.start, bitmap.stop)
            self._memory.unseen(*self._tables.reach)

    # -- what happens ------------------------------------------------------------------------------------

    def _on_trap(self, cause: int, before: Handler, context: Context) -> None:
        state, regs = self._state, context.regs
        self.look()  # not reported yet: the hart has gone to another context since the last trap
        self._pc = (regs[PC] - (_ECALL_SIZE if cause in (_ECALL, Cause.WFI) else 0)) & abi.MASK64
        number, function = regs[A7], regs[A6]
        given = tuple(regs[A0 : A0 + 5])
        running = state.running
        caller = running if running is not None and cause == _ECALL else None
        of_host = running is None and cause == _ECALL and regs[PRIV] == S and number == abi.HOST_CALL
        waiting = chain.waits_for_turn(self._state, function, given) if of_host else None
        call = self._name_of_call(running, context) if cause == _ECALL else ""
        self._tell("trap", cause=int(cause), reason=reason_for(cause), call=call)
        before(context)
        if caller is not None and function == abi.ENCLAVE_CALL:
            self._after_call(caller, number)
        elif of_host:
            status = None if state.running is not None else _signed(regs[A0]) or regs[A1]
            self._told_host_call(function, given, status, waiting)
        self.look()

    def _name_of_call(self, running: Enclave | None, context: Context) -> str:
        regs = context.regs
        number, function = regs[A7], regs[A6]
        if running is not None:
            if function != abi.ENCLAVE_CALL:
                return f"call {number} of a6 = {function:#x}"
            name = _name(Call, number)
            return f"{name} {_name(Ocall, regs[A0])}" if number == Call.OCALL else name
        if regs[PRIV] == S:
            return (
                f"monitor call {_name(HostCall, function)}" if number == abi.HOST_CALL else f"call {number}"
            )
        program = self._driver.kernel.program
        return program.name_of_call(number) if program is not None else f"call {number}"

    def _after_call(self, before: Enclave, number: int) -> None:
        """Report a call of an enclave, if it called another enclave or returned to one."""
        state = self._state
        running = state.running
        if running is None or running is before:
            return
        if self._who.kind != "enclave" or self.names.record(self._who) is not before:
            return  # the host has had the hart meanwhile, and what it did is reported
        if number in (Call.CALL, Call.CALL_WAITING) and running.caller == before.at:
            self._told_call(before, running)
        elif number == Call.RETURN and before.eid in state.enclaves:
            callee, caller = self.names.enclave(before), self.names.enclave(running)
            self._tell("return", callee=callee, caller=caller, value=self._returned(running))

    def _told_call(self, before: Enclave, running: Enclave) -> None:
        argument, va, size = running.context.regs[A0 : A2 + 1]
        caller, callee = self.names.enclave(before), self.names.enclave(running)
        self._tell("call", caller=caller, callee=callee, argument=argument, va=va, size=size)

    def _after_wait(self, caller: Enclave) -> None:
        """Report the call of an enclave that has waited, if the monitor has made it now: it gave the hart to
        the caller, and then to the server."""
        running = self._state.running
        if running is None or running.caller != caller.at:
            return
        before, self._who = self._who, self.names.enclave(caller)
        self._pc = caller.context.regs[PC] - _ECALL_SIZE & abi.MASK64
        self._tell("switch", before=before, after=self._who)
        self._told_call(caller, running)

    def _returned(self, caller: Enclave) -> int:
        """Return the value that the server put into the caller's struct; its address is still in a1."""
        raw = caller.space.table.read(caller.context.regs[A1] + 8, 8)
        return int.from_bytes(raw, "little") if raw else 0

    def _on_control(self, status: int) -> bool:
        """Handle control coming back to the host, which may go on at once."""
        asked = self._asked() if status == Status.OCALL else None
        if asked is not None:
            self._tell("ocall", **asked)
        self.look()
        return self._vector(status)

    def _asked(self) -> dict[str, Any] | None:
        """Return the ocall in the mailbox of the enclave that had the hart."""
        enclave = self.names.record(self._who)
        if enclave is None:
            return None
        top, memory = self._state.enclave(enclave.top), self._state.memory
        number = memory.load(top.ocall)
        both = memory.load(top.arg0), memory.load(top.arg1)
        text = memory.read(top.kbuffer, _PRINTED).partition(b"\0")[0] if number == Ocall.WRITE else b""
        return {"name": _name(Ocall, number), "arguments": both, "printed": text}

    def _on_new_vector(self, vector: Callable[[int], bool], or_core: bool = False) -> None:
        self._set_vector(vector, or_core)
        self._vector, self._state.host_vector = self._state.host_vector, self._on_control

    def _on_host_call(self, function: int, *given: int) -> int | None:
        self.look()
        waiting = chain.waits_for_turn(self._state, function, given)
        status: int | None = self._call(function, *given)
        self._told_host_call(function, given, status, waiting)
        self.look()
        return status

    def _told_host_call(
        self, function: int, given: tuple[int, ...], status: int | None, waiting: Enclave | None
    ) -> None:
        """Report a monitor call, and the call of the enclave that was `waiting` before."""
        self._tell("host_call", name=_name(HostCall, function), arguments=given, status=status)
        if waiting is not None:
            self._after_wait(waiting)

    def _on_protect(self, entries: dict[int, tuple[int, int, int]]) -> None:
        self._protect(entries)
        rows = tuple((n, start, end, permissions(rwx)) for n, (start, end, rwx) in entries.items())
        self._tell("pmp", entries=rows)

    def _on_run(self) -> None:
        failed = self._error is not None
        if failed:  # at its start: the enclave just entered is paused, as by Ctrl-C
            self._hart.handlers[Cause.INTERRUPT](self._hart.current)
        else:
            try:
                self._run()
            except FromCallback:
                self._error = None  # it was this one, or matters less
                raise
            finally:
                self._pc = 0
        self.look()
        if self._error is not None:
            raise FromCallback(self._taken())

    def before_snapshot(self) -> None:
        """Prepare for RAM's log being emptied. Raises SnapshotError in a hook."""
        if self._telling:
            raise SnapshotError("not from a hook, which is called in the middle of things: from on_output")
        self.look()

    def put_back(self) -> None:
        """Report that the machine was restored."""
        if not self._hooks:
            return
        self.names.forget()
        self._look_anew()
        self._tell("restore")

    # -- changes -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Report what has changed since the last call."""
        if not self._hooks:
            return
        changed = self._states.changes() if self._wanted & {"state", *_IN_RAM} else []
        moved, rows = self._look_at_ram(changed) if self._wanted & _IN_RAM else ([], [])
        for one in changed:
            if not one.before:
                self._tell_state(one)
        for pages in moved:
            both = {"before": Owner.of(pages.before), "after": Owner.of(pages.after)}
            self._tell("page", pa=pages.pa, pages=pages.pages, **both)
        for row in rows:
            self._tell_pte(row)
        for one in changed:
            if one.before:
                self._tell_state(one)
        report = self._driver.fault
        if report is not self._report:
            self._report = report
            if report is not None:
                self._tell("fault", report=report)
        self._look_at_hart()

    def _look_at_ram(self, changed: list[Change]) -> tuple[list[Moved], list[Row]]:
        """Return the changes in the page bitmap and in tables; all are found before any is reported."""
        for one in changed:
            if one.slot:  # its memory is that of the first
                continue
            made = self._state.enclaves.get(one.eid) if not one.before else None
            if made is not None:
                self._tables.add(made)
            elif not one.after:
                self._tables.remove(one.eid)
        numbers = self._memory.unseen(*self._tables.reach)
        of_bitmap = self._owners.pages
        moved = [one for number in numbers if number in of_bitmap for one in self._owners.changes(number)]
        return moved, list(self._tables.changes(numbers))

    def _tell_state(self, one: Change) -> None:
        who = replace(self.names.of_eid(one.eid), slot=one.slot)
        self._tell("state", enclave=who, before=one.before, after=one.after)

    def _tell_pte(self, row: Row) -> None:
        self._tell(
            "pte", table=row.table, index=row.index, count=row.count, level=row.level, before=row.before,
            after=row.after, enclave=None if row.eid is None else self.names.of_eid(row.eid), va=row.va,
        )  # fmt: skip

    def _look_at_hart(self) -> None:
        who, satp = self.names.current(), self._hart.current.regs[SATP]
        if satp != self._satp:
            before, self._satp = self._satp, satp
            self._tell("satp", before=before, after=satp)
        if who != self._who:
            old, self._who = self._who, who
            if (who.kind, who.number, who.slot) != (old.kind, old.number, old.slot):
                self._pc = 0 if who == HOST else self._hart.current.regs[PC]
                self._tell("switch", before=old, after=who)

    # -- reporting ---------------------------------------------------------------------------------------

    def _tell(self, kind: str, **fields: Any) -> None:
        hooks = self._told[kind] if self._hooks else ()
        number, self._number = self._number, self._number + 1
        if not hooks or self._error is not None:
            return
        hart = self._hart
        event = KINDS[kind](
            number=number, traps=hart.traps - self._first_trap, clock=hart.clock, who=self._who, pc=self._pc,
            places=self, **fields,
        )  # fmt: skip
        self._telling += 1
        try:
            for hook in hooks:
                hook(event)
        except Exception as error:
            self._error = error
            if hart.running:
                hart.raise_later(FromCallback(error))
        finally:
            self._telling -= 1

    def _taken(self) -> Exception:
        error, self._error = self._error, None
        assert error is not None
        return error

    @contextmanager
    def making(self, name: str, elf: Source) -> Iterator[None]:
        """In this context an enclave of that name and file is being made."""
        usual = isinstance(name, str) and isinstance(elf, str | bytes | os.PathLike)
        self.names.making = (one_line(name) or name_of(elf)) if usual else ""
        try:
            yield
        finally:
            self.names.making = ""

    def raise_late(self) -> None:
        """Raise the error that a hook has raised outside a run, if any."""
        if self._error is not None:
            raise self._taken()

    def locate(self, who: Who, pc: int) -> Location | str:
        """Return the source location; of a thread: the one that runs now."""
        if who.kind == "enclave":
            symbols = self.names.symbols(who.number)
            return symbols.locate(pc) if symbols is not None else f"{pc:#x}"
        program = self._driver.kernel.program
        return program.location(pc) if program is not None else f"{pc:#x}"

    def callers(self, who: Who, pc: int) -> list[str]:
        """Return the functions on the call stack of an enclave that is at `pc` now."""
        record = self.names.record(who)
        symbols = self.names.symbols(who.number) if record is not None else None
        if record is None or symbols is None:
            return []
        frames, _ = backtrace.walk(activation(record, pc), symbols)
        return [str(symbols.locate(frame.pc)) for frame in frames[1:] if not frame.guess]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _name(kind: Any, number: int) -> str:
    try:
        return str(kind(number).name.lower())
    except ValueError:
        return str(number)
