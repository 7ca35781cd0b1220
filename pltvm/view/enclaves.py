"""All living enclaves of a machine, also those made by guest programs."""

from collections.abc import Iterator

from pltvm.host.driver import Driver
from pltvm.view.enclave import TITLES, Enclave, of_record
from pltvm.view.shown import as_html, as_text


class Enclaves:
    """The living enclaves, in the order of creation: by iteration, by eid, or by name.

    A name is the one given at creation, else that of the file; if several enclaves share it, the first is
    found.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._state = driver.kernel.monitor.state

    def __iter__(self) -> Iterator[Enclave]:
        return iter([of_record(self._driver, record) for record in self._state.enclaves.values()])

    def __len__(self) -> int:
        return len(self._state.enclaves)

    def __getitem__(self, key: int | str) -> Enclave:
        found = self.get(key)
        if found is None:
            known = ", ".join(f"{one.name} ({one.eid})" for one in self) or "none"
            raise KeyError(f"no living enclave {key!r}: there are {known}")
        return found

    def get(self, key: int | str) -> Enclave | None:
        """Return the living enclave with this eid or name, or None."""
        if isinstance(key, int):
            record = self._state.enclaves.get(key)
            return None if record is None else of_record(self._driver, record)
        named = (one for one in self if key in (one.name, one.inner.name.decode("ascii", "backslashreplace")))
        return next(named, None)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, Enclave):
            return any(one == key for one in self)
        return isinstance(key, int | str) and self.get(key) is not None

    @property
    def running(self) -> Enclave | None:
        """The enclave that has the hart, in a hook; None between runs, or while the host has it."""
        record = self._state.running
        return None if record is None else of_record(self._driver, record)

    def __str__(self) -> str:
        return as_text(TITLES, [one.cells() for one in self])

    def __repr__(self) -> str:
        return f"<Enclaves: {len(self)}>\n{self}" if len(self) else "<Enclaves: none>"

    def _repr_html_(self) -> str:
        return as_html(TITLES, [one.cells() for one in self])
