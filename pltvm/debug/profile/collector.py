"""Puts a counter on a machine, and finds the enclave or process, and the function, of code.

The monitor's own work is not included in counts of instructions: traps, calls and pages stand for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from pltvm.debug.profile.count import PythonCounter, pages_passed
from pltvm.debug.profile.native import NativeCounter
from pltvm.debug.profile.result import Function, Profile, Who
from pltvm.debug.profile.rows import Counter
from pltvm.engine.context import Context
from pltvm.errors import ArgumentError
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.machine import Machine
from pltvm.monitor import chain
from pltvm.monitor.abi import HostCall
from pltvm.monitor.enclave import Enclave

ROOT: Final = -1  # instead of a pc: the root of one enclave or process
_CREATES: Final = {HostCall.CREATE, HostCall.CREATE_SERVER, HostCall.CREATE_SHADOW, HostCall.RUN_SHADOW}


class Collector:
    """Counts what runs on a machine from now on. Raises ArgumentError if guest code has run already."""

    def __init__(self, machine: Machine) -> None:
        if machine.hart.traps:
            raise ArgumentError("a machine is profiled from its start: this one has run already")
        self._machine = machine
        self._state, self._kernel = machine.monitor.state, machine.kernel
        self._whos: list[Who] = []
        self._by_key: dict[object, int] = {}
        self._functions: list[Function] = [Function(0, "", None, 0, 0)]
        self._by_name: dict[tuple[object, ...], int] = {}
        self._contexts: dict[int, Context] = {}  # kept, so that their addresses are not reused
        hart = machine.hart
        self.counter: Counter = (
            NativeCounter(hart, self._who, self._function)
            if hart.has_core
            else PythonCounter(hart, self._state, self._who, self._function)
        )
        monitor = cast(Any, machine.monitor)
        call = monitor.call

        def called(function: int, *arguments: int) -> int | None:
            waiting = chain.waits_for_turn(self._state, function, arguments)
            status = cast("int | None", call(function, *arguments))
            if function in _CREATES:
                self.counter.forget()
            if waiting is not None:
                self._note_waited(waiting)
            return status

        monitor.call = called
        kernel = cast(Any, machine.kernel)
        load = kernel.load

        def loaded(saved: object) -> None:
            load(saved)
            self.counter.forget()

        kernel.load = loaded  # on a restore: registers may belong to others

    # -- enclaves and processes ------------------------------------------------------------------------

    def _of_enclave(self, enclave: Enclave) -> int:
        known = self._machine.driver.table.of_eid(enclave.eid)
        name, symbols = enclave.name.decode("utf-8", "replace"), known.symbols if known else None
        label = one_line(name or (known.label.rpartition("/")[2] if known else "") or "enclave")
        # Not by its number alone, which another one may have after a restore.
        key = ("enclave", (known.id if known else enclave.eid, label, symbols))
        if key not in self._by_key:
            self._add(key, Who(label, "enclave", enclave.eid, symbols))
        return self._by_key[key]

    def _note_waited(self, caller: Enclave) -> None:
        """Count the call of an enclave that has waited, if it was made now."""
        callee = self._state.running
        if callee is not None and callee.caller == caller.at:
            pages = pages_passed(self._state, callee)
            self.counter.waited(self._of_enclave(caller), self._of_enclave(callee), pages)

    def _who(self, registers: int) -> int:
        """Return the number of the enclave or process of these registers, which are on the hart."""
        enclave = self._state.running
        if enclave is not None and enclave.context.address == registers:
            return self._of_enclave(enclave)
        thread = getattr(self._kernel.program, "thread", None)  # of a Linux system
        if thread is not None:
            self._contexts[thread.context.address] = thread.context
            state = thread.process.state
            key: tuple[str, object] = ("process", (state.pid, state.path))
            if key not in self._by_key:
                label = one_line(state.path.rpartition(b"/")[2].decode("utf-8", "replace")) or "program"
                self._add(key, Who(label, "process", state.pid, state.symbols, state.path))
            return self._by_key[key]
        key = ("other", 0)
        if key not in self._by_key:
            self._add(key, Who("host", "process", 0, None))
        return self._by_key[key]

    def _add(self, key: object, who: Who) -> None:
        self._by_key[key] = len(self._whos)
        self._whos.append(who)

    # -- functions -------------------------------------------------------------------------------------

    def _function(self, who: int, pc: int) -> int:
        """Return the number of the function at `pc`, in the running enclave or process."""
        if pc == ROOT:
            return self._number((who, ROOT), Function(who, "", None, 0, 0))
        symbols, moved, file = self._whos[who].symbols, 0, ""
        thread = getattr(self._kernel.program, "thread", None)
        if self._whos[who].kind == "process" and thread is not None:
            symbols, moved, file = thread.code_at(pc)
        name = self._name(symbols, pc - moved) or f"({file.rpartition('/')[2] or 'no symbol'})"
        start = symbols.start_of(pc - moved) if symbols is not None else None
        key = (who, name, start, file)
        return self._number(key, Function(who, name, symbols, moved, start or 0, file))

    @staticmethod
    def _name(symbols: Symbols | None, pc: int) -> str:
        if symbols is None:
            return ""
        return one_line(symbols.locate(pc).symbol or "")

    def _number(self, key: tuple[object, ...], function: Function) -> int:
        if key not in self._by_name:
            self._by_name[key] = len(self._functions)
            self._functions.append(function)
        return self._by_name[key]

    # -- the end ---------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        """Return the counts so far."""
        counter = self.counter
        counts = [counter.counts(number) for number in range(len(self._whos))]
        return Profile(
            tuple(self._whos),
            tuple(self._functions),
            tuple(counter.blocks()),
            tuple(counter.nodes()),
            tuple(sorted(counter.edges())),
            tuple(counts),
            counter.lost,
        )


@contextmanager
def profiling(machine: Machine) -> Iterator[Collector]:
    """Count what runs on a machine on which nothing has run yet; `profile` of the yielded Collector has the
    result.

    Counting does not end with the context, as hooks of the JIT are permanent.
    """
    yield Collector(machine)
