"""The state of the whole host as one piece of data: kernel, driver, and the program in user mode.

It belongs to a copy of RAM and CPU, as it names pages and enclaves there. See "Snapshots" in docs/design.md.
"""

from dataclasses import dataclass

from pltvm.host.driver import Driver, SavedDriver
from pltvm.host.kernel import SavedKernel


@dataclass(slots=True)
class HostState:
    """The host's state: plain data, which can be pickled and loaded in another process."""

    kernel: SavedKernel
    driver: SavedDriver


def save(driver: Driver) -> HostState:
    """Return a copy of the state; raises SnapshotError, with the reason, if something cannot be saved."""
    return HostState(driver.kernel.save(), driver.save())


def check(driver: Driver, saved: HostState) -> None:
    """Raise SnapshotError if something cannot be restored; called before RAM and CPU are restored."""
    driver.kernel.check(saved.kernel)
    driver.services.disk.check()


def load(driver: Driver, saved: HostState) -> None:
    """Restore the state, after `check`, RAM and CPU. In a callback, the run goes on from there.

    Outside a run, a Python program's run that was in progress then counts as interrupted: its enclave can be
    resumed. A Linux program waits in the kernel until it is resumed.
    """
    driver.load(saved.driver)
    driver.kernel.load(saved.kernel)
