"""A new project: server, client, host program, tests and what runs them, from `guest/project`."""

import re
from pathlib import Path
from typing import Final

from pltvm.build import guest
from pltvm.errors import BuildError

_PLACES: Final = {"ci.yml": ".github/workflows/ci.yml"}  # where else than beside the others a file goes
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,14}")  # of a server, at most 16 bytes, and of a Python module


def create(folder: Path) -> list[Path]:
    """Make a project in a folder, which is called as its server is; the files, as they are made.

    Raises BuildError for a name that no server can have, and when a file is there already.
    """
    name = folder.name
    if not _NAME.fullmatch(name):
        raise BuildError(f"{name}: a name has small letters, digits and _, at most 15, a letter first")
    sources = sorted(path for path in (guest.guest_dir() / "project").iterdir() if path.is_file())
    made = {
        folder / _PLACES.get(source.name, source.name.replace("NAME", name)): source for source in sources
    }
    for path in made:
        if path.exists():
            raise BuildError(f"{path} exists already; choose another name")
    for path, source in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    (folder / ".gitignore").write_text("build/\n__pycache__/\n", encoding="utf-8")
    return [*made, folder / ".gitignore"]
