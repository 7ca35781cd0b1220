"""Names that enclaves asked for and that no server has: what a set-up without its servers looks like.

An enclave gets −1 from `acquire` and often goes on without a word. So who looks at its run is told.
"""

from collections.abc import Iterable
from typing import Final

_MOST: Final = 16  # names: a guest can ask for any number
_SHOWN: Final = 3  # names of others


def about(name: str, others: Iterable[str]) -> str:
    """That there is no server of this name, and which there are: those with names like it, if any."""
    from difflib import get_close_matches  # takes longer to load than it is used

    text = f"acquire of {name!r} failed: no server has that name"
    by_lower = {other.lower(): other for other in others}
    near = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, _SHOWN)]
    shown = near or list(by_lower.values())[:_SHOWN]
    if not shown:
        return f"{text}: there are no servers"
    more = " and others" if not near and len(by_lower) > _SHOWN else ""
    return f"{text}; there is {', '.join(map(repr, shown))}{more}"


class UnknownNames:
    """The names of one machine, each with what was to be said of it when it was first asked for.

    No part of the machine's state: that something was said stays so when the machine is put back.
    """

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def note(self, name: bytes, others: Iterable[bytes]) -> None:
        """Somebody asked for a name, when these were the servers."""
        text = _shown(name)
        if text not in self._said and len(self._said) < _MOST:
            self._said[text] = about(text, map(_shown, others))

    def take(self) -> dict[str, str]:
        """What there is to be said, by name, which then is said."""
        said, self._said = self._said, {}
        return said


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
