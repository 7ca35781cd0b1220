"""A debugger's view of a machine: enclaves, processes and a kernel program; threads, memory, ELFs.

A *view* is one address space with its threads. Views are made for each query, as enclaves and processes come
and go; their numbers are stable. Memory has the permissions of the program itself; for other memory the
reason is given.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pltvm.engine.context import PRIV, Context, S
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import U, pte_address
from pltvm.errors import ElfError, OutOfMemory
from pltvm.host.elf_headers import Source, read_headers, read_source
from pltvm.host.symbols import Symbols
from pltvm.machine import Machine
from pltvm.monitor.enclave import Enclave, EnclaveState
from pltvm.monitor.fault import describe_owner, passed_on
from pltvm.view.memory import OwnerRow, Owners, owners
from pltvm.view.who import Names

if TYPE_CHECKING:
    from pltvm.host.linux.process import Process
    from pltvm.host.linux.system import System

KERNEL: Final = 99  # less than any process number of the host kernel
_LATER: Final = 1_000_000  # offset for enclave numbers that would collide with processes


@dataclass(frozen=True, slots=True)
class ThreadView:
    """One thread: its number, its name for display, and its registers."""

    number: int
    name: str
    context: Context


@dataclass(frozen=True, slots=True)
class View:
    """One address space and its threads. `number` is the process number for debuggers; `moved` is the offset
    of its ELF's addresses; `eid` is that of an enclave, and `slot` the slot of a concurrent server."""

    number: int
    name: str
    table: PageTable
    threads: tuple[ThreadView, ...]
    elf: Source = field(default=b"", repr=False)
    symbols: Symbols | None = field(default=None, repr=False)
    eid: int | None = None
    process: "Process | None" = field(default=None, repr=False)
    moved: int = 0
    slot: int = 0


class Views:
    """The views of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._state = machine.monitor.state
        self.kernel_program: tuple[str, Source] | None = None

    @property
    def system(self) -> "System | None":
        """The Linux system on the machine, or None."""
        return getattr(self.machine.kernel.program, "system", None)

    def all(self) -> list[View]:
        """Return all views: processes first, then enclaves in the order of creation.

        Each slot of a concurrent server is a view: slots have their own stacks, at the same addresses.
        """
        return [*self._processes(), *self._kernel(), *map(self._of_enclave, self._state.all_slots())]

    def of(self, context: Context) -> tuple[View, ThreadView] | None:
        """Return the view and the thread of a context, or None."""
        for view in self.all():
            for thread in view.threads:
                if thread.context is context:
                    return view, thread
        return None

    def find(self, number: int) -> View | None:
        """Return the view of this number, or None."""
        return next((view for view in self.all() if view.number == number), None)

    def _of_enclave(self, enclave: Enclave) -> View:
        eid = enclave.eid
        number = eid + 1 if eid + 1 < KERNEL and not enclave.slot else _LATER * (enclave.slot + 1) + eid
        known = self.machine.driver.table.of_eid(eid)
        name = known.label.rsplit("/", 1)[-1] if known and known.label else str(enclave)
        if enclave.concurrent:
            name += f", slot {enclave.slot}"
        symbols = known.symbols if known else None
        thread = ThreadView(number, f"{name}: {self.doing(enclave)}", enclave.context)
        source = symbols.source if symbols is not None else b""
        table, slot = enclave.space.table, enclave.slot
        return View(number, name, table, (thread,), source, symbols, eid, slot=slot)

    def doing(self, enclave: Enclave) -> str:
        """Return the state of an enclave, in words."""
        if enclave.at == self._state.globals.running:
            return "runs"
        if enclave.is_server and not enclave.caller:
            return "server, not called"
        if enclave.state == EnclaveState.FRESH:
            return "has not run"
        if enclave.state == EnclaveState.CALLING:
            callee = next((one for one in self._state.all_slots() if one.caller == enclave.at), None)
            return f"has called {callee}" if callee is not None else "in a call"
        if enclave.state == EnclaveState.QUEUED:
            return self._waits_for(enclave.queued)
        return "waits for its host" if enclave.state == EnclaveState.WAITING else "is paused"

    def _waits_for(self, server: int) -> str:
        if not server:
            return "can go on"  # the server has ended
        return f"waits for the server {Names(self.machine.driver).of_eid(self._state.enclave(server).eid)}"

    def _processes(self) -> Iterator[View]:
        system = self.system
        for process in system.processes.values() if system is not None else ():
            if not process.alive or not process.threads:
                continue
            threads = tuple(
                ThreadView(tid, thread.state.name.decode("utf-8", "replace"), thread.context)
                for tid, thread in process.threads.items()
            )
            state = process.state
            name = state.name.decode("utf-8", "replace")
            source = state.symbols.source
            yield View(
                state.pid,
                name,
                process.space.table,
                threads,
                source,
                state.symbols,
                None,
                process,
                _moved(source),
            )

    def _kernel(self) -> Iterator[View]:
        current = self._state.host if self._state.running is not None else self.machine.hart.current
        if self.kernel_program is not None and current.regs[PRIV] == S and current.table is not None:
            name, source = self.kernel_program
            thread = ThreadView(KERNEL, name, current)
            yield View(KERNEL, name, current.table, (thread,), source, Symbols(source))

    # -- memory ------------------------------------------------------------------------------------------

    def read(self, view: View, va: int, size: int) -> bytes:
        """Read up to `size` bytes at `va`: fewer, or none, if the program cannot read the rest."""
        found = b""
        while size > len(found):
            at = va + len(found) & (1 << 64) - 1
            part = min(size - len(found), PAGE - at % PAGE)
            data = self._read_page(view, at, part)
            if data is None:
                break
            found += data
        return found

    def place(self, view: View, va: int) -> int | None:
        """Return the physical address of a byte that is mapped for the program, or None."""
        pte = view.table.entry(va)
        user = pte & U or view.number == KERNEL
        pa = pte_address(pte) | va & PAGE - 1
        return pa if pte and user and self.machine.memory.contains(pa) else None

    def _read_page(self, view: View, va: int, size: int) -> bytes | None:
        pa = self.place(view, va)
        if pa is not None:
            return self.machine.memory.read(pa, size)
        return None if view.process is None else _not_touched(view, view.process, va, size)

    def read_in(self, view: View, va: int) -> None:
        """Make a process's page present, as if the process had read it."""
        from pltvm.host.linux.errors import LinuxError

        if view.process is not None:
            with suppress(LinuxError, OutOfMemory):
                view.process.space.read(va, 1)

    def write(self, view: View, va: int, data: bytes) -> bool:
        """Write `data` at `va`; return False and write nothing if a part is not accessible to the program."""
        if view.process is not None:
            from pltvm.host.linux.errors import LinuxError

            try:
                view.process.space.write(va, data)
                return True
            except (LinuxError, OutOfMemory):
                pass  # code, which the program itself cannot write
        ends = range(va & -PAGE, va + len(data), PAGE)
        places = [self.place(view, max(at, va)) for at in ends]
        if None in places:
            return False
        for at, pa in zip(ends, places, strict=True):
            start, end = max(at, va) - va, min(at + PAGE, va + len(data)) - va
            self.machine.memory.write(pa or 0, data[start:end])
        return True

    def why_not(self, view: View, va: int) -> str:
        """Return why the program cannot access `va`, in words."""
        enclave = self._state.enclaves.get(view.eid) if view.eid is not None else None
        gone = passed_on(self._state, enclave, va) if enclave is not None else None
        if gone is not None:
            return gone
        if view.process is not None:
            raw = view.process.space.table.raw_entry(va)
            if raw and not view.table.entry(va):
                return self.owner(pte_address(raw))
        return describe_owner(self._state.owners, view.threads[0].context, va)

    def owner(self, pa: int) -> str:
        """Return the owner of a page of RAM, in words."""
        try:
            row = owners(self._state).at(pa)
        except KeyError:
            return "this is outside guest RAM"
        *_, who, more = self.cells(row)
        article = "the " if row.owner.kind in ("host", "monitor") else ""
        return f"the page belongs to {article}{who}{more and f' ({more})'}"

    def cells(self, row: OwnerRow) -> tuple[str, ...]:
        """Return a row of a table of owners, with names of enclaves."""
        *pages, who, more = Owners.cells(row)
        enclave = self._state.enclaves.get(row.owner.number) if row.owner.kind == "enclave" else None
        return *pages, f"enclave {enclave}" if enclave is not None else who, more


def _moved(source: Source) -> int:
    from pltvm.host.linux.program import PIE_BASE

    try:
        return PIE_BASE if read_headers(read_source(source)).header["e_type"] == "ET_DYN" else 0
    except ElfError:
        return 0


def _not_touched(view: View, process: "Process", va: int, size: int) -> bytes | None:
    """Return what a process would read from a page that it has not accessed yet; None if unknown."""
    area = process.space.area(va & -PAGE)
    if area is None or view.table.entry(va) or process.space.table.raw_entry(va):
        return None
    code = _of_file(view.elf, va - view.moved, size)
    if code is not None:
        return code
    return None if area.object or area.shared is not None else bytes(size)


def _of_file(source: Source, address: int, size: int) -> bytes | None:
    try:
        elf = read_headers(read_source(source))
    except ElfError:
        return None
    page = bytearray(size)
    known = False
    for segment in elf.segments:
        if segment["p_type"] == "PT_LOAD":
            start, end = segment["p_vaddr"], segment["p_vaddr"] + segment["p_filesz"]
            low, high = max(start, address), min(end, address + size)
            if low < high:
                at = segment["p_offset"] - start
                page[low - address : high - address] = elf.data[at + low : at + high]
                known = True
    return bytes(page) if known else None
