"""Prints a profile as tables."""

import os
from collections.abc import Sequence
from typing import IO, Final, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from pltvm.debug.profile.result import LineRow, Profile

_WIDTH: Final = 100  # if the output is no terminal
_ANY: Final = 10_000  # columns


class _Trimmed:
    """A stream that removes spaces at the ends of lines, unless it is a terminal."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.isatty = file.isatty

    def write(self, text: str) -> int:
        """As of a stream."""
        lines = text if self.isatty() else "\n".join(line.rstrip(" ") for line in text.split("\n"))
        return self._file.write(lines)

    def flush(self) -> None:
        """As of a stream."""
        self._file.flush()


def show(profile: Profile, by: str, limit: int, file: IO[str]) -> None:
    """Print the table `by` function, line, enclave or inlined, with at most `limit` rows, and the other
    tables."""
    console = Console(
        file=cast(IO[str], _Trimmed(file)), highlight=False, width=None if file.isatty() else _WIDTH
    )
    whole = profile.instructions
    console.print(Text(f"{whole:,} instructions"))
    if by == "line":
        rows = [(row.own, row.who, _place(row)) for row in profile.by_line()]
        _table(console, whole, ("line",), [(own, own, who, (name,)) for own, who, name in rows], limit, False)
    elif by == "enclave":
        enclaves = [(row.own, row.own, row.who, ()) for row in profile.by_enclave()]
        _table(console, whole, (), enclaves, limit, False)
    else:
        functions = profile.by_function() if by == "function" else profile.by_inlined()
        found = [
            (row.own, row.total, row.who, (f"{row.calls:,}", row.name) if by == "function" else (row.name,))
            for row in functions
        ]
        columns = ("calls", "function") if by == "function" else ("function",)
        _table(console, whole, columns, found, limit, by == "function")
    _traps(console, profile)
    _edges(console, profile)
    if profile.lost:
        console.print(Text(f"{profile.lost:,} blocks are in no row: there is more code than is counted"))


def _place(row: LineRow) -> str:
    return f"{os.path.basename(row.file)}:{row.line}" if row.line else "(no line)"


def _print(console: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of columns, numbers or not. On a terminal without room for it each row is a paragraph,
    the last column first."""
    table = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    wanted = console.measure(table, options=console.options.update(max_width=_ANY)).maximum
    if not console.is_terminal or wanted <= console.width:
        console.print(table)
        return
    for row in rows:
        console.print(Text(row[-1]), overflow="fold")
        cells = [_cell(*one) for one in zip(columns[:-1], row[:-1], strict=True)]
        console.print(Padding(Text(", ".join(cells)), (0, 0, 0, 2)))


def _cell(column: tuple[str, bool], value: str) -> str:
    """Return a cell with its name."""
    name, is_number = column
    return f"{value} {name.removesuffix('s') if value == '1' else name}" if is_number else f"{name} {value}"


def _table(
    console: Console,
    whole: int,
    columns: tuple[str, ...],
    rows: Sequence[tuple[int, int, str, tuple[str, ...]]],
    limit: int,
    with_total: bool,
) -> None:
    heads = [("own", True), ("%", True)]
    if with_total:
        heads.append(("with calls", True))
    heads += [(name, name == "calls") for name in columns[:-1]] + [("enclave", False)]
    heads += [(name, False) for name in columns[-1:]]
    found = []
    for own, total, who, more in rows[:limit]:
        numbers = [
            f"{own:,}",
            f"{own / whole * 100 if whole else 0:.1f}",
            *([f"{total:,}"] if with_total else []),
        ]
        found.append([*numbers, *more[:-1], who, *more[-1:]])
    _print(console, heads, found)
    if len(rows) > limit:
        console.print(Text(f"… {len(rows) - limit} more (--limit)"))


def _traps(console: Console, profile: Profile) -> None:
    """Print traps and calls, as the work of the monitor and the host is not in the counts."""
    rows = []
    for row in profile.by_enclave():
        parts = [f"{times:,} {name}" for name, times in row.calls.items()]
        parts += [f"{times:,} {name}" for name, times in row.traps.items() if name != "ecall_u"]
        other = row.traps.get("ecall_u", 0) - sum(row.calls.values())
        parts += [f"{other:,} system calls"] if other > 0 else []
        rows.append([f"{sum(row.traps.values()):,}", row.who, ", ".join(parts)])
    console.print(Text())
    _print(console, [("traps", True), ("enclave", False), ("of these", False)], rows)


def _edges(console: Console, profile: Profile) -> None:
    edges = profile.edges()
    if not edges:
        return
    columns = [("calls", True), ("pages there", True), ("and back", True), ("from", False), ("to", False)]
    numbers = [(f"{row.calls:,}", f"{row.pages:,}", f"{row.back:,}", row.caller, row.callee) for row in edges]
    console.print(Text())
    _print(console, columns, numbers)
