"""Builds enclaves from C, C++ and assembly with the SDK in `guest/`: its headers, library and linker script.

Files are compiled one by one. Then they are linked, with more of the libraries if the linker needs them:

    compile each source ─▶ objects ─▶ link with the SDK ─┬─▶ ELF
                                        ▲                ├─ symbols are missing: + runtime, + extras, + cxx
                                        ╰────────────────┴─ constructors, thread variables: + startup.c

So a program that needs none of these libraries has the same bytes as if they did not exist.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pltvm.build import arguments, check, guest, library, objects, zig
from pltvm.build.arguments import ASSEMBLY, CXX, Arguments
from pltvm.build.library import TARGET
from pltvm.errors import BuildError

FLAGS: Final = (
    # An integer-only RV64 CPU without an operating system, fixed addresses.
    *(*library.MACHINE, "-ffreestanding", "-fno-builtin"),
    # Nothing that needs run-time support; unused functions can be removed.
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
    *("-ffunction-sections", "-fdata-sections"),
    # zig turns assertions off when it optimizes; here that needs a define.
    "-UNDEBUG",
    # With the prefix maps below, no path of this machine is in the result.
    "-fdebug-compilation-dir=.",
)
_UNCHECKED: Final = "-fno-sanitize=all"  # with zig, no later flag can turn a check on again
_OF_C: Final = ("-std=gnu17", *zig.OLD_C)
_LINK: Final = ("-nostdlib", "-static", "-Wl,--gc-sections")
_STARTUP: Final = "startup.c"  # linked from its source, if needed
_MISSING, _OF_LIBCXX = "undefined symbol", "std::"
_OTHER_ABI: Final = "different floating-point ABI"
_OUR_ABI: Final = "enclaves have no floating-point registers: compile objects with -march=rv64imac -mabi=lp64"


def build_enclave(
    sources: Sequence[Path],
    output: Path,
    *,
    opt: str = "-O2",
    debug: bool = True,
    defines: zig.Defines | None = None,
    flags: Sequence[str] = (),
    checked: bool = False,
) -> Path:
    """Compile C, C++ or assembly files with the SDK into one enclave ELF, and return its path; a missing
    folder for it is made.

    `opt` is the compiler's optimisation flag. With `debug` the ELF has line tables, so that a fault report
    can name the source line. A define with value `None` has no value. `flags` are further flags of a C
    compiler and its linker. With `checked` memory errors are detected, see `pltvm.build.check`. The
    compiler's warnings go to stderr; its errors raise `BuildError`.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{output}: cannot be written: {error.strerror}") from None
    asked = arguments.parse([*map(str, sources), *zig.defining(defines), *flags])
    asked = replace(asked, opt=opt, debug=asked.debug if debug else "-g0", output=output)
    return drive(asked, checked=checked)[-1]


def drive(asked: Arguments, *, checked: bool = False, symbols: check.Symbols | None = None) -> list[Path]:
    """Run a command line, and return the files that it made: none if the result is text on stdout.

    `symbols` describes the addresses of a checked program; without it, only functions are named.
    Raises BuildError.
    """
    if not zig.is_installed():
        raise BuildError("building an enclave needs the C compiler of ziglang: pip install 'pltvm[build]'")
    zig.found(asked.files)
    if asked.output is not None and not asked.output.parent.is_dir():
        raise BuildError(f"{asked.output}: cannot be written: No such file or directory")
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as folder:
        build = _Build(asked, checked, symbols, Path(folder))
        if asked.mode:
            return build.compile_only()
        elf = build.link()
        try:
            build.output.write_bytes(elf)
        except OSError as error:
            raise BuildError(f"{build.output}: cannot be written: {error.strerror}") from None
    return [build.output]


def answer(asked: Arguments) -> int:
    """Let the compiler answer a query about itself, and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as folder:
        command = [*zig.command("cc", *TARGET), *asked.flags]
        return subprocess.run(command, env=zig.environment(zig.cache_dir(folder))).returncode


class _Build:
    """One command line in progress, with a folder for intermediate files."""

    def __init__(self, asked: Arguments, checked: bool, symbols: check.Symbols | None, scratch: Path) -> None:
        self.asked, self.checked, self.symbols, self.scratch = asked, checked, symbols, scratch
        self.cache = zig.cache_dir(scratch)
        self.output = asked.output or asked.default_output()
        self.sdk = guest.guest_dir()
        parents = (Path(one).resolve().parent for one in asked.sources)
        self.maps = zig.prefix_maps({self.sdk, self.sdk / "examples", *parents})
        # The flags of the SDK contain no folder of the program, so that the compiler's cache can be used.
        self.sdk_maps = zig.prefix_maps({self.sdk})
        self.debug = self._debug("-g1")

    def compile_only(self) -> list[Path]:
        """Do -c, -S or -E: make a file of each source, or text on stdout."""
        asked = self.asked
        if asked.output is not None and len(asked.sources) > 1:
            raise BuildError(f"{asked.mode} with -o takes one source")
        suffix = {"-c": ".o", "-S": ".s"}.get(asked.mode)
        made = []
        for name in asked.sources:
            source = Path(name).resolve()
            output = asked.output or (Path(source.stem + suffix) if suffix else Path("-"))
            command = [*self._compile(source), asked.mode, str(source)]
            if str(output) != "-":
                command += ["-o", str(output.absolute())]
                made.append(output)
            environment = zig.environment(self.cache, self.scratch / "objects")
            result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
            if result.returncode != 0:
                raise BuildError(f"{source.name} was not compiled:\n{result.stderr.strip()}")
            sys.stderr.write(result.stderr)
        return made

    def link(self) -> bytes:
        """Compile, and link with the needed libraries; return the ELF."""
        from pltvm.build.strip import strip

        inputs = self._objects()
        # Objects come before sources of the SDK.
        common = [
            *FLAGS,
            _UNCHECKED,
            *_OF_C,
            self.asked.opt,
            *self.debug,
            *self.sdk_maps,
            *zig.include_paths(),
        ]
        sources = [self.sdk / "lib" / "start.S"]
        libraries = self._libraries(common, inputs)
        more = iter((self._runtime, self._extras))
        while True:
            command = [
                *zig.command("cc", *TARGET, *common, *_LINK, "-T", str(self.sdk / "enclave.ld")),
                *(*inputs, *map(str, [*sources, *libraries])),
            ]
            try:
                elf, warnings = self._linked(command)
            except BuildError as error:
                make = next(more, None) if _MISSING in str(error) else None
                if _OTHER_ABI in str(error):
                    raise BuildError(f"{error}\n{_OUR_ABI}") from None
                if make is None:
                    raise
                libraries += make(str(error))
                continue
            if len(sources) > 1 or not objects.has_startup(elf):
                break
            sources.append(self.sdk / "lib" / _STARTUP)
        if self.checked:
            table = check.names(elf, self.scratch / "names.S", self.symbols)
            elf, _ = self._linked([*command, str(table)])
        sys.stderr.write(warnings)
        return strip(objects.without_tls_header(elf), debug=False)

    def _runtime(self, _missing: str) -> list[Path]:
        return [library.runtime(self.scratch / "runtime.a", self.output, self.cache)]

    def _extras(self, missing: str) -> list[Path]:
        made = [library.extras(self.scratch, self.output, self.cache)]
        if _OF_LIBCXX in missing:
            flags = [*FLAGS, _UNCHECKED, *library.CXX, "-O2", *zig.include_paths(cxx=True)]
            made.append(library.cxx(flags, self.scratch / "cxx.a", self.output, self.cache))
        return made

    def _linked(self, command: Sequence[str]) -> tuple[bytes, str]:
        """Return the ELF, and the linker's messages."""
        elf = self.scratch / "enclave.elf"
        warnings = zig.run([*command, "-o", str(elf)], elf, self.output, self.cache, here=True)
        return elf.read_bytes(), warnings

    def _objects(self) -> list[str]:
        """Return the inputs of the linker in the order of the command line, with an object for each
        source."""
        inputs = []
        for number, name in enumerate(self.asked.inputs):
            if name not in self.asked.sources:
                inputs.append(name)
                continue
            source = Path(name).resolve()
            made = self.scratch / f"{number}-{source.stem}.o"
            command = [*self._compile(source), "-c", str(source), "-o", str(made)]
            fresh = self.scratch / "objects"
            sys.stderr.write(zig.run(command, made, self.output, self.cache, here=True, objects=fresh))
            inputs.append(str(made))
        return inputs

    def _compile(self, source: Path) -> list[str]:
        """Return the command for one source: our flags first, so that those of the command line take
        precedence."""
        assembly, cxx = source.suffix in ASSEMBLY, source.suffix in CXX
        language = () if assembly else library.CXX if cxx else _OF_C
        # Only full information has the names of C++ as people write them.
        debug = self._debug("-g" if cxx else "-g1")
        return [
            *zig.command("c++" if cxx else "cc", *TARGET),
            *(*FLAGS, *language, self.asked.opt, *debug, "-Wall"),
            *(check.flags() if self.checked and not assembly else (_UNCHECKED,)),
            *(*self.asked.flags, *self.maps, *zig.include_paths(cxx)),
        ]

    def _debug(self, usual: str) -> list[str]:
        """Return the flags for debug information: what was asked for, else what is usual."""
        asked = self.asked.debug or usual
        return [asked] if asked == "-g0" else ["-gdwarf-4", asked]

    def _libraries(self, common: list[str], inputs: list[str]) -> list[Path]:
        """Return the SDK's archives: with floating point in printf, and with checks, if needed."""
        files = [Path(one) for one in inputs if not one.startswith("-") and Path(one).is_file()]
        if "_printf_float" in inputs or objects.print_floats(files):
            common = [*common, "-DPLTVM_FLOATS"]
        flags = common
        if self.checked:
            flags = [*(one for one in common if one != _UNCHECKED), *check.library_flags()]
        made = library.sdk(flags, self.scratch / "library.a", self.output, self.cache, [_STARTUP])
        if not self.checked:
            return [made]
        return [check.runtime(common, self.scratch / "check.a", self.output, self.cache), made]
