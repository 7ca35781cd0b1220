"""The clients that run enclaves: a Python program, Linux processes. The driver notifies them.

An enclave's data name its client by a number, as data outlive functions: a snapshot names "the enclaves of
the Python program", and after a restore the present program is notified.
"""

from collections.abc import Callable, Collection
from typing import Final

from pltvm.host.enclave import DriverEnclave
from pltvm.host.output import Output

PYTHON: Final = 0
LINUX: Final = 1
PROXY: Final = 2  # a Python program that calls servers, see `proxy`
TOGETHER: Final = 3  # a Python program that runs several at once, see `together`
NOBODY: Final = -1  # for enclaves made by a kernel program, not by the driver
_LAST_KNOWN: Final = TOGETHER


class Client:
    """A client that waits for the end of each run, as Python programs do. Subclasses override the methods.

    `output` gets what the enclaves print; `printed` is its state if it is an `Output`. `late`: it may get
    text a little later, and several texts at once.
    """

    def __init__(self, output: Callable[[bytes], None] = lambda _text: None) -> None:
        self.output = output
        self.printed: Output | None = None
        self.late = False

    def ended(self, _enclave: DriverEnclave, _status: int) -> bool:
        """Handle the end of an enclave that it runs. Return True if guest code goes on at once."""
        return False

    def paused(self, _enclave: DriverEnclave, _status: int) -> bool:
        """Handle a pause of its enclave: by the timer, a yield, a stop. Return True if guest code goes on."""
        return False

    def gone(self, enclave: DriverEnclave) -> None:
        """Handle the removal of one of its enclaves, also one that ended together with another."""


def next_number(taken: Collection[int]) -> int:
    """Return an unused number for a client."""
    return max(*taken, _LAST_KNOWN) + 1
