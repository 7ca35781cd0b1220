"""Where things are in a campaign's folder, and reading and writing them so that a kill does no harm."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pltvm.errors import PltvmError

CAMPAIGN: Final = "campaign.json"


@dataclass(frozen=True)
class Paths:
    """Where things are in one instance's folder."""

    root: Path

    @property
    def queue(self) -> Path:
        return self.root / "queue"

    @property
    def crashes(self) -> Path:
        return self.root / "crashes"

    @property
    def hangs(self) -> Path:
        return self.root / "hangs"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def campaign(self) -> Path:
        return self.root / CAMPAIGN

    def report_of(self, file: Path) -> Path:
        """The report for people of an input in `crashes` or `hangs`."""
        return self.reports / f"{file.name.partition(',')[0]}.txt"


def find_campaign(file: Path) -> tuple[dict[str, Any], Paths]:
    """The options of the campaign that a file belongs to, and where the rest of it is.

    Looks in the file's folder and all above it. Raises PltvmError when none has a sound campaign.json. It
    changes nothing and needs no lock, so it works while the campaign runs.
    """
    for folder in file.absolute().parents:
        if (folder / CAMPAIGN).is_file():
            return read_options(folder / CAMPAIGN), Paths(folder)
    raise PltvmError(f"{file}: is in no campaign's folder (there is no {CAMPAIGN} beside or above it)")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or as it was before, whenever this process ends.

    What is no file, such as a pipe, is written directly. Raises PltvmError when it cannot be written.
    """
    with errors_about(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        place = path.resolve()  # a link stays a link
        replace(place, data, place.with_name(f".{place.name[:60]}.{os.getpid()}"))


def replace(place: Path, data: bytes, scratch: Path) -> None:
    """Write a file under another name on the same file system, which no other writer uses, and rename it."""
    with errors_about(place):
        try:
            scratch.write_bytes(data)
            os.replace(scratch, place)
        except BaseException:
            with suppress(OSError):
                scratch.unlink()
            raise


def lock(folder: Path) -> int:
    """Lock a folder, as afl-fuzz does; the lock lasts as long as the file descriptor that this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PltvmError(f"{folder}: another campaign uses it; stop that, or name another folder") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_options(path: Path) -> dict[str, Any]:
    """The content of a campaign.json. Raises PltvmError when it is damaged."""
    with suppress(ValueError, RecursionError):
        options = json.loads(read(path))
        if isinstance(options, dict):
            return options
    raise PltvmError(f"{path}: is damaged: no JSON object")


def read(path: Path) -> bytes:
    with errors_about(path):
        return path.read_bytes()


def read_text(path: Path) -> str:
    """The text of a file; nothing if there is none."""
    return read(path).decode("utf-8", "replace") if path.exists() else ""


def encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def errors_about(path: Path) -> Iterator[None]:
    """Turns errors of the system into PltvmError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PltvmError(f"{path}: cannot be read or written: {reason}") from None
