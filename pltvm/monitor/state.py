"""What the monitor remembers: enclaves, servers by name, who is on the hart, and the free numbers.

The call modules (`lifecycle`, `server`, `ocall`) are functions over this state; `monitor` dispatches to
them. One hart: `running` is the enclave whose context is current, None while the host has control.
"""

from array import array
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pltvm.engine.context import A0, Context, U
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import EngineError
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Mailbox, Ocall, Status
from pltvm.monitor.digest import Digest, digest
from pltvm.monitor.fault import Fault
from pltvm.monitor.guard import HostTables
from pltvm.monitor.keys import DEVELOPMENT, IDENTITY, Keys, certified
from pltvm.monitor.measure import Snapshot
from pltvm.monitor.pages import PageOwners, enclave_owner
from pltvm.monitor.space import AddressSpace, Mapping

if TYPE_CHECKING:
    from pltvm.monitor.copying import TableCopy
    from pltvm.monitor.secure_shm import Segment

FRESH, RUNNABLE, RUNNING, WAITING, CALLING, DESTROYED = (
    "fresh",
    "runnable",
    "running",
    "waiting for an ocall",
    "calling a server",
    "destroyed",
)

Block = tuple[int, int]  # physical address, pages
Spans = list[tuple[int, int]]  # physical address, bytes
RECORD_BYTES: Final = 512  # of monitor memory that one enclave takes (§8: −2 when there is none)
LAST_ASID: Final = 0xFFFF


class Call:
    """A call in progress: who called, where it wants its struct, and what it passed."""

    __slots__ = ("caller", "request", "request_va", "size", "struct")

    def __init__(self, caller: "Enclave", struct: Spans, request: Mapping | None, size: int) -> None:
        self.caller = caller
        self.struct = struct  # of the caller, in physical parts
        self.request = request  # the mapping that moves to the callee
        self.request_va = request.va if request else 0  # where it was in the caller
        self.size = size  # of the range in it that was passed


class Enclave:
    """One enclave: its memory, its own CPU context, and the host context while it has one (§5)."""

    def __init__(self, eid: int, name: bytes, kind: EnclaveType, space: AddressSpace, entry: int) -> None:
        self.eid = eid
        self.name = name
        self.kind = kind
        self.is_server = kind is EnclaveType.SERVER  # whether other enclaves can call it
        self.space = space
        self.entry = entry
        self.state = FRESH
        self.stopped = False  # by the host, whatever its state
        self.owner = enclave_owner(eid)
        self.context = Context(U, space.satp, entry, table=space.table)
        self.host_context: Context | None = None
        self.block = 0
        self.block_pages = 0
        self.kbuffer = 0  # physical; its own, not the one mapped while it serves a call
        self.kbuffer_pte = 0
        self.snapshot: Snapshot | None = None  # its memory at creation, for its measurement (§9)
        self.kbuffer_word = 0  # index in memory.words of the leaf entry for KBUFFER
        self.entry_registers = memoryview(b"")  # what every run or call starts with, but for its arguments
        self.shm = (0, 0)  # virtual address and bytes of memory shared with the host
        self.shm_pa = 0
        self.mailbox: Mailbox | None = None
        self.own_mailbox = Mailbox(0, 0, 0, 0)
        self.retval_pointer = 0
        self.call: Call | None = None  # the call this server is serving
        self.top: Enclave = self  # start of the chain
        self.innermost: Enclave = self  # of the chain that starts here
        self.waiting_for = 0  # the ocall whose answer is due
        self.ocall_args = (0, 0)
        self.attached: dict[Segment, int] = {}  # memory shared between enclaves → where it is mapped
        self.template: Enclave | None = None  # of a shadow instance
        self.copies: TableCopy | None = None  # of a shadow template: how to make an instance
        self.instances = 0  # of a shadow template: living ones

    def __str__(self) -> str:
        return f"{self.name.decode('ascii', 'backslashreplace') or 'enclave'} (eid {self.eid})"


class State:
    """The monitor's state over one hart."""

    def __init__(self, hart: Hart, keys: Keys = DEVELOPMENT, digest: Digest = Digest.PENGLAI) -> None:
        self.hart = hart
        self.keys = keys
        self.digest = digest  # what enclaves are measured with
        self.memory: Memory = hart.memory
        self.pages: PageOwners | None = None
        self.tables: HostTables | None = None
        self.enclaves: dict[int, Enclave] = {}
        self.servers: dict[bytes, Enclave] = {}
        self.running: Enclave | None = None
        self.started = 0  # runs so far: a2 of an enclave (§2)
        self.next_eid = 0
        self.asids = 0
        self.free_asids: list[int] = []
        self.bound: dict[bytes, list[Mapping]] = {}  # relay regions by the name that they wait for (§7)
        self.segments: dict[int, Segment] = {}  # memory shared between enclaves, by key
        self.next_segment = 0
        self.record_space = 0  # bytes of monitor memory not used yet
        self.monitor_blocks: list[tuple[int, int]] = []
        self.fixed_blocks: list[Block] = []  # the monitor's own memory, PT area and bitmap
        self.on_fault: Callable[[Fault], None] = lambda _fault: None
        # Called when control is back in the host, with the status; True if the host went on at once by
        # another monitor call, so that guest code runs on without leaving the JIT.
        self.host_vector: Callable[[int], bool] = lambda _status: False
        self.host_status = 0
        # The host kernel's handler for traps of its own user programs.
        self.trap_vector: Callable[[int, Context], None] = _no_host_kernel

    @property
    def owners(self) -> PageOwners:
        """The page bitmap; there is one from the host's `init` on."""
        assert self.pages is not None
        return self.pages

    @cached_property
    def certificate(self) -> tuple[bytes, bytes, bytes]:
        """What the monitor is (a hash), the device key's signature of that and its key, its key (§9)."""
        monitor_hash, public = digest(self.digest, (IDENTITY,)), self.keys.monitor.public
        return monitor_hash, self.keys.device.sign(certified(self.digest, monitor_hash, public)), public

    # -- control ---------------------------------------------------------------------------------------

    def enter(self, enclave: Enclave) -> None:
        """Give the hart to `enclave`; the context that ran before is the host's and waits inside it."""
        enclave.host_context = self.hart.current
        enclave.state = RUNNING
        self.running = enclave
        self.hart.current = enclave.context

    def leave(self, enclave: Enclave, status: int) -> None:
        """Give the hart back to the host context that `enclave` holds, with `status` as the call's result."""
        assert enclave.host_context is not None
        self.hart.current = enclave.host_context
        enclave.host_context = None
        self.running = None
        self.host_status = status
        if not self.host_vector(status):
            self.hart.stop()

    def ask(self, enclave: Enclave, number: Ocall, arg0: int = 0, arg1: int = 0) -> None:
        """Give the host control with a request in the mailbox (§4)."""
        mailbox = enclave.mailbox
        assert mailbox is not None
        store = self.memory.store
        store(mailbox.ocall, number)
        store(mailbox.arg0, arg0)
        store(mailbox.arg1, arg1)
        enclave.waiting_for = number
        enclave.state = WAITING
        self.leave(enclave, Status.OCALL)

    # -- memory given and given back -------------------------------------------------------------------

    def is_offer(self, block: int, size: int, asked: int) -> bool:
        """Whether the host offers what §4 asks for: its own naturally aligned power of two, > `asked`."""
        shaped = size >= asked + PAGE and not size & (size - 1) and not block % size
        return shaped and self.owners.is_free(block, size // PAGE)

    def clear(self, pa: int, pages: int) -> None:
        """Zero private pages and make them the host's again."""
        self.memory.zero(pa, pages * PAGE)
        self.memory.not_executable(pa, pages)  # nobody maps them now; the host may soon
        self.owners.release(pa, pages)

    def give_back(self, blocks: Sequence[Block], kept: Sequence[Block] = ()) -> None:
        """Clear blocks, make them the host's, and leave it a table of them and of `kept`.

        The table lies in the first page of the first block, continued in those of the following ones: a
        page holds the address of the next page of the table or 0, a count, and that many pairs of physical
        address and bytes.
        """
        for pa, pages in blocks:
            self.clear(pa, pages)
        if len(blocks) == 1 and not kept:
            pa, pages = blocks[0]
            self.memory.pack(pa, abi.FREED_BLOCK, 0, 1, pa, pages * PAGE)
            return
        rows = [(pa, pages * PAGE) for pa, pages in (*blocks, *kept)]
        parts = [rows[at : at + abi.FREED_ROWS] for at in range(0, len(rows), abi.FREED_ROWS)]
        for index, part in enumerate(parts):
            following = blocks[index + 1][0] if index + 1 < len(parts) else 0
            numbers = (following, len(part), *(number for row in part for number in row))
            self.memory.write(blocks[index][0], array("Q", numbers).tobytes())

    def read_host(self, pa: int, size: int) -> bytes | None:
        """`size` bytes of host memory, None where the host may not be."""
        return self.memory.read(pa, size) if self.owners.is_public(pa, size) else None

    def next_asid(self) -> int | None:
        """An address-space number that no living enclave has, 0 being the host's; `use_asid` takes it."""
        if self.free_asids:
            return self.free_asids[-1]
        return self.asids + 1 if self.asids < LAST_ASID else None

    def use_asid(self, asid: int) -> None:
        """The number that `next_asid` gave has a user now."""
        if self.free_asids:
            self.free_asids.pop()
        else:
            self.asids = asid

    def answer(self, context: Context, value: int) -> None:
        """Set the result of a call."""
        context.regs[A0] = value & abi.MASK64


def _no_host_kernel(cause: int, _context: Context) -> None:
    raise EngineError(f"trap {cause} of a host program, and no host kernel to take it")
