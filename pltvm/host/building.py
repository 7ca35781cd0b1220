"""Builds an enclave in host memory (§1), with the page by which driver and monitor exchange data about it.

Each enclave of the driver has one page, which the monitor reads and writes by physical address:

    0     create or run parameters
    256   mailbox: ocall number, arg0, arg1, syscall number, return value; then the eid
    1024  report
"""

from struct import Struct
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EnclaveError, PltvmError
from pltvm.host.blocks import order_for
from pltvm.host.elf import EnclaveImage
from pltvm.host.enclave import DriverEnclave
from pltvm.host.kernel import Kernel
from pltvm.host.loading import load
from pltvm.host.spans import Span
from pltvm.monitor import abi
from pltvm.monitor.abi import CreateParams, EnclaveType, HostCall, Report, Status

_REPORT: Final = 1024
REQUEST: Final = Struct("<3Q")  # ocall number and arguments
OCALL, _ARG0, _ARG1, _SYSCALL, RETVAL, EID = (256 + 8 * index for index in range(6))
_CREATE_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.CREATE,
    EnclaveType.SERVER: HostCall.CREATE_SERVER,
    EnclaveType.SHADOW: HostCall.CREATE_SHADOW,
    EnclaveType.CONCURRENT_SERVER: HostCall.CREATE_SERVER,
}


def mailbox(page: int) -> tuple[int, int, int, int, int]:
    """The five pointers of the mailbox in the page of an enclave."""
    return page + OCALL, page + _ARG0, page + _ARG1, page + _SYSCALL, page + RETVAL


def build(
    kernel: Kernel,
    image: EnclaveImage,
    name: bytes,
    kind: EnclaveType,
    stack_size: int,
    shm: Span,
    slots: int = 0,
) -> DriverEnclave:
    """Load an enclave and have the monitor create it; the driver then sets its id and client.

    `shm` is memory to share with it, `slots` is the number for a concurrent server. Raises EnclaveError when
    the monitor refuses, OutOfMemory when RAM is used up; both leave nothing behind.
    """
    blocks, memory = kernel.blocks, kernel.memory
    stack = pages_for(stack_size)
    others = max(slots - 1, 0) * abi.pages_of_slot(stack)
    block_pages = 1 << order_for(image.pages + stack + others + abi.SPARE_PAGES)
    block, page, kbuffer = taken = blocks.take_all(block_pages, 1, 1)
    try:
        free = load(memory, image, block, block_pages, stack_size)
        params = CreateParams(
            page + EID, name, abi.type_number(kind, slots), block, block_pages * PAGE, image.entry, free,
            kbuffer, PAGE, *shm, *mailbox(page),
        )  # fmt: skip
        memory.write(page, abi.CREATE_PARAMS.pack(*params))
        if kernel.call(_CREATE_CALLS[kind], page) != Status.OK:
            raise EnclaveError("the monitor refused to create the enclave")
    except PltvmError:
        for one in taken:
            blocks.give(one)
        raise
    eid = int.from_bytes(memory.read(page + EID, 4), "little")
    enclave = DriverEnclave(eid, name, kind, block, page, kbuffer, shm, slots=slots)
    shared_pages = sum(run.npages for run in image.runs() if not run.writable)
    enclave.copy_pages = (free - block) // PAGE - abi.RESERVED_PAGES + 1 - shared_pages
    return enclave


def attest(kernel: Kernel, enclave: DriverEnclave, nonce: int) -> Report:
    """Return the monitor's report on a living enclave (§9); raises EnclaveError when it refuses."""
    report = enclave.page + _REPORT
    if kernel.call(HostCall.ATTEST, enclave.eid, report, nonce) != Status.OK:
        raise EnclaveError("the monitor refused to attest the enclave")
    return Report(*abi.REPORT.unpack(kernel.memory.read(report, abi.REPORT.size)))
