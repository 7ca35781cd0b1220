"""The driver's part of shadow instances (§6): memory for one, and the parameters of its run call."""

from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.blocks import Blocks
from pltvm.host.enclave import NO_EID, DriverEnclave
from pltvm.host.spans import Span
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, RunShadowParams

TABLE_PAGES: Final = 12  # two for each of six areas: kbuffer, stack, heap, mmap, shared memory, relay pages
_TABLE_COVERS: Final = 2 << 20  # bytes


def instance_of(blocks: Blocks, template: DriverEnclave, name: bytes, shm: Span) -> DriverEnclave:
    """Return an instance of a shadow template, with its memory; the driver's run makes the enclave.

    Raises OutOfMemory, and then leaves nothing behind.
    """
    pages = template.copy_pages + pages_for(abi.DEFAULT_STACK) + TABLE_PAGES + shm.size // _TABLE_COVERS
    block, page, kbuffer = blocks.take_all(pages, 1, 1)
    instance = DriverEnclave(NO_EID, name, EnclaveType.NORMAL, block, page, kbuffer, shm)
    instance.template = template.eid
    instance.label = name.decode("ascii", "backslashreplace") or template.label
    instance.symbols = template.symbols
    return instance


def run_params(
    blocks: Blocks, instance: DriverEnclave, relay: Span, mailbox: tuple[int, ...], eid_pointer: int
) -> bytes:
    """Return the structure of monitor call 87; `mailbox` are its five pointers."""
    size = blocks.size(instance.block)
    ocall, arg0, arg1, syscall, retval = mailbox
    params = RunShadowParams(
        0, instance.block, size, eid_pointer, instance.kbuffer, PAGE, *instance.shm, *relay,
        ocall, arg0, arg1, syscall, retval, instance.name,
    )  # fmt: skip
    return abi.RUN_SHADOW_PARAMS.pack(*params)
