"""Finds the source lines for the places in a trace, in given folders.

A trace has no sources, and names files without their folders. Of several files with the same name, the one is
used that has the traced functions above the traced lines; of several such files, the first in the order of
the folders.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

_PLACE: Final = re.compile(r"^([^+ ]*)\S* \(([^()/]+):(\d+)\)$")
_MOST_FILES: Final = 200
_MOST_BYTES: Final = 1 << 20
_DEEP: Final = 4  # levels of folders
_MOST_LOOKED_AT: Final = 20_000


Seen = set[tuple[str, int]]  # functions, with lines in them


def find(wheres: Iterable[str], folders: Sequence[Path]) -> dict[str, list[str]]:
    """Return the lines of each file named in places such as `main+0x1c (caller.c:42)`, by name, if found."""
    wanted: dict[str, Seen] = {}
    for where in wheres:
        if found := _PLACE.match(where):
            wanted.setdefault(found[2], set()).add((found[1], int(found[3])))
    best: dict[str, tuple[int, list[str]]] = {}
    candidates: dict[str, int] = {}
    for path in _unique(path for folder in folders for path in _files(folder, wanted.keys())):
        if path.stat().st_size > _MOST_BYTES or (path.name not in best and len(best) >= _MOST_FILES):
            continue
        lines = path.read_text("utf-8", "replace").splitlines()
        score = _score(lines, wanted[path.name])
        candidates[path.name] = candidates.get(path.name, 0) + 1
        if path.name not in best or score > best[path.name][0]:
            best[path.name] = score, lines
    return {
        name: lines
        for name, (score, lines) in best.items()
        if score or candidates[name] == 1 or name.endswith(".h")
    }


def _score(lines: list[str], seen: Seen) -> int:
    """Return how many of the places may be in this file."""
    return sum(
        line <= len(lines) and any(re.search(rf"\b{re.escape(name)}\b", text) for text in lines[:line])
        for name, line in seen
    )


def _unique(paths: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        whole = path.resolve()
        if whole not in seen:
            seen.add(whole)
            yield path


def _files(folder: Path, names: Collection[str]) -> list[Path]:
    """Return plain files of these names in a folder and those below it."""
    files, looked_at = [], 0
    for here, below, names_here in os.walk(folder):
        looked_at += len(names_here)
        if looked_at > _MOST_LOOKED_AT:
            break
        depth = len(Path(here).relative_to(folder).parts)
        below[:] = sorted(one for one in below if not one.startswith(".")) if depth < _DEEP else []
        files += [Path(here, one) for one in sorted(names_here) if one in names]
    return [path for path in files if path.is_file()]
