"""pltvm: run Penglai-TVM RISC-V enclaves, unchanged.

from pltvm import Machine
print(Machine().create("hello-world.elf").run().output)
"""

from pltvm.errors import PltvmError
from pltvm.host.api import Enclave, Result
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType

__all__ = ["Enclave", "EnclaveType", "Machine", "PltvmError", "Result"]
__version__ = "0.1.0"
