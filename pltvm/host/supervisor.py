"""Runs a small kernel program in S-mode, in the place of the host kernel, to try what a hostile one could.

It runs under exactly the rules of §8: TVM on, its page tables in the PT area, all of RAM mapped at its
physical addresses (except private pages), monitor calls available. It is built with the SDK like an enclave
and gets in a0 the address of a structure with the places of its resources (guest/include/supervisor.h). There
are two calls of the firmware too: print a character (a7 = 1) and end (a7 = 8).
"""

from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from pltvm.engine import sv39
from pltvm.engine.context import A0, A7, MSTATUS_TVM, PC, PRIV, SP, Context, S
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.sv39 import ENTRIES, A, D, R, V, W, X, make_pte, satp_for
from pltvm.engine.trap import Cause
from pltvm.errors import Interrupted, PltvmError, SnapshotError
from pltvm.host.driver import Driver
from pltvm.host.elf import EnclaveImage
from pltvm.host.elf_pages import Parts
from pltvm.host.interrupts import Watch
from pltvm.host.kernel import SavedProgram
from pltvm.host.output import Output, passed_on
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor import supervisor as monitor_side
from pltvm.monitor.abi import HostCall, SetPte, Status

PUT_CHARACTER, SHUT_DOWN = 1, 8
STACK: Final = 64 << 10
FREE_PAGES: Final = 1024  # for the program's own use
TABLES_A_LEVEL: Final = 2  # free pages of the PT area for it, of each level
MOST_VICTIMS: Final = 8
# causes of user mode that go to the program's vector
_DELEGATED: Final = frozenset(cause for cause in Cause if cause >= 0)

# ram, its bytes, monitor, bytes, bitmap, bytes, PT area, bytes, root table, free memory, bytes,
# three times two free table pages, number of victims, then (block, bytes, eid, extra) of each.
_INFO: Final = Struct(f"<{11 + 3 * TABLES_A_LEVEL + 1 + 4 * MOST_VICTIMS}Q")


@dataclass(frozen=True, slots=True)
class Victim:
    """A block to attack (physical address, bytes), the eid of its owner, and one more number."""

    block: int
    size: int
    eid: int = 0
    extra: int = 0


@dataclass(frozen=True, slots=True)
class SupervisorResult:
    """How the program ended: its exit code, or None and what stopped it: a trap, or the time limit."""

    code: int | None
    end: str
    output: bytes
    timed_out: bool = False
    where: str = ""  # its place when the time was up

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        return {
            "code": self.code,
            "end": self.end,
            "output": self.output.decode("utf-8", "replace"),
            "timed_out": self.timed_out,
            "where": self.where,
        }


class Supervisor:
    """The program `image`, ready to run on `driver`'s machine instead of its kernel."""

    def __init__(self, driver: Driver, image: EnclaveImage, symbols: Symbols) -> None:
        self.driver = driver
        self.kernel = driver.kernel
        self.memory = driver.memory
        self._symbols = symbols
        self._output = Output(None)
        self._end = ""
        self._code: int | None = None
        self.kernel.hart.watch_aliases()
        self.root = self.kernel.tables.take(0)
        self._map_all_of_ram()
        for run in image.runs():
            self._map_own(run.vaddr, run.npages, run.parts, R | X | (W if run.writable else 0))
        self._map_own(abi.STACK_TOP - STACK, pages_for(STACK), (), R | W)
        self._entry = image.entry
        self._free = self._take(FREE_PAGES)
        self._spare = [self.kernel.tables.take(level) for level in range(3) for _ in range(TABLES_A_LEVEL)]

    def _take(self, pages: int) -> int:
        """Take a block of memory for the program, which is never given back."""
        block = self.kernel.blocks.take(pages)
        self.kernel.state.programs.append(block)
        return block

    # -- page tables: only through monitor calls ---------------------------------------------------------

    def _set(self, kind: SetPte, slot: int, value: int, size: int = 0) -> bool:
        return self.kernel.call(HostCall.SET_PTE, kind, slot, value, size) == Status.OK

    def _leaf_table(self, va: int) -> int:
        return sv39.walk(self.memory, self.root, va, self._make_table)

    def _make_table(self, level: int, slot: int) -> int:
        page = self.kernel.tables.take(level)
        if not self._set(SetPte.ONE, slot, make_pte(page, V)):
            raise PltvmError("the monitor refused a page table of the supervisor program")
        return page

    def _map_all_of_ram(self) -> None:
        """Map each page at its physical address, readable and writable; private pages are left out."""
        scratch = self.kernel.blocks.take(1)
        span = ENTRIES * PAGE
        for start in range(self.memory.base, self.memory.end, span):
            pages = min(ENTRIES, (self.memory.end - start) // PAGE)
            entries = [make_pte(start + page * PAGE, V | R | W | A | D) for page in range(pages)]
            self.memory.write(scratch, array("Q", entries).tobytes())
            table = self._leaf_table(start)
            if not self._set(SetPte.COPY, table, scratch, 8 * pages):
                for index, pte in enumerate(entries):
                    self._set(SetPte.ONE, table + 8 * index, pte)
        self.kernel.blocks.give(scratch)

    def _map_own(self, va: int, pages: int, parts: Parts, flags: int) -> None:
        block = self._take(pages)
        for offset, data in parts:
            self.memory.write(block + offset, data)
        for page in range(pages):
            slot = self._leaf_table(va + page * PAGE) + (((va >> 12) + page) & (ENTRIES - 1)) * 8
            if not self._set(SetPte.ONE, slot, make_pte(block + page * PAGE, V | A | D | flags)):
                raise PltvmError("the monitor refused memory of the supervisor program")

    # -- running -----------------------------------------------------------------------------------------

    def run(
        self,
        victims: Sequence[Victim] = (),
        on_output: Callable[[bytes], None] | None = None,
        timeout: float | None = None,
    ) -> SupervisorResult:
        """Run the program until it ends, stops at a trap without a vector, or the time is up.

        `timeout` is in seconds. Raises KeyboardInterrupt on Ctrl-C.
        """
        self._output = Output(on_output)
        info = self._write_info(victims)
        satp = satp_for(self.root, 0)
        monitor = self.kernel.monitor
        context = Context(S, satp, self._entry, MSTATUS_TVM, monitor_side.table_for(monitor.state, satp))
        context.regs[SP], context.regs[A0] = abi.STACK_TOP, info
        self.kernel.hart.clear_supervisor()
        monitor.set_trap_vector(self._trap)
        monitor.set_host_vector(self._control_is_back)
        self.kernel.hart.current = context
        self.kernel.program = self
        try:
            with passed_on(), Watch(self.kernel.hart, timeout) as watch, suppress(Interrupted):
                self.kernel.hart.run()
        finally:
            self.kernel.program = None
            self.kernel.hart.current = self.kernel.context
            monitor.set_host_vector(self.driver.control_is_back)
        if watch.cancelled:
            raise KeyboardInterrupt
        timed_out = watch.timed_out and self._code is None
        end = f"still running after {timeout:g} s" if timed_out else self._end
        where = self._where(context) if timed_out else ""
        return SupervisorResult(self._code, end, self._output.text, timed_out, where)

    def _where(self, context: Context) -> str:
        """Return the present place of the program, or of the enclave that it runs."""
        running = self.kernel.monitor.state.running
        return str(self._symbols.locate(context.regs[PC])) if running is None else str(running)

    def save(self) -> SavedProgram:
        """Raise SnapshotError: a kernel program cannot be saved."""
        raise SnapshotError("a program runs in the place of the host kernel: save before it, or after")

    def check(self, _saved: SavedProgram | None) -> None:
        """Raise SnapshotError: it cannot be restored either."""
        raise SnapshotError("a program runs in the place of the host kernel: put back before it, or after")

    def load(self, saved: SavedProgram | None) -> None:
        """Do nothing; never called, as `check` refuses."""
        self.check(saved)

    def changed_since(self, _saved: SavedProgram | None) -> bool:
        """Return False: it has no files."""
        return False

    def silent(self) -> AbstractContextManager[None]:
        """Never called, as it is never restored."""
        return nullcontext()

    def go_on(self) -> bool:
        """Never called, as it is never restored."""
        return False

    def who(self) -> tuple[int, str]:
        """Return the program, which has no threads."""
        return 0, "kernel"

    def location(self, pc: int) -> str:
        """Return the place of `pc` in the program."""
        return str(self._symbols.locate(pc))

    def name_of_call(self, number: int) -> str:
        """Return the name of the firmware's call with this number."""
        return {PUT_CHARACTER: "put a character", SHUT_DOWN: "shut down"}.get(number, f"call {number}")

    def _write_info(self, victims: Sequence[Victim]) -> int:
        if len(victims) > MOST_VICTIMS:
            raise PltvmError(f"{len(victims)} victims: at most {MOST_VICTIMS} fit")
        kernel, ram = self.kernel, self.memory
        numbers = [ram.base, ram.size, ram.base, kernel.monitor_size, kernel.bitmap, kernel.bitmap_size]
        numbers += [
            kernel.pt_area,
            kernel.blocks.size(kernel.pt_area),
            self.root,
            self._free,
            FREE_PAGES * PAGE,
        ]
        numbers += [*self._spare, len(victims)]
        for one in victims:
            numbers += [one.block, one.size, one.eid, one.extra]
        page = self._take(1)
        ram.write(page, _INFO.pack(*numbers, *(0,) * (_INFO.size // 8 - len(numbers))))
        return page

    def _trap(self, cause: int, context: Context) -> None:
        """Handle traps that neither the monitor nor the program's vector takes: calls of the firmware, and
        its end."""
        number = context.regs[A7]
        if context.regs[PRIV] != S and cause == Cause.WFI:  # the hart allows `wfi` in every mode
            context.step(-4)
            cause = Cause.ILLEGAL
        if context.regs[PRIV] != S and cause in _DELEGATED:
            if monitor_side.deliver(self.kernel.monitor.state, cause, context):
                return
            number = 0
        if cause == Cause.ECALL_U and number == PUT_CHARACTER:
            self._output.write(bytes([context.regs[A0] & 0xFF]))
            return
        if cause == Cause.ECALL_U and number == SHUT_DOWN:
            self._code = context.regs[A0]
        elif cause != Cause.INTERRUPT:
            where = self._symbols.locate(context.regs[PC])
            self._end = f"{Cause(cause).text} at {where}, and no trap vector"
        self.kernel.hart.stop()

    def _control_is_back(self, status: int) -> bool:
        """Return from the program's monitor call, as its enclave has ended or waits."""
        monitor_side.set_result(self.kernel.hart.current, status)
        return True
