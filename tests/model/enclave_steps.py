"""Steps of the enclave that has the hart: its calls, with good arguments and with wrong ones."""

from typing import Final

from pltvm.engine.trap import Cause
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, Ocall
from tests.model.entities import (
    EXCLUSIVE,
    FAILED,
    HEAP,
    KBUFFER,
    MMAP_TOP,
    PAGE,
    RELAY,
    SECURE_TOP,
    SERVER,
    SERVERS,
    SHM,
    STACK_TOP,
    STRUCT,
    TIMER,
    WRITE,
    YIELD,
    Enclave,
    Region,
    Result,
)
from tests.model.host import CODE, DATA, RETVAL, STACK_PAGES
from tests.model.host_steps import NAMES, HostSteps
from tests.model.pair import Divergence, expect

FAR: Final = 0x20_0000_0000
_SIZES: Final = (PAGE, 1, 3 * PAGE, PAGE, 4 * PAGE, 2 * PAGE, 7 * PAGE, 100, 15 * PAGE)
_ODD_SIZES: Final = (0, 600 * PAGE, 1 << 37, 1 << 63, 2**64 - 1, MMAP_TOP - HEAP)
_FAULTS: Final = (Cause.LOAD_PAGE, Cause.STORE_PAGE, Cause.FETCH_PAGE, Cause.ILLEGAL, Cause.LOAD_ACCESS)


class EnclaveSteps(HostSteps):
    """`do_…` for each step of an enclave. Only to be called while one has the hart."""

    @property
    def me(self) -> Enclave:
        return self.model.me

    # -- choosing

    def pointer(self, x: int) -> int:
        """Where a struct or name is: mostly in good places, else anywhere, also across pages."""
        e, stack = self.me, STACK_TOP - STACK_PAGES * PAGE
        if x < 208:
            return (stack + 0x40, DATA + 0x40, stack + PAGE - 24, KBUFFER + 0x40)[x % 4]
        regions = [place for r in e.regions() for place in (r.va + 0x40, r.end - 24)]
        regions += [va + 0x40 for va in e.attached.values()]
        if e.shm_size:
            regions.append(SHM + 0x40)
        if x < 240 and regions:
            return regions[x % len(regions)]
        return (
            CODE + 0x800,
            DATA + PAGE - 24,
            DATA - 24,
            FAR + 0x40,
            1 << 40 | DATA,
            2**64 - 24,
            2**64 - PAGE,
            KBUFFER + PAGE - 24,
            STACK_TOP - 24,
            0,
            DATA + 0x41,
        )[x % 11]

    def region(self, x: int, *groups: list[Region]) -> Region | None:
        regions = [region for group in groups for region in group]
        return regions[x % len(regions)] if regions else None

    def part(self, region: Region | None, z: int) -> tuple[int, int]:
        """A range: mostly a whole region or pages of it, else one that is wrong."""
        if region is None:
            return (FAR, PAGE) if z % 2 else (RELAY, PAGE)
        va, size = region.va, region.size
        if z < 192:
            return va, size
        return (
            (va, PAGE),
            (va + size - PAGE, PAGE),
            (va, size - PAGE),
            (va, size + PAGE),
            (va + 8, size),
            (va, size - 8),
            (va, 0),
            (va - PAGE, PAGE),
            (va, 2**64 - PAGE),
            (0, size),
            (STACK_TOP - PAGE, PAGE),
            (2**64 - PAGE, PAGE),
        )[z % 12]

    def put(self, va: int, data: bytes) -> bytes:
        """Write what the enclave can write there; what can be read there then."""
        running = self.state.running
        assert running is not None
        running.space.table.write(va, data)
        return self.read(va, len(data)) or data

    def read(self, va: int, size: int) -> bytes | None:
        """What the enclave that has the hart now sees."""
        running = self.state.running
        return None if running is None else running.space.table.read(va, size)

    def put_struct(self, va: int, *fields: int) -> tuple[int, ...]:
        data = abi.CALL_STRUCT.pack(*(field & abi.MASK64 for field in fields))
        return abi.CALL_STRUCT.unpack(self.put(va, data))

    def put_name(self, va: int, x: int) -> bytes | None:
        """A name at `va`; what the monitor has to read there: at most 16 bytes, NUL ends it."""
        names = [e.name for e in self.model.enclaves.values() if e.kind in SERVERS]
        known = x < 192 and names
        name = names[x % len(names)] if known else (*NAMES, b"", b"nobody", b"\xff\xfe")[x % (len(NAMES) + 3)]
        raw = name.ljust(16, b"\0")
        rest = PAGE - va % PAGE
        for size in (16, rest):
            if size <= 16 and self.me.may(va, size):
                raw = self.put(va, raw[:size])
                return raw.split(b"\0")[0] if size == 16 or b"\0" in raw else None
        return None

    # -- control

    def do_exit(self, x: int, y: int, _z: int) -> Result:
        mailbox = self.me.birth.mailbox
        value = 2**64 - 1 - x if y % 2 else x
        result = self.enclave(self.model.exit(), Call.EXIT, value)
        if result.status is not None:
            expect("returned", self.memory.load(mailbox + RETVAL), value)
        return result

    def do_yield(self, x: int, _y: int, _z: int) -> Result:
        if x % 4 == 0:
            return self.trap(self.model.interrupted(YIELD), Cause.WFI)
        return self.enclave(self.model.interrupted(YIELD), Call.YIELD)

    def do_timer(self, x: int, _y: int, _z: int) -> Result:
        return self.trap(self.model.interrupted(TIMER), Cause.INTERRUPT if x % 2 else Cause.TIMER)

    def do_fault(self, x: int, y: int, _z: int) -> Result:
        if y % 2:
            number = x if x not in set(Call) and x != abi.LINUX_IOCTL else 0
            return self.enclave(self.model.fault(), number, x)
        if x % 4 == 0:
            return self.enclave(self.model.fault(), Call.EXIT, a6=abi.HOST_CALL)
        return self.trap(self.model.fault(), _FAULTS[x % len(_FAULTS)])

    def do_probe(self, x: int, _y: int, _z: int) -> Result:
        """The C library's ioctl, and an ocall that there is not."""
        if x % 2:
            return self.enclave(Result(0), abi.LINUX_IOCTL, 1, a6=x)
        return self.enclave(Result(FAILED), Call.OCALL, (0, 12, 2**64 - 1)[x % 3])

    def do_who(self, x: int, _y: int, _z: int) -> Result:
        if x % 4 == 1:
            return self.enclave(self.model.slot_id(), Call.SLOT_ID)
        if x % 2:
            return self.enclave(self.model.caller_id(), Call.CALLER_ID)
        return self.enclave(self.model.enclave_id(), Call.ENCLAVE_ID)

    # -- servers

    def do_acquire(self, x: int, y: int, _z: int) -> Result:
        va = self.pointer(y)
        return self.enclave(self.model.acquire(self.put_name(va, x)), Call.ACQUIRE, va)

    def do_call(self, x: int, y: int, z: int) -> Result:
        e = self.me
        handle = self.pick(x, SERVER)
        struct = self.pointer(y)
        va = size = 0
        if z >= 96:
            first = e.relays.get(RELAY)
            groups = [list(e.mmaps.values()), [first] if first else [], e.heap if z % 16 == 0 else []]
            if z % 32 == 0:
                groups.append(list(e.relays.values()))
            va, size = self.part(self.region(z + x, *groups), (z * 7 + y) % 256)
        fields = self.put_struct(struct, x + 1, 2, va, size, 5, 6)
        waits = (x + y) % 5 < 2
        expected = self.model.call(handle, struct, fields, waits)
        return self.enclave(expected, Call.CALL_WAITING if waits else Call.CALL, handle, struct)

    def do_return(self, x: int, y: int, z: int) -> Result:
        """Memory goes back, or other memory, or none; a result may go with it."""
        e, struct = self.me, self.pointer(y)
        movable = list(e.mmaps.values())
        first = e.relays.get(RELAY)
        req = (e.request.va, e.request.size) if e.request is not None and e.has(e.request) else (0, 0)
        if z >= 128:
            req = self.part(self.region(z, movable, [first] if first else []), (x * 5 + z) % 256)
        resp = (0, 0) if x % 2 else self.part(self.region(x, movable), (y * 3 + z) % 256)
        fields = self.put_struct(struct, 7, z, *req, *resp)
        result = self.enclave(self.model.server_return(struct, fields), Call.RETURN, struct)
        if result.results:
            self._check_results(e.struct, result)
        return result

    def _check_results(self, place: int, result: Result) -> None:
        raw = self.read(place, STRUCT)
        if raw is None:
            raise Divergence("the caller's struct is gone")
        _, value, request, _, response, size = abi.CALL_STRUCT.unpack(raw)
        expect("results", (value, request, response, size), result.results)

    # -- memory

    def ocall(self, expected: Result, number: int, *arguments: int) -> Result:
        return self.enclave(expected, Call.OCALL, number, *arguments)

    def do_mmap(self, x: int, y: int, z: int) -> Result:
        size = _ODD_SIZES[x % len(_ODD_SIZES)] if x >= 232 else _SIZES[x % len(_SIZES)]
        e = self.me
        address = 0
        if y >= 128:
            regions = [*e.mmaps, e.heap_top, e.heap_top - PAGE, e.lowest - PAGE, e.lowest - 16 * PAGE]
            address = (
                FAR + (z << 21),
                FAR + (z << 12),
                regions[z % len(regions)],
                MMAP_TOP - PAGE,
                MMAP_TOP,
                HEAP,
                RELAY,
                FAR + 8,
                HEAP + (z << 30),
                2**64 - PAGE,
                MMAP_TOP - 64 * PAGE,
            )[y % 11]
        return self.ocall(self.model.mmap(address, size), Ocall.MMAP, address, size)

    def do_munmap(self, x: int, y: int, _z: int) -> Result:
        e = self.me
        others = [*e.heap, *e.relays.values()] if y % 8 == 0 else []
        va, size = self.part(self.region(x, list(e.mmaps.values()), others), y)
        return self.ocall(self.model.munmap(va, size), Ocall.MUNMAP, va, size)

    def do_sbrk(self, x: int, y: int, _z: int) -> Result:
        e = self.me
        pages = (1, 3, 1, 2, 7, -1, -3, -4, -15, 0)[x % 10]
        size = pages * PAGE
        if y >= 224:
            size = (8, -8, HEAP - e.heap_top - PAGE, 1 << 40, -(1 << 63), (1 << 63) - PAGE, -(1 << 40))[y % 7]
        return self.ocall(self.model.sbrk(size), Ocall.SBRK, size)

    def do_simple(self, x: int, y: int, z: int) -> Result:
        """write, sectors, random numbers."""
        if x % 4 == 0:
            return self.ocall(self.model.simple_ocall(WRITE), Ocall.WRITE)
        if x % 4 < 3:
            return self.ocall(self.model.simple_ocall(4 + x % 4, y << 8), 4 + x % 4, y << 8)
        buffer = self.pointer(y)
        size = (32, 16, 8, 1, 0, 2 * PAGE, 1 << 40, 2**64 - 1)[z % 8]
        return self.ocall(self.model.random(buffer, size), Ocall.GET_RANDOM, buffer, size)

    def do_derive(self, x: int, y: int, _z: int) -> Result:
        """Keys take a while: refused ones only, by kind, size or pointer."""
        e, va, kind, size = self.me, self.pointer(y), x % 4, (32, 0, 8161, 1 << 40)[x // 4 % 4]
        if kind < 2 and size == 32 and e.may(va, size, write=True):
            kind = 2
        return self.enclave(Result(FAILED), Call.DERIVE_KEY, kind, va, size)

    def do_report(self, x: int, y: int, _z: int) -> Result:
        """Reports, too, are refused: by name, or by pointer."""
        name_va, va = self.pointer(x), self.pointer(y)
        name = self.put_name(name_va, x)
        if name and self.model.server(name) is not None and self.me.may(va, 328, write=True):
            va = CODE
        return self.enclave(Result(FAILED), Call.REPORT, name_va or FAR, va, x)

    # -- relay pages

    def do_split(self, x: int, y: int, z: int) -> Result:
        e = self.me
        region = self.region(x, list(e.relays.values()), list(e.mmaps.values()) if z >= 240 else [])
        va, size = self.part(region, z)
        at = va + (
            (PAGE, 2 * PAGE, size // PAGE // 2 * PAGE)[y % 3] if y < 224 else (0, size, 8, -PAGE)[y % 4]
        )
        result = self.enclave(self.model.split(va, size, at & abi.MASK64), Call.SPLIT, va, size, at)
        if result.value == 0:
            self.tag(e.relays[at].block)
        return result

    def do_send(self, x: int, y: int, z: int) -> Result:
        """An asynchronous call."""
        e = self.me
        name_va, struct = self.pointer(x), self.pointer((y * 5 + 3) % 256)
        if abs(name_va - struct) < STRUCT:
            struct = DATA + 0x200
        va, size = self.part(self.region(y, list(e.relays.values())), z)
        fields = self.put_struct(struct, 1, 2, va, size, 5, 6)
        name = self.put_name(name_va, 192 + y % 64)
        expected = self.model.asynchronous_call(name, struct, fields)
        return self.enclave(expected, Call.ASYNC_CALL, name_va, struct)

    def do_return_relay(self, _x: int, _y: int, _z: int) -> Result:
        return self.ocall(self.model.return_relay(), Ocall.RETURN_RELAY)

    # -- memory shared between enclaves

    def do_shm_get(self, x: int, y: int, _z: int) -> Result:
        size = (PAGE, 2 * PAGE, PAGE, 4 * PAGE, 0)[y % 5]
        if y >= 224:
            size = (8, SECURE_TOP - SHM, SECURE_TOP - SHM + PAGE, 2**64 - PAGE, PAGE + 1, 1 << 34)[y % 6]
        flags = EXCLUSIVE if y % 16 == 1 else 0
        expected = self.model.shm_get(key(x), size, flags)
        return self.ocall(expected, Ocall.SHM_GET, key(x), size, flags)

    def do_shm_attach(self, x: int, _y: int, _z: int) -> Result:
        return self.enclave(self.model.shm_attach(key(x)), Call.SHM_ATTACH, key(x))

    def do_shm_stat(self, x: int, y: int, _z: int) -> Result:
        va = self.pointer(y)
        result = self.enclave(self.model.shm_stat(key(x), va), Call.SHM_STAT, key(x), va)
        if result.record is not None:
            expect("stat", self.read(va, 16), b"".join(word.to_bytes(8, "little") for word in result.record))
        return result

    def do_shm_detach(self, x: int, _y: int, _z: int) -> Result:
        return self.ocall(self.model.shm_detach(key(x)), Ocall.SHM_DETACH, key(x))

    def do_shm_destroy(self, x: int, _y: int, _z: int) -> Result:
        return self.ocall(self.model.shm_destroy(key(x)), Ocall.SHM_DESTROY, key(x))


def key(x: int) -> int:
    """Four keys, and one that hardly anybody uses."""
    return x % 4 if x < 240 else 2**64 - 1
