"""Checks executions that ended without a fault: what the other side got, and what changed.

secret         8 bytes of the secret in a response, in printed text, or in memory that the host can read
other-client   the token that fills the memory of another client, in a response
stale          the paint of unused stack, in a response (opt in)
refusal        a negative result although the call has changed memory of the server (opt in)
"""

import hashlib
from typing import Final, NamedTuple, Protocol

from pltvm.engine.memory import PAGE
from pltvm.fuzz.execution import Problem
from pltvm.fuzz.results import OTHER_CLIENT, REFUSAL, STALE
from pltvm.fuzz.secret import WINDOW, shows
from pltvm.fuzz.target import Target

_PAINT: Final = bytes.fromhex("f57a1ed1")  # repeated
_SAVED_REGISTERS: Final = 256  # bytes at the top of a stack
_SIGN: Final = 1 << 63


class Readable(Protocol):
    """RAM, or a copy of it."""

    def read(self, pa: int, size: int) -> bytes:
        """Return `size` bytes at physical address `pa`."""


class Response(NamedTuple):
    """The result of a call: a number, and memory."""

    value: int
    memory: tuple[bytes, ...]


def token_of(client: int) -> bytes:
    """Return the eight bytes that fill the memory of a client after the bytes of the input."""
    return hashlib.sha256(b"client %d" % client).digest()[:WINDOW]


def needed(target: Target) -> bool:
    """Whether responses have to be checked."""
    return bool(target.secrets or target.options.oracles or target.options.clients > 1)


def paint_stack(target: Target) -> None:
    """Fill the unused stack of the server, so that unwritten memory can be recognized."""
    if STALE in target.options.oracles:
        low, high = target.stack_range()
        for va in range(low, high - PAGE, PAGE):
            target.enclave.space.table.write(va, _PAINT * (PAGE // 4))
        target.enclave.space.table.write(high - PAGE, _PAINT * ((PAGE - _SAVED_REGISTERS) // 4))


def check(
    target: Target, response: Response, data: bytes, client: int, before: dict[int, bytes] | None = None
) -> Problem | None:
    """Return the problem of a response to `client` on the input `data`, or None."""
    texts = (response.value.to_bytes(8, "little"), *response.memory)
    if target.secrets:
        problem = target.find_secret(texts, data, "a response")
        if problem is not None:
            return problem
    for other in range(target.options.clients):
        if other != client and shows((token_of(other),), texts, data):
            words = f"client {client} gets memory of client {other}"
            return target.problem(OTHER_CLIENT, target.enclave.context, words)
    if STALE in target.options.oracles:
        rotations = [(_PAINT * 3)[at : at + WINDOW] for at in range(4)]
        if shows(rotations, texts, data):
            words = "a response holds stack that nobody has written"
            return target.problem(STALE, target.enclave.context, words)
    if REFUSAL in target.options.oracles and response.value & _SIGN:
        return _changed(target, before)
    return None


def writable(target: Target, content: Readable | None = None) -> dict[int, bytes]:
    """Return the writable pages that the server keeps, by address, without its stack and passed memory.

    Their content is the present one, or that of another copy of RAM.
    """
    memory = content or target.machine.memory
    pages = {va: memory.read(pa, PAGE) for va, pa in target.own_pages}
    enclave = target.enclave
    for head in (enclave.heap, enclave.mmaps):
        for region in enclave.space.regions(head):
            if region.at != enclave.request:
                for at in range(0, region.size, PAGE):
                    pages[region.va + at] = memory.read(region.pa + at, PAGE)
    return pages


def _changed(target: Target, before: dict[int, bytes] | None) -> Problem | None:
    if before is None:
        before = writable(target, target.snapshot)
    for va, page in writable(target).items():
        old = before.get(va)
        if old is not None and old != page:
            at = va + next(index for index in range(PAGE) if old[index] != page[index])
            words = f"a call was refused, and has changed memory at {target.where(at)}"
            return target.problem(REFUSAL, target.enclave.context, words)
    return None
