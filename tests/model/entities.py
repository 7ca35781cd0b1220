"""What the reference model is made of: regions, segments, enclaves, and who owns what. See reference.py."""

from typing import NamedTuple

PAGE = 4096
HEAP, MMAP_TOP, RELAY, SHM = 0x10_0000_0000, 0x30_0000_0000, 0x38_0000_0000, 0x39_0000_0000
STACK_TOP, SECURE_TOP, KBUFFER = 0x38_0000_0000, 0x40_0000_0000, 0xFFFF_FFE0_0000_0000

OK, ERROR, NO_MEMORY, TIMER, OCALL, YIELD = 0, -1, -2, 1, 2, 3  # what the host gets (§8)
WAITS = 4  # choice, likewise: for room in a server
FAILED, BUSY = -1, -2  # what an enclave gets
DEADLOCK = -3  # choice, likewise
NORMAL, SERVER, TEMPLATE = "normal", "server", "template"
CONCURRENT = "concurrent server"  # choice
SERVERS = (SERVER, CONCURRENT)
FRESH, RUNNABLE, RUNNING, WAITING, CALLING = "fresh", "runnable", "running", "waiting", "calling"
QUEUED = "queued"
(
    MMAP,
    MUNMAP,
    WRITE,
    SBRK,
    READ_SECTOR,
    WRITE_SECTOR,
    RETURN_RELAY,
    RANDOM,
    SHM_GET,
    SHM_DETACH,
    SHM_DESTROY,
) = range(1, 12)

BOUND = 2**64 - 1  # choice: the relay address that asks for what is bound to the name
MOST_REGIONS = 10  # relay regions of an enclave, and bound to one name
EXCLUSIVE = 0o2000  # choice: flag of shm get
RECORDS_A_PAGE = 8  # choice: enclaves that a page of monitor memory is enough for
RESERVE = 64  # choice: pages of a server's block that callers cannot use up by the addresses they choose
STRUCT, REPORT, ENTRY_ARGUMENTS = 48, 328, 5
MOST_SLOTS = 64  # choice
SLOT_TABLES = 6  # choice: of the pages of a slot but the first, all that are not its stack
INSTANCES_COUNT_TO = 5

Block = tuple[int, int]  # physical address, pages


class Result(NamedTuple):
    """What a call does that others can see."""

    value: int | None = None  # a0 of the enclave that runs on; for a call of the host its status
    status: int | None = None  # the host gets control, with this
    ocall: tuple[int, int, int] | None = None  # number, arg0, arg1 in the mailbox
    entered: tuple[int, ...] | None = None  # a0 … a4 of an enclave that starts
    results: tuple[int, ...] | None = None  # what the caller's struct gets; () where that is gone
    record: tuple[int, int] | None = None  # {refcount, size} that stat writes
    freed: tuple[Block, ...] = ()  # go to the host, cleared
    kept: tuple[Block, ...] = ()  # go to the host as they are
    tables: tuple[int, ...] = ()  # where the host finds lists of these
    taken: Block | None = None  # was the host's and is cleared for an enclave


class Region:
    """Memory that moves as one; the first `hidden` pages of it are not mapped (§4)."""

    def __init__(self, block: int, pages: int, hidden: int, va: int = 0) -> None:
        self.block, self.pages, self.hidden, self.va = block, pages, hidden, va
        self.holder: tuple[Enclave, int] | None = None  # the slot that got it, and in which of its calls
        self.size = (pages - hidden) * PAGE

    @property
    def end(self) -> int:
        return self.va + self.size


class Segment:
    """Secure shared memory; it may have lost its key."""

    def __init__(self, number: int, key: int, size: int, block: Block, creator: int) -> None:
        self.number, self.key, self.size, self.block, self.creator = number, key, size, block, creator
        self.users = 0
        self.owner = f"segment {number}"


class Birth(NamedTuple):
    """What the host laid out for an enclave."""

    block: int
    pages: int
    free: int  # pages of the block that nothing uses yet
    tables: frozenset[int]  # page tables there are, see `tables_of`
    areas: tuple[tuple[int, int, bool], ...]  # (from, to, writable) mapped by the host
    mailbox: int
    kbuffer: int
    shm: Block  # shared with the host
    stack: int = 0  # pages of it, as the host has laid out

    def touches(self, pa: int, size: int) -> bool:
        """Whether a range has pages of it; relay pages may not."""
        own = [(self.block, self.pages), (self.mailbox, 1), (self.kbuffer, 1), self.shm]
        return bool(size) and any(n and pa < a + n * PAGE and a < pa + size for a, n in own)


def tables_of(va: int, pages: int) -> set[int]:
    """The page tables below the root for a range: leaf tables by va >> 21, middle ones by ~(va >> 30)."""
    end = va + pages * PAGE - 1
    return {*range(va >> 21, (end >> 21) + 1), *(~number for number in range(va >> 30, (end >> 30) + 1))}


GONE = Region(0, 0, 0)  # what was passed, and is nobody's in the chain any more


class Enclave:
    """One enclave. Of a concurrent server this is slot 0, and has the memory of all (`home`)."""

    def __init__(self, eid: int, name: bytes, kind: str, birth: Birth) -> None:
        self.eid, self.name, self.kind, self.birth = eid, name, kind, birth
        self.owner = f"enclave {eid}"
        self.state, self.stopped = (RUNNABLE if kind in SERVERS else FRESH), False
        self.home, self.number, self.slots, self.calls = self, 0, [self], 0
        self.queue: list[Enclave] = []  # of a server: who waits for room in it
        self.waits_at: Enclave | None = None
        self.waits_with = (0, 0)  # handle and struct
        self.spare, self.tables = birth.free, set(birth.tables)
        self.mmaps: dict[int, Region] = {}
        self.heap: list[Region] = []
        self.relays: dict[int, Region] = {}
        self.attached: dict[Segment, int] = {}
        self.caller: Enclave | None = None  # while it serves a call
        self.struct = 0  # of the caller
        self.request: Region | None = None
        self.request_va = self.request_size = 0
        self.waiting_for, self.asked = 0, (0, 0)
        self.template: Enclave | None = None
        self.instances = 0

    @property
    def free(self) -> int:
        """Pages of the block that nothing uses yet."""
        return self.home.spare

    @property
    def room(self) -> int:
        """How many calls a server would take."""
        return sum(slot.caller is None for slot in self.slots)

    def may_give(self, region: Region) -> bool:
        """Choice: what a call has passed to another slot is not given away while that call lasts."""
        if region.holder is None or region.holder[0] is self:
            return True
        slot, call = region.holder
        return slot.caller is None or slot.calls != call

    def gets(self, region: Region) -> None:
        """A call brings it here, or it is back."""
        held = self.kind == CONCURRENT and self.request is region
        region.holder = (self, self.calls) if held else None

    @property
    def top(self) -> "Enclave":
        return self if self.caller is None else self.caller.top

    @property
    def shm_size(self) -> int:
        return self.birth.shm[1] * PAGE

    @property
    def heap_top(self) -> int:
        return self.heap[-1].end if self.heap else HEAP

    @property
    def lowest(self) -> int:
        return min(self.mmaps, default=MMAP_TOP)

    def regions(self) -> list[Region]:
        return [*self.heap, *self.mmaps.values(), *self.relays.values()]

    def blocks(self) -> list[Block]:
        return [self.birth[:2], *((region.block, region.pages) for region in self.regions())]

    def host_pages(self) -> list[int]:
        """Pages of the host that it holds."""
        pa, pages = self.birth.shm
        return [self.birth.mailbox, self.birth.kbuffer, *range(pa, pa + pages * PAGE, PAGE)]

    def areas(self) -> list[tuple[int, int, bool]]:
        """All that is mapped: from, to, writable."""
        fixed = [*self.birth.areas, (KBUFFER, KBUFFER + PAGE, True), (SHM, SHM + self.shm_size, True)]
        shared = [(va, va + segment.size, True) for segment, va in self.attached.items()]
        return [*fixed, *shared, *((region.va, region.end, True) for region in self.regions())]

    def may(self, va: int, size: int, write: bool = False) -> bool:
        """Whether it can read, or read and write, all of a range."""
        areas = self.areas()
        pages = range(va // PAGE * PAGE, va + size, PAGE)
        return all(any(a <= page < b and (w or not write) for a, b, w in areas) for page in pages)

    def has_room(self, va: int, pages: int, reserve: int = 0) -> bool:
        """Whether the block has enough pages for the page tables of a range."""
        missing = tables_of(va, pages) - self.tables
        return not missing or len(missing) <= self.free - reserve

    def make_tables(self, va: int, pages: int, reserve: int = 0) -> bool:
        """Make the page tables for a range; False, and none made, when the block has too few pages left."""
        missing = tables_of(va, pages) - self.tables
        if not self.has_room(va, pages, reserve):
            return False
        self.home.spare -= len(missing)
        self.tables |= missing
        return True

    def is_free(self, va: int, pages: int) -> bool:
        """Whether a region fits there, in the mmap area or the relay area."""
        end = va + pages * PAGE
        if va >= RELAY:
            others, last = self.relays, SHM
        else:
            others, last = self.mmaps, MMAP_TOP
        return (
            self.heap_top <= va and end <= last and all(o.end <= va or end <= o.va for o in others.values())
        )

    def place(self, wanted: int, pages: int, reserve: int = 0) -> int | None:
        """§4, §5: there if free, else just below the lowest region."""
        if self.is_free(wanted, pages) and self.make_tables(wanted, pages, reserve):
            return wanted
        return self.place_below(pages)

    def place_below(self, pages: int) -> int | None:
        va = self.lowest - pages * PAGE
        return va if va >= self.heap_top and self.make_tables(va, pages) else None

    def place_segment(self, size: int) -> int | None:
        va = min(self.attached.values(), default=SECURE_TOP) - size
        return va if va >= SHM + self.shm_size and self.has_room(va, size // PAGE) else None

    def put(self, region: Region, va: int) -> None:
        region.va = va
        (self.relays if va >= RELAY else self.mmaps)[va] = region

    def take(self, region: Region) -> None:
        del (self.relays if region.va >= RELAY else self.mmaps)[region.va]

    def has(self, region: Region | None) -> bool:
        return any(region is one for one in self.regions())

    def named(self, va: int, size: int) -> Region | None:
        """§5: the region of the mmap area with this range, or that at RELAY itself."""
        if va % PAGE or size % PAGE or not size:
            return None
        if va >= RELAY:
            region = self.relays.get(va) if va == RELAY else None
        else:
            region = next((r for r in self.mmaps.values() if r.va <= va < r.end), None)
        return region if region is not None and va + size <= region.end else None

    def relay_with(self, va: int, size: int) -> Region | None:
        return next((r for r in self.relays.values() if r.va <= va and va + size <= r.end), None)


class Slot(Enclave):
    """A slot of a concurrent server but the first: registers, stack and kbuffer of its own, no more."""

    def __init__(self, server: Enclave, number: int) -> None:
        super().__init__(server.eid, server.name, server.kind, server.birth)
        self.home, self.number, self.slots = server, number, []
        self.mmaps, self.heap, self.relays = server.mmaps, server.heap, server.relays
        self.attached, self.tables = server.attached, server.tables


class Base:
    """What the model knows. The host's calls and the enclaves' are in the classes below."""

    def __init__(self, ram: range, fixed: list[Block]) -> None:
        self.ram, self.monitor = ram, list(fixed)
        self.enclaves: dict[int, Enclave] = {}
        self.next_eid = self.started = self.records = self.next_segment = 0
        self.running: Enclave | None = None
        self.awaited: list[Enclave] = []  # servers that somebody waits for, the latest first
        self.told: list[Enclave] = []  # who waited for a server which has ended
        self.bound: dict[bytes, list[Region]] = {}
        self.segments: dict[int, Segment] = {}  # by key
        self.host_entries: dict[int, int] = {}  # page-table entries of the host: address → page

    def server(self, name: bytes) -> Enclave | None:
        return next((e for e in self.enclaves.values() if e.kind in SERVERS and e.name == name), None)

    def everyone(self) -> list[Enclave]:
        """All enclaves, with all slots."""
        return [slot for e in self.enclaves.values() for slot in e.slots]

    def all_segments(self) -> list[Segment]:
        """Those with a key, and those that have only users; always in the same order."""
        found = set(self.segments.values()).union(*(e.attached for e in self.enclaves.values()))
        return sorted(found, key=lambda segment: segment.number)

    def private(self) -> list[tuple[Block, str]]:
        """Every private block and its owner."""
        found = [(block, "monitor") for block in self.monitor]
        found += [((r.block, r.pages), "monitor") for regions in self.bound.values() for r in regions]
        found += [(s.block, s.owner) for s in self.all_segments()]
        for e in self.enclaves.values():
            owner = e.owner
            found.append((e.birth[:2], owner))
            found += [((r.block, r.pages), owner) for r in e.regions()]
        return found

    def is_free(self, pa: int, pages: int) -> bool:
        """Whether these are whole pages of RAM that are the host's, and none is held by an enclave."""
        end = pa + pages * PAGE
        if pages <= 0 or pa % PAGE or pa < self.ram.start or end > self.ram.stop:
            return False
        if any(a < end and pa < a + n * PAGE for (a, n), _ in self.private()):
            return False
        return not any(pa <= held < end for e in self.enclaves.values() for held in e.host_pages())

    def is_offer(self, block: int, size: int, asked: int) -> bool:
        """§4: a naturally aligned power of two ≥ asked + 1 page, that is the host's."""
        good = size >= asked + PAGE and not size & (size - 1) and not block % size
        return good and self.is_free(block, size // PAGE)

    def innermost(self, top: Enclave) -> Enclave:
        called = next((e for e in self.everyone() if e.caller is top), None)
        return top if called is None else self.innermost(called)

    # -- control

    def enter(self, e: Enclave) -> None:
        e.state, self.running = RUNNING, e

    def leave(self, e: Enclave, status: int, state: str = RUNNABLE) -> Result:
        e.state, self.running = state, None
        return Result(status=status)

    # -- waiting for a server (choice: in order; those whose chain is stopped let others go first)

    def has_room(self, server: Enclave, e: Enclave | None = None) -> bool:
        """Whether a server takes a call of `e`, which waits there, or of one that comes now."""
        ahead = server.queue[: server.queue.index(e)] if e is not None else server.queue
        return server.room > sum(not one.top.stopped for one in ahead)

    def can_go(self, e: Enclave) -> bool:
        return e.state != QUEUED or e.waits_at is None or self.has_room(e.waits_at, e)

    def would_never_end(self, e: Enclave, server: Enclave) -> bool:
        """Whether all who could make room for `e` wait, for room that only they could make."""
        stuck: set[Enclave] = set()
        servers = [server]
        for one in servers:
            if one.room:
                return False
            for slot in one.slots:
                top = slot.top
                if top in stuck or top is e.top:
                    continue
                inner = self.innermost(top)
                if self.can_go(inner):
                    return False
                stuck.add(top)
                assert inner.waits_at is not None
                servers.append(inner.waits_at)
        return True

    def unqueue(self, e: Enclave) -> None:
        """An enclave waits no longer, if it did."""
        if e.waits_at is not None:
            e.waits_at.queue.remove(e)
            if not e.waits_at.queue:
                self.awaited.remove(e.waits_at)
            e.waits_at = None
        elif e in self.told:
            self.told.remove(e)

    def turns(self) -> list[Enclave]:
        """Who waits, can go on and is not stopped: whose server has ended, then server by server."""
        queued = (e for server in self.awaited for e in server.queue if self.can_go(e))
        return [e for e in (*self.told, *queued) if not e.top.stopped]

    def lose(self, innermost: Enclave, region: Region | None) -> None:
        """A region is nobody's in this chain."""
        link: Enclave | None = innermost
        while link is not None:
            if region is not None and link.request is region:
                link.request = GONE
            link = link.caller

    def ask(self, e: Enclave, number: int, arg0: int = 0, arg1: int = 0) -> Result:
        e.waiting_for = number
        return self.leave(e, OCALL, WAITING)._replace(ocall=(number, arg0, arg1))

    # -- the end of enclaves (§10: never dangle)

    def unwind(self, e: Enclave) -> Result:
        """Destroy `e` and the top of its chain, or of all in it. Servers between are idle again, without what
        was passed. Choice: what slots of one server have passed to each other stays there."""
        e = e.home
        tops: list[Enclave] = []
        for slot in e.slots:
            if slot.caller is not None and slot.top not in tops:
                tops.append(slot.top)
        orphans: list[Block] = []
        for top in tops or [e]:
            self.unqueue(self.innermost(top))
            while (link := self.innermost(top)) is not top:
                stays = link.home in (e, link.caller.home)
                if not stays and link.request is not None and link.has(link.request):
                    link.take(link.request)
                    orphans.append((link.request.block, link.request.pages))
                link.caller, link.state, link.request = None, RUNNABLE, None
        for waiter in e.queue:
            waiter.waits_at = None
        self.told += e.queue
        if e.queue:
            self.awaited.remove(e)
        freed = self.bury(e)
        tables = [e.birth.block]
        for top in tops:
            freed += self.bury(top)
            tables.append(top.birth.block)
        self.running = None
        return Result(freed=(*freed, *orphans), tables=tuple(tables))

    def bury(self, e: Enclave) -> list[Block]:
        del self.enclaves[e.eid]
        if e.template is not None:
            e.template.instances -= 1
        self.records += len(e.slots)
        freed = e.blocks()
        for segment in e.attached:
            segment.users -= 1
            if self.is_over(segment):
                freed.append(segment.block)
        return freed

    def is_over(self, segment: Segment) -> bool:
        return not segment.users and self.segments.get(segment.key) is not segment
