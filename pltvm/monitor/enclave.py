"""The monitor's view of one enclave: its record in RAM, and what is derived from it.

Views have no state of their own. `State` makes them (`State.enclave`), keeps them, and discards them when the
record becomes that of another enclave.
"""

from enum import IntEnum
from typing import Final

from pltvm.engine.context import Context
from pltvm.engine.sv39 import root_index, satp_for
from pltvm.monitor import abi
from pltvm.monitor.copying import TableCopy
from pltvm.monitor.records import NUMBERS, EnclaveRecord, Neighbours
from pltvm.monitor.space import STACK_INDEX, AddressSpace


class EnclaveState(IntEnum):
    """The state of an enclave."""

    FRESH = 0  # has not run
    RUNNABLE = 1  # interrupted, has yielded, or a server outside calls
    RUNNING = 2
    WAITING = 3  # waits for the answer to an ocall
    CALLING = 4  # has called a server
    QUEUED = 5  # waits until a server has room, see `waiting`


# Monitor memory that one enclave takes (§8: −2 if there is none)
RECORD_BYTES: Final = NUMBERS["RECORD_BYTES"]
REGISTERS: Final = 8 * NUMBERS["REGISTERS"]
SLOTS_WORD: Final = 2 * NUMBERS["REGISTERS"]  # place of a concurrent server's slots in the first page
# What a call writes into the callee's record: `Enclave.link` is where it lies.
LINK: Final = Neighbours(
    EnclaveRecord, "caller", "struct_pa", "struct_rest", "request", "request_va", "request_size", "top"
)
OWN_INDICES: Final = (STACK_INDEX, root_index(abi.KBUFFER))  # entries of a root that each slot has for itself


class Enclave(EnclaveRecord):
    """One enclave: its record, and views of its memory and registers that are derived from it."""

    __slots__ = (
        "__weakref__",
        "concurrent",
        "context",
        "copies",
        "entry_registers",
        "home",
        "is_server",
        "kbuffer_table",
        "kbuffer_word",
        "link",
        "owner",
        "pages",
        "space",
        "stack",
    )
    space: AddressSpace
    context: Context  # its registers, in the first page of its block
    entry_registers: memoryview  # registers at every entry, except arguments
    copies: TableCopy | None  # of a shadow template: computed at the first instance
    owner: int  # its number in the page bitmap
    is_server: bool  # whether other enclaves can call it
    concurrent: bool  # whether it is a concurrent server, or a slot of one
    home: "Enclave"  # the owner of its memory: the server of a slot, else itself
    stack: list[range] | None  # of a slot: places of its stack's entries, once found
    # Places for the hot calls: page numbers of its record and registers; the kbuffer's entry as an index of
    # u64 in RAM, and the page of that.
    pages: tuple[int, int]
    kbuffer_word: int
    kbuffer_table: int
    link: int  # index in RAM of the fields of LINK

    @property
    def satp(self) -> int:
        """The value of `satp` while it runs."""
        return satp_for(self.root, self.asid)

    @property
    def mailbox(self) -> tuple[int, ...]:
        """The physical addresses of the u64 for its ocalls and its return value."""
        return (self.ocall, self.arg0, self.arg1, self.syscall, self.retval)

    def __str__(self) -> str:
        slot = f", slot {self.slot}" if self.concurrent else ""
        return f"{self.name.decode('ascii', 'backslashreplace') or 'enclave'} (eid {self.eid}{slot})"
