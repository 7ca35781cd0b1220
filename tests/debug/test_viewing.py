"""What a debugger says that enclaves do."""

from pltvm import Machine
from pltvm.debug.viewing import Views
from tests.debug.trace.chain import RAM, queueing


def test_chains_that_wait_for_a_server() -> None:
    machine = Machine(RAM)
    clients = queueing(machine, slots=1)
    views = Views(machine)

    def doing() -> list[str]:
        return [thread.name for view in views.all() for thread in view.threads]

    in_client = [f"client{slot}: has called front (eid 0, slot {slot})" for slot in range(3)]
    waits = "waits for the server counter (eid 1)"
    assert doing() == [
        "front, slot 0: has called counter (eid 1, slot 0)",
        f"front, slot 1: {waits}",
        f"front, slot 2: {waits}",
        "counter, slot 0: is paused",
        *in_client,
    ]
    machine.enclaves["counter"].destroy()  # with the chain that is in it
    assert not clients[0].alive
    assert doing() == [
        "front, slot 0: server, not called",
        "front, slot 1: can go on",
        "front, slot 2: can go on",
        *in_client[1:],
    ]
