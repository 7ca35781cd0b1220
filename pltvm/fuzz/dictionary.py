"""Words that inputs are likely to need: values compared by the target, or from an AFL dictionary."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError
from pltvm.host.plain_file import read_plain


class Dictionary:
    """Byte strings that inputs are likely to need, each once; strings beyond the limits are left out."""

    MOST: Final = 512
    LONGEST: Final = 64  # bytes of one

    def __init__(self, tokens: Iterable[bytes] = ()) -> None:
        self._tokens: dict[bytes, None] = {}
        for token in tokens:
            self.add(token)

    def __len__(self) -> int:
        return len(self._tokens)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._tokens)

    def add(self, token: bytes) -> bool:
        """Add a token; return True if it is new and was taken."""
        if not 1 <= len(token) <= self.LONGEST or token in self._tokens or len(self._tokens) >= self.MOST:
            return False
        self._tokens[token] = None
        return True


_MOST: Final = 16 << 20  # bytes of a dictionary
_TOKEN_LINE: Final = re.compile(r'(?:[\w.@-]+\s*=\s*)?"(.*)"')
_TOKEN_PART: Final = re.compile(rb'\\x([0-9a-fA-F]{2})|\\([\\"])|([^\\"])')


def read_dictionary(path: Path) -> list[bytes]:
    """Return the tokens of an AFL dictionary file: lines `name="value"`, `"value"` or `# comment`.

    In a value `\\xNN`, `\\"` and `\\\\` stand for one byte. PltvmError tells the line that is wrong.
    """
    lines = read_plain(path, _MOST).decode("latin-1").splitlines()
    tokens = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        match = _TOKEN_LINE.fullmatch(line)
        if not match:
            raise PltvmError(f'{path}:{number}: expected name="value"')
        value = match[1].encode("latin-1")
        parts = list(_TOKEN_PART.finditer(value))
        if sum(len(part[0]) for part in parts) != len(value):
            raise PltvmError(f'{path}:{number}: a wrong escape; there are \\xNN, \\\\ and \\"')
        token = b"".join(bytes.fromhex(part[1].decode()) if part[1] else part[2] or part[3] for part in parts)
        if not 1 <= len(token) <= Dictionary.LONGEST:
            raise PltvmError(
                f"{path}:{number}: a value has 1 to {Dictionary.LONGEST} bytes, not {len(token)}"
            )
        tokens.append(token)
    return tokens
