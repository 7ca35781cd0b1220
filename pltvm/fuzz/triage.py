"""Replays all findings of a folder: finds those that still show, and groups those of the same bug."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pltvm.fuzz import afl_files
from pltvm.fuzz.paths import Paths, findings_of, read_input
from pltvm.fuzz.results import Finding
from pltvm.fuzz.store import read_about
from pltvm.fuzz.worker import Worker

SAME, OTHER, NOTHING = "the same", "something else", "nothing"
_UNKNOWN: Final = ""


@dataclass(frozen=True)
class Replayed:
    """One input, with the campaign's report of it, and the present result.

    `then` is the reported kind, "" if unknown; `now` is the present finding, None for none.
    """

    file: Path
    size: int  # bytes
    then: str
    signature: str  # as reported
    now: Finding | None

    @property
    def outcome(self) -> str:
        """The comparison: SAME, OTHER or NOTHING."""
        if self.now is None:
            return NOTHING
        return SAME if self.signature in (_UNKNOWN, self.now.signature) else OTHER

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        now = self.now
        return {
            "file": str(self.file),
            "bytes": self.size,
            "reported": {"kind": self.then, "signature": self.signature} if self.then else None,
            "outcome": self.outcome,
            "kind": now.kind if now else None,
            "signature": now.signature if now else None,
            "summary": now.summary if now else None,
        }


@dataclass(frozen=True)
class Group:
    """Inputs that probably show the same bug, the shortest first."""

    inputs: tuple[Replayed, ...]

    @property
    def finding(self) -> Finding:
        """The finding of the shortest input."""
        finding = self.inputs[0].now
        assert finding is not None
        return finding

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        about = self.finding
        return {
            "kind": about.kind,
            "signature": about.signature,
            "summary": about.summary,
            "details": about.details,
            "files": [str(one.file) for one in self.inputs],
        }


def replay_all(
    folder: Path, worker_of: Callable[[Path], Worker], progress: Callable[[int, int], None]
) -> Iterator[Replayed]:
    """Replay each finding in a folder: crashes and hangs of its campaigns, or all files in it.

    `worker_of` returns the worker for a file; `progress` is called with the number done and the total.
    """
    files = findings_of(folder)
    for done, file in enumerate(files):
        progress(done, len(files))
        data = read_input(folder, file)
        kind, signature = _reported(folder, file)
        yield Replayed(file, len(data), kind, signature, worker_of(file).explain(data))
    progress(len(files), len(files))


def _reported(folder: Path, file: Path) -> tuple[str, str]:
    """Return kind and signature in the campaign's report; "" if there is none."""
    if file.parent.name not in ("crashes", "hangs") or not afl_files.ids([file.name]):
        return "", ""
    paths = Paths(file.parent.parent)
    about = read_about(folder, paths.report_of(file).with_suffix(".json"))
    kind, signature = about.get("kind"), about.get("signature")
    return (kind, signature) if isinstance(kind, str) and isinstance(signature, str) else ("", "")


def groups_of(replayed: list[Replayed]) -> list[Group]:
    """Return the present findings in groups of equal ones, those with most inputs first."""
    found: dict[str, list[Replayed]] = {}
    for one in replayed:
        if one.now is not None:
            found.setdefault(one.now.signature, []).append(one)
    groups = [Group(tuple(sorted(them, key=lambda one: (one.size, one.file)))) for them in found.values()]
    return sorted(groups, key=lambda group: (-len(group.inputs), group.inputs[0].file))
