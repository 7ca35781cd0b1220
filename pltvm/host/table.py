"""The driver's table of enclaves: the living ones, and how objects that stand for them are found again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from pltvm.host.enclave import DriverEnclave
from pltvm.host.plain import Part, copied, put_back


@dataclass(slots=True)
class EnclaveTableState:
    """The living enclaves by their block, and how many there were so far."""

    living: dict[int, DriverEnclave] = field(default_factory=dict)
    made: int = 0


class EnclaveTable(Part[EnclaveTableState]):
    """All enclaves of one driver."""

    def __init__(self) -> None:
        self.state = EnclaveTableState()
        # Every enclave that somebody still has, by id, also those that ended: where `load` puts content back.
        self._known: WeakValueDictionary[int, DriverEnclave] = WeakValueDictionary()
        self._put_back = False  # whether there may be two objects of one id
        self.on_added: Callable[[DriverEnclave], None] = lambda _enclave: None  # told of a new one
        # Told of an enclave that has ended, and before the state is put back: for who counts what they do.
        self.on_removed: Callable[[DriverEnclave], None] = lambda _enclave: None
        self.on_put_back: Callable[[], None] = lambda: None

    def add(self, enclave: DriverEnclave, client: int) -> DriverEnclave:
        """A new enclave of this client: it gets its id."""
        self.state.made += 1
        enclave.id, enclave.client = self.state.made, client
        self.state.living[enclave.block] = self._known[enclave.id] = enclave
        self.on_added(enclave)
        return enclave

    def remove(self, enclave: DriverEnclave) -> None:
        """The enclave has ended."""
        del self.state.living[enclave.block]
        enclave.alive = False
        self.on_removed(enclave)

    def find(self, number: int) -> DriverEnclave | None:
        """The living enclave with this id."""
        enclave = self._known.get(number)
        return enclave if enclave is not None and enclave.alive else None

    def latest(self, enclave: DriverEnclave) -> DriverEnclave:
        """The enclave as it is now, with its id: another object if the state was put back meanwhile."""
        return self._known.get(enclave.id, enclave) if self._put_back else enclave

    def of_eid(self, eid: int) -> DriverEnclave | None:
        """The living enclave with this number of the monitor's."""
        return next((one for one in self.state.living.values() if one.eid == eid), None)

    def load(self, saved: EnclaveTableState) -> None:
        """Put the state back, into the same objects; enclaves that were made since have ended."""
        self.on_put_back()
        self._put_back = True
        for one in self._known.values():
            one.alive = False
        living = {}
        for block, content in saved.living.items():
            living[block] = enclave = self._known.get(content.id) or copied(content)
            put_back(enclave, content)
            self._known[content.id] = enclave
        self.state = EnclaveTableState(living, saved.made)
