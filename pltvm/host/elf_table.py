"""The layout of `pltvm info`: readable sizes, the table of mappings, the reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mapping:
    """One row of the table: a piece of the ELF, or the stack. Sizes in bytes."""

    vaddr: int
    size: int
    file_size: int
    permissions: str  # as mapped, not as the ELF asks: "RWX", "R-X" or "RW-" (§1)
    what: str


def human(size: int) -> str:
    """Return a readable number of bytes: "812 B", "1.5 MiB"."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024 or unit == "GiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def reason_lines(reasons: tuple[str, ...]) -> list[str]:
    """Return a line for each reason for the file's kind; none if the user chose it."""
    if not reasons:
        return []
    words = ["because", *[""] * (len(reasons) - 1)]
    lines = [f"  {word:7}  it {reason}" for word, reason in zip(words, reasons, strict=True)]
    return [*lines, "           (pltvm run --as host|enclave|server|kernel takes it for something else)"]


def table(mappings: tuple[Mapping, ...], narrow: bool = False) -> list[str]:
    """Return the table of mappings as lines, with a header; `narrow`: without two of the columns."""
    rows = [("address", "end", "in memory", "in file", "mapped", "what")]
    for row in mappings:
        addresses = f"{row.vaddr:#x}", f"{row.vaddr + row.size:#x}"
        sizes = human(row.size), human(row.file_size) if row.file_size else "-"
        rows.append((*addresses, *sizes, row.permissions, row.what))
    shown = [0, 2, 4, 5] if narrow else [0, 1, 2, 3, 4, 5]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return ["  " + "  ".join(_pad(row[at], widths[at], at) for at in shown).rstrip() for row in rows]


def _pad(cell: str, width: int, column: int) -> str:
    """Align numbers to the right, words to the left."""
    return cell.rjust(width) if column < 4 else cell.ljust(width)
