"""The driver's record of one enclave: plain data, and the status numbers of its runs."""

from dataclasses import dataclass, field
from typing import Final

from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import EnclaveType, ResumeReason

NO_EID: Final = -1  # of an instance that has not run

# Results of the driver's `run` and `resume`, besides OK, ERROR and TIMER of the monitor.
RELAY_PAGE: Final = 10  # the enclave has returned its relay pages and waits for new ones (ocall 7)
STOPPED: Final = 11  # by `stop`, from a callback
GONE: Final = 12  # by `destroy`, from a callback
REFUSED: Final = 13  # the monitor refused to let it go on: it is unchanged
RUNS_ON: Final = 14
PUT_BACK: Final = 15  # a callback restored a state in which this run was not in progress
STUCK: Final = 16  # it waits, like all others that run together with it


@dataclass(slots=True, weakref_slot=True)
class DriverEnclave:
    """One enclave: `eid` is the monitor's number, `id` the driver's own, which is never reused.

    `client` is the number of its client in `Driver.clients`. `block`, `page` and `kbuffer` are physical
    addresses of blocks.
    """

    eid: int
    name: bytes
    kind: EnclaveType
    block: int
    page: int
    kbuffer: int
    shm: Span = NO_PAGES
    id: int = 0
    client: int = 0
    relay: Span = NO_PAGES  # handed over by a Python program
    copy_pages: int = 0  # of a shadow template: pages of an instance, without its stack
    template: int = NO_EID  # of a shadow instance: the eid of its template; it gets its own eid at its run
    started: bool = False
    stopped: bool = False
    status: int = 0  # the end or pause of its last run
    pending: tuple[int, ...] = (ResumeReason.TIMER,)  # how to resume it
    lent: list[int] = field(default_factory=list)  # blocks with an answer, until it is taken
    gives_way: bool = False  # at a yield the client decides which enclave is next; otherwise this one goes on
    label: str = ""  # for display: the name, or the file
    symbols: Symbols | None = None
    alive: bool = True
    value: int = 0  # its return value, as u64
    slots: int = 0  # of a concurrent server

    @property
    def is_instance(self) -> bool:
        """Whether it is an instance of a shadow template."""
        return self.template != NO_EID
