"""Builds enclaves from sources, once for the same content: in the user's cache, for all tests and workers.

    <cache>/elves/<sources, flags, SDK>/headers            the headers included last time, with paths
                                       /<headers>/NAME.elf
                                       /lock               held (flock) during lookup and build

So a changed file gives another ELF, in its own folder, and a test never sees a half-written one. ELFs that
were not used for 30 days are removed.
"""

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pltvm.build import guest, zig
from pltvm.build.arguments import SOURCES, Arguments, parse
from pltvm.build.enclave import drive
from pltvm.errors import BuildError
from pltvm.host.arguments import wrong
from pltvm.host.symbols import places_of

_KEPT: Final = 30 * 24 * 3600  # seconds
_CHECK: Final = "--check"
_WITH_PATH: Final = ("-I", "-iquote", "-isystem", "-idirafter", "-include", "-L")

folders: Final[dict[Path, list[Path]]] = {}  # the source folders of ELFs built here


class Builder:
    """Builds enclaves from sources in a folder: the fixture `pltvm_build`.

    `flags` are further compiler flags, as for `pltvm build`; `check`: with the memory checker.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = (), check: bool = False) -> None:
        self.folder, self.flags, self.check = folder, tuple(flags), check

    def __call__(
        self, *sources: str | os.PathLike[str], flags: Sequence[str] = (), check: bool | None = None
    ) -> Path:
        """Return the ELF of C, C++, assembly or object files, relative to the test's own folder.

        `flags` come after those of the ini file; `check` overrides `--pltvm-check`. Raises BuildError.
        """
        if isinstance(flags, str) or not all(isinstance(one, str) for one in flags):
            raise BuildError(f"flags is {flags!r}: give a list of texts")
        for source in sources:
            if not isinstance(source, str | os.PathLike):
                raise wrong("a source", source, "the path of a file; several are several arguments")
        files = [str(self.folder / source) for source in sources]
        words = [*self.flags, *_absolute(flags, self.folder)]
        checked = (self.check or _CHECK in words) if check is None else check
        asked = parse([*files, *(word for word in words if word != _CHECK)])
        if asked.mode or asked.asks:
            raise BuildError(f"{' '.join(words)}: these options do not make an enclave")
        return built(asked, checked)


def _absolute(flags: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield the flags, with paths relative to the folder made absolute."""
    takes = False
    for word in flags:
        option = next((one for one in _WITH_PATH if word.startswith(one) and word != one), "")
        if takes:
            yield str(folder / word)
        else:
            yield option + str(folder / word[len(option) :]) if option else word
        takes = word in _WITH_PATH


def built(asked: Arguments, checked: bool) -> Path:
    """Return the ELF of a command line, from the cache if possible. Raises BuildError."""
    if not asked.files:
        raise BuildError("no source file to build an enclave of")
    sources = zig.found(asked.files)
    folder = sources[0].parent
    place = _cache() / _key(asked, checked, sources)
    name = f"{sources[0].stem}.elf"
    with _locked(place):
        elf = place / _digest_of(_headers(place), folder) / name
        if not elf.is_file():
            included = {one for source in sources for one in _included(asked, source, place)}
            headers = sorted(os.path.relpath(one, folder) for one in included)
            elf = place / _digest_of(headers, folder) / name
            if not elf.is_file():
                _build(asked, checked, elf)
            (place / "headers").write_text(json.dumps(headers))
            _forget_old(place)
        os.utime(place)
    folders[elf] = list(dict.fromkeys(source.parent for source in sources))
    return elf


def _build(asked: Arguments, checked: bool, elf: Path) -> None:
    with tempfile.TemporaryDirectory(dir=elf.parents[1], prefix=".new-") as scratch:
        (made,) = drive(replace(asked, output=Path(scratch) / elf.name), checked=checked, symbols=places_of)
        elf.parent.mkdir(exist_ok=True)
        made.replace(elf)


def _included(asked: Arguments, source: Path, place: Path) -> list[str]:
    """Return the user's headers that a source includes."""
    if source.suffix not in SOURCES:
        return []
    with tempfile.TemporaryDirectory(dir=place, prefix=".new-") as scratch:
        rule = Path(scratch) / "rule"
        drive(replace(asked, inputs=(str(source),), output=rule, mode="-MM"))
        words = re.split(r"(?<!\\)\s+", rule.read_text().replace("\\\n", " ").partition(": ")[2].strip())
    return [str(Path(word.replace("\\ ", " ")).resolve()) for word in words[1:]]


def _headers(place: Path) -> list[str]:
    """Return the headers included last time; [] if unknown."""
    with suppress(OSError, ValueError):
        found = json.loads((place / "headers").read_text())
        if isinstance(found, list):
            return [str(one) for one in found]
    return ["?"]


def _digest_of(files: Sequence[str], folder: Path) -> str:
    """Return the digest of files' names, relative to the folder, and contents; also of missing files."""
    digest = hashlib.sha256()
    for file in files:
        try:
            content = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        except OSError:
            content = "-"
        digest.update(f"{file}\0{content}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _key(asked: Arguments, checked: bool, sources: Sequence[Path]) -> str:
    """Return the cache key, which is the same for the same project in another folder."""
    words = (*asked.flags, asked.opt, asked.debug, *(one for one in asked.inputs if one[0] == "-"))
    here = os.getcwd() if _depends_on_folder(words) else ""
    folder = sources[0].parent
    contents = _digest_of([os.path.relpath(one, folder) for one in sources], folder)
    return hashlib.sha256(json.dumps([checked, words, here, _tools(), contents]).encode()).hexdigest()[:24]


def _depends_on_folder(words: Sequence[str]) -> bool:
    """Whether one of the flags may be a path relative to the current folder."""
    return any(word.startswith(_WITH_PATH) for word in words)


@functools.cache
def _tools() -> str:
    """Return the identity of the SDK, the compiler, and its flags."""
    sdk, driver = guest.guest_dir(), Path(guest.__file__).parent
    files = [*(sdk / "include").rglob("*"), *(sdk / "lib").rglob("*"), sdk / "enclave.ld"]
    of_sdk = _digest_of(sorted(str(one.relative_to(sdk)) for one in files if one.is_file()), sdk)
    return zig.version() + of_sdk + _digest_of(sorted(one.name for one in driver.glob("*.py")), driver)


def _cache() -> Path:
    with tempfile.TemporaryDirectory(prefix="pltvm-") as scratch:
        cache = zig.cache_dir(scratch)
    if cache == Path(scratch):  # the user's cache is read-only
        cache = Path(tempfile.gettempdir()) / f"pltvm-{os.getuid()}" / "zig"
    elves = cache.with_name("elves")
    elves.mkdir(parents=True, exist_ok=True, mode=0o700)
    return elves


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Lock lookup and build of the same ELF in this context."""
    place.mkdir(exist_ok=True)
    descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _forget_old(own: Path) -> None:
    """Remove ELFs that were not used for long; not `own`, which is used now."""
    oldest = time.time() - _KEPT
    for place in own.parent.iterdir():
        with suppress(OSError):
            if place != own and place.stat().st_mtime < oldest:
                shutil.rmtree(place)
