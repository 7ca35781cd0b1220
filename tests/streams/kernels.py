"""Random programs as kernels: in S-mode, in the place of the host kernel, and in its user mode."""

from typing import Any, Final

from unicorn.riscv_const import UC_RISCV_REG_PRIV

from pltvm.engine.context import Context, S
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import A, D, R, U, V, W, X, make_pte, pte_address
from pltvm.engine.trap import Cause
from pltvm.host.elf import EnclaveImage, Piece
from pltvm.host.supervisor import Supervisor
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import HostCall, SetPte, Status
from tests.model.host import create_params, lay_out
from tests.streams.programs import CODE, CODE_PAGES, DATA, HANDLER, USER, Program, Writer, handler
from tests.streams.world import Broken, World

ENCLAVE_SLICES: Final = 20  # how often an enclave may have the hart until the kernel is ended
_USER_PAGES: Final = 2  # one of code, one of data
_CODE_PAGE: Final = 5  # of a block that `lay_out` fills
_FORGED_PAGES: Final = 64  # of a block ready for a create call


class RandomKernel(Supervisor):
    """A kernel whose code can be replaced. `regs` are its registers when it ended."""

    def __init__(self, driver: Any) -> None:
        code = Piece(CODE, CODE_PAGES * PAGE, b"\1", True, "code")
        data = Piece(DATA, PAGE, b"\1", True, "data")
        vector = Piece(HANDLER, PAGE, handler(), False, "handler")
        super().__init__(driver, EnclaveImage(CODE, (code, data, vector)), Symbols(b""))
        self.user = self._take(_USER_PAGES)
        for page, flags in ((0, R | X | U), (1, R | W | U)):
            slot = self._leaf_table(USER) + 8 * page
            assert self._set(SetPte.ONE, slot, make_pte(self.user + page * PAGE, V | A | D | flags))
        self.table = PageTable(self.memory, self.root, lambda: 0, user=False)
        self.places = [
            pte_address(self.table.entry(va)) for va in (CODE, DATA, HANDLER, abi.STACK_TOP - PAGE)
        ]
        self.regs: list[int] = []
        self.told = 0  # traps of user mode
        self.entered = 0

    @property
    def pages(self) -> dict[str, int]:
        """Where in RAM it may write, as its info structure tells."""
        return {"free": self._free, "root": self.root}

    @property
    def tables(self) -> list[int]:
        """Pages of the PT area that it knows: its root, a middle table, its leaf tables, and free ones."""
        return [*self._spare, *self.table.tables()]

    def start(self, program: Program) -> Any:
        """Run a program; as `run`."""
        self.memory.write(self.places[0], program.code)
        self.memory.write(self.places[1], program.data)
        self.memory.write(self.places[2], handler())
        self.memory.write(self.user, program.user.ljust(PAGE, b"\0"))
        self._entry, self._end, self._code, self.entered = program.entry, "", None, 0
        try:
            return self.run()
        finally:
            self.kernel.blocks.give(self.kernel.state.programs.pop())  # the page of its info structure

    def _trap(self, cause: int, context: Context) -> None:
        super()._trap(cause, context)
        self.regs = list(context.regs)
        self.told += 1

    def _control_is_back(self, status: int) -> bool:
        self.entered += 1
        if self.entered > ENCLAVE_SLICES:
            return False
        return super()._control_is_back(status)


class KernelWorld(World):
    """Programs run as the kernel."""

    def __init__(self, seed: str, audit_every: int = 1) -> None:
        super().__init__(seed, audit_every)
        self.kernel = RandomKernel(self.driver)
        self._ecall, self._in_guest = self.hart.handlers[Cause.ECALL_U], False
        self.hart.handlers[Cause.ECALL_U] = self._ecall_of_program
        own = self.state.enclaves[self.victim.eid]
        template = self.state.enclaves[self.template.eid]
        host = self.machine.kernel
        free = self.kernel.pages["free"]
        self._block = free + _FORGED_PAGES * PAGE  # naturally aligned, as the free memory is
        self.params = self._block - PAGE
        self.writer = Writer(
            self.rng,
            (
                *(CODE, CODE + 2 * PAGE, CODE + CODE_PAGES * PAGE, DATA, DATA, DATA + PAGE, HANDLER),
                *(USER, USER + PAGE, USER + 2 * PAGE, abi.STACK_TOP - 64, abi.STACK_TOP, self.kernel.user),
                *(self.memory.base, self.memory.base + 0x1F_FFF8, host.bitmap, host.pt_area, self.memory.end),
                *(own.block, own.block + 3 * PAGE, own.kbuffer, own.retval, template.block),
                *(
                    free,
                    free + PAGE,
                    free + _FORGED_PAGES * PAGE,
                    self.params,
                    self.params,
                    *self.kernel.places,
                ),
                *(0, 1 << 38, (1 << 64) - 4, (1 << 64) - PAGE, 1 << 63, self.kernel.root),
            ),
        )
        self._eids = (own.eid, template.eid, self.state.globals.next_eid, 7, -1)
        self._area = host.pt_area, host.blocks.size(host.pt_area)
        self._tables = self.memory.read(*self._area)
        self._victims = self._victim_state()
        self._records = len(self.state.records.lent())
        self.remember()

    def _forge(self) -> None:
        """A block and parameters of create in the free memory: a program can have an enclave, which is a
        random program too."""
        block = self._block
        birth = lay_out(self.memory, "normal", block, _FORGED_PAGES, self.params, block - 2 * PAGE, (0, 0))
        self.memory.write(self.params, abi.CREATE_PARAMS.pack(*create_params("normal", b"", birth)))
        self.memory.write(block + _CODE_PAGE * PAGE, self.writer.enclave_page())

    def _ecall_of_program(self, context: Context) -> None:
        """An ecall of S-mode may be a monitor call; the kernel is told of one of user mode, whatever anybody
        remembers of its privilege."""
        of_host = self._in_guest and not self.state.globals.running
        of_user, told = of_host and self.hart._uc.reg_read(UC_RISCV_REG_PRIV) != S, self.kernel.told
        self._ecall(context)
        if of_user and self.kernel.told == told:
            raise Broken("user mode has made a monitor call")

    def _victim_state(self) -> list[object]:
        enclaves = [self.state.enclaves.get(one.eid) for one in (self.victim, self.template)]
        return [
            one and (one.state, one.stopped, one.waiting_for, one.instances, one.context.regs.tobytes())
            for one in enclaves
        ]

    def stream(self) -> str:
        """Run one random program; how it ended."""
        self.streams += 1
        program = self.writer.kernel(self.kernel.tables, self._eids, self.params)
        self._forge()
        self.limit()
        self._in_guest = True
        result = self.kernel.start(program)
        self._in_guest = False
        self.note(result.code, result.end, result.output, self.hart.clock, self.hart.traps, self.kernel.regs)
        self._settle()
        what = "end of the program" if result.code is not None else result.end.partition(" at ")[0]
        return f"kernel, {what or 'out of time'}"

    def _settle(self) -> None:
        """What must hold now; then end what the program has made."""
        victims_ran = self._victim_state() != self._victims
        if not victims_ran:
            self.check(self.audited)
            self.must_not_know(self.kernel.regs)
        changed = self._changed_entries()
        self._check_entries(self._all_entries() if self.audited else changed)
        for eid in list(self.state.enclaves):
            if eid not in (self.victim.eid, self.template.eid):
                assert self.monitor.call(HostCall.DESTROY, eid) == Status.OK
        for segment in list(self.state.segments.values()):
            if not segment.users:
                size = segment.block_pages * PAGE
                assert self.monitor.call(HostCall.RECLAIM, segment.block, size) == Status.OK
        self.spoilt = victims_ran or len(self.state.records.lent()) != self._records
        self.spoilt = self.spoilt or not self._restore(changed)
        if not self.spoilt:
            self.check_owners()
            self.check_books()

    def _changed_entries(self) -> dict[int, int]:
        """Entries of the host's tables that are not as they were at first, by address."""
        start, size = self._area
        changed = {}
        for at in range(0, size, PAGE):
            page = self.memory.read(start + at, PAGE)
            if page != self._tables[at : at + PAGE]:
                words = memoryview(page).cast("Q"), memoryview(self._tables[at : at + PAGE]).cast("Q")
                for index, (now, before) in enumerate(zip(*words, strict=True)):
                    if now != before:
                        changed[start + at + 8 * index] = now
        return changed

    def _all_entries(self) -> dict[int, int]:
        start, size = self._area
        words = memoryview(self.memory.read(start, size)).cast("Q")
        return {start + 8 * index: pte for index, pte in enumerate(words) if pte}

    def _restore(self, changed: dict[int, int]) -> bool:
        """Set entries back by monitor calls; False when one can not be, as it maps private memory."""
        start, _ = self._area
        for slot in changed:
            old = int.from_bytes(self._tables[slot - start : slot - start + 8], "little")
            kind = SetPte.ONE if old else SetPte.ZERO
            if self.monitor.call(HostCall.SET_PTE, kind, slot, old, 0) != Status.OK:
                return False
        return not self._changed_entries()

    def _check_entries(self, changed: dict[int, int]) -> None:
        """None of these leads to what is not the host's, whoever made it."""
        parts = self.state.tables._parts
        for slot, pte in changed.items():
            if not pte & V:
                continue
            level = next(level for level, (low, high) in enumerate(parts) if low <= slot < high)
            page = pte_address(pte)
            where = f"the host's entry at {slot:#x} is {pte:#x}"
            if level < 2 and (pte & (R | W | X) or not parts[level + 1][0] <= page < parts[level + 1][1]):
                raise Broken(f"{where}: no table of the next level")
            if level == 2 and not self._may_map(pte, page):
                raise Broken(f"{where}: not the host's memory")

    def _may_map(self, pte: int, page: int) -> bool:
        start, size = self._area
        if start <= page < start + size:
            return not pte & (W | X)
        fixed = any(pa <= page < pa + pages * PAGE for pa, pages in self.state.fixed_blocks)
        return fixed or (self.memory.contains(page, PAGE) and self.state.owners.owner(page) is None)
