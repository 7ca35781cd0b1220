"""pltvm: run Penglai-TVM RISC-V enclaves, unchanged.

    from pltvm import Machine
    print(Machine().create("hello-world.elf").run().output)

The names below are loaded when they are first used, so that importing the package takes almost no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pltvm.errors import CallError, PltvmError
    from pltvm.host.api import Result
    from pltvm.host.proxy import Answer
    from pltvm.host.shared import BOUND, RelayMemory, SharedMemory
    from pltvm.machine import Machine
    from pltvm.monitor.abi import EnclaveType
    from pltvm.view.enclave import Enclave

__all__ = [
    "BOUND",
    "Answer",
    "CallError",
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
    "Answer": "pltvm.host.proxy",
    "BOUND": "pltvm.host.shared",
    "CallError": "pltvm.errors",
    "Enclave": "pltvm.view.enclave",
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
