"""Tables, and progress of long work: as wide as the terminal, plain without one."""

import os
import re
import sys
import textwrap
import time
from collections.abc import Sequence
from shutil import get_terminal_size
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Self

from pltvm.host.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from pltvm.host.report import FaultReport

_NARROW: Final = 64  # columns below which a row is shown as several lines
_UNLIMITED: Final = 10_000
_REGISTERS: Final = re.compile(r"(?: +\w+ [0-9a-f]{16}){2,4}")
_REGISTER: Final = 23  # columns
_INTERVAL: Final = 5.0  # seconds between two lines


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds: 0:01:30."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def console(stream: IO[str]) -> "Console":
    """Return rich's console, which respects NO_COLOR and TERM; other streams get unwrapped lines without
    colours."""
    from rich.console import Console

    # rich finds no size for a dumb terminal
    width = get_terminal_size().columns if stream.isatty() else _UNLIMITED
    return Console(file=stream, highlight=False, soft_wrap=False, width=width, emoji=False, markup=False)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout; columns whose name ends in ">" are right-aligned.

    On a narrow terminal each row is a paragraph instead, with a line for each cell.
    """
    from rich.table import Table
    from rich.text import Text

    out = console(sys.stdout)
    names = [name.removesuffix(">") for name in columns]
    out.print(Text(title, "bold"))
    if is_narrow():
        for row in rows:
            pairs = Table.grid(padding=(0, 1))
            pairs.add_column(style="dim", no_wrap=True)
            pairs.add_column(overflow="fold")
            for name, cell in zip(names, row, strict=True):
                if cell:
                    pairs.add_row(f"  {name}", Text(one_line(cell)))
            out.print(pairs)
            out.print()
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, column in zip(names, columns, strict=True):
        number = column != name
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    with out.capture() as drawn:
        out.print(table)
    for line in drawn.get().splitlines():
        print(line.rstrip())
    print()


def is_narrow() -> bool:
    """Whether stdout is a narrow terminal."""
    return sys.stdout.isatty() and console(sys.stdout).width < _NARROW


def say_report(report: "FaultReport") -> None:
    """Print a report on stderr."""
    print(fit(str(report), sys.stderr), file=sys.stderr)


def fit(text: str, stream: IO[str] | None = None) -> str:
    """Return the text, for a terminal (stdout, or `stream`) with long lines broken between words.

    Continuation lines are indented to the second column, after the first gap of two spaces. A row of
    registers becomes two or four rows.
    """
    stream = stream or sys.stdout
    width = console(stream).width if stream.isatty() else _UNLIMITED
    return "\n".join(part for line in text.split("\n") for part in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    if _REGISTERS.fullmatch(line):
        each = _REGISTER * (2 if width >= 2 * _REGISTER else 1)
        return [line[at : at + each].rstrip() for at in range(0, len(line), each)]
    gap = re.match(r"\s*\S+(?: \S+)*\s{2,}", line)
    indent = min(gap.end() if gap else len(line) - len(line.lstrip()) + 2, width // 2)
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, break_on_hyphens=False)


class Counting:
    """Shows the progress of work in many steps on stderr: a bar on a terminal, else a line now and then.

    A context manager; nothing is shown for short work.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what, self._quiet = what, quiet
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None
        terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        if terminal and not quiet:
            from rich import progress

            text = progress.TextColumn("{task.description} {task.completed}/{task.total}")
            bar = progress.BarColumn(bar_width=None)
            to = console(sys.stderr)
            self._bar = progress.Progress(text, bar, console=to, transient=True, auto_refresh=False)
            self._task = self._bar.add_task(what, total=1)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int | None = None, more: str = "") -> None:
        """Show that `done` of `total` steps are done; `more` describes the results so far."""
        now = time.monotonic()
        if self._bar is not None:
            if now - self._said > 0.1 or done == total:
                self._said = now
                what = f"{self._what}{', ' if more else ''}{more}"
                self._bar.update(self._task, completed=done, total=total, description=what, refresh=True)
        elif not self._quiet and now - self._said >= _INTERVAL:
            self._said = now
            of = "" if total is None else f" of {total}"
            at = clock(now - self._began)
            print(f"{at}  {self._what} {done}{of}{', ' if more else ''}{more}", file=sys.stderr, flush=True)
