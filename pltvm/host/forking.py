"""The driver's part of shadow instances (§6): memory for one, and the parameters of its run call."""

from typing import TYPE_CHECKING, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import OutOfMemory
from pltvm.host.shared import Span
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, RunShadowParams

if TYPE_CHECKING:
    from pltvm.host.driver import Driver, DriverEnclave

NO_EID: Final = -1  # of an instance that has not run
TABLE_PAGES: Final = 12  # two for each of six areas: kbuffer, stack, heap, mmap, shared memory, relay pages
_TABLE_COVERS: Final = 2 << 20  # bytes


def fork(
    driver: "Driver", template: "DriverEnclave", name: bytes, shm: Span, table_pages: int = TABLE_PAGES
) -> "DriverEnclave":
    """Get ready what an instance of a shadow template needs; the driver's run makes it.

    `table_pages` are for page tables beyond the template's. Raises OutOfMemory, and then leaves nothing.
    """
    pages = template.copy_pages + pages_for(abi.DEFAULT_STACK) + table_pages + shm[1] // _TABLE_COVERS
    taken: list[int] = []
    try:
        for count in (pages, 1, 1):
            taken.append(driver.blocks.take(count))
    except OutOfMemory:
        for one in taken:
            driver.blocks.give(one)
        raise
    block, page, kbuffer = taken
    instance = type(template)(NO_EID, name, EnclaveType.NORMAL, block, page, kbuffer)
    instance.shm, instance.template = shm, template
    instance.label = name.decode("ascii", "backslashreplace") or template.label
    instance.symbols = template.symbols
    driver.enclaves[block] = instance
    return instance


def run_params(
    driver: "Driver", instance: "DriverEnclave", relay: Span, mailbox: tuple[int, ...], eid_pointer: int
) -> bytes:
    """The structure of monitor call 87; `mailbox` are its five pointers."""
    size = driver.blocks.size(instance.block)
    ocall, arg0, arg1, syscall, retval = mailbox
    params = RunShadowParams(
        0, instance.block, size, eid_pointer, instance.kbuffer, PAGE, *instance.shm, *relay,
        ocall, arg0, arg1, syscall, retval, instance.name,
    )  # fmt: skip
    return abi.RUN_SHADOW_PARAMS.pack(*params)
