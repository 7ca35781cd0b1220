"""A reference model of the monitor: who owns which memory, who may run, and what each call gives.

It is written from docs/penglai-abi.md ("§") and, where that is silent, from the choices in docs/interface.md
(marked "choice"). It shares no code with pltvm, runs no guest code, and has no page tables: an enclave is the
list of its regions. Pages for page tables are counted, not made. Time does not pass: each method is one call,
takes what is in the caller's registers and structs, and gives the `Result` that the monitor must give too.
"""

from tests.model.entities import (
    BUSY,
    CALLING,
    CONCURRENT,
    DEADLOCK,
    ERROR,
    EXCLUSIVE,
    FAILED,
    HEAP,
    MMAP,
    MMAP_TOP,
    MOST_REGIONS,
    MUNMAP,
    OK,
    PAGE,
    QUEUED,
    RANDOM,
    RESERVE,
    RETURN_RELAY,
    RUNNABLE,
    SBRK,
    SECURE_TOP,
    SERVERS,
    SHM,
    SHM_DESTROY,
    SHM_DETACH,
    SHM_GET,
    STRUCT,
    WAITS,
    Block,
    Enclave,
    Region,
    Result,
)
from tests.model.reference_host import HostCalls, first_try, size_of_mapping


class Model(HostCalls):
    """Everything: the calls of the host, and those of `running`, the enclave that has the hart."""

    @property
    def me(self) -> Enclave:
        assert self.running is not None
        return self.running

    # -- control

    def exit(self) -> Result:
        e = self.me
        if e.kind in SERVERS:
            return Result(FAILED)
        kept = tuple((r.block, r.pages) for r in e.relays.values())
        e.relays.clear()
        return self.unwind(e)._replace(status=OK, kept=kept)

    def interrupted(self, status: int) -> Result:
        """Timer, or yield and its like."""
        return self.leave(self.me, status)

    def fault(self) -> Result:
        """§3: also an unknown call."""
        return self.unwind(self.me)._replace(status=ERROR)

    # -- servers (§5)

    def acquire(self, name: bytes | None) -> Result:
        """`name`: what is in memory, None if that can not be read."""
        server = self.server(name) if name else None
        return Result(FAILED if server is None else server.eid)

    def call(self, handle: int, struct: int, fields: tuple[int, ...], waits: bool = False) -> Result:
        """`fields`: what is at `struct`, if that can be read. Choice: `waits` while the callee is busy."""
        caller, callee = self.me, self.enclaves.get(handle)
        if callee is None or callee.kind not in SERVERS:
            return Result(FAILED)
        if self.has_room(callee):
            return self.call_of(caller, callee, struct, fields)
        if not waits:
            return Result(BUSY)
        if self.would_never_end(caller, callee):
            return Result(DEADLOCK)
        if not callee.queue:
            self.awaited.insert(0, callee)
        callee.queue.append(caller)
        caller.waits_at, caller.waits_with = callee, (handle, struct)
        return self.leave(caller, WAITS, QUEUED)

    def call_now(self, e: Enclave, fields: tuple[int, ...]) -> Result:
        self.unqueue(e)
        self.enter(e)
        handle, struct = e.waits_with
        callee = self.enclaves.get(handle)
        return Result(FAILED) if callee is None else self.call_of(e, callee, struct, fields)

    def call_of(self, caller: Enclave, server: Enclave, struct: int, fields: tuple[int, ...]) -> Result:
        """The call of a server that has room."""
        callee = next(slot for slot in server.slots if slot.caller is None)
        if not caller.may(struct, STRUCT, write=True):
            return Result(FAILED)
        argument, _, va, size = fields[:4]
        request, there = None, 0
        if va:
            request = caller.named(va, size)
            if request is None or (request.va < struct + STRUCT and struct < request.end):
                return Result(FAILED)
            if not caller.may_give(request):
                return Result(FAILED)
            inside = caller.home is server  # choice: then it stays where it is
            place = request.va if inside else callee.place(request.va, request.size // PAGE, RESERVE)
            if place is None:
                return Result(FAILED)
            there = place + va - request.va
            callee.request_va = request.va
            if not inside:
                caller.take(request)
                callee.put(request, place)
        callee.caller, callee.struct, callee.request, callee.request_size = caller, struct, request, size
        callee.calls += 1
        if request is not None:
            callee.gets(request)
        caller.state = CALLING
        self.enter(callee)
        shm = (SHM if callee.shm_size else 0, callee.shm_size)
        return Result(entered=(argument, there, size if there else 0, *shm))

    def server_return(self, struct: int, fields: tuple[int, ...]) -> Result:
        """Choice: where the caller is a slot, and another one has unmapped the struct meanwhile, nothing goes
        back and the call gives −1."""
        callee = self.me
        caller = callee.caller
        if caller is None or not callee.may(struct, STRUCT):
            return Result(FAILED)
        _, value, req_va, req_size, resp_va, resp_size = fields
        found = caller.kind != CONCURRENT or caller.may(callee.struct, STRUCT, write=True)
        request = response = 0
        kept = callee.request
        if found and callee.request is not None and req_va and req_size >= callee.request_size:
            back = callee.named(req_va, req_size)
            if back is not None and callee.may_give(back):
                place = self.place_back(callee, caller, back)
                request = self.give(back, caller, place, req_va)
                kept = None if request and back is kept else kept
        if found and resp_va:
            answer = callee.named(resp_va, resp_size)
            if answer is not None and callee.may_give(answer):
                inside = callee.home is caller.home
                place = answer.va if inside else caller.place_below(answer.size // PAGE)
                response = self.give(answer, caller, place, resp_va)
                kept = None if response and answer is kept else kept
        self.lose(caller, kept)
        callee.caller, callee.request, callee.state = None, None, RUNNABLE
        self.enter(caller)
        results = (value, request, response, resp_size if response else 0) if found else ()
        return Result(0 if found else FAILED, results=results)

    def place_back(self, callee: Enclave, caller: Enclave, back: Region) -> int | None:
        if callee.home is caller.home:
            return back.va
        return caller.place(callee.request_va, back.size // PAGE)

    def give(self, region: Region, to: Enclave, place: int | None, va: int) -> int:
        """Move a region from who runs; where `va` in it is then, 0 if it does not move."""
        if place is None:
            return 0
        address = place + va - region.va
        if to.home is not self.me.home:
            self.me.take(region)
            to.put(region, place)
        to.gets(region)
        return address

    def caller_id(self) -> Result:
        return Result(FAILED if self.me.caller is None else self.me.caller.eid)

    def slot_id(self) -> Result:
        """Choice."""
        return Result(self.me.number)

    def enclave_id(self) -> Result:
        return Result(self.me.eid)

    # -- memory (§4)

    def mmap(self, address: int, size: int) -> Result:
        e, need = self.me, size_of_mapping(size)
        if not 0 < size <= MMAP_TOP - HEAP or address % PAGE:
            return Result(0)
        fits_below = e.lowest - need >= e.heap_top
        if not fits_below and not e.is_free(first_try(address, need), need // PAGE):
            return Result(0)
        e.asked = (address, size)
        return self.ask(e, MMAP, size)

    def munmap(self, va: int, size: int) -> Result:
        e = self.me
        region = next((r for r in e.mmaps.values() if r.va <= va and va + size <= r.end), None)
        if region is None or va % PAGE or not size or not e.may_give(region):
            return Result(FAILED)
        e.take(region)
        self.lose(e, region)
        return self.free(e, MUNMAP, [(region.block, region.pages)])

    def free(self, e: Enclave, number: int, freed: list[Block], *first: int) -> Result:
        asked = self.ask(e, number, *first, freed[0][0])
        return asked._replace(freed=tuple(freed), tables=(freed[0][0],))

    def sbrk(self, size: int) -> Result:
        """`size` is signed."""
        e = self.me
        if size == 0:
            return Result(e.heap_top)
        if size % PAGE or size > MMAP_TOP - HEAP:
            return Result(FAILED)
        e_asked = (0, max(size, 0))
        if size > 0:
            if e.heap_top + size_of_mapping(size) > e.lowest:
                return Result(FAILED)
            e.asked = e_asked
            return self.ask(e, SBRK, size)
        top, freed = e.heap_top + size, []
        while e.heap and e.heap[-1].va >= top:
            region = e.heap.pop()
            freed.append((region.block, region.pages))
        if not freed:
            return Result(e.heap_top)
        e.asked = e_asked
        return self.free(e, SBRK, freed, 0)

    def simple_ocall(self, number: int, argument: int = 0) -> Result:
        """write and the sectors."""
        return self.ask(self.me, number, argument)

    def random(self, buffer: int, size: int) -> Result:
        e = self.me
        if not size or not e.may(buffer, size, write=True):
            return Result(FAILED if size else 0)
        e.asked = (buffer, size)
        return self.ask(e, RANDOM, size)

    # -- relay pages (§7)

    def split(self, va: int, size: int, at: int) -> Result:
        """Choice: of a whole region, and not one that was lent by a caller."""
        e = self.me
        region = e.relays.get(va)
        if region is None or region.size != size or at % PAGE or not va < at < region.end:
            return Result(FAILED)
        if len(e.relays) >= MOST_REGIONS or (e.caller is not None and e.request is region):
            return Result(FAILED)
        if not e.may_give(region):
            return Result(FAILED)
        first = region.hidden + (at - va) // PAGE
        halves = (
            Region(region.block, first, region.hidden),
            Region(region.block + first * PAGE, region.pages - first, 0),
        )
        for half, place in zip(halves, (va, at), strict=True):
            half.holder = region.holder
            e.put(half, place)
        return Result(0)

    def asynchronous_call(self, name: bytes | None, struct: int, fields: tuple[int, ...]) -> Result:
        e = self.me
        if not name or not e.may(struct, STRUCT):
            return Result(FAILED)
        va, size = fields[2:4]
        region = e.relay_with(va, size) if size and not va % PAGE and not size % PAGE else None
        if region is None or len(self.bound.get(name, [])) >= MOST_REGIONS:
            return Result(FAILED)
        if not e.may_give(region):
            return Result(FAILED)
        e.take(region)
        self.lose(e, region)
        region.holder = None
        self.bound.setdefault(name, []).append(region)
        return Result(0)

    def return_relay(self) -> Result:
        e = self.me
        if e.kind in SERVERS or not e.relays:
            return Result(FAILED)
        kept = tuple((r.block, r.pages) for _, r in sorted(e.relays.items()))
        e.relays.clear()
        asked = self.ask(e, RETURN_RELAY, e.birth.kbuffer)
        return asked._replace(kept=kept, tables=(e.birth.kbuffer,))

    # -- memory shared between enclaves

    def shm_get(self, key: int, size: int, flags: int) -> Result:
        e, segment = self.me, self.segments.get(key)
        if size % PAGE or size > SECURE_TOP - SHM:
            return Result(FAILED)
        if segment is not None:
            if flags & EXCLUSIVE or size > segment.size:
                return Result(FAILED)
            return Result(self.attach(e, segment) or FAILED)
        if not size or e.place_segment(size) is None:
            return Result(FAILED)
        e.asked = (key, size)
        return self.ask(e, SHM_GET, size)

    def shm_attach(self, key: int) -> Result:
        segment = self.segments.get(key)
        return Result(self.attach(self.me, segment) or 0 if segment is not None else 0)

    def shm_stat(self, key: int, record: int) -> Result:
        segment = self.segments.get(key)
        if segment is None or not self.me.may(record, 16, write=True):
            return Result(FAILED)
        return Result(0, record=(segment.users, segment.size))

    def shm_detach(self, key: int) -> Result:
        e = self.me
        segment = next((s for s in e.attached if s.key == key), None)
        if segment is None:
            return Result(FAILED)
        del e.attached[segment]
        segment.users -= 1
        return self.free(e, SHM_DETACH, [segment.block]) if self.is_over(segment) else Result(0)

    def shm_destroy(self, key: int) -> Result:
        e, segment = self.me, self.segments.get(key)
        if segment is None or (segment not in e.attached and segment.creator != e.eid):
            return Result(FAILED)
        del self.segments[key]
        return self.free(e, SHM_DESTROY, [segment.block]) if self.is_over(segment) else Result(0)
