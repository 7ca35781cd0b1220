"""The option `--cov` of commands that run enclaves: the lines that ran, as lcov."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.streams import say
from pltvm.errors import PltvmError
from pltvm.host.plain_file import write_plain
from pltvm.host.text import one_line
from pltvm.machine import Machine

if TYPE_CHECKING:
    from pltvm.coverage.recorder import Recorder

Cov = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write which lines of enclaves ran, in lcov's format.")
]
_SHOWN: Final = 5  # names


def folders_of(path: Path | None) -> list[Path]:
    """Return the folders that have to be writable behind the wall. Raises PltvmError if there is none."""
    if path is None:
        return []
    folder = path.resolve().parent
    if not folder.is_dir():
        raise PltvmError(f"{path}: cannot be written: No such file or directory")
    if path.is_dir():
        raise PltvmError(f"{path}: cannot be written: Is a directory")
    return [folder]


def covered(machine: Machine, path: Path | None) -> AbstractContextManager[None]:
    """Write the coverage of enclaves in this context to the file, if there is one; nothing may have run
    before."""
    if path is None:
        return nullcontext()
    from pltvm.coverage.recorder import Recorder

    recorder = Recorder()
    recorder.watch(machine)
    return _written(recorder, path)


@contextmanager
def _written(recorder: "Recorder", path: Path) -> Iterator[None]:
    from pltvm.coverage import lcov

    try:
        yield
    finally:
        files, missing = recorder.found()
        write_plain(path, lcov.text(files).encode("utf-8", "surrogateescape"))
        for name, file in sorted(files.items()):
            reached, lines = file.reached
            say(f"{reached:6} of {lines} lines of {one_line(Path(name).name)}")
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            names = ", ".join(missing[:_SHOWN])
            say(one_line(f"pltvm: --cov: found no source of {names}{more}: run this where the sources are"))
        elif not files:
            say("pltvm: --cov: nothing that ran has line tables: compile with -g")
