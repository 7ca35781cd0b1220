"""Looking into enclaves: registers, memory, mappings, page tables, chains, of whoever's they are."""

from itertools import pairwise
from typing import Any

import pytest

import pltvm
from pltvm import Enclave, Machine
from pltvm.build import guest
from pltvm.engine import sv39
from pltvm.errors import ArgumentError, EnclaveError, PhysicalAddressError
from pltvm.host.api import Enclave as Base
from pltvm.monitor import abi
from pltvm.view.page_table import page_table, way
from tests.debug.trace.chain import ELF, RAM, make
from tests.monitor.rig import PAGE, Rig, Script

HOST = guest.guest_dir() / "elf" / "host" / "musl" / "host"


@pytest.fixture
def machine() -> Machine:
    return Machine(RAM)


def in_a_call(machine: Machine, look: Any) -> None:
    """Have `look` called in the innermost server of the chain."""
    with machine.watch(on_call=lambda event: look() if event.caller.name == "test-server1" else None):
        assert make(machine).run().ok


def test_all_that_live(machine: Machine) -> None:
    caller = make(machine)
    assert [one.name for one in machine.enclaves] == ["test-server", "test-server1", "caller"]
    assert machine.enclaves["caller"] == machine.enclaves[caller.eid] == caller
    assert caller in machine.enclaves
    assert caller.eid in machine.enclaves
    assert "caller" in machine.enclaves
    assert 77 not in machine.enclaves
    assert len({*machine.enclaves, caller}) == len(machine.enclaves) == 3
    assert isinstance(caller, Enclave)
    assert isinstance(caller, Base)
    with pytest.raises(KeyError, match=r"no living enclave 'x': there are test-server \(0\), test-server1"):
        machine.enclaves["x"]
    assert caller.run().ok
    assert caller not in machine.enclaves
    assert caller.state == "ended"
    assert "caller" not in str(machine.enclaves)


def test_a_chain(machine: Machine) -> None:
    def look() -> None:
        caller, middle, last = (machine.enclaves[n] for n in ("caller", "test-server1", "test-server"))
        assert caller.chain == middle.chain == last.chain == (caller, middle, last)
        assert (caller.caller, middle.caller, last.caller) == (None, caller, middle)
        assert [one.state for one in last.chain] == ["calling", "calling", "running"]
        assert machine.enclaves.running == last
        seen.append(str(machine.enclaves))

    seen: list[str] = []
    in_a_call(machine, look)
    assert "test-server1 (eid 1)" in seen[0]
    for one in machine.enclaves:
        assert one.chain == (one,)
        assert one.state == "runnable"


def test_mappings(machine: Machine) -> None:
    def look() -> None:
        last = machine.enclaves["test-server"]
        rows = last.mappings()
        seen.append({row.what for row in rows})
        table = last.page_table()
        leaves = [leaf.va for leaf in table.leaves()]
        assert leaves == [va for row in rows for va in range(row.start, row.end, PAGE)]
        for row in rows:
            path = table.walk(row.start)
            assert len(path) == 3
            assert path[-1].pa == row.pa
            assert path[-1].flags[1:4] == row.permissions
            assert rows.at(row.end - 1) is row
        with pytest.raises(KeyError):
            rows.at(0)

    seen: list[set[str]] = []
    in_a_call(machine, look)
    assert seen == [
        {"text", "data that may turn executable", "passed by test-server1 (eid 1)", "stack", "kbuffer"}
    ]


def test_tables_that_are_used_twice_and_ways_out_of_ram(machine: Machine) -> None:
    memory = machine.memory
    root, below, outside = (machine.memory.base + memory.size - n * PAGE for n in (1, 2, -9))
    leaf = sv39.make_pte(below, sv39.READ_ONLY_DATA)
    for index in (3, 5):
        memory.store(root + 8 * index, sv39.make_pte(below, sv39.V))
    memory.store(below + 8, leaf)
    memory.store(root + 8 * 511, sv39.make_pte(root, sv39.V))
    table = page_table(memory, root)
    assert [one.index for one in table.entries] == [3, 5, 511]
    assert table[3].table is not None
    assert [(one.va, one.pte) for one in table[3].table.entries] == [(3 << 30 | 1 << 21, leaf)]
    assert table[5].table is not None
    assert [(one.va, one.pte) for one in table[5].table.entries] == [(5 << 30 | 1 << 21, leaf)]
    high = 0xFFFF_FFFF_FFFF_F000  # by the root three times: the root itself
    assert [one.pa for one in table.walk(high)] == [root] * 3
    for va in (high, 3 << 30 | 1 << 21, 3 << 30, 7 << 30):
        valid = [one.pte for one in way(memory, root, va) if one.pte & sv39.V]
        assert valid == [one.pte for one in table.walk(va)]
    memory.store(root + 8 * 7, sv39.make_pte(outside, sv39.V))
    assert [one.pte & sv39.V for one in way(memory, root, 7 << 30)] == [sv39.V]
    assert [one.slot for one in way(memory, root, 3 << 30)] == [root + 24, below]
    with pytest.raises(PhysicalAddressError):
        page_table(memory, root)


def test_every_kind_of_mapping(rig: Rig) -> None:
    machine, script = rig.machine, Script()
    script.mmap(PAGE)
    script.sbrk(PAGE)
    script.ocall(abi.Ocall.SHM_GET, 5, PAGE, 0)
    script.print(b"look")
    script.ocall(abi.Ocall.SHM_DESTROY, 5)
    script.ocall(abi.Ocall.SHM_DETACH, 5)
    found: list[str] = []

    def look(event: Any) -> None:
        if event.printed:
            found.extend(row.what for row in machine.enclaves[event.who.number].mappings())

    enclave = rig.enclave(script, relay=b"relay")
    with machine.watch(on_ocall=look):
        assert enclave.run().status == "exited"
    assert {
        "mmap", "heap", "shared memory, key 0x5", "relay pages", "shared with the host", "stack", "kbuffer",
        "text",
    } <= set(found)  # fmt: skip


def test_memory(machine: Machine) -> None:
    caller = make(machine)
    text = next(row for row in caller.mappings() if row.what == "text")
    stack = next(row for row in caller.mappings() if row.what == "stack")
    caller.write(stack.start + PAGE - 4, b"12345678")
    assert caller.read(stack.start + PAGE - 4, 8) == b"12345678"
    assert machine.memory.read(stack.pa + PAGE - 4, 8) == b"12345678"
    assert caller.read(stack.start, 0) == b""
    for act, message in (
        (lambda: caller.read(0x10, 4), r"caller \(eid 2\): 0x10 is not mapped"),
        (lambda: caller.read(stack.end - 2, 4), rf"{stack.end:#x} is not mapped"),
        (lambda: caller.write(stack.end - 2, b"1234"), rf"{stack.end:#x} is not mapped"),
        (lambda: caller.write(text.start, b"x"), rf"{text.start:#x} is not writable"),
        (lambda: caller.write(0x10, b"x", force=True), "0x10 is not mapped"),
        (lambda: caller.read(1 << 62, 4), "is not mapped"),
    ):
        with pytest.raises(EnclaveError, match=message):
            act()
    for wrong, kind in (
        (lambda: caller.read(-1, 4), ArgumentError), (lambda: caller.read(0, -4), ArgumentError),
        (lambda: caller.read("0", 4), TypeError), (lambda: caller.write(0, "text"), TypeError),
        (lambda: caller.read(0, 1 << 60), ArgumentError),
    ):  # fmt: skip
        with pytest.raises(kind):
            wrong()
    assert caller.read(stack.end - 2, 2) == bytes(2)


def test_code_that_is_written_runs(machine: Machine) -> None:
    """Translated code is forgotten: here the first instruction of a server that has run."""
    caller = make(machine)
    assert caller.run().ok
    server = machine.enclaves["test-server1"]
    server.write(server.registers.pc, b"\0\0", force=True)
    again = machine.create(ELF["caller"], name="caller", shm=b"x", relay=b"y")
    result = again.run()
    assert result.status == "faulted"
    assert "illegal instruction" in str(result.fault)


def test_registers(machine: Machine) -> None:
    caller = make(machine)
    regs = caller.registers
    assert regs.pc == regs["pc"] == 0x1000
    assert regs.sp == abi.STACK_TOP
    regs.a0 = -1
    assert (regs.a0, regs["x10"], regs.zero) == ((1 << 64) - 1,) * 2 + (0,)
    regs["fa0"] = 0x3FF0_0000_0000_0000
    assert regs.f10 == 0x3FF0_0000_0000_0000
    assert dict(regs)["a0"] == regs.a0
    assert len(dict(regs)) == len(regs) == 32 + 1 + 32 + 1
    assert "a0" in repr(regs)
    assert {"a0", "t6", "pc", "f31"} <= {*dir(regs)}
    for wrong, kind in (
        (lambda: regs["y"], KeyError),
        (lambda: regs.y, AttributeError),
        (lambda: regs.__setitem__("a0", "1"), TypeError),
        (lambda: regs.__setitem__("a0", 1 << 64), ArgumentError),
        (lambda: regs.__setitem__("zero", 1), ArgumentError),
        (lambda: setattr(regs, "y", 1), AttributeError),
        (lambda: regs.pop("a0"), TypeError),
    ):
        with pytest.raises(kind):
            wrong()
    assert caller.run().ok
    with pytest.raises(EnclaveError, match="caller has ended"):
        regs.a0  # noqa: B018


def test_registers_are_saved_and_put_back(machine: Machine) -> None:
    caller = make(machine)
    before = machine.snapshot()
    caller.registers.s11 = 5
    after = machine.snapshot()
    machine.restore(before)
    assert caller.registers.s11 == 0
    machine.restore(after)
    assert caller.registers.s11 == 5


def test_what_has_ended(machine: Machine) -> None:
    caller = make(machine)
    assert caller.run().ok
    for look in (
        caller.mappings, caller.page_table, lambda: caller.registers, lambda: caller.read(0x1000, 1),
        lambda: caller.chain, lambda: caller.caller, lambda: caller.owned,
    ):  # fmt: skip
        with pytest.raises(EnclaveError, match="caller has ended, or not started"):
            look()
    template = machine.create(ELF["shadow"], type="shadow")
    instance = template.fork()
    assert isinstance(instance, Enclave)
    assert instance.state == "fresh"
    with pytest.raises(EnclaveError, match="not started"):
        instance.mappings()
    assert instance.run().ok


def test_enclaves_of_a_host_program(machine: Machine) -> None:
    """They are the same, but that the program alone runs, stops and ends them."""
    seen: list[Enclave] = []

    def look(_event: object) -> None:
        (one,) = machine.enclaves
        seen.append(one)
        assert one.registers.pc
        assert {row.what for row in one.mappings()} >= {"text", "stack"}
        for act in (one.run, one.resume, one.stop, one.destroy, one.fork):
            with pytest.raises(EnclaveError, match="belongs to a host program"):
                act()

    with machine.watch(on_ocall=look):
        result = machine.run_program(HOST, "hello-world.elf", root=guest.guest_dir() / "elf")
    assert result.exit_code == 0
    assert seen
    assert not seen[0].alive


def test_enclaves_of_a_kernel_program() -> None:
    machine, seen = Machine(64 << 20), list[str]()

    def look(_event: object) -> None:
        for one in machine.enclaves:
            seen.append(repr(one))
            assert one.alive
            assert one.page_table().pa == one._record().root
            with pytest.raises(EnclaveError, match="belongs to a kernel program"):
                one.run()

    with machine.watch(on_host_call=look):
        assert machine.supervise(guest.attack_elf("s-forged-create")).code is not None
    assert seen


def test_owners_and_pmp(machine: Machine) -> None:
    caller = make(machine)
    owners = machine.owners
    assert owners[0].start == machine.memory.base
    assert owners[-1].end == machine.memory.end
    assert all(one.end == other.start for one, other in pairwise(owners))
    entries = machine.monitor.state.owners
    for row in owners:
        for pa in (row.start, row.end - PAGE):
            owner = entries.owner(pa)
            assert (row.owner.kind == "host") == (owner is None)
            assert row.held == entries.holds(pa)
    assert {row.what for row in owners if row.what} >= {"the monitor itself", "page bitmap", "records"}
    mine = caller.owned
    assert sum(row.pages for row in mine) == sum(row.pages for row in owners if str(row.owner) == "enclave 2")
    assert owners.at(mine[0].start) == mine[0]
    with pytest.raises(KeyError):
        owners.at(0)
    assert [row.permissions for row in machine.pmp] == ["---", "r--", "---", "rwx"]


def test_all_of_it_shows_itself(machine: Machine) -> None:
    """In a prompt and in a notebook; text of guests cannot break out of a table."""
    caller = make(machine)
    machine.create(ELF["server"], name="<b>bad</b>", type="server")
    for thing in (
        machine, machine.enclaves, caller, caller.registers, caller.mappings(), caller.page_table(),
        machine.owners, machine.pmp,
    ):  # fmt: skip
        assert len(repr(thing)) > 20
        html = thing._repr_html_()
        assert html.startswith(("<table>", "<pre>"))
        assert "<b>" not in html
        assert html.endswith(("</table>", "</pre>"))
    assert repr(caller) == "<Enclave 'caller' eid=2 normal>"
    assert repr(machine) == "<Machine 32 MiB, 4 enclaves>"
    assert str(caller.page_table()).splitlines()[0] == f"table at {sv39.root_of(caller._record().satp):#x}"
    assert pltvm.Enclave is Enclave
