"""Snapshots of the host: its state is where it is declared, and nowhere else, and goes back."""

import ast
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import pltvm.host
from pltvm import Enclave, Machine, SharedMemory
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError, PltvmError, SnapshotError
from pltvm.host import snapshot
from pltvm.host.audit import audit
from pltvm.host.kept import Kind
from pltvm.host.output import Output
from pltvm.host.plain import copied
from pltvm.host.services import Disk, Random
from pltvm.host.symbols import Symbols
from tests.host.moment import Moment
from tests.host.test_supervisor import build
from tests.monitor.rig import Script
from tests.monitor.shared_rig import RELAY, SharedRig, send

RAM = 16 << 20
HELLO = guest.examples()["hello-world"].elf
SOURCES = sorted(Path(pltvm.host.__file__).parent.rglob("*.py"))

# Attributes that change and are in no state, and why a snapshot does without.
NOT_STATE = {
    "Blocks.shrink": "wired once: who gives memory back",
    "Blocks.state": "the state itself",
    "Together._enclaves": "wired once: found by Chain.enclave",
    "Together._numbers": "likewise",
    "Turns._base": "a position of the counter, which `load` finds anew",
    "Counter.on_alarm": "wired while somebody shares the hart",
    "Counter.on_put_back": "likewise",
    "Steps._to": "wired once: what the policy was made of",
    "Steps._counts": "likewise",
    "Driver._over": "what the callback in progress returns into",
    "Driver.in_run": "likewise",
    "Kernel.loads": "likewise",
    "Kernel.program": "who runs now, which is saved through it",
    "EnclaveDevice.failures": "a data class, saved in SavedDevice",
    "EnclaveFile.ready": "saved as SavedFile.state",
    "EnclaveTable._known": "a table of objects, for `load` to find them",
    "Driver.clients": "who is told in this process",
    "Driver._deliver": "likewise, of what is printed",
    "UnknownNames._said": "that something was said stays so",
    "Enclave._latest": "found again by the id",
    "EnclaveTable._put_back": "about those objects",
    "EnclaveTable.on_added": "functions of this process, which look at the enclaves",
    "EnclaveTable.on_removed": "likewise",
    "EnclaveTable.on_put_back": "likewise",
    "FileSystem.is_run": "wired once: a function",
    "FileSystem.nodes": "wired once: functions",
    "Objects._files": "descriptors of this process: opened again when they are needed",
    "Frames.give_spare": "wired once: a function",
    "ObjectPages._files": "likewise",
    "Objects._images": "bytes of files: read again when they are needed",
    "ObjectPages.viewers": "the spaces that there are, each with a state",
    "OpenFiles._files": "objects with a state each, saved as OpenFilesState.files",
    "OpenFiles._next": "saved as OpenFilesState.next_number",
    "OpenFiles.makers": "wired once: functions",
    "Rewindable.position": "saved by `Input.save`",
    "Input.was_read": "for `check`: what was read cannot be put back",
    "Kernel.holders": "wired once: for the audit",
    "LinuxProgram._on_fault": "who is told in this process",
    "Output._on_output": "likewise",
    "Traps._trace": "likewise",
    "LinuxProgram._faults": "saved as SavedLinux.faults",
    "Ocalls.serving": "wired once: functions",
    "Process.space": "an object with a state, saved as SavedSystem.spaces",
    "Process.threads": "objects, by what each of them says whose it is",
    "Thread.context": "registers, saved as ThreadState.registers",
    "Scheduler.ring": "wired once: a function",
    "Scheduler.turns": "wired once; saved as SavedScheduler.turns",
    "System.at_end": "wired once: functions",
    "System.at_end_of_process": "likewise",
    "Notes.is_open": "wired once: a function",
    "Notes.files": "those that are open, which cannot be saved",
    "Notes._moves": "begins anew with the first of them",
    "InotifyFile._made": "it cannot be saved",
    "InotifyFile._watches": "likewise",
    "InotifyFile._events": "likewise",
    "Marks.owner_of_new": "wired once: a function",
    "System.at_end_of_thread": "likewise",
    "System.go_on": "wired once: a function",
    "System.processes": "objects with a state each, saved as SavedSystem.processes",
    "System.stdin": "wired once: where this process wants what is printed",
    "System.stdout": "likewise",
    "System.stderr": "likewise",
    "SystemCall.arguments": "made once",
    "Folder.nodes": "wired once: what /dev and /proc have",
    "Input.shows_lines": "saved by `Input.save`",
    "Output.shows_lines": "likewise",
    "Listing.known": "looked at again when the folder is read on",
    "Listing.offset": "saved by the folder",
    "Special._status": "of what never changes",
    "_Control.cut": "of one call",
    "_Control.data": "likewise",
    "_Position.at": "likewise",
    "MemoryFiles._files": "objects, saved as MemoryFilesState.files",
    "MemoryFiles._next": "saved as MemoryFilesState.next_number",
    "MemoryFiles.names": "saved as MemoryFilesState.names",
    "Texts._kept": "which texts may be made anew for each read",
    "NodeFile.is_kept": "saved by `NodeFile.save`",
    "NodeFile.content": "saved by `NodeFile.save`",
    "NodeFile.offset": "likewise",
    "SignalFile.mask": "saved by `SignalFile.save`",
    "OpenFiles.at_close": "wired once: functions",
    "Outside._keys": "descriptors of this process: real sockets, which cannot be saved, and standard input",
    "Real._open": "real sockets, which cannot be saved",
    "Network._kinds": "wired once: functions",
    "Sockets._dropped": "of one call: files in messages that are thrown away",
    "Sockets._is_dropping": "likewise",
    "Traps._serving": "for a line about a bug of ours",
    "Traps.status": "of a run that is over",
    "ProcessTable.pages": "the list in SpaceState.tables",
    "ProcessTable.root": "the first of them",
    "Scheduler.enter": "wired once: a function",
    "Scheduler.threads": "objects with a state each, saved as SavedScheduler.threads",
    "CoreHost._served": "wired once: functions",
    "Client.late": "of who is told in this process",
}
# Files whose objects live for one question, one file or one run, or are about this process.
NO_PARTS = {
    "audit.py", "elf.py", "elf_pages.py", "elf_details.py", "elf_headers.py", "elf_info.py",
    "elf_kind.py", "elf_calls.py", "elf_evidence.py", "elf_interpreter.py", "elf_table.py", "program_info.py",
    "debug_sections.py", "interrupts.py", "line_tables.py", "symbols.py", "text.py", "plain.py",
    "supervisor.py", "paths.py", "arguments.py", "functions.py", "backtrace.py",
}  # fmt: skip
_CONTAINERS = {"dict", "list", "set", "deque", "Counter", "bytearray", "WeakValueDictionary", "defaultdict"}


def classes() -> Iterator[tuple[str, ast.ClassDef, Path]]:
    """Every class of the host that is a part of a machine: its name, and its text."""
    for path in SOURCES:
        if path.name not in NO_PARTS:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    yield node.name, node, path


def assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Every target that a statement somewhere in `node` sets, and the value, if that is plain to see."""
    for one in ast.walk(node):
        if isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Tuple):
                    values = one.value.elts if isinstance(one.value, ast.Tuple) else [None] * len(target.elts)
                    yield from zip(target.elts, values, strict=True)
                else:
                    yield target, one.value
        elif isinstance(one, ast.AnnAssign | ast.AugAssign):
            yield one.target, one.value


def is_container(value: ast.expr | None) -> bool:
    """Whether the expression makes something that can be filled."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in _CONTAINERS
    return isinstance(value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def is_declared(node: ast.ClassDef) -> bool:
    """Whether the class is a data class."""
    names = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return any(isinstance(one, ast.Name) and one.id == "dataclass" for one in names)


def declared_fields() -> set[str]:
    """The names of all fields of data classes."""
    return {
        one.target.id
        for _, node, _ in classes()
        if is_declared(node)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }


def undeclared() -> set[str]:
    """What changes after it was made, or can be filled, and is declared nowhere: `Class.attribute`."""
    found, known = set(), declared_fields()
    for name, node, _path in classes():
        if is_declared(node):
            continue
        for method in (one for one in node.body if isinstance(one, ast.FunctionDef)):
            for target, value in assigned(method):
                if not isinstance(target, ast.Attribute):
                    continue
                own = isinstance(target.value, ast.Name) and target.value.id == "self"
                if own and (method.name != "__init__" or is_container(value)):
                    found.add(f"{name}.{target.attr}")
                elif not own and target.attr not in known:
                    found.add(f"?.{target.attr}")
    return found


def test_what_changes_is_declared() -> None:
    """Also from outside: then its name is one of a declared field, or one of those below."""
    found = undeclared()
    outside = {f"?.{name.partition('.')[2]}" for name in NOT_STATE}
    excused = {*NOT_STATE, *outside}
    assert {one for one in found if one not in excused and not one.endswith(".state")} == set()


def test_what_is_excused_is_there() -> None:
    names = {one.partition(".")[2] for one in undeclared()}
    assert {one for one in NOT_STATE if one.partition(".")[2] not in names} == set()
    assert {path.name for path in SOURCES} >= NO_PARTS


def test_an_attribute_that_is_added_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "part.py"
    source.write_text(
        "class Part:\n"
        "    def __init__(self):\n        self.limit, self.seen = 5, {}\n        self.names: list[int] = []\n"
        "    def act(self, other):\n        self.count += 1\n        other.mark, self.twice = 1, 2\n"
    )
    monkeypatch.setattr(f"{__name__}.SOURCES", [source])
    assert undeclared() == {"Part.names", "Part.seen", "Part.count", "?.mark", "Part.twice"}


# -- each part -----------------------------------------------------------------------------------------------


def is_plain(value: object) -> bool:
    """Whether the value goes through a pickle as it is."""
    return bool(pickle.loads(pickle.dumps(value)) == value)


def check_part(part: Any, change: Callable[[], None]) -> None:
    """Save, change, put back, several times, with the same saved state."""
    change()
    saved = part.save()
    assert is_plain(saved)
    for _ in range(3):
        change()
        assert part.save() != saved
        part.load(saved)
        assert part.save() == saved


@pytest.mark.broken
@pytest.mark.parametrize("seed", range(4))
def test_blocks_and_tables(seed: int) -> None:
    chance, machine = random.Random(seed), Machine(RAM)
    blocks, tables = machine.kernel.blocks, machine.kernel.tables
    order = [list(one) for one in blocks.state.free]

    def change() -> None:
        taken = [blocks.take(chance.choice([1, 2, 3, 8, 20])) for _ in range(chance.randrange(3, 20))]
        for block in chance.sample(taken, chance.randrange(len(taken))):
            blocks.give(block)
        tables.take(chance.choice([1, 2, 2]))

    saved = blocks.save()
    check_part(blocks, change)
    check_part(tables, change)
    blocks.load(saved)
    assert [list(one) for one in blocks.state.free] == order  # who takes next gets the same


@pytest.mark.broken
def test_what_is_kept_and_what_is_away() -> None:
    machine = Machine(RAM)
    driver = machine.driver
    handles: list[SharedMemory] = []

    def change() -> None:
        handles.append(machine.shm(PAGE))
        machine.relay(2 * PAGE)
        driver.kept.take(handles[-1].pa)
        driver.kept.abandon(driver.kept.add(b"own", 1, Kind.OWN)[0])

    check_part(driver.kept, change)
    check_part(driver.away, change)


def test_random_disk_and_output() -> None:
    disk, numbers, output = Disk(), Random(5), Output(None)
    check_part(output, lambda: output.write(b"more"))
    check_part(
        disk, lambda: disk.write(len(disk.state.sectors), bytes([len(disk.state.sectors)]) * PAGE) and None
    )
    saved, expected = copied(numbers.state), numbers.bytes(9)
    numbers.state = copied(saved)
    assert numbers.bytes(9) == expected
    assert numbers.state != saved


def test_a_copy_shares_nothing_that_changes_and_refuses_what_is_no_data() -> None:
    value = {1: [2, {3}], "a": (1, b"2", Kind.OWN), "s": Symbols(HELLO)}
    copy = copied(value)
    assert copy == value
    copy[1][1].add(4)  # type: ignore[index]
    assert value[1] == [2, {3}]
    for wrong in (print, [open], {1: (object(),)}, {"a": Machine}):
        with pytest.raises(TypeError, match="not plain data"):
            copied(wrong)


# -- the whole host ------------------------------------------------------------------------------------------


def plain_types(value: Any) -> Iterator[type]:
    """The types of all that a saved state is made of."""
    yield type(value)
    if is_dataclass(value):
        for one in fields(value):
            yield from plain_types(getattr(value, one.name))
    elif isinstance(value, dict):
        for pair in value.items():
            yield from plain_types(pair)
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from plain_types(one)


def live(rig: SharedRig, chance: random.Random, steps: int) -> list[object]:
    """Enclaves, shared memory and relay pages that come and go; what was to be seen of them."""
    machine, seen = rig.machine, list[object]()
    for step in range(steps):
        script = Script()
        area = script.mmap(chance.choice([1, 3]) * PAGE)
        script.poke(area, step)
        script.print(b"%d" % step)
        match chance.randrange(5):
            case 0:
                send(script, b"later", RELAY, PAGE)
                result = rig.with_relay(script, bytes(2 * PAGE)).run(timeout=20)
            case 1:
                rig.server(script, b"server%d" % machine.driver.table.state.made)
                continue
            case 2:
                shm = machine.shm(chance.randrange(1, 3) * PAGE)
                machine.create(HELLO, shm=shm)
                seen.append((shm.pa, shm.id, shm.users))
                continue
            case 3:
                result = rig.instance(rig.template(b"copy"), script).run(timeout=20)
            case _:
                result = rig.enclave(script).run(timeout=20)
        seen.append((result.status, result.output, result.shm, result.relay))
    seen.append(machine.driver.services.random.bytes(8))
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_the_same_life_twice(script_elf: bytes, seed: int) -> None:
    chance = random.Random(seed)
    rig = SharedRig(script_elf)
    live(rig, chance, 12)
    moment = Moment(rig.machine)
    known = {*plain_types(moment.state)}
    assert all(
        one.__module__ in ("builtins", "collections") or one is Symbols or "pltvm" in one.__module__
        for one in known
    )
    where, ends = chance.getstate(), []
    for _ in range(3):
        made = len(rig._made)
        chance.setstate(where)
        assert snapshot.save(rig.machine.driver) == moment.state
        ends.append((live(rig, chance, 12), snapshot.save(rig.machine.driver)))
        del rig._made[made:]
        assert audit(rig.machine.kernel) == []
        moment.restore()
        assert audit(rig.machine.kernel) == []
    assert ends[1:] == ends[:1] * 2


@pytest.mark.broken
def test_a_new_host_takes_the_state_of_another(script_elf: bytes) -> None:
    """The state is all of it: without RAM and monitor it is of no use, but it is there."""
    rig = SharedRig(script_elf)
    live(rig, random.Random(9), 15)
    state = Moment(rig.machine).state
    other = Machine(RAM).driver
    snapshot.check(other, state)
    snapshot.load(other, state)
    assert snapshot.save(other) == state
    assert len(other.enclaves) == len(rig.machine.driver.enclaves) > 3
    assert {one.symbols for one in other.enclaves.values()} >= {Symbols(script_elf)}


def test_handles_stand_for_what_they_stood_for(script_elf: bytes) -> None:
    rig = SharedRig(script_elf)
    machine = rig.machine
    script = Script()
    script.print(b"text")
    enclave, shm = rig.enclave(script), machine.shm(b"shared")
    machine.use_for_persistency(shm)
    user = machine.create(HELLO, shm=shm)
    moment = Moment(machine)
    first = enclave.run(timeout=20)
    user.destroy()
    shm.free()
    late = machine.create(HELLO)
    assert (enclave.alive, user.alive, late.alive) == (False, False, True)
    moment.restore()
    assert (enclave.alive, user.alive, late.alive) == (True, True, False)
    assert (shm.users, shm.read()[:6], machine.driver.services.persistent) == (1, b"shared", shm.pa)
    again = enclave.run(timeout=20)
    assert (again.output, again.shm, again.stats.output_bytes) == (
        first.output,
        first.shm,
        first.stats.output_bytes,
    )
    with pytest.raises(EnclaveError, match="used by 1 living"):
        shm.free()
    user.destroy()
    shm.free()
    with pytest.raises(EnclaveError, match="were freed"):
        shm.free()


def printing(rig: SharedRig, times: int = 6) -> Enclave:
    """An enclave that prints numbers."""
    script = Script()
    for number in range(times):
        script.print(b"%d" % number)
    return rig.enclave(script)


def test_a_run_goes_on_from_a_callback(script_elf: bytes) -> None:
    """Put back in a later callback of the same run: it does again what came between, and its output too."""
    rig = SharedRig(script_elf)
    enclave, moments, texts = printing(rig), list[Moment](), list[bytes]()

    def on_output(text: bytes) -> None:
        texts.append(text)
        if text == b"2\n" and not moments:
            moments.append(Moment(rig.machine))
        if text == b"4\n" and texts.count(text) < 3:
            moments[0].restore()

    result = enclave.run(timeout=20, on_output=on_output)
    assert result.output == "0\n1\n2\n3\n4\n5\n"
    assert b"".join(texts) == b"0\n1\n2\n3\n4\n3\n4\n3\n4\n5\n"
    rig.finish()


def test_a_run_that_was_saved_in_a_callback_can_be_resumed(script_elf: bytes) -> None:
    rig = SharedRig(script_elf)
    enclave, moments = printing(rig), list[Moment]()
    first = enclave.run(
        timeout=20, on_output=lambda text: moments.append(Moment(rig.machine)) if text == b"2\n" else None
    )
    for _ in range(2):
        moments[0].restore()
        assert enclave.alive
        result = enclave.resume(timeout=20)
        assert (result.status, result.retval, result.shm) == (first.status, first.retval, first.shm)
        assert result.output == "3\n4\n5\n"
    rig.finish()


def test_a_run_ends_when_a_callback_goes_back_to_before_it(script_elf: bytes) -> None:
    rig = SharedRig(script_elf)
    enclave = printing(rig)
    moment = Moment(rig.machine)
    result = enclave.run(timeout=20, on_output=lambda text: moment.restore() if text == b"3\n" else None)
    assert (result.status, result.retval) == ("put back", None)
    assert enclave.run(timeout=20).output == "0\n1\n2\n3\n4\n5\n"
    rig.finish()


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_disk_in_a_file(tmp_path: Path) -> None:
    machine = Machine(RAM, disk=tmp_path / "disk")
    with pytest.raises(SnapshotError, match="disk: a disk in a file"):
        snapshot.save(machine.driver)
    assert issubclass(SnapshotError, PltvmError)


def test_a_program_in_the_place_of_the_kernel(tmp_path: Path) -> None:
    """It has the machine to itself; before it and after it all is well."""
    machine = Machine(64 << 20)
    before, errors = snapshot.save(machine.driver), list[str]()

    def on_output(_text: bytes) -> None:
        for act in (snapshot.save, lambda driver: snapshot.check(driver, before)):
            with pytest.raises(SnapshotError, match="in the place of the host kernel") as refused:
                act(machine.driver)
            errors.append(str(refused.value))

    result = machine.supervise(build(tmp_path, "    sv_put('h'); sv_exit(7);"), on_output=on_output)
    after = snapshot.save(machine.driver)
    assert (result.code, len(errors)) == (7, 2)
    assert after.kernel.kernel.programs
    assert is_plain(after)
