"""Makes untrusted text fit for display: names from files, guests and command lines."""

from typing import Final

JSON_VERSION: Final = 1  # of the output of --json: higher when a key is removed or changes its meaning


def shown(name: str) -> str:
    """Return a name for messages: unchanged, or quoted if it is empty or not printable on one line."""
    return name if name and name.isprintable() else repr(name)


def one_line(text: str, instead: str = "�") -> str:
    """Return a text without line ends, terminal control characters, and surrogates."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else instead for letter in text)


def hexdump(data: bytes, *, folded: bool = False) -> list[str]:
    """Return lines of 16 bytes. If `folded`, `*` replaces lines equal to the one before, except the last."""
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
