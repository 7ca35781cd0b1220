"""What comes with the package in `guest/`: the SDK, examples, attacks, and the ELFs made of them."""

import re
import shutil
from collections.abc import Mapping
from enum import Enum
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from pltvm.errors import BuildError

Libc = Literal["glibc", "musl"]
LIBCS: Final = get_args(Libc)


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


class HostExample(NamedTuple):
    """One example host program: its C file, and the ELF that was built from it for each C library."""

    source: Path
    elfs: Mapping[Libc, Path]


class Group(Enum):
    """What an attack program is. The value stands before the dash in the name of its file."""

    KERNEL = "s"  # runs in S-mode, in the place of the host kernel
    ENCLAVE = "e"
    SERVERS = "c"  # an enclave, and two servers made of the same ELF
    SLOTS = "t"  # likewise, and the first server is a concurrent one


class AttackSource(NamedTuple):
    """The C file of an attack program, and what it is."""

    source: Path
    group: Group


def guest_dir() -> Path:
    """The directory with `include/`, `lib/`, `examples/` and `elf/`: the checkout's or the package's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_guest"
    return installed if installed.is_dir() else package.parent / "guest"


def examples() -> dict[str, Example]:
    """The examples by name, for instance `hello-world`."""
    guest = guest_dir()
    sources = sorted((guest / "examples").glob("*.c"))
    return {source.stem: Example(source, guest / "elf" / f"{source.stem}.elf") for source in sources}


def attacks() -> list[AttackSource]:
    """The attack programs that `pltvm selftest` runs, in its order: by name."""
    folder = guest_dir() / "attacks"
    found = [AttackSource(one, group) for group in Group for one in folder.glob(f"{group.value}-*.c")]
    return sorted(found, key=lambda attack: attack.source)


def attack_elf(name: str) -> Path:
    """The ELF of an attack program, or of `victim`."""
    return guest_dir() / "elf" / "attacks" / f"{name}.elf"


def proxy() -> Example:
    """The enclave that calls servers for a program outside, see `pltvm.host.proxy`."""
    guest = guest_dir()
    return Example(guest / "proxy" / "proxy.c", guest / "elf" / "proxy.elf")


def copy_examples(dest: Path, *, built: bool = False) -> list[Path]:
    """Copy the examples' sources into a directory, made if needed. A file already there is an error.

    With `built` also what was made of them: `NAME.elf` of enclaves, and host programs, those for glibc.
    """
    sources = sorted((guest_dir() / "examples").glob("*.[ch]"))
    if built:
        sources += [example.elf for example in examples().values()]
        sources += [*sorted(host_elf_dir().glob("*.elf"))]
        sources += [example.elfs["glibc"] for example in host_examples().values()]
    dest.mkdir(parents=True, exist_ok=True)
    copies = [(source, dest / source.name) for source in sources]
    for _, copy in copies:
        if copy.exists():
            raise BuildError(f"{copy} exists already; remove it or choose another directory")
    for source, copy in copies:
        shutil.copy(source, copy)
    return [copy for _, copy in copies]


def host_dir() -> Path:
    """The directory with the host library's `include/` and `lib/`, and `examples/`."""
    return guest_dir() / "host"


def host_elf_dir() -> Path:
    """The directory with the prebuilt ELFs of host programs: `glibc/`, `musl/` and enclaves for them."""
    return guest_dir() / "elf" / "host"


def host_examples() -> dict[str, HostExample]:
    """The example host programs by name, for instance `test-caller`."""
    sources = sorted((host_dir() / "examples").glob("*.c"))
    return {
        source.stem: HostExample(source, {libc: host_elf_dir() / libc / source.stem for libc in LIBCS})
        for source in sources
        if not source.stem.endswith("-enclave")
    }
