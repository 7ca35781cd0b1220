"""A machine as it is now, and the way back: the host by its own state, the rest by hand."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from pltvm import Machine
from pltvm.fuzz.objects import ObjectSnapshot
from pltvm.host import snapshot

_VECTORS = ("host_vector", "trap_vector", "on_fault")


@contextmanager
def without_host(machine: Machine) -> Iterator[None]:
    """No way leads from the monitor to the host meanwhile."""
    state = machine.monitor.state
    vectors = {name: getattr(state, name) for name in _VECTORS}
    for name in _VECTORS:
        setattr(state, name, None)
    yield
    for name, vector in vectors.items():
        setattr(state, name, vector)


class Moment:
    """A machine as it is now: the host's state as a pickle, and the rest."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.ram = bytes(machine.memory.bytes)
        self.executable = machine.memory.executable_pages()
        with without_host(machine):
            self.objects = ObjectSnapshot(machine.monitor.state, without=None)
        self.current, self.clock = machine.hart.current, machine.hart.clock
        self.host = pickle.dumps(snapshot.save(machine.driver))

    @property
    def state(self) -> snapshot.HostState:
        return pickle.loads(self.host)  # type: ignore[no-any-return]

    def restore(self) -> None:
        machine = self.machine
        snapshot.check(machine.driver, self.state)
        machine.memory.bytes[:] = self.ram
        machine.memory.restore_executable(self.executable)
        machine.hart.forget_code(machine.memory.base, machine.memory.size)
        with without_host(machine):
            self.objects.restore()
        machine.hart.current, machine.hart.clock = self.current, self.clock
        machine.hart.translations_changed()
        machine.hart.context_changed()
        snapshot.load(machine.driver, self.state)
