"""What the native core needs to answer common enclave calls: `struct calls` of native/calls.h.

It finds the records in RAM. Here is what is not there: the place of the page bitmap, and what the host has
declared for the enclave that it runs now.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from pltvm.engine.core import address_of

_OFFER: Final = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
_TAKE_BACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_uint64)
TEXT_ROOM: Final = 1 << 16  # largest number of bytes of waiting text


class CoreCalls(ctypes.Structure):
    """See the header; a test checks that both are the same."""

    _fields_ = [
        ("owners", ctypes.c_void_p),
        ("offer", ctypes.c_void_p),
        ("take_back", ctypes.c_void_p),
        ("blocks", ctypes.c_uint64),
        ("host_maps", ctypes.c_uint64),
        ("kbuffer", ctypes.c_uint64),
        ("goes_on", ctypes.c_uint64),
        ("text", ctypes.c_void_p),
        ("room", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
    ]
    owners: int | None
    blocks: int
    host_maps: int
    kbuffer: int
    goes_on: int
    room: int
    used: int

    def __init__(self) -> None:
        super().__init__()
        self._text = bytearray(TEXT_ROOM)
        self.text, self.room = address_of(self._text), TEXT_ROOM

    def set_block_functions(self, offer: Callable[[int], int], take_back: Callable[[int], None]) -> None:
        """Set the functions that give and take back blocks; they must not raise."""
        self._functions = _OFFER(offer), _TAKE_BACK(take_back)  # must live as long as they may be called
        self.offer, self.take_back = (ctypes.cast(one, ctypes.c_void_p) for one in self._functions)

    def take_text(self) -> bytes:
        """Return the waiting text, and remove it."""
        text = bytes(self._text[: self.used])
        self.used = 0
        return text
