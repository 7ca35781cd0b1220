"""Prints a profile as tables."""

import os
from collections.abc import Sequence
from typing import IO, Any, Final, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from pltvm.debug.profile.result import LineRow, Profile

_WIDTH: Final = 100  # if the output is no terminal


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


def _new(*columns: tuple[str, bool]) -> RichTable:
    table = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table


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
    table = _new(*heads)
    for own, total, who, more in rows[:limit]:
        cells: list[Any] = [f"{own:,}", f"{own / whole * 100 if whole else 0:.1f}"]
        if with_total:
            cells.append(f"{total:,}")
        cells += [*more[:-1], Text(who), *map(Text, more[-1:])]
        table.add_row(*cells)
    console.print(table)
    if len(rows) > limit:
        console.print(Text(f"… {len(rows) - limit} more (--limit)"))


def _traps(console: Console, profile: Profile) -> None:
    """Print traps and calls, as the work of the monitor and the host is not in the counts."""
    table = _new(("traps", True), ("enclave", False), ("of these", False))
    for row in profile.by_enclave():
        parts = [f"{times:,} {name}" for name, times in row.calls.items()]
        parts += [f"{times:,} {name}" for name, times in row.traps.items() if name != "ecall_u"]
        other = row.traps.get("ecall_u", 0) - sum(row.calls.values())
        parts += [f"{other:,} system calls"] if other > 0 else []
        table.add_row(f"{sum(row.traps.values()):,}", Text(row.who), Text(", ".join(parts)))
    console.print(Text())
    console.print(table)


def _edges(console: Console, profile: Profile) -> None:
    edges = profile.edges()
    if not edges:
        return
    table = _new(("calls", True), ("pages there", True), ("and back", True), ("from", False), ("to", False))
    for row in edges:
        table.add_row(f"{row.calls:,}", f"{row.pages:,}", f"{row.back:,}", Text(row.caller), Text(row.callee))
    console.print(Text())
    console.print(table)
