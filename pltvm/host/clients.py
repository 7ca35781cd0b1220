"""Who runs enclaves: a Python program, a Linux process. The driver tells them what happens.

An enclave's data name its client by a number, as data outlive functions: a snapshot says "the enclaves of the
Python program", and whoever is that program now is told.
"""

from collections.abc import Callable, Collection
from typing import Final

from pltvm.host.enclave import DriverEnclave
from pltvm.host.output import Output

PYTHON: Final = 0
LINUX: Final = 1
PROXY: Final = 2  # a Python program's calls of servers, see `proxy`
TOGETHER: Final = 3  # a Python program that runs several at once, see `together`
NOBODY: Final = -1  # of enclaves that the driver has not made: a kernel program has
_LAST_KNOWN: Final = TOGETHER


class Client:
    """A client that waits for the end of each run, as Python programs do. Others override the verbs.

    `output` gets what the enclaves print; `printed` is its state where that is an `Output`. `late`: it may
    get that a moment later, and several texts as one.
    """

    def __init__(self, output: Callable[[bytes], None] = lambda _text: None) -> None:
        self.output = output
        self.printed: Output | None = None
        self.late = False

    def ended(self, _enclave: DriverEnclave, _status: int) -> bool:
        """An enclave that it runs has ended. True if guest code runs on at once."""
        return False

    def paused(self, _enclave: DriverEnclave, _status: int) -> bool:
        """An enclave that it runs is paused: the timer, a yield, a stop. True if guest code runs on."""
        return False

    def gone(self, enclave: DriverEnclave) -> None:
        """One of its enclaves is no more: by itself, or along with another one."""


def next_number(taken: Collection[int]) -> int:
    """A number for a client that is none of these."""
    return max(*taken, _LAST_KNOWN) + 1
