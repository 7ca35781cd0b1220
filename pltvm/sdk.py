"""Build enclaves from C with the SDK in `guest/`; find the prebuilt examples.

The compiler is the one in the `ziglang` package: `pip install 'pltvm[build]'` is all it takes. The same
sources give the same bytes, whatever directory they, the SDK or the caller are in: `rebuild` makes
`guest/elf/*.elf` and `guest/elf/attacks/*.elf` anew, and tests compare.

    python -m pltvm.sdk rebuild [DIRECTORY]
"""

import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from pltvm.errors import BuildError

_TARGET = ("-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+c")
_FLAGS = (
    # An integer-only RV64 CPU without an operating system, fixed addresses.
    *("-mabi=lp64", "-mcmodel=medany", "-std=gnu17", "-ffreestanding", "-fno-builtin", "-fno-pic"),
    # Nothing that needs run-time support, and functions that can be left out.
    *("-fno-sanitize=all", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mno-relax"),
    *("-ffunction-sections", "-fdata-sections"),
    # zig turns assertions off when it optimizes; here that takes a define.
    "-UNDEBUG",
    # What older compilers, which the original SDK's programs were written for, only warned about.
    *("-Wno-error=implicit-function-declaration", "-Wno-error=implicit-int"),
    *("-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types"),
    # No path of this machine in the result: with the prefix maps below.
    "-fdebug-compilation-dir=.",
)
_LINK = (
    *("-nostdlib", "-static", "-Wl,--gc-sections"),
    # Floating point and 128-bit division in software, for programs that use them: linked only then. (Its line
    # tables name the place where ziglang is installed, the one exception to "the same bytes".)
    "-rtlib=compiler-rt",
)
# For zig itself: the flags above decide. Without -funwind-tables there is a .debug_frame, which stays.
_LIBRARY = (
    *("-OReleaseFast", "-fno-PIC", "-fno-compiler-rt"),
    *("-fno-sanitize-c", "-fno-stack-check", "-funwind-tables"),
)


class Example(NamedTuple):
    """One example enclave: its C file and the ELF that was built from it."""

    source: Path
    elf: Path

    @property
    def summary(self) -> str:
        """What it does: the first sentence of the comment that its file starts with."""
        text = self.source.read_text(encoding="utf-8").removeprefix("/*").partition("*/")[0]
        lines = (line.strip().removeprefix("*").strip() for line in text.splitlines())
        paragraph = " ".join(takewhile(bool, lines))
        return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]


def guest_dir() -> Path:
    """The directory with `include/`, `lib/`, `examples/` and `elf/`: the checkout's or the package's."""
    package = Path(__file__).resolve().parent
    installed = package / "_guest"
    return installed if installed.is_dir() else package.parent / "guest"


def examples() -> dict[str, Example]:
    """The examples by name, for instance `hello-world`."""
    guest = guest_dir()
    sources = sorted((guest / "examples").glob("*.c"))
    return {source.stem: Example(source, guest / "elf" / f"{source.stem}.elf") for source in sources}


def attacks() -> list[Path]:
    """The C files of the attack programs that `pltvm selftest` runs, in its order."""
    return sorted((guest_dir() / "attacks").glob("[sec]-*.c"))


def attack_elf(name: str) -> Path:
    """The ELF of an attack program, or of `victim`."""
    return guest_dir() / "elf" / "attacks" / f"{name}.elf"


def copy_examples(dest: Path) -> list[Path]:
    """Copy the examples' sources into a directory, made if needed. A file already there is an error."""
    dest.mkdir(parents=True, exist_ok=True)
    sources = sorted((guest_dir() / "examples").glob("*.[ch]"))
    copies = [(source, dest / source.name) for source in sources]
    for _, copy in copies:
        if copy.exists():
            raise BuildError(f"{copy} exists already; remove it or choose another directory")
    for source, copy in copies:
        shutil.copyfile(source, copy)
    return [copy for _, copy in copies]


def build(
    sources: Sequence[Path],
    output: Path,
    *,
    opt: str = "-O2",
    debug: bool = True,
    defines: Mapping[str, str | int | None] | None = None,
) -> Path:
    """Compile C or assembly files with the SDK into one enclave ELF, and return its path.

    `opt` is the compiler's optimisation flag. With `debug` the ELF has line tables, so that a fault report
    can name the source line. A define of `None` has no value. The compiler's warnings go to stderr; its
    errors raise `BuildError`.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("building an enclave needs the C compiler of ziglang: pip install 'pltvm[build]'")
    sources = [source.resolve() for source in sources]
    for source in sources:
        if not source.is_file():
            raise BuildError(f"no such source file: {source}")

    guest = guest_dir()
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        elf, library = Path(scratch) / "enclave.elf", Path(scratch) / "library.a"
        cache = _cache_dir(scratch)
        flags = [
            *(*_FLAGS, opt),
            *(("-gdwarf-4", "-g1") if debug else ("-g0",)),
            *(f"-D{k}" if v is None else f"-D{k}={v}" for k, v in (defines or {}).items()),
            *_prefix_maps({guest, guest / "examples", *(source.parent for source in sources)}),
            *("-isystem", str(guest / "include")),
        ]
        # An archive, of which only the files that are needed get linked: the others' line tables would stay.
        parts = map(str, sorted((guest / "lib").glob("*.c")))
        archive = ["build-lib", *_TARGET, *_LIBRARY, f"-femit-bin={library}", "-cflags", *flags, "--", *parts]
        start = map(str, [*sources, *sorted((guest / "lib").glob("*.S"))])
        link = ["cc", *_TARGET, *flags, *_LINK, "-T", str(guest / "enclave.ld"), *start, str(library)]
        _zig(archive, library, output, cache)
        warnings = _zig([*link, "-o", str(elf)], elf, output, cache)
        sys.stderr.write(warnings)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(_without_labels(elf.read_bytes()))
    return output


def _zig(arguments: Sequence[str], made: Path, output: Path, cache: Path) -> str:
    """Run the compiler, which makes a file; returns its warnings, or raises BuildError with its errors."""
    command = [sys.executable, "-m", "ziglang", *arguments]
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    result = subprocess.run(command, cwd=cache, env=environment, capture_output=True, text=True)
    if result.returncode != 0 or not made.is_file():
        raise BuildError(f"{output.name} was not built:\n{(result.stderr or result.stdout).strip()}")
    return result.stderr


def rebuild(into: Path) -> list[Path]:
    """Build all examples into a directory."""
    return [build([example.source], into / example.elf.name) for example in examples().values()]


def rebuild_attacks(into: Path) -> list[Path]:
    """Build the attack programs into a directory; those of the kernel with the code in their folder."""
    folder = guest_dir() / "attacks"
    kernel_code = [folder / "supervisor.S", folder / "forge.c", folder / "puppet.S"]
    return [
        build(
            [source, *kernel_code] if source.name.startswith("s-") else [source],
            into / f"{source.stem}.elf",
            opt="-Oz",
            debug=False,
        )
        for source in [*attacks(), folder / "victim.c"]
    ]


def rebuild_monitor(into: Path) -> Path:
    """Build the code that the monitor runs on a hart of its own: one function, as bytes, into a directory."""
    from elftools.elf.elffile import ELFFile

    source, code = guest_dir() / "monitor" / "digest.c", into / "digest.bin"
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        made = Path(scratch) / "digest.o"
        compile_it = ["cc", *_TARGET, *_FLAGS, "-O3", "-g0", "-c", str(source), "-o", str(made)]
        _zig(compile_it, made, code, made.parent)
        with made.open("rb") as file:
            elf = ELFFile(file)
            parts = {section.name: section for section in elf.iter_sections() if section["sh_flags"] & 2}
            text = parts.pop(".text.compress").data()
            parts.pop(".eh_frame", None)  # the compiler describes the function all the same
            others = [name for name, section in parts.items() if section["sh_size"]]
            if others or elf.get_section_by_name(".rela.text.compress") is not None:
                raise BuildError(f"{source}: must be code alone, without data or references {others}")
    code.write_bytes(text)
    return code


def _prefix_maps(directories: set[Path]) -> list[str]:
    """Flags that make the paths in line tables relative. The last match wins: the innermost directory's."""
    return [f"-ffile-prefix-map={directory}/=" for directory in sorted(directories)]


def _cache_dir(scratch: str) -> Path:
    """Where the compiler keeps its objects: in the user's cache or, if that is read only, in `scratch`."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = base / "pltvm" / "zig"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(scratch)
    return cache if os.access(cache, os.W_OK) else Path(scratch)


_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _NOBITS = 2, 8


def _without_labels(elf: bytes) -> bytes:
    """The ELF without its local labels: the compiler leaves hundreds, and zig's linker cannot drop them.

    The symbol table and whatever follows it in the file, none of which gets loaded, are laid out anew.
    """
    header = list(_ELF_HEADER.unpack_from(elf))
    table, count = header[6], header[12]
    sections = [list(_SECTION.unpack_from(elf, table + i * _SECTION.size)) for i in range(count)]
    contents = [b"" if s[1] == _NOBITS else elf[s[4] : s[4] + s[5]] for s in sections]
    at = next((i for i, s in enumerate(sections) if s[1] == _SYMTAB), None)
    if at is None:
        return elf

    names = bytearray(b"\0")
    local: list[bytes] = []
    others: list[bytes] = []
    strings = contents[sections[at][6]]
    for name, info, other, section, value, size in _SYMBOL.iter_unpack(contents[at]):
        binding, kind = info >> 4, info & 15
        if binding == 0 and kind == 0:  # local, without type: a label (and the null symbol, put back below)
            continue
        text = strings[name : strings.index(b"\0", name) + 1]
        symbol = _SYMBOL.pack(len(names), info, other, section, value, size)
        names += text
        (others if binding else local).append(symbol)
    start = sections[at][4]
    contents[at] = b"".join([bytes(_SYMBOL.size), *local, *others])
    contents[sections[at][6]] = bytes(names)
    sections[at][7] = 1 + len(local)  # sh_info: the first symbol that is not local

    result = bytearray(elf[:start])
    for section, content in sorted(zip(sections, contents, strict=True), key=lambda pair: pair[0][4]):
        if section[4] >= start and section[1] != _NOBITS:
            result += bytes(-len(result) % max(section[8], 1))
            section[4], section[5] = len(result), len(content)
            result += content
    result += bytes(-len(result) % 8)
    header[6] = len(result)
    for section in sections:
        result += _SECTION.pack(*section)
    result[: _ELF_HEADER.size] = _ELF_HEADER.pack(*header)
    return bytes(result)


def main(arguments: Sequence[str]) -> int:
    """The command of this module; returns the exit status."""
    if not arguments or arguments[0] != "rebuild" or len(arguments) > 2:
        print("usage: python -m pltvm.sdk rebuild [DIRECTORY]", file=sys.stderr)
        return 2
    try:
        into = Path(arguments[1]) if len(arguments) == 2 else guest_dir() / "elf"
        for elf in [*rebuild(into), *rebuild_attacks(into / "attacks")]:
            print(elf)
        print(rebuild_monitor(into if len(arguments) == 2 else Path(__file__).parent / "monitor"))
    except (BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
