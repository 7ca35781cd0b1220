"""Text that somebody else chose, made fit to be shown: names from files, guests and command lines."""


def shown(name: str) -> str:
    """A name as messages show it: as it is, or quoted when it is empty or not printable on one line."""
    return name if name and name.isprintable() else repr(name)


def one_line(text: str, instead: str = "�") -> str:
    """A text without what ends a line, steers a terminal, or cannot be encoded (surrogates)."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else instead for letter in text)
