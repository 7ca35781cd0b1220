"""Enclaves with planted bugs for the fuzzer to find; built with FIXED each is the same without its bug.

The comment that a target's file starts with says what it is, what the bug is, how it is fuzzed and as what it
is found:

     * fuzz: --as server --calls 4
     * finds: fault

The first kind is what the bug is; the others are as what it can show, too, depending on the input.
"""

import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from pltvm.build.enclave import build_enclave

FOLDER = Path(__file__).parent
CALLER = FOLDER / "caller.c"  # calls a server with the messages of a test

_FUZZ = re.compile(r"^ \* fuzz: *(.*)$", re.MULTILINE)
_FINDS = re.compile(r"^ \* finds: *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """One enclave with a bug: its file, the options that it is fuzzed with, and the kinds of findings."""

    name: str
    source: Path
    options: tuple[str, ...]
    finds: tuple[str, ...]
    elf: Path | None = None  # once it is built

    def values(self, option: str) -> list[str]:
        """What stands behind each `option`."""
        return [value for name, value in zip(self.options, self.options[1:], strict=False) if name == option]

    def value(self, option: str, default: str) -> str:
        """What stands behind the last `option`."""
        return (self.values(option) or [default])[-1]

    @property
    def servers(self) -> dict[str, Path]:
        """Further servers by name, each a C file or, once built, an ELF."""
        pairs = (value.split("=", 1) for value in self.values("--server"))
        return {name: FOLDER / file for name, file in pairs}


def targets() -> list[Target]:
    """All of them, by name."""
    found = []
    for source in sorted(FOLDER.glob("*.c")):
        comment = source.read_text(encoding="utf-8").partition("*/")[0]
        fuzz, finds = _FUZZ.search(comment), _FINDS.search(comment)
        if fuzz and finds:
            kinds = tuple(kind.strip() for kind in finds[1].split(","))
            found.append(Target(source.stem, source, tuple(shlex.split(fuzz[1])), kinds))
    return found


def build(target: Target, fixed: bool, into: Path) -> Target:
    """Build a target, and the servers that it calls, into a directory: gives it with `elf`, and with ELFs for
    the C files in its options. What is there already is taken."""
    elf = into / ("fixed" if fixed else "buggy") / f"{target.name}.elf"
    _build(target.source, elf, {"FIXED": None} if fixed else None)
    options = list(target.options)
    for at, option in enumerate(options):
        if options[at - 1] == "--server" and option.endswith(".c"):
            name, file = option.split("=", 1)
            server = elf.with_name(file).with_suffix(".elf")
            options[at] = f"{name}={_build(FOLDER / file, server)}"
    return replace(target, options=tuple(options), elf=elf)


def _build(source: Path, elf: Path, defines: dict[str, None] | None = None) -> Path:
    """Build one, unless another process has: it sees all of an ELF or nothing."""
    if not elf.exists():
        build_enclave([source], elf.with_suffix(f".{os.getpid()}"), defines=defines).replace(elf)
    return elf
