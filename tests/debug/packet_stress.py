"""`python -m tests.debug.packet_stress [COUNT [SEED]]`: damaged packets, to enclaves that are stopped."""

import sys
import tempfile
import time
from pathlib import Path

from pltvm.build.enclave import build_enclave
from pltvm.debug.stops import Killed
from tests.debug.conftest import SOURCES
from tests.debug.test_session import Client, Debugged, feed


def main(count: int = 100_000, seed: int = 1) -> None:
    """Send so many; each is answered, and the run can still be ended."""
    with tempfile.TemporaryDirectory() as folder:

        def program(name: str) -> Path:
            elf = Path(folder) / f"{name}.elf"
            return elf if elf.exists() else build_enclave([SOURCES / f"{name}.c"], elf, opt="-O0")

        def client(one: Client) -> None:
            feed(one, count, seed)
            one.send(b"k")

        start = time.monotonic()
        assert Debugged(program).run(client) is Killed
        print(f"{count} packets, seed {seed}: all answered in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
