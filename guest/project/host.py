"""The host program of NAME: starts the server and a client, and prints what comes of it."""

import sys
from pathlib import Path

from pltvm import EnclaveType, Machine

HERE = Path(__file__).parent


def run(build: Path = HERE / "build") -> tuple[int | None, str]:
    """What the client returns, and what it prints. `build` is where the enclaves are."""
    machine = Machine()
    machine.create(build / "server.elf", name="NAME", type=EnclaveType.SERVER)
    result = machine.create(build / "client.elf").run()
    if result.fault is not None:
        sys.exit(str(result.fault))
    return result.retval, result.output


if __name__ == "__main__":
    status, output = run()
    print(output, end="")
    sys.exit(status)
