"""Names that enclaves looked for and that no server has: a sign that servers are missing.

An enclave gets −1 from `acquire` and often goes on without a message. So the result of its run has a note.
"""

from collections.abc import Iterable
from typing import Final

_MOST: Final = 16  # names: a guest can ask for any number
_SHOWN: Final = 3  # similar names that are shown


def about(name: str, others: Iterable[str]) -> str:
    """Return a note that there is no server of this name, with the existing ones, similar names first."""
    from difflib import get_close_matches  # loading it takes longer than using it

    text = f"acquire of {name!r} failed: no server has that name"
    by_lower = {other.lower(): other for other in others}
    near = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, _SHOWN)]
    shown = near or list(by_lower.values())[:_SHOWN]
    if not shown:
        return f"{text}: there are no servers"
    more = " and others" if not near and len(by_lower) > _SHOWN else ""
    return f"{text}; there is {', '.join(map(repr, shown))}{more}"


class UnknownNames:
    """The unknown names of one machine, each with the note of its first lookup.

    It is not part of the machine's state: a restore does not change which notes were given.
    """

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def note(self, name: bytes, others: Iterable[bytes]) -> None:
        """Note a lookup of a name; `others` are the servers at that time."""
        text = _shown(name)
        if text not in self._said and len(self._said) < _MOST:
            self._said[text] = about(text, map(_shown, others))

    def take(self) -> dict[str, str]:
        """Return the pending notes by name, and mark them as given."""
        said, self._said = self._said, {}
        return said


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
