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
from pltvm.fuzz import beneath

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
        if os.path.lexists(folder / CAMPAIGN):
            return read_options(folder, folder / CAMPAIGN), Paths(folder)
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
        beneath.write(place.parent, place, data, place.with_name(f".{place.name[:60]}.{os.getpid()}"))


def lock(root: Path, folder: Path) -> int:
    """Lock a folder beneath `root`, as afl-fuzz does; that lasts as long as the descriptor it gives."""
    with beneath.opened(root, folder) as opened:
        descriptor = os.dup(opened)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PltvmError(f"{folder}: another campaign uses it; stop that, or name another folder") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_options(root: Path, path: Path) -> dict[str, Any]:
    """The content of a campaign.json beneath `root`. Raises PltvmError when it is damaged."""
    with suppress(ValueError, RecursionError):
        options = json.loads(read_text(root, path))
        if isinstance(options, dict):
            return options
    raise PltvmError(f"{path}: is damaged: no JSON object")


def read_input(root: Path, path: Path) -> bytes:
    """An input beneath `root`. Raises PltvmError."""
    with errors_about(path):
        data = beneath.read(root, path, beneath.MOST_INPUT)
        if data is None:
            raise PltvmError(f"{path}: cannot be read: no such file")
        return data


def inputs_of(folder: Path) -> list[Path]:
    """The inputs of a campaign whose output `folder` is, or those that are in it. Raises PltvmError."""
    inputs = folder / "default" / "queue" if (folder / "default").is_dir() else folder
    if not folder.is_dir():
        return []
    with errors_about(inputs):
        names = beneath.plain_files(folder, inputs)
    return [inputs / name for name in names if name.startswith("id:")]


def read_text(root: Path, path: Path) -> str:
    """The text of a file beneath `root`; nothing if there is none. Raises PltvmError."""
    with errors_about(path):
        return (beneath.read(root, path, beneath.MOST_TEXT) or b"").decode("utf-8", "replace")


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
