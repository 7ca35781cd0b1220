"""Small tables: rows that print as columns, and as HTML in a notebook."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

_Row = TypeVar("_Row")
MOST_SHOWN: Final = 200  # rows


class Table(tuple[_Row, ...], Generic[_Row]):
    """A tuple of rows; `print` shows them under titles."""

    titles: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, rows: Iterable[_Row] = ()) -> "Table[_Row]":
        return super().__new__(cls, rows)

    @staticmethod
    def cells(row: _Row) -> tuple[str, ...]:
        """Return the cells of a row, one text for each title."""
        raise NotImplementedError

    def __str__(self) -> str:
        return as_text(self.titles, [self.cells(row) for row in self[:MOST_SHOWN]], len(self) - MOST_SHOWN)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {len(self)} rows>\n{self}" if self else f"<{type(self).__name__}: none>"
        )

    def _repr_html_(self) -> str:
        return as_html(self.titles, [self.cells(row) for row in self[:MOST_SHOWN]], len(self) - MOST_SHOWN)


def as_text(titles: Sequence[str], rows: Sequence[Sequence[str]], more: int = 0) -> str:
    """Return columns under their titles; `more` is the number of rows not shown."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (titles, *rows)
    ]
    return "\n".join([*lines, f"… {more} more"] if more > 0 else lines)


def as_html(titles: Sequence[str], rows: Sequence[Sequence[str]], more: int = 0) -> str:
    """Return the same as an HTML table."""
    from html import escape

    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td><code>{escape(cell)}</code></td>" for cell in row) + "</tr>" for row in rows
    )
    rest = f"<tr><td colspan={len(titles)}>… {more} more</td></tr>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}{rest}</tbody></table>"
