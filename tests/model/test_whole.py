"""What `Whole` takes for a change of RAM: what it holds, whatever of it has been touched."""

from pltvm.engine.memory import GIVE_BACK, PAGE
from pltvm.machine import Machine
from tests.model.whole import Whole

RAM = 64 << 20


def test_changes_of_ram_are_seen_wherever_they_are() -> None:
    machine = Machine(RAM)
    memory = machine.memory
    low, high = memory.base + (40 << 20), memory.end - PAGE
    memory.write(low, b"x" * GIVE_BACK)
    before = Whole(machine)
    assert before.changes() == []
    memory.write(high + PAGE - 1, b"\1")
    assert before.changes() == [f"RAM at {high:#x}"]
    memory.write(high + PAGE - 1, b"\0")
    assert before.changes() == []
    memory.write(low + 1, b"y")
    assert before.changes() == [f"RAM at {low:#x}"]


def test_pages_that_go_back_to_the_operating_system_are_a_change_when_they_held_something() -> None:
    machine = Machine(RAM)
    memory = machine.memory
    start = memory.base + (40 << 20)
    for value, expected in ((0, []), (7, [f"RAM at {start:#x}"])):
        memory.write(start, bytes([value]))
        memory.bytes[start - memory.base + PAGE]  # read only
        before = Whole(machine)
        memory.zero(start, GIVE_BACK)
        assert before.changes() == expected
