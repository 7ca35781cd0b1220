"""Options that several commands have, and what their texts mean."""

import os
import re
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from pltvm.errors import PltvmError
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import CHOICES, Kind, decide

_SMALL: Final = 1 << 20  # bytes
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str | int) -> int:
    """`512M`, `2G`, `64K` or plain bytes → bytes; a default is a number already."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d{1,18})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is no size: write 512M, 2G or a number of bytes")
    return int(match[1]) * _UNITS[match[2].upper()]


def file_or_text(value: str | None) -> bytes | None:
    """The contents of the file of that name, or the text itself where there is no such file."""
    if value is None:
        return None
    try:
        return Path(value).read_bytes() if os.path.isfile(value) else os.fsencode(value)
    except OSError as error:
        raise PltvmError(f"{value}: cannot be read: {error.strerror}") from None


def build_wall(
    wanted: bool,
    read: Iterable[str | Path],
    write: Iterable[str | Path] = (),
    *,
    folder: Path | None = None,
    file: Path | None = None,
    links: Iterable[str | Path] = (),
    **keeps: bool,
) -> None:
    """Confine this process before it runs somebody else's program, and say what could not be had.

    Arguments as of `pltvm.confine.confine`. `folder` and `file` are for output: behind the wall they could
    not be made, so they are made here. Raises PltvmError when the folder can not.
    """
    if not wanted:
        return
    from pltvm.confine import confine

    if folder is not None and not folder.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PltvmError(f"{folder}: cannot be written: {error.strerror}") from None
    if file is not None and not file.exists():
        with suppress(OSError):  # then it is for those who write to it to say so
            file.touch()
    missing = confine(
        read, [*write, *(path for path in (folder, file) if path is not None)], links=links, **keeps
    )
    if missing:
        print(f"pltvm: {'; '.join(missing)} (see docs/threat-model.md)", file=sys.stderr)


def read_small(path: Path) -> bytes:
    """The bytes of a file that holds a report or a key. Raises PltvmError, also for what has no end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PltvmError(f"{path}: is no plain file")
            content = file.read(_SMALL + 1)
    except OSError as error:
        raise PltvmError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _SMALL:
        raise PltvmError(f"{path}: has more than {_SMALL >> 20} MiB")
    return content


def refuse_host_program(file: str | os.PathLike[str]) -> None:
    """Raises PltvmError for what is a Linux program beyond doubt, where only an enclave makes sense."""
    decision = decide(file)
    if decision.kind is Kind.LINUX_PROGRAM and decision.sure:
        raise PltvmError(f"{name_of(file)}: is a host program, no enclave: it {decision.reasons[0]}")


def parse_kind(text: str) -> Kind:
    """What a file is to be taken for (--as)."""
    if text not in CHOICES:
        raise typer.BadParameter(f"--as {text}: write one of {', '.join(CHOICES)}")
    return Kind(text)


As = Annotated[
    str | None, typer.Option("--as", metavar="|".join(CHOICES), help="What FILE is, if not what it seems.")
]
Size = Annotated[int, typer.Option(parser=parse_size, metavar="SIZE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Shm = Annotated[str | None, typer.Option(metavar="FILE|TEXT", help="Memory shared with the host.")]
KeyFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="Keys of the machine; made if there is no file.")
]
Confined = Annotated[bool, typer.Option("--confine/--no-confine", help="Confine this process to its files.")]
