"""The libraries of enclaves, each made when it is needed; the compiler caches them.

    sdk       guest/lib: linked with every enclave
    runtime   the compiler's own library: floating point and division of 128 bits, in software
    extras    further functions of C, from the sources of musl that come with ziglang (MIT): math.h,
              strtod, printing of floating-point numbers, setjmp.h, calendars of time.h
    cxx       the library of the C++ headers, from the sources of libc++ that come with ziglang

Except the first, none is part of this package: they are compiled from the installed ziglang. All are
archives, of which only needed files are linked.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pltvm.build import guest, zig

TARGET: Final = ("-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+c")
MACHINE: Final = ("-mabi=lp64", "-mcmodel=medany", "-fno-pic", "-mno-relax")
# For zig itself. Without -funwind-tables there is a .debug_frame, which stays.
_ARCHIVE: Final = (
    *("-OReleaseFast", "-fno-PIC", "-fno-compiler-rt"),
    *("-fno-sanitize-c", "-fno-stack-check", "-funwind-tables"),
)
_MUSL_TARGET: Final = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+c")
_MUSL_FLAGS: Final = (
    *(*MACHINE, "-std=c99", "-Os", "-g0", "-w", "-fno-builtin", "-fno-sanitize=all"),
    *("-fno-stack-protector", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables"),
    *("-frounding-math", "-D_XOPEN_SOURCE=700"),
    # The SDK has these; musl's are for other files from musl.
    *("-Dvfprintf=__musl_vfprintf", "-Dwctomb=__musl_wctomb", "-Dstrftime=__musl_strftime"),
)
_MUSL_HEADERS: Final = ("arch/riscv64", "arch/generic", "src/include", "src/internal", "src/time")
_MUSL_FILES: Final = (
    *("stdio/vfprintf.c", "stdio/__uflow.c", "stdio/__toread.c"),
    *("internal/floatscan.c", "internal/shgetc.c", "stdlib/strtod.c", "stdlib/atof.c"),
    *("setjmp/riscv64/setjmp.S", "setjmp/riscv64/longjmp.S"),
    *("time/__month_to_secs.c", "time/__secs_to_tm.c", "time/__tm_to_secs.c", "time/__year_to_secs.c"),
    *("time/asctime.c", "time/asctime_r.c", "time/ctime.c", "time/ctime_r.c", "time/difftime.c"),
    *("time/gmtime.c", "time/gmtime_r.c", "time/localtime.c", "time/localtime_r.c", "time/mktime.c"),
    *("time/strftime.c", "time/timegm.c", "locale/langinfo.c", "locale/c_locale.c", "locale/__lctrans.c"),
)
_ZIG: Final = (
    *("-fno-PIC", "-mcmodel=medany", "-fno-compiler-rt"),
    *("-fstrip", "-ffunction-sections", "-fdata-sections"),
)
# zig has some functions of math.h in its own language, in a larger file: this selects only them.
_ZIG_MATH: Final = """\
pub const panic = @import("std").debug.no_panic;
pub inline fn symbol(comptime function: *const anyopaque, comptime name: []const u8) void {
    @export(function, .{ .name = name, .linkage = .weak, .visibility = .hidden });
}
comptime {
    _ = @import("c/math.zig");
}
"""
_LIBCXX: Final = {
    **{"ABI_VERSION": "1", "ABI_NAMESPACE": "__1", "HAS_MUSL_LIBC": "1", "DISABLE_EXTERN_TEMPLATE": ""},
    **{f"HAS_{one}": "0" for one in (
        "THREADS", "MONOTONIC_CLOCK", "TERMINAL", "VENDOR_AVAILABILITY_ANNOTATIONS", "FILESYSTEM", "UNICODE",
        "RANDOM_DEVICE", "LOCALIZATION", "WIDE_CHARACTERS", "TIME_ZONE_DATABASE",
    )},
    **{"HAS_NO_STD_MODULES": "", "PSTL_BACKEND_SERIAL": "", "DISABLE_VISIBILITY_ANNOTATIONS": ""},
    **{"HARDENING_MODE": "2", "HARDENING_MODE_DEFAULT": "2", "ASSERTION_SEMANTIC_DEFAULT": "2"},
}  # fmt: skip
# Flags for files in C++: the headers are libc++'s, configured without threads.
CXX: Final = (
    *("-std=gnu++20", "-nostdinc++", "-fno-exceptions", "-fno-rtti"),
    *(f"-D_LIBCPP_{name}={value}" if value else f"-D_LIBCPP_{name}" for name, value in _LIBCXX.items()),
)
_CXX_FILES: Final = ("algorithm.cpp", "hash.cpp", "memory.cpp", "string.cpp", "vector.cpp")


def archive(flags: Sequence[str], files: Iterable[Path], made: Path, output: Path, cache: Path) -> Path:
    """Make an archive of files, compiled with `flags`."""
    command = ["build-lib", *TARGET, *_ARCHIVE, f"-femit-bin={made}"]
    zig.run(zig.command(*command, "-cflags", *flags, "--", *map(str, sorted(files))), made, output, cache)
    return made


def sdk(flags: Sequence[str], made: Path, output: Path, cache: Path, without: Sequence[str] = ()) -> Path:
    """Make the archive of `guest/lib`, without the files in `without`."""
    files = (path for path in (guest.guest_dir() / "lib").glob("*.c") if path.name not in without)
    return archive(flags, files, made, output, cache)


def runtime(made: Path, output: Path, cache: Path) -> Path:
    """Make the archive of the compiler's own library. The first time this takes some three seconds.

    As `-rtlib=compiler-rt` would link it, but without line tables: those name where ziglang was when
    the compiler's cache was filled, so that the same sources gave other bytes.
    """
    command = ["build-lib", *TARGET, "-OReleaseFast"]
    return _of_zig(command, zig.library_dir(), "compiler_rt", made, output, cache)


def extras(scratch: Path, output: Path, cache: Path) -> Path:
    """Make the archive of musl's functions. The first time this takes some ten seconds."""
    made, musl = scratch / "extras.a", zig.library_dir() / "libc" / "musl"
    (scratch / "zig" / "c").mkdir(parents=True)
    (scratch / "zig" / "c.zig").write_text(_ZIG_MATH)
    shutil.copyfile(zig.library_dir() / "c" / "math.zig", scratch / "zig" / "c" / "math.zig")
    command = ["build-obj", "-lc", *_MUSL_TARGET, "-OReleaseSmall"]
    math = _of_zig(command, scratch / "zig", "c", scratch / "zig_math.o", output, cache)
    files = [musl / "src" / name for name in _MUSL_FILES]
    files += sorted((musl / "src" / "math").glob("*.c"))
    files += sorted((guest.guest_dir() / "lib" / "musl").glob("*.c"))
    flags = [*_MUSL_FLAGS, *(f"-I{musl / part}" for part in _MUSL_HEADERS)]
    command = ["build-lib", "-lc", *_MUSL_TARGET, *_ARCHIVE, f"-femit-bin={made}"]
    zig.run(zig.command(*command, "-cflags", *flags, "--", *map(str, files), str(math)), made, output, cache)
    return made


def _of_zig(command: list[str], folder: Path, name: str, made: Path, output: Path, cache: Path) -> Path:
    """Compile a source in zig's own language, which its compiler does not cache."""
    command = [*command, *_ZIG]
    digest = hashlib.sha256("\0".join([zig.version(), *command, _ZIG_MATH]).encode()).hexdigest()
    kept = cache / "libraries" / f"{name}-{digest[:16]}{made.suffix}"
    if not kept.is_file():
        if sys.stderr.isatty():
            sys.stderr.write("compiling libraries, once for all programs: some seconds\n")
        zig.run(zig.command(*command, f"-femit-bin={made}", str(folder / f"{name}.zig")), made, output, cache)
        kept.parent.mkdir(exist_ok=True)
        complete = Path(shutil.copy(made, kept.with_suffix(f".{os.getpid()}")))
        complete.replace(kept)
    return kept


def cxx(flags: Sequence[str], made: Path, output: Path, cache: Path) -> Path:
    """Make the archive of libc++."""
    source = zig.library_dir() / "libcxx" / "src"
    files = [source / name for name in _CXX_FILES if (source / name).is_file()]
    own = ("-w", "-g0", "-D_LIBCPP_BUILDING_LIBRARY", f"-I{source}")
    return archive([*flags, *own], files, made, output, cache)
