"""Build enclaves from C with the SDK in `guest/`: its headers, its library and its linker script."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pltvm.build import guest, zig
from pltvm.errors import BuildError

TARGET: Final = ("-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+c")
FLAGS: Final = (
    # An integer-only RV64 CPU without an operating system, fixed addresses.
    *("-mabi=lp64", "-mcmodel=medany", "-std=gnu17", "-ffreestanding", "-fno-builtin", "-fno-pic"),
    # Nothing that needs run-time support, and functions that can be left out.
    *("-fno-sanitize=all", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mno-relax"),
    *("-ffunction-sections", "-fdata-sections"),
    # zig turns assertions off when it optimizes; here that takes a define.
    "-UNDEBUG",
    *zig.OLD_C,
    # No path of this machine in the result: with the prefix maps below.
    "-fdebug-compilation-dir=.",
)
_LINK: Final = (
    *("-nostdlib", "-static", "-Wl,--gc-sections"),
    # Floating point and 128-bit division in software, for programs that use them: linked only then. (Its line
    # tables name the place where ziglang is installed, the one exception to "the same bytes".)
    "-rtlib=compiler-rt",
)
# For zig itself: the flags above decide. Without -funwind-tables there is a .debug_frame, which stays.
_LIBRARY: Final = (
    *("-OReleaseFast", "-fno-PIC", "-fno-compiler-rt"),
    *("-fno-sanitize-c", "-fno-stack-check", "-funwind-tables"),
)


def build_enclave(
    sources: Sequence[Path],
    output: Path,
    *,
    opt: str = "-O2",
    debug: bool = True,
    defines: zig.Defines | None = None,
) -> Path:
    """Compile C or assembly files with the SDK into one enclave ELF, and return its path.

    `opt` is the compiler's optimisation flag. With `debug` the ELF has line tables, so that a fault report
    can name the source line. A define of `None` has no value. The compiler's warnings go to stderr; its
    errors raise `BuildError`.
    """
    if not zig.is_installed():
        raise BuildError("building an enclave needs the C compiler of ziglang: pip install 'pltvm[build]'")
    from pltvm.build.strip import strip

    sources = zig.found(sources)
    sdk = guest.guest_dir()
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        elf, library = Path(scratch) / "enclave.elf", Path(scratch) / "library.a"
        cache = zig.cache_dir(scratch)
        flags = [
            *(*FLAGS, opt),
            *(("-gdwarf-4", "-g1") if debug else ("-g0",)),
            *zig.defining(defines),
            *zig.prefix_maps({sdk, sdk / "examples", *(source.parent for source in sources)}),
            *("-isystem", str(sdk / "include")),
        ]
        # An archive, of which only the files that are needed get linked: the others' line tables would stay.
        parts = map(str, sorted((sdk / "lib").glob("*.c")))
        archive = ["build-lib", *TARGET, *_LIBRARY, f"-femit-bin={library}", "-cflags", *flags, "--", *parts]
        start = map(str, [*sources, *sorted((sdk / "lib").glob("*.S"))])
        link = ["cc", *TARGET, *flags, *_LINK, "-T", str(sdk / "enclave.ld"), *start, str(library)]
        zig.run(zig.command(*archive), library, output, cache)
        warnings = zig.run(zig.command(*link, "-o", str(elf)), elf, output, cache)
        sys.stderr.write(warnings)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(strip(elf.read_bytes(), debug=False))
    return output
