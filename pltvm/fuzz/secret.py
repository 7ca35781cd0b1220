"""The secret that the options mark, and the check whether bytes contain a part of it.

A window of bytes that is also in the input proves nothing, and is ignored.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pltvm.errors import PltvmError
from pltvm.fuzz.options import DERIVED_KEY, Options
from pltvm.host.symbols import Symbols
from pltvm.monitor.attest import measurement_of
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State

WINDOW: Final = 8  # bytes: enough to exclude equality by chance
_KEY_BYTES: Final = 32  # bytes of a derived key that are searched for


class Secret(NamedTuple):
    """Texts to search for, none if nothing is marked; and the address of the symbol, else 0."""

    texts: tuple[bytes, ...] = ()
    address: int = 0


def marked(options: Options, state: State, enclave: Enclave, symbols: Symbols | None) -> Secret:
    """Return the secret of an enclave that was just created. Raises PltvmError for an invalid mark."""
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
    """Return all windows of these texts."""
    return [text[at : at + WINDOW] for text in texts for at in range(len(text) - WINDOW + 1)]


def shows(pieces: Sequence[bytes], texts: Iterable[bytes], data: bytes) -> bool:
    """Whether one of the pieces is in one of the texts, but not in the input `data`."""
    return any(piece in text and piece not in data for text in texts for piece in pieces)
