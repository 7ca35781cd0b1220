"""Build Linux host programs from C with the host library in `guest/host/`; find the prebuilt examples.

A host program is a static RV64 executable, for one of two C libraries:

    musl    soft float (lp64), by the compiler of `ziglang`: `pip install 'pltvm[build]'`
    glibc   hard float (lp64d), by Debian's cross compiler: `apt-get install gcc-riscv64-linux-gnu …`

The same sources and the same tools give the same bytes. The ziglang release is pinned; which cross compiler
made the glibc ELFs is told by `guest/elf/host/glibc/TOOLCHAIN`.

    python -m pltvm.sdk_host rebuild [DIRECTORY]
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, Literal, NamedTuple, get_args

from pltvm import sdk
from pltvm.errors import BuildError

Libc = Literal["glibc", "musl"]
LIBCS: Final = get_args(Libc)

_CROSS: Final = "riscv64-linux-gnu-gcc"
_FLAGS: Final = (
    *("-std=gnu11", "-Os", "-static", "-pthread", "-ffunction-sections", "-fdata-sections"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--gc-sections", "-Wl,--build-id=none"),
    # What older compilers, which the original SDK's programs were written for, only warned about.
    *("-Wno-error=implicit-function-declaration", "-Wno-error=implicit-int"),
    *("-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types"),
)
_GLIBC_FLAGS: Final = ("-march=rv64gc", "-mabi=lp64d", "-Wl,--strip-debug")
_MUSL_FLAGS: Final = (
    *("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+c", "-mabi=lp64", "-fno-sanitize=all"),
    # Without line tables zig's linker leaves the symbols out too; with them, we take out the tables alone.
    *("-g1", "-fdebug-compilation-dir=."),
    "-Wno-deprecated-non-prototype",  # printHex: see penglai-enclave.h
)


class HostExample(NamedTuple):
    """One example host program: its C file, and the ELF that was built from it for each C library."""

    source: Path
    elfs: Mapping[Libc, Path]


def host_dir() -> Path:
    """The directory with the host library's `include/` and `lib/`, and `examples/`."""
    return sdk.guest_dir() / "host"


def host_elf_dir() -> Path:
    """The directory with the prebuilt ELFs: `glibc/`, `musl/` and enclaves for them."""
    return sdk.guest_dir() / "elf" / "host"


def host_examples() -> dict[str, HostExample]:
    """The example host programs by name, for instance `test-caller`."""
    sources = sorted((host_dir() / "examples").glob("*.c"))
    return {
        source.stem: HostExample(source, {libc: host_elf_dir() / libc / source.stem for libc in LIBCS})
        for source in sources
        if not source.stem.endswith("-enclave")
    }


def build_host(
    sources: Sequence[Path],
    output: Path,
    libc: Libc = "glibc",
    *,
    defines: Mapping[str, str | int | None] | None = None,
) -> Path:
    """Compile C files with the host library into one static executable for Linux, and return its path.

    A define of `None` has no value. The compiler's warnings go to stderr; its errors raise `BuildError`.
    """
    compiler = _compiler(libc)
    sources = [source.resolve() for source in sources]
    for source in sources:
        if not source.is_file():
            raise BuildError(f"no such source file: {source}")

    library = host_dir()
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        elf = Path(scratch) / "program"
        command = [
            *compiler,
            *_FLAGS,
            *(f"-D{k}" if v is None else f"-D{k}={v}" for k, v in (defines or {}).items()),
            *sdk._prefix_maps({library, library / "examples", *(source.parent for source in sources)}),
            *("-isystem", str(library / "include")),
            *map(str, [*sources, *sorted((library / "lib").glob("*.c"))]),
            *("-o", str(elf)),
        ]
        cache = sdk._cache_dir(scratch) if libc == "musl" else Path(scratch)
        environment = os.environ | {
            "LC_ALL": "C",
            "ZIG_GLOBAL_CACHE_DIR": str(cache),
            "ZIG_LOCAL_CACHE_DIR": str(cache),
        }
        result = subprocess.run(command, cwd=cache, env=environment, capture_output=True, text=True)
        if result.returncode != 0 or not elf.is_file():
            raise BuildError(f"{output.name} was not built:\n{(result.stderr or result.stdout).strip()}")
        sys.stderr.write(result.stderr)
        data = elf.read_bytes()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(_without_debug(data))
    output.chmod(0o755)
    return output


def _compiler(libc: Libc) -> list[str]:
    if libc == "musl":
        if importlib.util.find_spec("ziglang") is None:
            raise BuildError("building for musl needs the C compiler of ziglang: pip install 'pltvm[build]'")
        return [sys.executable, "-m", "ziglang", "cc", *_MUSL_FLAGS]
    if libc != "glibc":
        raise BuildError(f"no such C library: {libc}; there are {' and '.join(LIBCS)}")
    if toolchain() is None:
        raise BuildError(
            f"building for glibc needs {_CROSS} and its C library: "
            "apt-get install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"
        )
    return [_CROSS, *_GLIBC_FLAGS]


def toolchain() -> str | None:
    """What makes the bytes of glibc programs: versions of compiler and linker, hashes of C library files.

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
        if not file.is_absolute():  # gcc gives the bare name of what it does not find
            return None
        lines.append(f"{name} sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return "\n".join(lines) + "\n"


def rebuild(into: Path, libcs: Sequence[Libc] = LIBCS) -> list[Path]:
    """Build all example host programs, and the enclaves made for them, into a directory."""
    built = [
        sdk.build([source], into / f"{source.stem}.elf")
        for source in sorted((host_dir() / "examples").glob("*-enclave.c"))
    ]
    for libc in libcs:
        built += [
            build_host([example.source], into / libc / name, libc)
            for name, example in host_examples().items()
        ]
        if libc == "glibc":
            (into / libc / "TOOLCHAIN").write_text(toolchain() or "")
    return built


def _without_debug(elf: bytes) -> bytes:
    """The ELF without `.debug_*` sections and without local labels: what gets loaded stays where it is.

    The other sections that do not get loaded are put behind it, with their numbers changed to suit.
    """
    header = list(sdk._ELF_HEADER.unpack_from(elf))
    table, count, names_at = header[6], header[12], header[13]
    sections = [list(sdk._SECTION.unpack_from(elf, table + i * sdk._SECTION.size)) for i in range(count)]
    contents = [b"" if s[1] == sdk._NOBITS else elf[s[4] : s[4] + s[5]] for s in sections]
    names = contents[names_at]
    kept = [i for i, s in enumerate(sections) if not names[s[0] :].startswith(b".debug_")]
    number = {old: new for new, old in enumerate(kept)}

    for i in kept:
        if sections[i][1] == sdk._SYMTAB:
            contents[i], contents[sections[i][6]], sections[i][7] = _symbols(
                contents[i], contents[sections[i][6]], number
            )
    loaded = [s[4] + s[5] for s in sections if s[2] & _ALLOC and s[1] != sdk._NOBITS]
    result = bytearray(elf[: max([sdk._ELF_HEADER.size + header[9] * header[10], *loaded])])
    moved: dict[int, int] = {}
    for i in kept:
        section = sections[i]
        section[6] = number.get(section[6], 0)
        if section[2] & _INFO_LINK:
            section[7] = number.get(section[7], 0)
        if i and not section[2] & _ALLOC:
            result += bytes(-len(result) % max(section[8], 1))
            moved[section[4]] = len(result)
            section[4], section[5] = len(result), len(contents[i])
            result += contents[i]
    result += bytes(-len(result) % 8)
    header[6], header[12], header[13] = len(result), len(kept), number[names_at]
    for i in kept:
        result += sdk._SECTION.pack(*sections[i])
    for at in range(header[5], header[5] + header[9] * header[10], header[9]):
        (kind,), (offset,) = _U32.unpack_from(result, at), _U64.unpack_from(result, at + 8)
        if kind == _PT_RISCV_ATTRIBUTES:
            _U64.pack_into(result, at + 8, moved.get(offset, offset))
    result[: sdk._ELF_HEADER.size] = sdk._ELF_HEADER.pack(*header)
    return bytes(result)


_U32, _U64 = Struct("<I"), Struct("<Q")
_ALLOC, _INFO_LINK = 2, 0x40  # section flags
_PT_RISCV_ATTRIBUTES: Final = 0x7000_0003  # the one program header for a section that does not get loaded
_RESERVED: Final = 0xFF00  # section numbers from here on mean something else, for instance "absolute"


def _symbols(table: bytes, strings: bytes, number: Mapping[int, int]) -> tuple[bytes, bytes, int]:
    """The symbols of kept sections without local labels, their names, and how many of them are local."""
    names = bytearray(b"\0")
    local: list[bytes] = [bytes(sdk._SYMBOL.size)]
    others: list[bytes] = []
    for name, info, other, section, value, size in sdk._SYMBOL.iter_unpack(table):
        binding, kind = info >> 4, info & 15
        known = section >= _RESERVED or section in number
        if not known or (binding == 0 and kind == 0):
            continue
        section = section if section >= _RESERVED else number[section]
        symbol = sdk._SYMBOL.pack(len(names), info, other, section, value, size)
        names += strings[name : strings.index(b"\0", name) + 1]
        (others if binding else local).append(symbol)
    return b"".join([*local, *others]), bytes(names), len(local)


def main(arguments: Sequence[str]) -> int:
    """The command of this module; returns the exit status."""
    if not arguments or arguments[0] != "rebuild" or len(arguments) > 2:
        print("usage: python -m pltvm.sdk_host rebuild [DIRECTORY]", file=sys.stderr)
        return 2
    try:
        for elf in rebuild(Path(arguments[1]) if len(arguments) == 2 else host_elf_dir()):
            print(elf)
    except (BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
