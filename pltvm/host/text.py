"""Text that somebody else chose, made fit to be shown: names from files, guests and command lines."""


def one_line(text: str, instead: str = "�") -> str:
    """A text without what ends a line, steers a terminal, or cannot be encoded (surrogates)."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else instead for letter in text)
