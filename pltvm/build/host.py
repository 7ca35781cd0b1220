"""Builds Linux host programs from C with the host library in `guest/host/`.

A host program is a static RV64 executable, for one of two C libraries:

    musl    soft float (lp64), by the compiler of `ziglang`: `pip install 'pltvm[build]'`
    glibc   hard float (lp64d), by Debian's cross compiler: `apt-get install gcc-riscv64-linux-gnu …`

The same sources and tools give the same bytes. The ziglang release is pinned;
`guest/elf/host/glibc/TOOLCHAIN` names the cross compiler of the glibc ELFs.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pltvm.build import guest, zig
from pltvm.build.guest import LIBCS, Libc
from pltvm.errors import BuildError

_CROSS: Final = "riscv64-linux-gnu-gcc"
_FLAGS: Final = (
    *("-std=gnu11", "-Os", "-static", "-pthread", "-ffunction-sections", "-fdata-sections"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--gc-sections", "-Wl,--build-id=none"),
    *zig.OLD_C,
)
_GLIBC_FLAGS: Final = ("-march=rv64gc", "-mabi=lp64d", "-Wl,--strip-debug")
_MUSL_FLAGS: Final = (
    *("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+c", "-mabi=lp64", "-fno-sanitize=all"),
    # Without line tables zig's linker leaves out the symbols too; so we keep the tables, and remove only
    # them.
    *("-g1", "-fdebug-compilation-dir=."),
    "-Wno-deprecated-non-prototype",  # printHex: see penglai-enclave.h
)


def build_host(
    sources: Sequence[Path],
    output: Path,
    libc: Libc = "glibc",
    *,
    defines: zig.Defines | None = None,
) -> Path:
    """Compile C files with the host library into one static executable for Linux, and return its path.

    A define of `None` has no value. The compiler's warnings go to stderr; its errors raise `BuildError`.
    """
    from pltvm.build.strip import strip

    compiler = _compiler(libc)
    sources = zig.found(sources)
    library = guest.host_dir()
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        elf = Path(scratch) / "program"
        command = [
            *compiler,
            *_FLAGS,
            *zig.defining(defines),
            *zig.prefix_maps({library, library / "examples", *(source.parent for source in sources)}),
            *("-isystem", str(library / "include")),
            *map(str, [*sources, *sorted((library / "lib").glob("*.c"))]),
            *("-o", str(elf)),
        ]
        cache = zig.cache_dir(scratch) if libc == "musl" else Path(scratch)
        sys.stderr.write(zig.run(command, elf, output, cache))
        data = elf.read_bytes()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(strip(data, debug=True))
    output.chmod(0o755)
    return output


def _compiler(libc: Libc) -> list[str]:
    if libc == "musl":
        if not zig.is_installed():
            raise BuildError("building for musl needs the C compiler of ziglang: pip install 'pltvm[build]'")
        return zig.command("cc", *_MUSL_FLAGS)
    if libc != "glibc":
        raise BuildError(f"no such C library: {libc}; there are {' and '.join(LIBCS)}")
    if toolchain() is None:
        raise BuildError(
            f"building for glibc needs {_CROSS} and its C library: "
            "apt-get install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"
        )
    return [_CROSS, *_GLIBC_FLAGS]


def toolchain() -> str | None:
    """Return what determines the bytes of glibc programs: versions of compiler and linker, hashes of
    libraries.

    None when there is no cross compiler, or it has no C library.
    """
    if shutil.which(_CROSS) is None:
        return None

    def ask(*flags: str) -> str:
        return subprocess.run([_CROSS, *flags], capture_output=True, text=True, check=True).stdout.strip()

    linker = subprocess.run([ask("-print-prog-name=ld"), "--version"], capture_output=True, text=True)
    lines = [ask("--version").splitlines()[0], *linker.stdout.splitlines()[:1]]
    for name in ("libc.a", "crt1.o", "libgcc.a"):
        file = Path(ask(f"-print-file-name={name}"))
        if not file.is_absolute():  # gcc prints only the name of a missing file
            return None
        lines.append(f"{name} sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return "\n".join(lines) + "\n"
