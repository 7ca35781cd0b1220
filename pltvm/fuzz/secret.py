"""What nobody else may see: the secret that the options mark, and whether bytes show a part of it.

A window of bytes that is in the input too proves nothing, and is not looked for.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pltvm.errors import PltvmError
from pltvm.fuzz.options import DERIVED_KEY, Options
from pltvm.host.symbols import Symbols
from pltvm.monitor.attest import measurement_of
from pltvm.monitor.state import Enclave, State

WINDOW: Final = 8  # bytes that do not meet by chance
_KEY_BYTES: Final = 32  # of a derived key, to be looked for


class Secret(NamedTuple):
    """Texts to look for, none if nothing is marked; the address that a symbol gives, else 0."""

    texts: tuple[bytes, ...] = ()
    address: int = 0


def marked(options: Options, state: State, enclave: Enclave, symbols: Symbols | None) -> Secret:
    """The secret of an enclave that was just created. Raises PltvmError for what marks none."""
    text = options.secret
    if not text:
        return Secret()
    if text == DERIVED_KEY:
        measurement = measurement_of(state, enclave)
        return Secret(tuple(state.keys.derive(kind, measurement, _KEY_BYTES) for kind in (0, 1)))
    place = symbols.find(text) if symbols else None
    content = enclave.space.table.read(*place) if place else None
    if content is None:
        try:
            content = bytes.fromhex(text)
        except ValueError:
            raise PltvmError(
                f"--secret {text}: {Path(options.elf).name} has no such symbol, and it is neither "
                f"a hexadecimal number nor {DERIVED_KEY}"
            ) from None
    if len(content) < WINDOW:
        raise PltvmError(f"--secret {text}: {len(content)} bytes are found by chance; give {WINDOW}")
    return Secret((content,), place[0] if place else 0)


def windows(texts: Iterable[bytes]) -> list[bytes]:
    """All pieces by which a part of these texts is known."""
    return [text[at : at + WINDOW] for text in texts for at in range(len(text) - WINDOW + 1)]


def shows(pieces: Sequence[bytes], texts: Iterable[bytes], data: bytes) -> bool:
    """Whether a piece is in one of the texts, and not in the input `data`."""
    return any(piece in text and piece not in data for text in texts for piece in pieces)
