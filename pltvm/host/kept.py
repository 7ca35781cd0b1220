"""Pages that the host keeps for enclaves: shared with one, shared with many, or handed over (§7).

    OWN       pages of one enclave: freed after its end, when they are back
    SHARED    pages for any number of enclaves, until they are freed
    RELAY     relay pages: accessible only while the host owns them; they outlive the enclaves that have them

The page bitmap has the present owners; this file only has what the host will do with the pages.
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
    """The kind decides what happens to pages when an enclave that had them ends."""

    OWN = 0
    SHARED = 1
    RELAY = 2


@dataclass(slots=True)
class KeptPages:
    """The pages of a block: size in bytes and kind. `id` is for display, 0 for pages of one enclave."""

    size: int
    kind: Kind
    id: int = 0
    users: int = 0  # living enclaves that share them


@dataclass(slots=True)
class KeptState:
    """All kept pages by their block, and the number of ids given."""

    rows: dict[int, KeptPages] = field(default_factory=dict)
    ids: int = 0


class Kept(Part[KeptState]):
    """The kept pages of one host, found by any physical address in them."""

    def __init__(self, kernel: Kernel, away: Away, services: Services) -> None:
        self._kernel = kernel
        self._away = away
        self._services = services
        self.state = KeptState()
        kernel.holders.append(lambda: self.state.rows)

    def add(self, data: bytes, pages: int, kind: Kind) -> tuple[int, KeptPages]:
        """Make cleared pages with `data` at the start; return address and row. Raises OutOfMemory."""
        block = self._kernel.blocks.take(pages)
        self._kernel.memory.write(block, data)
        if kind is not Kind.OWN:
            self.state.ids += 1
        row = KeptPages(pages * PAGE, kind, self.state.ids if kind is not Kind.OWN else 0)
        self.state.rows[block] = row
        return block, row

    def find(self, pa: int) -> tuple[int, KeptPages] | None:
        """Return the block that contains `pa`, and its row; None if it is not kept."""
        block = pa if pa in self.state.rows else self._kernel.blocks.holding(pa)
        row = self.state.rows.get(block) if block is not None else None
        return None if block is None or row is None else (block, row)

    def users(self, pa: int) -> int:
        """Return how many living enclaves share the pages at `pa`."""
        found = self.find(pa)
        return found[1].users if found else 0

    def here(self, span: Span) -> bool:
        """Whether the host owns all of the pages, by the page bitmap."""
        return self._kernel.memory.is_public(*span)

    def take(self, pa: int) -> None:
        """Count one more enclave that has the pages."""
        found = self.find(pa)
        if found and found[1].kind is Kind.SHARED:
            found[1].users += 1

    def let_go(self, pa: int) -> None:
        """Note the end of an enclave that had the pages. Pages that it passed on are freed when they are
        back."""
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
        """Give the pages back to the kernel; EnclaveError while living enclaves have any of them.

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
        """Take back pages that are bound to a name but not mapped, cleared. Raises EnclaveError."""
        block, row = self._row(pa)
        span = Span(block, row.size)
        if not self.here(span) and self._kernel.call(HostCall.RECLAIM, *span) != Status.OK:
            raise EnclaveError(f"relay pages {row.id}: a living enclave has some of them")

    def abandon(self, pa: int) -> None:
        """Free the pages when they are back, as they are not needed any more."""
        block, _row = self._row(pa)
        del self.state.rows[block]
        self._away.add(block)

    def _row(self, pa: int) -> tuple[int, KeptPages]:
        found = self.find(pa)
        if found is None:
            raise EnclaveError(f"the host keeps no pages at {pa:#x}: they were freed, or not made yet")
        return found
