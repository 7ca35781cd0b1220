"""A walk at one moment: machine and model, put away and put back, and steps that are walked again from there.

Everything is compared byte for byte: all of RAM, registers, and the state that the host declares. Taking a
snapshot clears D bits, as those say what was written since, and changes nothing else.
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any, Final

from pltvm.engine.sv39 import D
from pltvm.host import snapshot as host_snapshot
from pltvm.machine import Machine, MachineSnapshot
from tests.model.entities import SERVER, WAITING, Result
from tests.model.pair import Divergence, Pair, expect
from tests.model.ram import changed_words, ram_of, saved_ram
from tests.model.reference import Model
from tests.model.steps import Step, Walk

PARTS: Final = ("machine", "memory", "monitor", "state", "host_context")  # of a pair, which stay


class _Writer(pickle.Pickler):
    """Writes a pair's books: parts of the machine by their names."""

    def __init__(self, file: io.BytesIO, pair: Pair) -> None:
        super().__init__(file)
        self._names = {id(getattr(pair, name)): name for name in PARTS}

    def persistent_id(self, value: object) -> str | None:
        return self._names.get(id(value))


class _Reader(pickle.Unpickler):
    """Reads books for a pair, which may be another one than they were written for."""

    def __init__(self, file: io.BytesIO, pair: Pair) -> None:
        super().__init__(file)
        self._pair = pair

    def persistent_load(self, name: str) -> Any:
        return getattr(self._pair, name)


def save_books(pair: Pair) -> bytes:
    """The model, and what the driver of the walk remembers: all of a pair but the machine."""
    file = io.BytesIO()
    _Writer(file, pair).dump(vars(pair))
    return file.getvalue()


def load_books(pair: Pair, books: bytes) -> None:
    """Put back what `save_books` gave, of this pair or of one in another process."""
    vars(pair).update(_Reader(io.BytesIO(books), pair).load())


class Everything:
    """All there is of a machine: RAM, which pages hold code, registers, clock, and what the host declares."""

    def __init__(self, machine: Machine) -> None:
        hart, state = machine.hart, machine.monitor.state
        self.ram = ram_of(machine.memory)
        self.rest = {
            "executable pages": machine.memory.executable_pages(),
            "clock and time slice": (hart.clock, hart.time_slice),
            "who has the hart": state.globals.running,
            "registers of who has it": bytes(hart.current.regs),
            "contents at creation": {eid: (one.entry, one.pages) for eid, one in state.contents.items()},
            "the host": host_snapshot.save(machine.driver),
        }

    def compare(self, what: str, other: "Everything") -> None:
        """Raises Divergence, and says what, where another one is not the same."""
        if self.ram != other.ram:
            raise Divergence(f"{what}: RAM is not the same: {told(changed_words(self.ram, other.ram))}")
        found = list(islice(differences("", self.rest, other.rest), 5))
        if found:
            raise Divergence(f"{what}: {'; '.join(found)}")


def differences(path: str, before: Any, now: Any) -> Iterator[str]:
    """Where two pieces of plain data are not the same, and how."""
    if type(before) is type(now) and is_dataclass(before):
        for one in fields(before):
            yield from differences(f"{path}.{one.name}", getattr(before, one.name), getattr(now, one.name))
    elif isinstance(before, dict) and isinstance(now, dict) and list(before) == list(now):
        for key, value in before.items():
            yield from differences(f"{path}[{key!r}]", value, now[key])
    elif before != now:
        yield f"{path}: {before!r:.200}, now {now!r:.200}"


def told(changes: list[tuple[int, int, int]]) -> str:
    """Some of these words."""
    return ", ".join(f"at {at:#x} {old:#x}, now {new:#x}" for at, old, new in changes[:5])


def take(machine: Machine) -> tuple[MachineSnapshot, Everything]:
    """A snapshot, and everything there is then; raises Divergence where it says something else, or changed
    anything but D bits."""
    before = Everything(machine)
    saved = machine.snapshot()
    after = Everything(machine)
    wrong = [change for change in changed_words(before.ram, after.ram) if change[1] != change[2] | D]
    if wrong:
        raise Divergence(f"a snapshot changed more than D bits: {told(wrong)}")
    before.ram = after.ram
    before.compare("taking a snapshot", after)
    ram = saved_ram(saved)
    if ram != after.ram:
        raise Divergence(f"the snapshot is not what RAM is: {told(changed_words(after.ram, ram))}")
    return saved, after


class Moment:
    """A walk as it is now, and the steps that follow. The walk can go back to it, as often as wanted."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.saved, self.start = take(walk.pair.machine)
        self.books = save_books(walk.pair)
        self.seen = kinds(walk.pair.model)
        self._steps: list[tuple[Step, Result | None]] = []
        self._end: Everything | None = None

    def go_on(self, step: Step) -> None:
        """Walk a step, which is one of those that follow."""
        self._steps.append((step, self.walk.step(step)))

    def end(self) -> None:
        """No more steps follow."""
        self._end = Everything(self.walk.pair.machine)

    def again(self) -> None:
        """Go back, and walk the steps again; raises Divergence where anything is not as it was then."""
        machine = self.walk.pair.machine
        machine.restore(self.saved)
        load_books(self.walk.pair, self.books)
        self.start.compare("after going back", Everything(machine))
        for number, (step, result) in enumerate(self._steps, 1):
            expect(f"step {number} again, {step}", self.walk.step(step), result)
        if self._end is not None:
            self._end.compare(f"after {len(self._steps)} steps again", Everything(machine))


def kinds(model: Model) -> set[str]:
    """What is going on at this moment."""
    enclaves = list(model.enclaves.values())
    chains = [e for e in enclaves if e.caller is not None]
    seen = {
        "an enclave runs": model.running is not None,
        "the host runs": model.running is None,
        "in a call": bool(chains),
        "in a call of a server": any(e.caller is not None and e.caller.kind == SERVER for e in chains),
        "a call passed memory": any(e.request is not None for e in chains),
        "several calls in a server": any(sum(s.caller is not None for s in e.slots) > 1 for e in enclaves),
        "a chain waits for a server": any(e.queue for e in enclaves),
        "an ocall waits": any(e.state == WAITING for e in enclaves),
        "an ocall of a server waits": any(e.state == WAITING and e.caller is not None for e in enclaves),
        "stopped": any(e.stopped for e in enclaves),
        "relay pages": any(e.relays for e in enclaves),
        "relay pages on their way": bool(model.bound),
        "instances": any(e.template is not None for e in enclaves),
        "memory shared between enclaves": any(e.attached for e in enclaves),
        "the host maps pages": bool(model.host_entries),
    }
    return {name for name, is_so in seen.items() if is_so}
