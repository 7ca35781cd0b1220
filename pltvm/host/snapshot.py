"""The state of the whole host: kernel, driver, and the program that runs in user mode, as one piece of data.

It goes with a copy of RAM and CPU: what the host remembers names pages and enclaves that are there. See
"Snapshots" in docs/design.md.
"""

from dataclasses import dataclass

from pltvm.host.driver import Driver, SavedDriver
from pltvm.host.kernel import SavedKernel


@dataclass(slots=True)
class HostState:
    """All that the host remembers: plain data, which can be pickled and loaded in another process."""

    kernel: SavedKernel
    driver: SavedDriver


def save(driver: Driver) -> HostState:
    """A copy of the state; raises SnapshotError, and tells why, where something cannot be saved."""
    return HostState(driver.kernel.save(), driver.save())


def check(driver: Driver, saved: HostState) -> None:
    """Raises SnapshotError where something cannot be put back: before RAM and CPU are."""
    driver.kernel.check(saved.kernel)
    driver.services.disk.check()


def load(driver: Driver, saved: HostState) -> None:
    """Put the state back, after RAM and CPU, and `check`. In a callback of a run that goes on from there.

    A Python program's run that was in progress then, and is not now, is one that was interrupted: its enclave
    can be resumed. A Linux program waits in the kernel until it is resumed.
    """
    driver.load(saved.driver)
    driver.kernel.load(saved.kernel)
