"""Text that somebody else chose, made fit to be shown: names from files, guests and command lines."""

from typing import Final

JSON_VERSION: Final = 1  # of what --json prints: higher when something in it goes or means something else


def shown(name: str) -> str:
    """A name as messages show it: as it is, or quoted when it is empty or not printable on one line."""
    return name if name and name.isprintable() else repr(name)


def one_line(text: str, instead: str = "�") -> str:
    """A text without what ends a line, steers a terminal, or cannot be encoded (surrogates)."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else instead for letter in text)


def hexdump(data: bytes, *, folded: bool = False) -> list[str]:
    """Lines of 16 bytes. If `folded`, `*` stands for lines that are like the one before, except the last."""
    lines: list[str] = []
    before, last = b"", max(len(data) - 1, 0) // 16 * 16
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        if folded and part == before and at < last:
            if lines[-1] != "  *":
                lines.append("  *")
            continue
        before = part
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"  {at:04x}  {part.hex(' '):47}  {text}")
    return lines or ["  (empty)"]
