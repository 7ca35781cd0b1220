"""pltvm: run Penglai-TVM RISC-V enclaves, unchanged.

    from pltvm import Machine
    print(Machine().create("hello-world.elf").run().output)

The names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pltvm.errors import PltvmError
    from pltvm.host.api import Enclave, Result
    from pltvm.host.shared import BOUND, RelayMemory, SharedMemory
    from pltvm.machine import Machine
    from pltvm.monitor.abi import EnclaveType

__all__ = [
    "BOUND",
    "Enclave",
    "EnclaveType",
    "Machine",
    "PltvmError",
    "RelayMemory",
    "Result",
    "SharedMemory",
]
__version__ = "0.1.0"

_HOMES: Final = {
    "BOUND": "pltvm.host.shared",
    "Enclave": "pltvm.host.api",
    "EnclaveType": "pltvm.monitor.abi",
    "Machine": "pltvm.machine",
    "PltvmError": "pltvm.errors",
    "RelayMemory": "pltvm.host.shared",
    "Result": "pltvm.host.api",
    "SharedMemory": "pltvm.host.shared",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pltvm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
