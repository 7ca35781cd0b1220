"""A host that makes any call with any arguments: right ones with something wrong in them, and wild ones."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from pltvm.engine.memory import PAGE
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import (
    CreateParams,
    EnclaveType,
    HostCall,
    Ocall,
    ResumeReason,
    RunShadowParams,
    SetPte,
)
from tests.model.host import Arena, create_params, lay_out, mailbox_of
from tests.wild.values import Values

Arguments = tuple[int, ...]
NAMES: Final = (b"", b"a", b"b", b"server", b"sixteen-bytes-id", b"\xff\xfe", b"a\0b", b"\0")
_BLOCKS: Final = (16, 16, 32, 64)  # pages
_KINDS: Final = {
    HostCall.CREATE: "normal",
    HostCall.CREATE_SERVER: "server",
    HostCall.CREATE_SHADOW: "template",
}
_EXTENSION: Final = 4 * PAGE
_WEIGHTS: Final[dict[int, int]] = {
    HostCall.CREATE: 8, HostCall.CREATE_SERVER: 4, HostCall.CREATE_SHADOW: 3, HostCall.RUN: 12,
    HostCall.RUN_SHADOW: 6, HostCall.RESUME: 34, HostCall.STOP: 3, HostCall.DESTROY: 3,
    HostCall.DESTROY_SERVER: 1, HostCall.DESTROY_SHADOW: 1, HostCall.ATTEST: 2, HostCall.ATTEST_SHADOW: 1,
    HostCall.SET_PTE: 10, HostCall.EXTEND: 3, HostCall.RELAY_INIT: 1, HostCall.RECLAIM: 4,
    HostCall.INIT: 1, HostCall.SEPARATE: 1, HostCall.SPLIT_HUGE: 1, -1: 2,
}  # fmt: skip


class Host:
    """Makes up calls. All that it writes, it writes where a host can."""

    def __init__(self, rng: Random, machine: Machine, arena: Arena) -> None:
        self.rng, self.machine, self.memory, self.arena = rng, machine, machine.memory, arena
        self.monitor, self.state = machine.monitor, machine.monitor.state
        self.values = Values(rng, machine)
        self._page = arena.take(1)  # for structures
        self._makers: dict[int, Callable[[], Arguments]] = {
            HostCall.RUN: self._run,
            HostCall.RUN_SHADOW: self._run_shadow,
            HostCall.RESUME: self._resume,
            HostCall.SET_PTE: self._set_pte,
            HostCall.EXTEND: self._extend,
            HostCall.RELAY_INIT: self._extend,
            HostCall.RECLAIM: self._reclaim,
        }

    def next(self) -> tuple[int, Arguments]:
        """A call: its number and arguments; what it points to is in memory then."""
        rng, values = self.rng, self.values
        number = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if number in _KINDS:
            arguments = self._create(_KINDS[HostCall(number)])
        elif number in self._makers:
            arguments = self._makers[number]()
        else:
            arguments = (values.eid(), values.address(), values.number(), values.number())
        if number < 0:
            number = rng.choice((0, 82, 84, 103, 1 << 32 | 99, abi.MASK64, values.number()))
        if rng.random() < 0.15:
            arguments = tuple(values.spoil(arguments, 3))  # type: ignore[arg-type]
        arguments = tuple(one & abi.MASK64 for one in arguments)
        if rng.random() < 0.05:
            arguments = arguments[: rng.randrange(len(arguments) + 1)]
        elif rng.random() < 0.3:
            arguments += tuple(values.number() for _ in range(3))
        if number in (HostCall.EXTEND, HostCall.RELAY_INIT) and self._never_comes_back(*arguments[:2]):
            arguments = (arguments[0], arguments[1] + 1)
        return number, arguments

    def _never_comes_back(self, pa: int = 0, size: int = 0) -> bool:
        """Whether the monitor would take this for its records, and it is more than it needs."""
        enough = self.state.globals.record_space >= 4096 or size > _EXTENSION
        return enough and self.state.owners.is_free(pa, size // PAGE)

    def scribble(self) -> None:
        """Change something in memory that is the host's."""
        pa = self.values.page()
        if self.state.owners.is_public(pa, PAGE):
            self.memory.store(pa + 8 * self.rng.randrange(PAGE // 8), self.values.number())

    def put(self, data: bytes) -> int:
        """Where a structure lies: mostly all in memory of the host, else across its end or elsewhere."""
        rng, memory = self.rng, self.memory
        pa = rng.choice((self._page, self._page + 8, self._page + PAGE - len(data)))
        if rng.random() < 0.08:
            pa = self.values.address()
        for at in range(pa & -PAGE, pa + len(data), PAGE):
            low, high = max(pa, at), min(pa + len(data), at + PAGE)
            if memory.contains(low, high - low) and self.state.owners.is_public(low, high - low):
                memory.write(low, data[low - pa : high - pa])
        return pa

    def free(self, pages: int, aligned: bool = True) -> int:
        """Pages that nobody has; 0 when there are none."""
        step = pages if aligned else 1
        start = self.rng.randrange(self.arena.pages)
        for index in range(0, self.arena.pages, step):
            at = (start + index) % self.arena.pages // step * step
            pa = self.arena.start + at * PAGE
            fits = at + pages <= self.arena.pages and not pa <= self._page < pa + pages * PAGE
            if fits and self.state.owners.is_free(pa, pages):
                return pa
        return 0

    def _create(self, kind: str) -> Arguments:
        rng, values, memory = self.rng, self.values, self.memory
        pages = rng.choice(_BLOCKS)
        block, mailbox, kbuffer = self.free(pages), self.free(1), self.free(1)
        if not block or not mailbox or not kbuffer:
            return (self.put(rng.randbytes(abi.CREATE_PARAMS.size)),)
        shm = (self.free(1), 1) if kind != "template" and rng.random() < 0.3 else (0, 0)
        if shm[0] == 0:
            shm = (0, 0)
        birth = lay_out(memory, kind, block, pages, mailbox, kbuffer, shm)
        if rng.random() < 0.3:
            for _ in range(rng.choice((1, 1, 2, 8))):
                word = rng.choice((0, 1, 2, 3, 4, 511, rng.randrange(512)))
                entry = values.entry(block + PAGE * rng.randrange(12) if rng.random() < 0.6 else None)
                memory.store(block + PAGE * rng.choice((1, 1, 3, 4, 4, 7, 8)) + 8 * word, entry)
        params = create_params(kind, rng.choice(NAMES), birth)
        if rng.random() < 0.3:
            params = CreateParams(*values.spoil(params, 4))  # type: ignore[arg-type]
        params = params._replace(type=params.type & 0x7FFF_FFFF)
        return (self.put(abi.CREATE_PARAMS.pack(*params)),)

    def _relay(self) -> tuple[int, int]:
        rng = self.rng
        kind = rng.randrange(6)
        if kind < 2:
            return 0, 0
        if kind == 2:
            return abi.RELAY_BOUND, 0
        pages = rng.choice((1, 2, 3, 6))
        return (
            (self.free(pages, aligned=False), pages * PAGE)
            if kind < 5
            else (self.values.address(), self.values.size())
        )

    def _run(self) -> Arguments:
        fresh = [e.eid for e in self.state.enclaves.values() if e.state == "fresh"]
        eid = self.rng.choice(fresh) if fresh and self.rng.random() < 0.8 else self.values.eid()
        return eid, self.put(abi.RUN_PARAMS.pack(*self._relay()))

    def _run_shadow(self) -> Arguments:
        rng, values = self.rng, self.values
        templates = [e.eid for e in self.state.enclaves.values() if e.kind is EnclaveType.SHADOW]
        eid = rng.choice(templates) if templates and rng.random() < 0.9 else values.eid()
        pages = rng.choice((16, 32, 64))
        block, mailbox, kbuffer = self.free(pages), self.free(1), self.free(1)
        shm = (self.free(1), PAGE) if rng.random() < 0.3 else (0, 0)
        fields: list[Any] = [0, block, pages * PAGE, mailbox + 296, kbuffer, PAGE, *shm, *self._relay()]
        params = RunShadowParams(*fields, *mailbox_of(mailbox), rng.choice(NAMES))
        if rng.random() < 0.3:
            params = RunShadowParams(*values.spoil(params, 4))  # type: ignore[arg-type]
        return eid, self.put(abi.RUN_SHADOW_PARAMS.pack(*params))

    def _resume(self) -> Arguments:
        """Mostly the answer that an enclave waits for."""
        rng, values = self.rng, self.values
        started = [e for e in self.state.enclaves.values() if not e.is_server and e.state != "fresh"]
        tops = [e for e in started if e.top is e]
        if not tops or rng.random() < 0.15:
            return tuple(values.number() for _ in range(5))
        top = rng.choice(tops)
        asked = top.innermost
        if top.stopped and rng.random() < 0.7:
            return top.eid, ResumeReason.STOP
        if not asked.waiting_for:
            return top.eid, rng.choice((ResumeReason.TIMER, ResumeReason.TIMER, rng.randrange(4)))
        number = asked.waiting_for if rng.random() < 0.97 else values.number()
        return top.eid, ResumeReason.OCALL, number, *self._answer(number, asked.ocall_args[1])

    def _answer(self, number: int, asked: int) -> tuple[int, int]:
        rng, values = self.rng, self.values
        if rng.random() < 0.15:
            size = values.size()
            aligned = values.page() & -size & abi.MASK64 if size else 0
            return rng.choice((values.address(), aligned, aligned)), size
        if number in (Ocall.MMAP, Ocall.SBRK, Ocall.SHM_GET) and 0 < asked < 64 * PAGE:
            pages = 1 << (asked // PAGE).bit_length()
            return self.free(pages), pages * PAGE
        if number == Ocall.RETURN_RELAY:
            return self._relay()
        if number == Ocall.GET_RANDOM:
            return self._page, min(asked, PAGE)
        return rng.choice((0, 0, values.number())), 0

    def _set_pte(self) -> Arguments:
        rng, values, kernel = self.rng, self.values, self.machine.kernel
        area = kernel.blocks.size(kernel.pt_area)

        def slot() -> int:
            table = kernel.pt_area + PAGE * rng.choice((0, 1, 2, 3, rng.randrange(area // PAGE)))
            return table + 8 * rng.randrange(512) if rng.random() < 0.95 else values.address()

        kind = rng.choice(tuple(SetPte)) if rng.random() < 0.97 else values.number()
        if kind in (SetPte.BATCH_SET, SetPte.BATCH_ZERO):
            count = rng.choice((1, 2, 7, 100))
            words = [word for _ in range(count) for word in (slot(), values.entry())]
            size = count if rng.random() < 0.9 else values.number()
            return kind, values.number(), self.put(b"".join(w.to_bytes(8, "little") for w in words)), size
        if kind == SetPte.COPY:
            words = [rng.choice((0, values.entry())) for _ in range(rng.choice((1, 2, 64)))]
            data = b"".join(word.to_bytes(8, "little") for word in words)
            return kind, slot(), self.put(data), len(data) if rng.random() < 0.9 else values.number()
        return kind, slot(), values.entry(), values.number()

    def _extend(self) -> Arguments:
        if self.state.globals.record_space < 4096:
            return self.free(_EXTENSION // PAGE), _EXTENSION
        return self.values.address(), self.values.size()

    def _reclaim(self) -> Arguments:
        idle = [(s.block, s.block_pages * PAGE) for s in self.state.segments.values()]
        idle += [(r.block, r.block_pages * PAGE) for regions in self.state.bound.values() for r in regions]
        if idle and self.rng.random() < 0.7:
            return self.rng.choice(idle)
        return self.values.page(), self.values.size()
