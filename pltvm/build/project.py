"""Makes a new project from `guest/project`: server, client, host program, tests, and a CI workflow."""

import re
from pathlib import Path
from typing import Final

from pltvm.build import guest
from pltvm.errors import BuildError

_PLACES: Final = {"ci.yml": ".github/workflows/ci.yml"}  # files that go to another folder
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,14}")  # of a server, at most 16 bytes, and of a Python module


def create(folder: Path) -> list[Path]:
    """Make a project in a folder named like its server; return the files made.

    Raises BuildError if the name is not valid for a server, or if a file exists already.
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
