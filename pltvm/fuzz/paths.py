"""The paths in a campaign's folder, and reading and writing files there so that a kill does no harm."""

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
_README: Final = "README.txt"  # in crashes/


@dataclass(frozen=True)
class Paths:
    """The paths in one instance's folder."""

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
        """Return the path of the text report of an input in `crashes` or `hangs`."""
        return self.reports / f"{file.name.partition(',')[0]}.txt"


def find_campaign(file: Path) -> tuple[dict[str, Any], Paths]:
    """Return the options of the campaign that a file belongs to, and its paths.

    It searches the file's folder and all above it. Raises PltvmError when none has a valid campaign.json. It
    changes nothing and needs no lock, so it works while the campaign runs.
    """
    for folder in file.absolute().parents:
        if os.path.lexists(folder / CAMPAIGN):
            return read_options(folder, folder / CAMPAIGN), Paths(folder)
    raise PltvmError(
        f"{file}: is in no campaign's folder (there is no {CAMPAIGN} beside or above it); name its TARGET.elf"
    )


def lock(root: Path, folder: Path) -> int:
    """Lock a folder beneath `root`, like afl-fuzz; the lock lasts as long as the returned descriptor."""
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
    """Return the content of a campaign.json beneath `root`. Raises PltvmError when it is damaged."""
    with suppress(ValueError, RecursionError):
        options = json.loads(read_text(root, path))
        if isinstance(options, dict):
            return options
    raise PltvmError(f"{path}: is damaged: it is not a JSON object")


def read_input(root: Path, path: Path) -> bytes:
    """Return an input beneath `root`. Raises PltvmError."""
    with errors_about(path):
        data = beneath.read(root, path, beneath.MOST_INPUT)
        if data is None:
            raise PltvmError(f"{path}: cannot be read: no such file")
        return data


def inputs_of(folder: Path) -> list[Path]:
    """Return the inputs of the campaigns in an output `folder`, or all files in it. Raises PltvmError.

    In a folder without a campaign, all plain files are inputs.
    """
    queues = [one / "queue" for one in _instances(folder, "queue")]
    return [file for place in queues or [folder] for file in _inputs_in(folder, place)]


def findings_of(folder: Path) -> list[Path]:
    """Return the inputs in a folder that show a bug: those of its campaigns, or all files."""
    kinds = ("crashes", "hangs")
    places = [one / kind for one in _instances(folder, *kinds) for kind in kinds if (one / kind).is_dir()]
    return [file for place in places or [folder] for file in _inputs_in(folder, place)]


def _instances(folder: Path, *parts: str) -> list[Path]:
    """Return the folder of a campaign, or the folders of the campaigns in it: each has one of the parts."""
    if any((folder / part).is_dir() for part in parts):
        return [folder]
    if not folder.is_dir():
        return []
    with errors_about(folder):
        return sorted(one for one in folder.iterdir() if any((one / part).is_dir() for part in parts))


def _inputs_in(root: Path, folder: Path) -> list[Path]:
    """Return the inputs directly in a folder beneath `root`."""
    if not folder.is_dir():
        return []
    with errors_about(folder):
        names = [name for name in beneath.plain_files(root, folder) if not name.startswith(".")]
    named = [name for name in names if name.startswith("id:")]
    return [folder / name for name in named or names if name != _README]


def read_text(root: Path, path: Path) -> str:
    """Return the text of a file beneath `root`; "" if there is none. Raises PltvmError."""
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
