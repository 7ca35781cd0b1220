"""The file of the user's keys: JSON in the user's data directory, made once, with mode 600.

    ~/.local/share/pltvm/keys.json      or below $XDG_DATA_HOME; elsewhere what `platformdirs` says

It is written under another name and linked to its own when complete, so that two commands that start
together use the same keys, and no half-written file is ever read.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError
from pltvm.host.plain_file import read_plain
from pltvm.monitor.keys import Keys

_MODE: Final = 0o600
_MOST: Final = 1 << 16  # bytes of a key file


def default_path() -> Path:
    """Return the path of the user's key file."""
    from platformdirs import user_data_path

    return user_data_path("pltvm", appauthor=False) / "keys.json"


def load(path: Path) -> Keys:
    """Return the keys in a file. Raises PltvmError when it cannot be read or has other content."""
    text = read_plain(path, _MOST).decode("utf-8", "replace")
    try:
        return Keys.from_json(text)
    except PltvmError as error:
        raise PltvmError(f"{path}: {error}") from None


def load_or_create(path: Path | None = None) -> Keys:
    """Return the keys in a file, by default the user's; generate them when there is no such file.

    Raises PltvmError when the file can be neither read nor made.
    """
    path = path or default_path()
    if not path.exists():
        _create(path, Keys.generate())
    return load(path)


def _create(path: Path, keys: Keys) -> None:
    """Write keys to a new file; if the file has appeared meanwhile, leave it as it is."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # mode 600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(keys.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(scratch, _MODE)
            with contextlib.suppress(FileExistsError):
                os.link(scratch, path)
        finally:
            os.unlink(scratch)
    except OSError as error:
        raise PltvmError(f"{path}: the keys cannot be stored: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
