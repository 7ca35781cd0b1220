"""The driver's table of enclaves: the living ones, and the objects that refer to them after a restore."""

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from pltvm.host.enclave import DriverEnclave
from pltvm.host.plain import Part, copied, put_back


@dataclass(slots=True)
class EnclaveTableState:
    """The living enclaves by their block, and the number of enclaves so far."""

    living: dict[int, DriverEnclave] = field(default_factory=dict)
    made: int = 0


class EnclaveTable(Part[EnclaveTableState]):
    """All enclaves of one driver."""

    def __init__(self) -> None:
        self.state = EnclaveTableState()
        # Every referenced enclave object, by id, also of ended ones: `load` restores their content.
        self._known: WeakValueDictionary[int, DriverEnclave] = WeakValueDictionary()
        self._put_back = False  # whether two objects may have the same id
        # Listeners: called for a new enclave, for an ended one, and before the state is restored.
        self.on_added: list[Callable[[DriverEnclave], None]] = []
        self.on_removed: list[Callable[[DriverEnclave], None]] = []
        self.on_put_back: list[Callable[[], None]] = []

    def add(self, enclave: DriverEnclave, client: int) -> DriverEnclave:
        """Add a new enclave of this client, and give it an id."""
        self.state.made += 1
        enclave.id, enclave.client = self.state.made, client
        self.state.living[enclave.block] = self._known[enclave.id] = enclave
        for listener in self.on_added:
            listener(enclave)
        return enclave

    def remove(self, enclave: DriverEnclave) -> None:
        """Remove an enclave that has ended."""
        del self.state.living[enclave.block]
        enclave.alive = False
        for listener in self.on_removed:
            listener(enclave)

    def find(self, number: int) -> DriverEnclave | None:
        """Return the living enclave with this id, or None."""
        enclave = self._known.get(number)
        return enclave if enclave is not None and enclave.alive else None

    def latest(self, enclave: DriverEnclave) -> DriverEnclave:
        """Return the present object with this enclave's id: another one if the state was restored
        meanwhile."""
        return self._known.get(enclave.id, enclave) if self._put_back else enclave

    def of_eid(self, eid: int) -> DriverEnclave | None:
        """Return the living enclave with this eid of the monitor, or None."""
        return next((one for one in self.state.living.values() if one.eid == eid), None)

    def load(self, saved: EnclaveTableState) -> None:
        """Restore the state into the same objects; enclaves made since then have ended."""
        for listener in self.on_put_back:
            listener()
        self._put_back = True
        for one in self._known.values():
            one.alive = False
        living = {}
        for block, content in saved.living.items():
            living[block] = enclave = self._known.get(content.id) or copied(content)
            put_back(enclave, content)
            self._known[content.id] = enclave
        self.state = EnclaveTableState(living, saved.made)
