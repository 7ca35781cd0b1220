"""Pages that the host keeps for enclaves: shared with one, shared with many, handed over and waited for (§7).

    OWN       those of one enclave: they go when it ends, and when they are back
    SHARED    for any number of enclaves, until they are freed
    RELAY     read and written only while they are the host's; they outlive the enclaves that have them

Whose a page is now the page bitmap says; here is only what the host will do with it.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.away import Away
from pltvm.host.kernel import Kernel
from pltvm.host.plain import Part
from pltvm.host.services import Services
from pltvm.host.spans import Span
from pltvm.monitor.abi import HostCall, Status


class Kind(IntEnum):
    """What happens to pages when an enclave that had them ends."""

    OWN = 0
    SHARED = 1
    RELAY = 2


@dataclass(slots=True)
class KeptPages:
    """Pages of a block: how many bytes, for whom. `id` is for people, 0 of those of one enclave."""

    size: int
    kind: Kind
    id: int = 0
    users: int = 0  # living enclaves that share them


@dataclass(slots=True)
class KeptState:
    """All of them by their block, and how many ids were given."""

    rows: dict[int, KeptPages] = field(default_factory=dict)
    ids: int = 0


class Kept(Part[KeptState]):
    """The pages of one host. A place in them is named by a physical address."""

    def __init__(self, kernel: Kernel, away: Away, services: Services) -> None:
        self._kernel = kernel
        self._away = away
        self._services = services
        self.state = KeptState()
        kernel.holders.append(lambda: self.state.rows)

    def add(self, data: bytes, pages: int, kind: Kind) -> tuple[int, KeptPages]:
        """Cleared pages with `data` at their start: where they are, and their row; raises OutOfMemory."""
        block = self._kernel.blocks.take(pages)
        self._kernel.memory.write(block, data)
        if kind is not Kind.OWN:
            self.state.ids += 1
        row = KeptPages(pages * PAGE, kind, self.state.ids if kind is not Kind.OWN else 0)
        self.state.rows[block] = row
        return block, row

    def find(self, pa: int) -> tuple[int, KeptPages] | None:
        """The block that `pa` is in, and its row; None for what is not kept."""
        block = pa if pa in self.state.rows else self._kernel.blocks.holding(pa)
        row = self.state.rows.get(block) if block is not None else None
        return None if block is None or row is None else (block, row)

    def users(self, pa: int) -> int:
        """How many living enclaves share the pages at `pa`."""
        found = self.find(pa)
        return found[1].users if found else 0

    def here(self, span: Span) -> bool:
        """Whether the host has all of the pages: the page bitmap says so."""
        return self._kernel.memory.is_public(*span)

    def take(self, pa: int) -> None:
        """One more enclave has the pages."""
        found = self.find(pa)
        if found and found[1].kind is Kind.SHARED:
            found[1].users += 1

    def let_go(self, pa: int) -> None:
        """An enclave that had the pages has ended. Those that it handed on are freed when they are back."""
        found = self.find(pa)
        if not found:
            return
        block, row = found
        if row.kind is Kind.SHARED:
            row.users -= 1
        elif row.kind is Kind.OWN:
            if self.here(Span(block, row.size)):
                self.free(block)
            else:
                self.abandon(block)

    def free(self, pa: int) -> None:
        """Give the pages back to the kernel; EnclaveError while living enclaves have them, or some of them.

        Relay pages that are bound to a name but not mapped are taken back.
        """
        block, row = self._row(pa)
        if row.users:
            raise EnclaveError(f"shared memory {row.id} is used by {row.users} living enclaves")
        if row.kind is Kind.RELAY:
            self.reclaim(block)
        self._kernel.blocks.give(block)
        self._services.forget(Span(block, row.size))
        del self.state.rows[block]

    def reclaim(self, pa: int) -> None:
        """Take back, cleared, what is bound to a name but not mapped; or EnclaveError."""
        block, row = self._row(pa)
        span = Span(block, row.size)
        if not self.here(span) and self._kernel.call(HostCall.RECLAIM, *span) != Status.OK:
            raise EnclaveError(f"relay pages {row.id}: a living enclave has some of them")

    def abandon(self, pa: int) -> None:
        """Nobody waits for the pages any more: they are freed when they are back."""
        block, _row = self._row(pa)
        del self.state.rows[block]
        self._away.add(block)

    def _row(self, pa: int) -> tuple[int, KeptPages]:
        found = self.find(pa)
        if found is None:
            raise EnclaveError(f"the host keeps no pages at {pa:#x}: they were freed, or not made yet")
        return found
