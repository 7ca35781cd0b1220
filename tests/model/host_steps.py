"""Steps of the host. A step is a name and three numbers, 0 … 255, that choose among what is: see steps.py."""

from typing import Final

from pltvm.engine.sv39 import RW, V, W, make_pte
from pltvm.monitor import abi
from pltvm.monitor.abi import HostCall, RunShadowParams
from tests.model.entities import (
    BOUND,
    CONCURRENT,
    FRESH,
    MMAP,
    NORMAL,
    PAGE,
    QUEUED,
    RANDOM,
    RETURN_RELAY,
    RUNNABLE,
    SBRK,
    SERVER,
    SERVERS,
    SHM_GET,
    TEMPLATE,
    WAITING,
    Enclave,
    Result,
)
from tests.model.host import (
    EID,
    REPORT,
    WRONG_LAYOUT_PARAMETERS,
    WRONG_PARAMETERS,
    WRONG_TABLES,
    create_params,
    instance_of,
    lay_out,
    mailbox_of,
)
from tests.model.pair import Pair

NAMES: Final = (b"a", b"b", b"sixteen-bytes-id", b"c", b"d", b"e", b"f")
PAGES: Final = (16, 32, 64, 64, 128)
SERVER_PAGES: Final = (32, 64, 128, 128)
SLOTS: Final = (
    2,
    2,
    3,
    1,
    2,
    4,
    2,
    3,
    65,
    2,
    7,
)  # of a concurrent server, in one case too many
RECORDS: Final = 24  # enclaves and slots that there is to be room for
_CREATE: Final = {
    NORMAL: HostCall.CREATE,
    SERVER: HostCall.CREATE_SERVER,
    CONCURRENT: HostCall.CREATE_SERVER,
    TEMPLATE: HostCall.CREATE_SHADOW,
}
_DESTROY: Final = {
    NORMAL: HostCall.DESTROY,
    SERVER: HostCall.DESTROY_SERVER,
    CONCURRENT: HostCall.DESTROY_SERVER,
    TEMPLATE: HostCall.DESTROY_SHADOW,
}
_NO_BLOCK: Final = (0, 0)
TOO_FEW: Final = 8  # pages of an instance


def is_a(e: Enclave, kind: str) -> bool:
    """Whether it is of this kind, "" being any, and SERVER both kinds of servers."""
    return kind in ("", e.kind) or (kind == SERVER and e.kind in SERVERS)


class HostSteps(Pair):
    """`do_…` for each step of the host. None when it does not apply: then nothing was done."""

    # -- choosing

    def pick(self, x: int, kind: str = "", state: str = "") -> int:
        """An eid: mostly of a living enclave of that kind and state, now and then of any, or of none."""
        living = list(self.model.enclaves.values())
        fitting = [e for e in living if is_a(e, kind) and state in ("", e.state)]
        if x >= 16 and fitting:
            return fitting[x % len(fitting)].eid
        eids = [*self.model.enclaves, self.model.next_eid, 2**64 - 1]
        return eids[x % len(eids)]

    def private_page(self, x: int) -> int:
        """A page that is not the host's, or not there."""
        blocks = [block for block, _ in self.model.private()]
        pa, pages = blocks[x % len(blocks)]
        return (pa, pa + (pages - 1) * PAGE, pa, self.memory.base - PAGE, self.memory.end)[x % 5]

    def _pages(self, pages: int) -> tuple[int, int, int] | None:
        """Block, mailbox and kbuffer for an enclave."""
        block, mailbox, kbuffer = self.arena.take(pages), self.arena.take(1), self.arena.take(1)
        if block and mailbox and kbuffer:
            return block, mailbox, kbuffer
        self._give_pages(block, pages, mailbox, kbuffer)
        return None

    def _give_pages(self, block: int, pages: int, mailbox: int, kbuffer: int) -> None:
        for pa, n in ((block, pages), (mailbox, 1), (kbuffer, 1)):
            if pa:
                self.give(pa, n)

    # -- create

    def do_create(self, x: int, y: int, z: int) -> Result | None:
        kind = (NORMAL, NORMAL, SERVER, NORMAL, SERVER, NORMAL, TEMPLATE, CONCURRENT, CONCURRENT)[x % 9]
        name = b"" if z % 2 == 0 and kind not in SERVERS else NAMES[z % len(NAMES)]
        pages = SERVER_PAGES[y % 4] if kind in SERVERS else PAGES[y % 5]
        slots = SLOTS[(x + y + z) % len(SLOTS)] if kind == CONCURRENT else 1
        return self._create(kind, name, pages, x, y, wrong=-1, slots=slots)

    def do_create_wrongly(self, x: int, y: int, z: int) -> Result | None:
        return self._create((NORMAL, SERVER, TEMPLATE)[x % 3], b"wrong", PAGES[x % 5], x, y, wrong=z)

    def _create(
        self, kind: str, name: bytes, pages: int, x: int, y: int, wrong: int, slots: int = 1
    ) -> Result | None:
        found = self._pages(pages)
        if found is None:
            return None
        block, mailbox, kbuffer = found
        shm = _NO_BLOCK if kind == TEMPLATE or y % 3 else self.shm[x % 2]
        birth = lay_out(self.memory, kind, block, pages, mailbox, kbuffer, shm)
        params = create_params(kind, name, birth, slots)
        pointer = mailbox
        if wrong >= 0:
            private = self.private_page(y)
            variants = [*WRONG_PARAMETERS, *(WRONG_LAYOUT_PARAMETERS if self.model.records else [])]
            tables = WRONG_TABLES if self.model.records else []
            number = wrong % (len(variants) + len(tables) + 1)
            if number < len(variants):
                params = params._replace(**variants[number](params, private))
            elif number < len(variants) + len(tables):
                at, entry = tables[number - len(variants)]
                self.memory.store(block + at, entry(block, self.scratch))
            else:
                pointer = private
        self.memory.write(mailbox, abi.CREATE_PARAMS.pack(*params))
        eid = self.model.next_eid
        expected = self.model.create(kind, name, birth, sound=wrong < 0, slots=slots)
        result = self.host(expected, _CREATE[kind], pointer)
        if eid in self.model.enclaves:
            self.born(eid, mailbox, kbuffer)
        else:
            self._give_pages(block, pages, mailbox, kbuffer)
        return result

    # -- run

    def do_run(self, x: int, y: int, z: int) -> Result:
        eid = self.pick(x, NORMAL, FRESH)
        pa, size = self.relay(y, z, self.model.enclaves.get(eid))
        self.memory.write(self.scratch, abi.RUN_PARAMS.pack(pa, size))
        pointer = self.private_page(y) if z == 0 else self.scratch
        return self.host(self.model.run(eid, pa, size, readable=z != 0), HostCall.RUN, eid, pointer)

    def relay(self, y: int, z: int, e: Enclave | None) -> tuple[int, int]:
        """Relay pages for a run: none, bound ones, new ones, or wrong ones."""
        if y < 80:
            return 0, 0
        if y < 130:
            return BOUND, 0
        pages = (1, 1, 2, 3, 4, 11)[z % 6]
        pa = self.arena.take(pages, aligned=False)
        if not pa:
            return 0, 0
        self.lent = (pa, pages)
        self.tag(pa)
        if y < 236:
            return pa, pages * PAGE
        wrong = [
            (pa + 8, pages * PAGE),
            (pa, pages * PAGE + 8),
            (self.private_page(z), PAGE),
            (self.scratch - PAGE, ARENA_SPAN),
            (pa, 1 << 40),
            (BOUND, PAGE),
            (0, PAGE),
            (e.birth.kbuffer if e is not None else 0, PAGE),
            (pa, 2**64 - PAGE),
        ]
        return wrong[y % len(wrong)]

    def do_run_shadow(self, x: int, y: int, z: int) -> Result | None:
        eid = self.pick(x, TEMPLATE)
        pages = (32, 32, 64, 16)[z % 4]
        found = self._pages(pages)
        if found is None:
            return None
        block, mailbox, kbuffer = found
        template = self.model.enclaves.get(eid)
        shm = self.shm[x % 2] if z % 3 == 0 else _NO_BLOCK
        name = NAMES[y % len(NAMES)] if x % 3 == 0 else b""
        pa, size = self.relay(y, z, template)
        params = RunShadowParams(
            0, block, pages * PAGE, mailbox + EID, kbuffer, PAGE, shm[0], shm[1] * PAGE, pa, size,
            *mailbox_of(mailbox), name,
        )  # fmt: skip
        wrong, used = x >= 224, pages
        if wrong:
            private = self.private_page(z)
            params = params._replace(**_WRONG_INSTANCES[z % len(_WRONG_INSTANCES)](params, private))
            if params.size == TOO_FEW * PAGE:  # nothing else is wrong: the model sees by itself
                wrong, used = False, TOO_FEW
        self.memory.write(mailbox, abi.RUN_SHADOW_PARAMS.pack(*params))
        new = self.model.next_eid
        if template is not None and template.kind == TEMPLATE:
            birth = instance_of(template.birth, block, used, mailbox, kbuffer, shm)
            expected = self.model.run_shadow(eid, name, birth, pa, size, sound=not wrong)
        else:
            expected = Result(-1)
        result = self.host(expected, HostCall.RUN_SHADOW, eid, mailbox)
        if new in self.model.enclaves:
            self.born(new, mailbox, kbuffer)
        else:
            self._give_pages(block, pages, mailbox, kbuffer)
        return result

    # -- resume, stop, destroy

    def do_resume(self, x: int, y: int, z: int) -> Result:
        """Mostly what the enclave waits for, with a good answer or a lying one."""
        tops = [e for e in self.model.enclaves.values() if e.kind == NORMAL and e.state != FRESH]
        eid = tops[x % len(tops)].eid if tops and y < 248 else self.pick(x)
        e = self.model.enclaves.get(eid)
        reason, number, value, size = 0, 0, 0, 0
        fields: tuple[int, ...] = ()
        if e is not None:
            inner = self.model.innermost(e)
            if e.stopped and z % 4:
                reason = 1
            elif inner.state == WAITING:
                reason, number = 2, inner.waiting_for
                value, size = self.answer(inner, y, z)
            elif inner.state == QUEUED:
                fields = self.struct_of(inner)
        if y >= 240:  # one of them wrong
            reason, number, value = ((z, number, value), (reason, z, value), (reason, number, z << 56))[y % 3]
        expected = self.model.resume(eid, reason, number, value, size, fields)
        return self.host(expected, HostCall.RESUME, eid, reason, number, value, size)

    def struct_of(self, e: Enclave) -> tuple[int, ...]:
        """What is now in the struct of an enclave that has waited; anything where it is not."""
        real = [*self.state.slots(self.state.enclaves[e.eid])][e.number]
        raw = real.space.table.read(e.waits_with[1], abi.CALL_STRUCT.size)
        return abi.CALL_STRUCT.unpack(raw) if raw is not None else (0,) * 6

    def do_can_go_on(self, x: int, y: int, z: int) -> Result:
        """Also who comes next of those that can: after this one, and first of all."""
        eid = self.pick(x, NORMAL if y % 8 else "")
        for after in (eid, 2**64 - 1)[: z % 3]:
            self.host(self.model.turn(after), HostCall.TURN, after)
        return self.host(self.model.can_go_on(eid), HostCall.CAN_GO_ON, eid)

    def answer(self, e: Enclave, y: int, z: int) -> tuple[int, int]:
        """What the host says to the ocall that `e` waits for."""
        asked = e.asked[1]
        if e.waiting_for == RETURN_RELAY:
            return self.relay(y, z, e)
        if e.waiting_for == RANDOM:
            size = min(asked, 32)
            return ((self.scratch, size), (self.private_page(z), size), (self.scratch, asked + 1), (0, 0))[
                max(0, y - 200) % 4
            ]
        if e.waiting_for not in (MMAP, SBRK, SHM_GET) or not asked:
            return (z % 4 == 0, y)
        pages = 2
        while pages * PAGE < asked + PAGE:
            pages *= 2
        if 170 <= y < 200:
            pages *= 2
        pa = self.arena.take(pages) if pages <= 256 else 0
        if not pa:
            return 0, 0
        self.lent = (pa, pages)
        if y < 200:
            return pa, pages * PAGE
        wrong = [
            (0, 0),
            (pa, PAGE),
            (pa + PAGE, pages * PAGE),
            (pa, pages * PAGE - PAGE),
            (e.birth.block, e.birth.pages * PAGE),
            (self.private_page(z) & -(pages * PAGE), pages * PAGE),
            (e.birth.kbuffer & -(pages * PAGE), pages * PAGE),
            (self.memory.end, pages * PAGE),
            (pa, 1 << 62),
            (2**64 - pages * PAGE, pages * PAGE),
        ]
        return wrong[y % len(wrong)]

    def do_stop(self, x: int, y: int, _z: int) -> Result:
        eid = self.pick(x, NORMAL if y % 8 else SERVER)
        return self.host(self.model.stop(eid), HostCall.STOP, eid)

    def do_destroy(self, x: int, y: int, _z: int) -> Result:
        """In every state, of every kind, alone or in a chain."""
        eid = self.pick(x, *((NORMAL, ""), (SERVER, ""), ("", ""), ("", WAITING), ("", RUNNABLE))[y % 5])
        kind = self.model.enclaves[eid].kind if eid in self.model.enclaves else NORMAL
        return self.host(self.model.destroy(eid), _DESTROY[kind], eid)

    # -- the rest

    def do_reclaim(self, x: int, y: int, _z: int) -> Result:
        idle = [(r.block, r.pages) for regions in self.model.bound.values() for r in regions]
        idle += [s.block for s in self.model.segments.values()]
        pa, pages = idle[x % len(idle)] if idle else (self.arena.start, 2)
        if y >= 128:
            pa = (pa + PAGE, pa, pa - PAGE, self.private_page(x), pa + 8)[y % 5]
            pages = (pages, pages - 1, pages, 1, ARENA_SPAN // PAGE)[y // 5 % 5]
        size = pages * PAGE
        return self.host(self.model.reclaim(pa, size), HostCall.RECLAIM, pa, size)

    def do_extend(self, x: int, y: int, _z: int) -> Result | None:
        if x < 64:
            pa, size = self.private_page(y), (PAGE, PAGE + 1, 0)[x % 3]
        elif self.model.records + len(self.model.everyone()) >= RECORDS:
            return None
        else:
            pa, size = self.arena.take(1), PAGE
            if not pa:
                return None
        expected = self.model.extend(pa, size)
        return self.host(expected, HostCall.RELAY_INIT if y % 2 else HostCall.EXTEND, pa, size)

    def do_set_pte(self, x: int, y: int, z: int) -> Result:
        """The host maps or unmaps a page, its own or not, by one of the five kinds."""
        slot = self.slots + 8 * (x % 16)
        page = self.arena.start + (y << 3 | z & 7) * PAGE
        if z & 8:
            blocks = [block for block, owner in self.model.private() if owner != "monitor"]
            page = blocks[y % len(blocks)][0] if blocks else page
        pa = 0 if z & 0x30 == 0 else page
        entry = make_pte(pa, RW) if pa else 0
        if x >= 224:
            slot, entry = _WRONG_ENTRIES[y % len(_WRONG_ENTRIES)](self, slot, page)
            return self.host(Result(-1), HostCall.SET_PTE, abi.SetPte.ONE, slot, entry, 0)
        if z < 128:
            kind = abi.SetPte.ONE if pa else abi.SetPte.ZERO
            return self.host(self.model.set_pte(slot, pa), HostCall.SET_PTE, kind, slot, entry, 0)
        source = self.private_page(y) if x >= 208 else self.scratch + ENTRIES
        expected = self.model.set_pte(slot, pa, readable=x < 208)
        if z < 192:
            self.memory.store(self.scratch + ENTRIES, entry)
            return self.host(expected, HostCall.SET_PTE, abi.SetPte.COPY, slot, source, 8)
        self.memory.store(self.scratch + ENTRIES, slot)
        self.memory.store(self.scratch + ENTRIES + 8, entry)
        kind = abi.SetPte.BATCH_SET if pa else abi.SetPte.BATCH_ZERO
        return self.host(expected, HostCall.SET_PTE, kind, 0, source, 1)

    def do_attest(self, x: int, y: int, z: int) -> Result:
        """A report takes a while: most are refused."""
        eid = self.pick(x)
        pa = self.private_page(z) if y else self.scratch + REPORT
        return self.host(self.model.attest(eid, pa), HostCall.ATTEST, eid, pa, z)

    def do_unknown_call(self, x: int, y: int, z: int) -> Result:
        number = x if x not in set(HostCall) else 0
        return self.host(Result(-1), number, y, z)  # type: ignore[arg-type]


ARENA_SPAN: Final = 8 << 20
ENTRIES: Final = 512  # where in the scratch page sources of set PTE are
_WRONG_ENTRIES: Final = [  # the steps, a good slot and a page → slot, entry
    lambda steps, _, page: (steps.middle, make_pte(page, RW)),
    lambda steps, _, page: (steps.middle, make_pte(page & -(1 << 21), RW)),
    lambda steps, slot, _: (slot, make_pte(steps.slots, V)),
    lambda steps, slot, _: (slot, make_pte(steps.middle, V)),
    lambda steps, _, __: (steps.middle, make_pte(steps.middle, V)),
    lambda steps, _, __: (steps.middle, make_pte(steps.scratch, V)),
    lambda steps, slot, _: (slot, make_pte(steps.scratch, RW) | 1 << 54),
    lambda steps, slot, _: (slot, make_pte(steps.scratch, RW) & ~V),
    lambda steps, slot, _: (slot, make_pte(steps.scratch, V | W)),
    lambda steps, slot, _: (slot + 4, make_pte(steps.scratch, RW)),
    lambda steps, _, __: (steps.scratch, make_pte(steps.scratch, RW)),
    lambda steps, _, __: (steps.private_page(0), 0),
]
_WRONG_INSTANCES: Final = [
    lambda p, _: {"free_page": p.free_page + PAGE},
    lambda p, private: {"free_page": private & -p.size},
    lambda p, _: {"size": p.size - PAGE},
    lambda _, __: {"size": TOO_FEW * PAGE},
    lambda _, __: {"size": 0},
    lambda _, private: {"kbuffer": private},
    lambda p, _: {"kbuffer": p.free_page},
    lambda _, __: {"kbuffer_size": 0},
    lambda _, private: {"retval": private},
    lambda p, _: {"ocall": p.free_page + 16},
    lambda _, private: {"eid_pointer": private},
    lambda p, _: {"shm_paddr": p.free_page, "shm_size": PAGE},
    lambda _, private: {"shm_paddr": private, "shm_size": PAGE},
    lambda p, _: {"relay_paddr": p.free_page, "relay_size": PAGE},
    lambda p, _: {"relay_paddr": p.kbuffer, "relay_size": PAGE},
    lambda p, _: {"relay_paddr": p.free_page + p.size - PAGE, "relay_size": PAGE},
]
