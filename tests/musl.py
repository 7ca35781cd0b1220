"""Linux programs for musl, by the compiler of ziglang: all of them with the same build of the C library.

The compiler makes musl anew for each way in which a program is linked: how it is optimised, whether it has
unwind tables, whether it is stripped; and once more if its own files are beneath the current folder, which
`zig.run` sees to. That takes 45 s of processor time. So tests compile their files as they like, and link them
here, as `pltvm.build.host` links its programs.

    python -m tests.musl      has the C library made, so that no test has to wait for it
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pltvm.build import zig

CPU: Final = "generic_rv64+m+a+c"
_TARGET: Final = ("-target", "riscv64-linux-musl", "-mabi=lp64")
_LINK: Final = ("-Os", "-g1", "-fno-asynchronous-unwind-tables")


def compile_one(source: Path, output: Path, *flags: str, cpu: str = CPU) -> Path:
    """The object of a C file; soft float (lp64)."""
    command = zig.command("cc", *_TARGET, f"-mcpu={cpu}", "-w", *flags, "-c", str(source), "-o", str(output))
    subprocess.run(command, check=True)
    return output


def link(objects: Sequence[Path], output: Path, *flags: str) -> Path:
    """A program of these objects, by absolute paths: static, if no flag says otherwise."""
    command = zig.command("cc", *_TARGET, f"-mcpu={CPU}", *_LINK, *(flags or ("-static",)), "-pthread")
    zig.run([*command, *map(str, objects), "-o", str(output)], output, output, zig.cache_dir(output.parent))
    return output


def build(source: Path, output: Path, *flags: str) -> Path:
    """A static program of one file, which is compiled with `flags`."""
    with tempfile.TemporaryDirectory(prefix="pltvm-musl-") as scratch:
        return link([compile_one(source, Path(scratch) / "program.o", *flags)], output)


def main() -> None:
    """Have musl made, in the cache that tests use."""
    with tempfile.TemporaryDirectory(prefix="pltvm-musl-") as scratch:
        os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(zig.cache_dir(scratch)))
        source = Path(scratch) / "program.c"
        source.write_text("int main(void) { return 0; }\n")
        build(source, Path(scratch) / "program")


if __name__ == "__main__":
    main()
