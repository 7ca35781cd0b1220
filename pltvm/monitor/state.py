"""The monitor's state: finds enclaves by number and by name, memory by key, and the running enclave.

All of it is in RAM (`records`). The call modules (`create`, `server`, `ocall` …) have functions on this
state; `monitor` dispatches to them. There is one hart: `running` is the enclave whose context is current,
None while the host has control.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from weakref import WeakValueDictionary
from zlib import crc32

from pltvm.engine.context import A0, Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, PAGE_SHIFT, Block, Memory
from pltvm.errors import EngineError
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType
from pltvm.monitor.core import CoreCalls
from pltvm.monitor.digest import Digest, digest
from pltvm.monitor.enclave import LINK, OWN_INDICES, REGISTERS, SLOTS_WORD, Enclave
from pltvm.monitor.guard import HostTables
from pltvm.monitor.host_memory import HostMemory
from pltvm.monitor.keys import DEVELOPMENT, IDENTITY, Keys, certified
from pltvm.monitor.measure import Snapshot
from pltvm.monitor.pages import PageOwners, enclave_owner
from pltvm.monitor.records import NUMBERS, EnclaveRecord, Region, Segment
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.store import Records

Origin = tuple[int, ...]  # eid, block, kind, kbuffer_slot, server, slot: a view is derived from these


class Enclaves:
    """The living enclaves by eid, in the order of their creation.

    The lists are in RAM. Lookups by eid are cached until RAM is restored.
    """

    def __init__(self, state: "State") -> None:
        self._state = state
        self._records = state.records
        self._words, self._dirty = state.memory.words, state.memory.dirty
        self._heads = state.records.enclaves
        self._known: dict[int, Enclave] = {}

    def get(self, eid: int) -> Enclave | None:
        """Return the living enclave with this eid, or None."""
        enclave = self._known.get(eid)
        if enclave is not None:
            self._dirty[enclave.pages[0]] = 1
            return enclave
        at = self.at(eid)
        if not at:
            return None
        enclave = self._known[eid] = self._state.enclave(at)
        return enclave

    def at(self, eid: int) -> int:
        """Return the address of the record of the living enclave with this eid, or 0."""
        at = self._words[self._heads.first + eid % self._heads.count]
        while at:
            record = self._records.view(EnclaveRecord, at)
            if record.eid == eid:
                break
            at = record.next_of_eid
        return at

    def forget(self) -> None:
        """Empty the cache, as RAM was restored."""
        self._known.clear()

    def __getitem__(self, eid: int) -> Enclave:
        enclave = self.get(eid)
        if enclave is None:
            raise KeyError(eid)
        return enclave

    def __contains__(self, eid: int) -> bool:
        return self.get(eid) is not None

    def __len__(self) -> int:
        return self._records.globals.enclaves

    def __iter__(self) -> Iterator[int]:
        return (enclave.eid for enclave in self.values())

    def values(self) -> Iterator[Enclave]:
        """Yield all of them; the one yielded may be destroyed meanwhile."""
        at = self._records.globals.first_enclave
        while at:
            enclave = self._state.enclave(at)
            at = enclave.next
            yield enclave

    def add(self, enclave: Enclave) -> None:
        """Add a new enclave."""
        once, at = self._records.globals, enclave.at
        enclave.prev, enclave.next = once.last_enclave, 0
        if once.last_enclave:
            self._state.enclave(once.last_enclave).next = at
        else:
            once.first_enclave = at
        once.last_enclave = at
        once.enclaves += 1
        head = self._heads.of_number(enclave.eid)
        enclave.next_of_eid, self._words[head] = self._words[head], at

    def remove(self, enclave: Enclave) -> None:
        """Remove an enclave that has ended."""
        once = self._records.globals
        self._known.pop(enclave.eid, None)
        if enclave.next:
            self._state.enclave(enclave.next).prev = enclave.prev
        else:
            once.last_enclave = enclave.prev
        if enclave.prev:
            self._state.enclave(enclave.prev).next = enclave.next
        else:
            once.first_enclave = enclave.next
        once.enclaves -= 1
        self._records.unlink(self._heads.of_number(enclave.eid), enclave, "next_of_eid")


class State:
    """The monitor's state over one hart."""

    owners: PageOwners  # the page bitmap; it exists after the host's `init`

    def __init__(self, hart: Hart, keys: Keys = DEVELOPMENT, digest: Digest = Digest.PENGLAI) -> None:
        self.hart = hart
        self.keys = keys
        self.digest = digest  # the digest of measurements
        self.memory: Memory = hart.memory
        self.records = Records(hart.memory)
        self.globals = self.records.globals
        self.core = CoreCalls()
        self.enclaves = Enclaves(self)
        self.host = hart.current  # the host's context, which waits while an enclave runs
        # Contents of enclaves at their creation, by eid: too large for records. They never change.
        self.contents: dict[int, Snapshot] = {}
        # The host reads and writes RAM through this.
        self.host_memory = HostMemory(hart.memory, NUMBERS["MONITOR_SIZE"])
        self.tables: HostTables | None = None
        self.fixed_blocks: list[Block] = []  # the monitor's own memory, PT area and bitmap
        # Called with the status when control is back in the host; True if the host went on at once by
        # another monitor call, so that guest code goes on without leaving the JIT.
        self.host_vector: Callable[[int], bool] = lambda _status: False
        # The host kernel's handler for traps of its own user programs.
        self.trap_vector: Callable[[int, Context], None] = _no_host_kernel
        # Gets names for which `acquire` found no server: a debug port, not part of the interface.
        self.on_unknown_name: Callable[[bytes], None] = lambda _name: None
        self.views: dict[int, Enclave] = {}  # cached views, by the address of their records
        self._held: WeakValueDictionary[tuple[int, ...], Enclave] = WeakValueDictionary()
        self.words, self.dirty, self.base = self.memory.words, self.memory.dirty, self.memory.base
        self.first_page = self.base >> PAGE_SHIFT

    @cached_property
    def certificate(self) -> tuple[bytes, bytes, bytes]:
        """The monitor's hash, the device key's signature of hash and key, and the monitor's key (§9)."""
        monitor_hash, public = digest(self.digest, (IDENTITY,)), self.keys.monitor.public
        return monitor_hash, self.keys.device.sign(certified(self.digest, monitor_hash, public)), public

    # -- finding -----------------------------------------------------------------------------------------

    def enclave(self, at: int) -> Enclave:
        """Return the enclave whose record is at this physical address."""
        enclave = self.views.get(at) or self._derive(at)
        self.dirty[enclave.pages[0]] = 1
        if enclave.concurrent:
            self.dirty[enclave.home.pages[0]] = 1
        return enclave

    def _derive(self, at: int) -> Enclave:
        record = self.records.view(EnclaveRecord, at)
        origin = _origin(record)
        home = self.enclave(record.server) if record.server else None
        held = self._held.get((at, *origin))  # from before a restore, still in use
        if held is not None and held.home is (home or held):
            held.space.table.forget()
            held.copies = held.stack = None
            self.views[at] = held
            return held
        enclave = Enclave.from_address(self.memory.host_address + at - self.base)
        enclave.at = at
        self._held[at, *origin] = enclave
        enclave.home = home or enclave
        enclave.concurrent, enclave.stack = enclave.kind == EnclaveType.CONCURRENT_SERVER, None
        enclave.space = self._space_of(enclave)
        enclave.context = Context.in_ram(self.memory, enclave.block, enclave.space.table)
        enclave.context.owner = enclave
        start = (enclave.block - self.base + REGISTERS) >> 3
        enclave.entry_registers = self.words[start : start + REGISTERS // 8]
        enclave.copies = None
        enclave.owner = enclave_owner(enclave.eid)
        enclave.is_server = abi.is_server(enclave.kind)
        pages = ((at - self.base) >> PAGE_SHIFT, (enclave.block - self.base) >> PAGE_SHIFT)
        enclave.pages = pages
        enclave.kbuffer_word = (enclave.kbuffer_slot - self.base) >> 3
        enclave.kbuffer_table = enclave.kbuffer_word >> 9
        enclave.link = at - self.base + LINK.at
        self.views[at] = enclave
        return enclave

    def _space_of(self, enclave: Enclave) -> AddressSpace:
        changed = self.hart.translations_changed
        if not enclave.concurrent:
            return AddressSpace(self.records, self.owners, enclave, changed)
        home = enclave.home

        def made(level: int, entry: int) -> None:
            self._table_made(home, level, entry)

        return AddressSpace(self.records, self.owners, home, changed, enclave.root, made)

    def _table_made(self, server: Enclave, level: int, entry: int) -> None:
        """Copy a new root entry, made by one slot for common memory, to the roots of the other slots."""
        index, pte = entry % PAGE // 8, self.memory.load(entry)
        for slot in self.slots(server):
            slot.space.table.tables_made()
            if level == 1 and index not in OWN_INDICES:
                self.memory.store(slot.root + 8 * index, pte)

    def slot(self, server: Enclave, number: int) -> Enclave:
        """Return a slot of a concurrent server."""
        return self.enclave(self.words[((server.block - self.base) >> 3) + SLOTS_WORD + number])

    def slots(self, server: Enclave) -> Iterator[Enclave]:
        """Yield all slots of a concurrent server; of other enclaves only the enclave itself."""
        yield server
        for number in range(1, server.slots):
            yield self.slot(server, number)

    def all_slots(self) -> Iterator[Enclave]:
        """Yield the slots of all enclaves, as `slots` does."""
        for enclave in self.enclaves.values():
            yield from self.slots(enclave)

    def forget(self, enclave: Enclave) -> None:
        """Forget what is derived from this record, which may become that of another enclave."""
        self.views.pop(enclave.at, None)

    def derived(self) -> dict[int, Origin]:
        """Return the origins of all views, by record: for `keep_derived`."""
        return {at: _origin(enclave) for at, enclave in self.views.items()}

    def keep_derived(self, derived: dict[int, Origin], changed: set[int]) -> None:
        """After RAM was restored and these pages changed: keep the views that are still valid, forget the
        others.

        Equal numbers are not enough: another enclave may have had the same eid then, or other tables.
        """
        self.enclaves.forget()
        for at, origin in derived.items():
            enclave = self.views[at]
            home = enclave.server or at
            if self.enclaves.at(enclave.eid) != home or _origin(enclave) != origin:
                del self.views[at]
            else:
                enclave.space.table.look_again(changed)
                enclave.copies = enclave.stack = None
        for at, enclave in list(self.views.items()):
            if self.views.get(enclave.home.at) is not enclave.home:
                del self.views[at]  # a slot of a server whose view is rebuilt
        if self.tables is not None and not changed.isdisjoint(self.tables.pages):
            self.tables.find_entries()

    def note_written(self) -> None:
        """Add the pages written by guest code to RAM's log (`PageTable.note_written`), before the log is
        read.

        This covers every living enclave: the native core may have run enclaves without a view here.
        """
        at = self.globals.first_enclave
        while at:
            enclave = self.views.get(at) or self._derive(at)
            for slot in self.slots(enclave) if enclave.slots else (enclave,):
                if self.dirty[slot.pages[1]]:  # its registers: it may have run
                    slot.space.table.note_written()
            at = enclave.next
        if self.tables is not None:
            self.tables.note_written()

    def note_current(self) -> None:
        """After the log was emptied, add the pages that are written without being requested again."""
        self.memory.touch(self.globals.at)
        running = self.running
        if running is not None:
            for page in (*running.pages, running.home.pages[0]):
                self.dirty[page] = 1

    @property
    def running(self) -> Enclave | None:
        """The enclave whose context is on the hart, or None."""
        at = self.globals.running
        return (self.views.get(at) or self._derive(at)) if at else None

    def server(self, name: bytes) -> Enclave | None:
        """Return the living server of this name, or None."""
        heads = self.records.servers
        at = self.words[heads.first + crc32(name) % heads.count]
        while at:
            enclave = self.views.get(at) or self._derive(at)  # only read: its page is not marked as written
            if enclave.name == name:
                return enclave
            at = enclave.next_of_name
        return None

    def add_server(self, enclave: Enclave) -> None:
        """Make the server findable by its name."""
        head, words = self.records.servers.of_name(enclave.name), self.words
        enclave.next_of_name, words[head] = words[head], enclave.at

    def bound_to(self, name: bytes) -> list[Region]:
        """Return the relay regions bound to this name, in the order in which they were sent (§7)."""
        head = self.words[self.records.bound.of_name(name)]
        found = []
        while head:
            region = self.records.region(head)
            head = region.next
            if region.name == name:
                found.append(region)
        return found

    @property
    def bound(self) -> dict[bytes, list[Region]]:
        """Return all relay regions bound to names."""
        found: dict[bytes, list[Region]] = {}
        heads = self.records.bound
        for at in self.words[heads.first : heads.first + heads.count]:
            while at:
                region = self.records.region(at)
                found.setdefault(region.name, []).append(region)
                at = region.next
        return found

    def all_segments(self) -> Iterator[Segment]:
        """Yield all memory shared between enclaves, also without a key; the one yielded may be removed."""
        at = self.globals.first_segment
        while at:
            segment = self.records.view(Segment, at)
            at = segment.next
            yield segment

    @property
    def segments(self) -> dict[int, Segment]:
        """All memory shared between enclaves that has a key, by key."""
        return {segment.key: segment for segment in self.all_segments() if segment.has_key}

    @property
    def servers(self) -> dict[bytes, Enclave]:
        """All living servers."""
        return {enclave.name: enclave for enclave in self.enclaves.values() if enclave.is_server}

    # -- control ---------------------------------------------------------------------------------------

    def to_host(self, status: int) -> None:
        """Give the hart to the host, with `status` as the result of its call."""
        self.globals.running = 0
        self.hart.current = self.host
        self.globals.host_status = status & abi.MASK64
        if not self.host_vector(status):
            self.hart.stop()

    # -- memory from the host, and back ----------------------------------------------------------------

    def is_offer(self, block: int, size: int, asked: int) -> bool:
        """Whether the host offers a block as in §4: its own, a naturally aligned power of two, > `asked`."""
        shaped = size >= asked + PAGE and not size & (size - 1) and not block % size
        return shaped and self.owners.is_free(block, size // PAGE)

    def clear(self, pa: int, pages: int) -> None:
        """Zero private pages and give them back to the host."""
        self.memory.zero(pa, pages * PAGE)
        self.memory.not_executable(pa, pages)  # no enclave maps them now; the host may soon
        self.owners.release(pa, pages)

    def give_back(self, blocks: Sequence[Block], kept: Sequence[Block] = ()) -> None:
        """Clear blocks, give them to the host, and leave it a table of them and of `kept`.

        The table is in the first page of the first block, and continues in those of the following blocks: a
        page holds the address of the table's next page or 0, a count, and that many pairs of physical
        address and bytes.
        """
        for pa, pages in blocks:
            self.clear(pa, pages)
        if len(blocks) == 1 and not kept:
            pa, pages = blocks[0]
            self.memory.pack(pa, abi.FREED_BLOCK, 0, 1, pa, pages * PAGE)
            return
        rows = [(pa, pages * PAGE) for pa, pages in (*blocks, *kept)]
        parts = [rows[at : at + abi.FREED_ROWS] for at in range(0, len(rows), abi.FREED_ROWS)]
        for index, part in enumerate(parts):
            following = blocks[index + 1][0] if index + 1 < len(parts) else 0
            numbers = (following, len(part), *(number for row in part for number in row))
            self.memory.write(blocks[index][0], array("Q", numbers).tobytes())

    def read_host(self, pa: int, size: int) -> bytes | None:
        """Return `size` bytes of host memory, None if the host may not access them."""
        return self.memory.read(pa, size) if self.owners.is_public(pa, size) else None

    def answer(self, context: Context, value: int) -> None:
        """Set the result of a call."""
        context.regs[A0] = value & abi.MASK64


def _origin(record: EnclaveRecord) -> Origin:
    return record.eid, record.block, record.kind, record.kbuffer_slot, record.server, record.slot


def _no_host_kernel(cause: int, _context: Context) -> None:
    raise EngineError(f"trap {cause} of a host program, and no host kernel to take it")
