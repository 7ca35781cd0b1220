"""Queues of chains that wait for servers: what the audit finds in them, and what it takes to list them."""

from collections.abc import Callable

import pytest

from pltvm import Machine
from pltvm.monitor.abi import Status
from pltvm.monitor.audit import audit
from pltvm.monitor.enclave import Enclave, EnclaveState
from pltvm.monitor.state import State
from tests.monitor.test_slots import RAM, client, go, server

Damage = tuple[object, str, int]  # a record, the field that is wrong there, what it is then


class Queues:
    """`told` have waited for a server that has ended; `queued` wait for front, and `inner`, in front, for
    counter, with another chain in it. `free` waits for nothing.
    """

    def __init__(self) -> None:
        self.machine = Machine(RAM)
        ended = server(self.machine, slots=1)
        clients = [client(self.machine) for _ in range(8)]
        assert [go(one) for one in clients[:3]] == [Status.YIELD, Status.WAITING, Status.WAITING]
        ended.destroy()
        made = (
            server(self.machine, slots=1),
            server(self.machine, slots=2, name="front", elf="counter-front"),
        )
        assert [go(one) for one in clients[3:7]] == [Status.YIELD, *[Status.WAITING] * 3]
        self.state = state = self.machine.monitor.state
        self.globals = state.globals
        self.counter, self.front = (state.enclaves[one.eid] for one in made)
        self.told, self.queued = (
            [state.enclaves[one.eid] for one in some] for some in (clients[1:3], clients[5:7])
        )
        self.inner: Enclave = state.slot(self.front, 1)
        self.free = state.enclaves[clients[7].eid]


WRONG: dict[str, tuple[Callable[[Queues], Damage], str]] = {
    "a circle of those that wait": (
        lambda q: (q.queued[1], "next_waiting", q.queued[0].at),
        "the queue of front (eid 10, slot 0) goes on at",
    ),
    "a queue that goes on at what is no enclave": (
        lambda q: (q.told[1], "next_waiting", 8),
        "the queue of the ended servers goes on at 0x8",
    ),
    "a circle of servers": (
        lambda q: (q.counter, "next_awaited", q.front.at),
        "the list of awaited servers goes on at",
    ),
    "a server not in the list": (
        lambda q: (q.globals, "first_awaited", q.counter.at),
        "front (eid 10, slot 0): is awaited, and not in the list",
    ),
    "the list has a server that nobody waits for": (
        lambda q: (q.counter, "first_waiting", 0),
        "counter (eid 9, slot 0): is awaited, and not in the list of those, or the other way round",
    ),
    "a server out of the list that names the next": (
        lambda q: (q.free, "next_awaited", q.counter.at),
        "enclave (eid 8): is awaited, and not in the list",
    ),
    "the last is another": (
        lambda q: (q.front, "last_waiting", q.queued[0].at),
        "the queue of front (eid 10, slot 0) does not end where it says",
    ),
    "there is a last one of an empty queue": (
        lambda q: (q.free, "last_waiting", q.queued[0].at),
        "the queue of enclave (eid 8) does not end where it says",
    ),
    "the last one of those whose server has ended": (
        lambda q: (q.globals, "last_waiting", q.told[0].at),
        "the queue of the ended servers does not end where it says",
    ),
    "it names another server": (
        lambda q: (q.inner, "queued", q.front.at),
        "front (eid 10, slot 1): is in the queue of counter (eid 9, slot 0), where it does not wait",
    ),
    "it names no server": (
        lambda q: (q.inner, "queued", 0),
        "front (eid 10, slot 1): is in the queue of counter (eid 9, slot 0), where it does not wait",
    ),
    "its server has not ended": (
        lambda q: (q.told[0], "queued", q.front.at),
        "enclave (eid 2): is in the queue of the ended servers, where it does not wait",
    ),
    "it does not wait": (
        lambda q: (q.queued[0], "state", EnclaveState.RUNNABLE),
        "enclave (eid 6): is in the queue of front (eid 10, slot 0), where it does not wait",
    ),
    "it is in no queue": (
        lambda q: (q.queued[0], "next_waiting", 0),
        "enclave (eid 7): waits, and is in no queue",
    ),
    "it waits without a queue": (
        lambda q: (q.free, "state", EnclaveState.QUEUED),
        "enclave (eid 8): waits, and is in no queue",
    ),
    "it does not wait, and names a server": (
        lambda q: (q.free, "queued", q.front.at),
        "enclave (eid 8): waits, and is in no queue",
    ),
    "a queue of what is no server": (
        lambda q: (q.free, "first_waiting", q.queued[0].at),
        "enclave (eid 8): has a queue, and is no server",
    ),
}


@pytest.fixture(scope="module")
def queues() -> Queues:
    return Queues()


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_queue_is_found(queues: Queues, what: str) -> None:
    damage, message = WRONG[what]
    record, field, value = damage(queues)
    assert audit(queues.state) == []
    right = getattr(record, field)
    setattr(record, field, value)
    found = audit(queues.state)
    setattr(record, field, right)
    assert any(line.startswith(message) for line in found), found


def test_a_list_of_turns_looks_at_each_that_is_stopped_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(256 << 20)
    server(machine, slots=1)
    inside, *stopped, last = (client(machine) for _ in range(42))
    assert [go(one) for one in (inside, *stopped, last)] == [Status.YIELD, *[Status.WAITING] * 41]
    for one in stopped:
        one.stop()
    assert go(inside) == Status.OK
    looks = 0
    found = State.enclave

    def counted(state: State, at: int) -> Enclave:
        nonlocal looks
        looks += 1
        return found(state, at)

    monkeypatch.setattr(State, "enclave", counted)
    assert [one.eid for one in machine.driver.with_turn()] == [last.eid]
    assert looks < 8 * 42
    looks = 0
    stopped[0]._driver.unstop(stopped[0].inner)
    assert [one.eid for one in machine.driver.with_turn()] == [stopped[0].eid]
    assert looks < 42
    assert audit(machine.monitor.state) == []
