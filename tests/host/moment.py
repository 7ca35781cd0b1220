"""A machine as it is now, and the way back, with the host's state as a pickle."""

import pickle
from dataclasses import replace

from pltvm import Machine
from pltvm.host import snapshot


class Moment:
    """A machine as it is now: the host's state goes through a pickle."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._saved = machine.snapshot()
        self.host = pickle.dumps(self._saved.host)

    @property
    def state(self) -> snapshot.HostState:
        return pickle.loads(self.host)  # type: ignore[no-any-return]

    def restore(self) -> None:
        self.machine.restore(replace(self._saved, host=self.state))
