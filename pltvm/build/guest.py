"""The files in `guest/`, which are part of the package: the SDK, examples, attacks, and their ELFs."""

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
_HOSTS: Final = "host-programs"


class Example(NamedTuple):
    """One example enclave: its C file and the ELF that was built from it."""

    source: Path
    elf: Path

    @property
    def summary(self) -> str:
        """Its description: the first sentence of the comment at the start of its file."""
        text = self.source.read_text(encoding="utf-8").removeprefix("/*").partition("*/")[0]
        lines = (line.strip().removeprefix("*").strip() for line in text.splitlines())
        paragraph = " ".join(takewhile(bool, lines))
        return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]


class HostExample(NamedTuple):
    """One example host program: its C file, and the ELF that was built from it for each C library."""

    source: Path
    elfs: Mapping[Libc, Path]


class Group(Enum):
    """The kind of an attack program. The value is the part of its file name before the dash."""

    KERNEL = "s"  # runs in S-mode, in the place of the host kernel
    ENCLAVE = "e"
    SERVERS = "c"  # an enclave, and two servers made of the same ELF
    SLOTS = "t"  # the same, but the first server is a concurrent one


class AttackSource(NamedTuple):
    """The C file of an attack program, and its kind."""

    source: Path
    group: Group


def guest_dir() -> Path:
    """Return the directory with `include/`, `lib/`, `examples/` and `elf/`: the checkout's or the
    package's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_guest"
    return installed if installed.is_dir() else package.parent / "guest"


def examples() -> dict[str, Example]:
    """Return the examples by name, for instance `hello-world`."""
    guest = guest_dir()
    sources = sorted((guest / "examples").glob("*.c"))
    return {source.stem: Example(source, guest / "elf" / f"{source.stem}.elf") for source in sources}


def attacks() -> list[AttackSource]:
    """Return the attack programs of `pltvm selftest`, in its order: by name."""
    folder = guest_dir() / "attacks"
    found = [AttackSource(one, group) for group in Group for one in folder.glob(f"{group.value}-*.c")]
    return sorted(found, key=lambda attack: attack.source)


def attack_elf(name: str) -> Path:
    """Return the ELF of an attack program, or of `victim`."""
    return guest_dir() / "elf" / "attacks" / f"{name}.elf"


def proxy() -> Example:
    """Return the enclave that calls servers for a Python program, see `pltvm.host.proxy`."""
    guest = guest_dir()
    return Example(guest / "proxy" / "proxy.c", guest / "elf" / "proxy.elf")


def copy_examples(dest: Path, *, built: bool = False) -> list[Path]:
    """Copy the examples' sources to a directory, made if needed, those of host programs to a folder in it. An
    existing file is an error.

    With `built` also the built files: `NAME.elf` of enclaves, and host programs for glibc.
    """
    sources = sorted((guest_dir() / "examples").glob("*.[ch]"))
    if built:
        sources += [example.elf for example in examples().values()]
        sources += [*sorted(host_elf_dir().glob("*.elf"))]
        sources += [example.elfs["glibc"] for example in host_examples().values()]
    hosts = sorted((host_dir() / "examples").glob("*.[ch]"))
    if dest.exists() and not dest.is_dir():
        raise BuildError(f"{dest}: is a file; name a folder to copy into")
    (dest / _HOSTS).mkdir(parents=True, exist_ok=True)
    copies = [(source, dest / source.name) for source in sources]
    copies += [(source, dest / _HOSTS / source.name) for source in hosts]
    for _, copy in copies:
        if copy.exists():
            raise BuildError(f"{copy} exists already; remove it or choose another directory")
    for source, copy in copies:
        shutil.copy(source, copy)
    return [copy for _, copy in copies]


def host_dir() -> Path:
    """Return the directory with the host library's `include/` and `lib/`, and `examples/`."""
    return guest_dir() / "host"


def host_elf_dir() -> Path:
    """Return the directory with the prebuilt host programs: `glibc/`, `musl/` and enclaves for them."""
    return guest_dir() / "elf" / "host"


def host_examples() -> dict[str, HostExample]:
    """Return the example host programs by name, for instance `test-caller`."""
    sources = sorted((host_dir() / "examples").glob("*.c"))
    return {
        source.stem: HostExample(source, {libc: host_elf_dir() / libc / source.stem for libc in LIBCS})
        for source in sources
        if not source.stem.endswith("-enclave")
    }
