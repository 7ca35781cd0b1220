"""A recording as a file: a zip, with a manifest in JSON that lists its contents.

    manifest.json   versions of this format, pltvm and Unicorn; what was run, how, and how it ended
    elf/0 …         the program, and the servers, in the order of the manifest
    shm, relay, disk, input, stdin/0 …    inputs of the run
    tree            what a host program found beneath its root: rows of JSON (`rooted`)
    tree/0 …        the contents of files there
    traps           the rows of its log (`pltvm.monitor.log`), column by column

No entry names a place to write to: members are read by the names used here. Sizes are limited before anything
is read.
"""

import io
import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from pltvm.errors import PltvmError
from pltvm.host.plain_file import read_plain
from pltvm.host.text import shown

FORMAT: Final = 2
MOST_BYTES: Final = 1 << 30  # of all members, and of the file
MOST_MEMBERS: Final = 20_000
_MOST_MANIFEST: Final = 1 << 20
_ROW: Final = 40  # bytes of a row of the log
_MANIFEST: Final = "manifest.json"
_MAGIC: Final = b"PK\x03\x04"
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # of every member: the same run gives the same file


class RecordingError(PltvmError):
    """A file that is not a recording, or not one of this version; the message has the reason."""


@dataclass(slots=True)
class Case:
    """What was run: `kind` is "enclave", "host", "kernel" or "finding", `file` its name on the command line.

    `servers` are names and files, `elves` the bytes of the program and the servers. `options` are those of
    the command that affect the run.
    """

    kind: str
    file: str
    elves: list[bytes]
    servers: list[tuple[str, str]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    given: dict[str, bytes] = field(default_factory=dict)  # shm, relay, disk, input
    stdin: list[bytes] = field(default_factory=list)  # the bytes of each read
    tree: list[dict[str, Any]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)  # contents of files of the tree


@dataclass(slots=True)
class Ending:
    """How a run ended: exit status, and checksums of its output; `count` and `sum` of its traps; `rows` and
    `mask` of its log. `stopped`: by a time limit, or Ctrl-C."""

    status: int
    stdout: str
    stderr: str
    count: int
    sum: int
    mask: int
    stopped: bool
    rows: bytes

    @property
    def traps(self) -> int:
        """How many there were of guests: the last one of a run that was stopped is that stop."""
        return self.count - self.stopped


def pltvm_version() -> str:
    """Return the version of this package."""
    from pltvm import __version__

    return __version__


def unicorn_version() -> str:
    """Return the version of the installed package."""
    import unicorn

    return str(unicorn.__version__)


def checksum(data: bytes, before: str = "") -> str:
    """Return the checksum of bytes, 16 hex digits; `before` is that of the bytes before them.

    It finds what has changed, not what somebody has forged. hashlib would load OpenSSL, which takes longer
    than all else that recording a short run does.
    """
    crc, adler = (int(before[:8], 16), int(before[8:], 16)) if before else (0, 1)
    return f"{zlib.crc32(data, crc):08x}{zlib.adler32(data, adler):08x}"


# -- writing -----------------------------------------------------------------------------------------------


def pack(case: Case, ending: Ending) -> bytes:
    """Return the bytes of the file. Raises PltvmError if it is too large."""
    members: dict[str, bytes] = {f"elf/{i}": elf for i, elf in enumerate(case.elves)}
    members |= case.given
    members |= {f"stdin/{i}": part for i, part in enumerate(case.stdin)}
    if case.tree:
        members["tree"] = json.dumps(case.tree).encode()
        members |= {f"tree/{i}": content for i, content in enumerate(case.contents)}
    members["traps"] = _columns(ending.rows)
    said = {name: value for name, value in asdict(ending).items() if name != "rows"}
    manifest = {
        "format": FORMAT,
        "pltvm": pltvm_version(),
        "unicorn": unicorn_version(),
        "keys": "development",
        "kind": case.kind,
        "file": case.file,
        "servers": case.servers,
        "arguments": case.arguments,
        "options": case.options,
        "ending": {**said, "sum": f"{ending.sum:016x}"},
        "members": {name: checksum(content) for name, content in members.items()},
    }
    text = json.dumps(manifest, indent=1).encode()
    total = sum(map(len, members.values()))
    if total > MOST_BYTES or len(members) >= MOST_MEMBERS or len(text) > _MOST_MANIFEST:
        raise PltvmError(
            f"a recording of {total >> 20} MiB in {len(members)} parts: at most {MOST_BYTES >> 20} MiB "
            f"and {MOST_MEMBERS} can be"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
        for name, content in {_MANIFEST: text, **members}.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return packed.getvalue()


def _columns(rows: bytes) -> bytes:
    """Return the first bytes of all rows, then the second ones …: similar bytes compress well."""
    return b"".join(rows[at::_ROW] for at in range(_ROW))


def _from_columns(columns: bytes) -> bytes:
    count = len(columns) // _ROW
    rows = bytearray(len(columns))
    for at in range(_ROW):
        rows[at::_ROW] = columns[at * count : (at + 1) * count]
    return bytes(rows)


# -- reading -----------------------------------------------------------------------------------------------


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a zip, for commands that take a recording or another kind of file."""
    try:
        with open(path, "rb") as file:
            return os.path.isfile(path) and file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


class Packed:
    """A recording that was read from a file.

    `notes` are lines on possible reasons for differences in a replay: other versions, changed parts.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = shown(os.fspath(path))
        self.notes: list[str] = []
        data = read_plain(path, MOST_BYTES)
        if data.startswith(b"\x7fELF"):
            raise RecordingError(f"{self.name}: is a program and not a recording: pltvm run runs it")
        if not data.startswith(_MAGIC):
            raise RecordingError(f"{self.name}: is not a recording")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                members = self._read_all(file)
            manifest = json.loads(members.pop(_MANIFEST).decode())
            self._check(manifest, members)
            self.case, self.ending = _case(manifest, members), _ending(manifest, members)
        except RecordingError:
            raise
        except (
            *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError),
            *(ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError),
        ) as error:
            why = " ".join(str(error).split())[:100] or type(error).__name__
            raise RecordingError(f"{self.name}: not a recording, or a damaged one: {why}") from None

    def _read_all(self, file: zipfile.ZipFile) -> dict[str, bytes]:
        rows = file.infolist()
        if len(rows) > MOST_MEMBERS or len({row.filename for row in rows}) != len(rows):
            raise RecordingError(f"{self.name}: not a recording: it has {len(rows)} parts")
        if sum(row.file_size for row in rows) > MOST_BYTES:
            raise RecordingError(f"{self.name}: has more than {MOST_BYTES >> 20} MiB when it is unpacked")
        members, left = {}, MOST_BYTES
        for row in rows:
            with file.open(row) as part:
                content = part.read(min(row.file_size, left) + 1)
            left -= len(content)
            if len(content) != row.file_size or left < 0:
                raise RecordingError(f"{self.name}: is damaged: {shown(row.filename)} has another size")
            members[row.filename] = content
        if _MANIFEST not in members or len(members[_MANIFEST]) > _MOST_MANIFEST:
            raise RecordingError(f"{self.name}: not a recording of pltvm: it has no {_MANIFEST}")
        return members

    def _check(self, manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        if manifest["format"] != FORMAT:
            raise RecordingError(
                f"{self.name}: has format {shown(str(manifest['format']))}, made by pltvm "
                f"{shown(str(manifest['pltvm']))}: this one reads format {FORMAT}"
            )
        if manifest["keys"] != "development":
            raise RecordingError(f"{self.name}: was made with other keys than those of development")
        checksums = manifest["members"]
        if checksums.keys() != members.keys():
            raise RecordingError(f"{self.name}: is damaged: it has other parts than it should")
        for name, content in members.items():
            if checksum(content) != checksums[name]:
                self.notes.append(f"{name} is not what was recorded")
        for what, now in (("pltvm", pltvm_version()), ("unicorn", unicorn_version())):
            if manifest[what] != now:
                self.notes.append(f"recorded with {what} {shown(str(manifest[what]))}, this is {now}")


def _case(manifest: dict[str, Any], members: dict[str, bytes]) -> Case:
    case = Case(
        kind=_of(str, manifest["kind"]),
        file=_of(str, manifest["file"]),
        elves=_numbered(members, "elf/"),
        servers=[(_of(str, name), _of(str, file)) for name, file in manifest["servers"]],
        arguments=[_of(str, one) for one in _of(list, manifest["arguments"])],
        options=_of(dict, manifest["options"]),
        given={name: members[name] for name in ("shm", "relay", "disk", "input") if name in members},
        stdin=_numbered(members, "stdin/"),
        tree=[_of(dict, row) for row in json.loads(members.get("tree", b"[]"))],
        contents=_numbered(members, "tree/"),
    )
    others = len(case.arguments) if case.kind == "enclave" else 0
    if len(case.elves) != 1 + len(case.servers) + others:
        raise ValueError("there is not an ELF for each server")
    return case


def _ending(manifest: dict[str, Any], members: dict[str, bytes]) -> Ending:
    said, rows = dict(manifest["ending"]), _from_columns(members["traps"])
    said["sum"] = int(said["sum"], 16)
    kinds = {"status": int, "count": int, "mask": int, "stopped": bool}
    for name, kind in kinds.items():
        _of(kind, said[name])
    mask, count = said["mask"], said["count"]
    if set(said) | {"rows"} != {one.name for one in fields(Ending)} or mask & (mask + 1) or mask < 0:
        raise ValueError("its ending makes no sense")
    if len(members["traps"]) % _ROW or not 0 <= count < 1 << 63 or not 0 <= said["status"] < 256:
        raise ValueError("its log makes no sense")
    return Ending(**said, rows=rows)


def _numbered(members: dict[str, bytes], prefix: str) -> list[bytes]:
    count = sum(name.startswith(prefix) for name in members)
    return [members[f"{prefix}{number}"] for number in range(count)]


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{str(value)[:40]!r} is no {kind.__name__}")
    return value
