"""The reference model, first half: monitor calls of the host (§8). See reference.py."""

from tests.model.entities import (
    BOUND,
    ERROR,
    FAILED,
    FRESH,
    INSTANCES_COUNT_TO,
    KBUFFER,
    MMAP,
    MMAP_TOP,
    MOST_SLOTS,
    NO_MEMORY,
    NORMAL,
    OK,
    PAGE,
    QUEUED,
    RANDOM,
    READ_SECTOR,
    RECORDS_A_PAGE,
    RELAY,
    REPORT,
    RETURN_RELAY,
    RUNNABLE,
    SBRK,
    SERVERS,
    SHM,
    SHM_GET,
    SLOT_TABLES,
    STACK_TOP,
    TEMPLATE,
    WAITING,
    WAITS,
    WRITE_SECTOR,
    Base,
    Birth,
    Enclave,
    Region,
    Result,
    Segment,
    Slot,
)


def first_try(address: int, size: int) -> int:
    """§4: where a mapping is tried first. Choice: an address behind the mmap area is not free."""
    return min(address, MMAP_TOP) if address else MMAP_TOP - size


def size_of_mapping(size: int) -> int:
    """§4: what a request for `size` bytes maps at least: a power of two of pages, less one."""
    pages = 1
    while pages * PAGE < size + PAGE:
        pages *= 2
    return (pages - 1) * PAGE


class HostCalls(Base):
    """Monitor calls of the host (§8)."""

    def extend(self, pa: int, size: int) -> Result:
        if size <= 0 or size % PAGE or not self.is_free(pa, size // PAGE):
            return Result(ERROR)
        self.monitor.append((pa, size // PAGE))
        self.records += RECORDS_A_PAGE * size // PAGE
        return Result(OK)

    def create(self, kind: str, name: bytes, birth: Birth, sound: bool = True, slots: int = 1) -> Result:
        """`sound`: whether the host's parameters and page tables are as they must be."""
        if not sound or (kind in SERVERS and (not name or self.server(name))) or slots > MOST_SLOTS:
            return Result(ERROR)
        if self.records < slots:
            return Result(NO_MEMORY)
        e = Enclave(self.next_eid, name, kind, birth)
        e.spare -= (slots - 1) * (SLOT_TABLES + birth.stack)
        if e.free < 0:
            return Result(ERROR)
        if kind != TEMPLATE and not (e.make_tables(KBUFFER, 1) and e.make_tables(SHM, birth.shm[1])):
            return Result(ERROR)
        e.slots += [Slot(e, number) for number in range(1, slots)]
        self.settle(e)
        return Result(OK)

    def settle(self, e: Enclave) -> None:
        self.next_eid += 1
        self.records -= len(e.slots)
        self.enclaves[e.eid] = e

    def offer(self, e: Enclave, pa: int, size: int) -> list[Region] | None:
        """§7: the relay regions that `e` gets; None when the host may not hand them over."""
        bound = self.bound.get(e.name, []) if pa == BOUND and not size else []
        if not size and not bound:
            return []
        total = size or sum(region.size for region in bound)
        others = (o for o in self.enclaves.values() if o is not e and o.kind != TEMPLATE and o.name)
        if total % PAGE or not e.is_free(RELAY, total // PAGE) or any(o.name == e.name for o in others):
            return None
        if size and not self.is_free(pa, size // PAGE):
            return None
        if not e.make_tables(RELAY, total // PAGE):
            return None
        return [Region(pa, size // PAGE, 0)] if size else bound

    def hand_over(self, e: Enclave, regions: list[Region]) -> None:
        va = RELAY
        for region in regions:
            e.put(region, va)
            va += region.size
        if self.bound.get(e.name) is regions:
            del self.bound[e.name]

    def start(self, e: Enclave, number: int) -> Result:
        self.started += 1
        self.enter(e)
        size = sum(region.size for region in e.relays.values())
        return Result(entered=(SHM if e.shm_size else 0, e.shm_size, number, RELAY if size else 0, size))

    def run(self, eid: int, pa: int, size: int, readable: bool = True) -> Result:
        e = self.enclaves.get(eid)
        if e is None or not readable or e.kind != NORMAL or e.state != FRESH:
            return Result(ERROR)
        regions = self.offer(e, pa, size)
        if regions is None:
            return Result(ERROR)
        self.hand_over(e, regions)
        return self.start(e, self.started)

    def run_shadow(
        self, eid: int, name: bytes, birth: Birth, pa: int, size: int, sound: bool = True
    ) -> Result:
        template = self.enclaves.get(eid)
        if template is None or template.kind != TEMPLATE or not sound or birth.touches(pa, size):
            return Result(ERROR)
        if not self.records:
            return Result(NO_MEMORY)
        e = Enclave(self.next_eid, name, NORMAL, birth)
        tables = e.free >= 0 and e.make_tables(STACK_TOP - 16 * PAGE, 16) and e.make_tables(KBUFFER, 1)
        if not tables or not e.make_tables(SHM, birth.shm[1]):
            return Result(ERROR)
        regions = self.offer(e, pa, size)
        if regions is None:
            return Result(ERROR)
        e.template = template
        template.instances += 1
        self.settle(e)
        self.hand_over(e, regions)
        return self.start(e, self.started % INSTANCES_COUNT_TO)

    def resume(
        self, eid: int, reason: int, number: int, value: int, size: int, fields: tuple[int, ...] = ()
    ) -> Result:
        """Reasons: 0 timer, 1 stop, 2 ocall. Then `number` is the ocall, `value` and `size` the answer.

        `fields` are those of the struct of a call that has waited.
        """
        top = self.enclaves.get(eid)
        if top is None or top.kind in SERVERS:
            return Result(ERROR)
        if reason == 1:
            was_stopped, top.stopped = top.stopped, False
            return Result(OK if was_stopped else ERROR)
        e = self.innermost(top)
        if not top.stopped and reason == 0 and e.state == QUEUED:
            return self.call_now(e, fields) if self.can_go(e) else Result(WAITS)
        if top.stopped or reason not in (0, 2) or e.state != (WAITING if reason else RUNNABLE):
            return Result(ERROR)
        result = Result()
        if reason:
            answered = self.answer(e, value, size) if number == e.waiting_for else None
            if answered is None:
                return Result(ERROR)
            result = answered
        self.enter(e)
        return result

    def can_go_on(self, eid: int) -> Result:
        """Choice: whether a chain waits for a server in vain."""
        top = self.enclaves.get(eid)
        if top is None or top.kind in SERVERS or top.state == FRESH:
            return Result(ERROR)
        return Result(OK if self.can_go(self.innermost(top)) else WAITS)

    def turn(self, eid: int) -> Result:
        """Choice: who comes next in `turns` after the chain that starts at `eid`, or first."""
        turns = [e.top.eid for e in self.turns()]
        if eid != 2**64 - 1:
            turns = turns[turns.index(eid) + 1 :] if eid in turns else []
        return Result(turns[0] if turns else ERROR)

    def call_now(self, e: Enclave, fields: tuple[int, ...]) -> Result:
        """The call of an enclave that has waited."""
        raise NotImplementedError

    def answer(self, e: Enclave, value: int, size: int) -> Result | None:
        """§4: the host's answer, in so far as it may be believed; None when the enclave waits on."""
        first, asked = e.asked
        if e.waiting_for == MMAP:
            return self.mmap_answer(e, first, asked, value, size)
        if e.waiting_for == SBRK:
            return self.sbrk_answer(e, asked, value, size)
        if e.waiting_for == SHM_GET:
            return self.segment_answer(e, first, asked, value, size)
        if e.waiting_for in (READ_SECTOR, WRITE_SECTOR):
            return Result(FAILED if value else 0)
        if e.waiting_for == RANDOM:
            good = 0 < size <= asked and self.is_public(value, size)
            return Result(size if good else FAILED)
        if e.waiting_for == RETURN_RELAY:
            regions = self.offer(e, value, size)
            if regions is None:
                return None
            self.hand_over(e, regions)
        return Result(0)

    def set_pte(self, slot: int, pa: int, readable: bool = True) -> Result:
        """Call 101, for an entry of a leaf table; 0 clears it. The host maps what is its own.

        `readable`: whether the monitor may read the source of the entry, where there is one.
        """
        if not readable:
            return Result(ERROR)
        if pa and not self.is_public(pa, PAGE):
            return Result(ERROR)
        self.host_entries.pop(slot, None)
        if pa:
            self.host_entries[slot] = pa
        return Result(OK)

    def is_public(self, pa: int, size: int) -> bool:
        inside = self.ram.start <= pa and pa + size <= self.ram.stop
        return inside and not any(a < pa + size and pa < a + n * PAGE for (a, n), _ in self.private())

    def mmap_answer(self, e: Enclave, wanted: int, asked: int, block: int, size: int) -> Result:
        if not self.is_offer(block, size, asked):
            return Result(0)
        region = Region(block, size // PAGE, 1)
        va = e.place(first_try(wanted, region.size), region.pages - 1)
        if va is None:
            return Result(0)
        e.put(region, va)
        return Result(va, taken=(block, region.pages))

    def sbrk_answer(self, e: Enclave, asked: int, block: int, size: int) -> Result:
        if not asked:
            return Result(e.heap_top)
        if not self.is_offer(block, size, asked):
            return Result(FAILED)
        region = Region(block, size // PAGE, 1, e.heap_top)
        if region.end > e.lowest or not e.make_tables(region.va, region.pages - 1):
            return Result(FAILED)
        e.heap.append(region)
        return Result(e.heap_top, taken=(block, region.pages))

    def segment_answer(self, e: Enclave, key: int, asked: int, block: int, size: int) -> Result:
        if not self.is_offer(block, size, asked) or key in self.segments or e.place_segment(asked) is None:
            return Result(FAILED)
        segment = Segment(self.next_segment, key, asked, (block, size // PAGE), e.eid)
        self.next_segment += 1
        self.segments[key] = segment
        return Result(self.attach(e, segment), taken=segment.block)

    def attach(self, e: Enclave, segment: Segment) -> int | None:
        va = e.attached.get(segment)
        if va is None:
            va = e.place_segment(segment.size)
            if va is not None:
                e.make_tables(va, segment.size // PAGE)
                e.attached[segment] = va
                segment.users += 1
        return va

    def stop(self, eid: int) -> Result:
        e = self.enclaves.get(eid)
        if e is None or e.kind in SERVERS or e.state == FRESH or e.stopped:
            return Result(ERROR)
        e.stopped = True
        return Result(OK)

    def destroy(self, eid: int) -> Result:
        e = self.enclaves.get(eid)
        if e is None or e.instances:
            return Result(ERROR)
        return self.unwind(e)._replace(value=OK)

    def attest(self, eid: int, pa: int) -> Result:
        return Result(OK if eid in self.enclaves and self.is_public(pa, REPORT) else ERROR)

    def reclaim(self, pa: int, size: int) -> Result:
        """Choice: the host takes back whole bound regions and unused segments; all or nothing."""
        end = pa + size
        if size <= 0 or pa % PAGE or size % PAGE or not self.ram.start <= pa < end <= self.ram.stop:
            return Result(ERROR)
        idle = [(r.block, r.pages) for regions in self.bound.values() for r in regions]
        idle += [s.block for s in self.segments.values() if not s.users]
        idle = [(a, n) for a, n in idle if pa <= a and a + n * PAGE <= end]
        if any(a < end and pa < a + n * PAGE and (a, n) not in idle for (a, n), _ in self.private()):
            return Result(ERROR)
        for name, regions in list(self.bound.items()):
            self.bound[name] = [r for r in regions if (r.block, r.pages) not in idle]
            if not self.bound[name]:
                del self.bound[name]
        self.segments = {key: s for key, s in self.segments.items() if s.block not in idle}
        return Result(OK, freed=tuple(idle))
