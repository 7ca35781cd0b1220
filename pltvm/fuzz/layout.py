"""How the bytes of an input reach the enclave, by kind of attacker.

    call     a hostile caller        u64 req_arg | request memory; up to 8 bytes: a call without memory
    calls    several such calls      messages: u64 req_arg | u16 size | u8 client | u8 – | size bytes
    relay    a hostile host          content of the relay pages
    shm      a hostile host          u32 when | u32 at | u64 value | content of the shared memory;
                                     after `when` blocks of code `value` is written at `at` (when ≠ 0)
    ocalls   a lying host (Iago)     for each ocall a byte: 0 honest, 1 refused, 2 odd (twice the
                                     requested block, half the random numbers), 3 hostile data, which follows
                                     in the input; honest when the input is used up

All numbers are little endian, and any bytes are a valid input: missing bytes are zero, surplus ones are cut.
An enclave can have several channels: all but the last of them are then preceded by their u16 length.
"""

from struct import Struct
from typing import Final, NamedTuple

CALL, CALLS, RELAY, SHM, OCALLS = "call", "calls", "relay", "shm", "ocalls"
ENCLAVE_CHANNELS: Final = (RELAY, SHM, OCALLS)

CALL_HEADER: Final = Struct("<Q")
MESSAGE: Final = Struct("<QHBx")
RACE: Final = Struct("<IIQ")
_LENGTH: Final = Struct("<H")


class Message(NamedTuple):
    """One call of a server; no memory is passed when `memory` is empty."""

    argument: int
    memory: bytes
    client: int = 0


class Race(NamedTuple):
    """A write of a hostile host to shared memory while the enclave runs; `when` 0: none."""

    when: int  # blocks of code
    at: int
    value: int


def split_call(data: bytes) -> Message:
    """Split an input of `call`."""
    return Message(int.from_bytes(data[: CALL_HEADER.size], "little"), data[CALL_HEADER.size :])


def split_calls(data: bytes, most: int, clients: int) -> list[Message]:
    """Split an input of `calls` into at most `most` messages of clients 0 … `clients` − 1."""
    messages: list[Message] = []
    at = 0
    while at < len(data) and len(messages) < most:
        header = data[at : at + MESSAGE.size].ljust(MESSAGE.size, b"\0")
        argument, size, client = MESSAGE.unpack(header)
        at += MESSAGE.size
        messages.append(Message(argument, data[at : at + size], client % clients))
        at += size
    return messages


def join_calls(messages: list[Message]) -> bytes:
    """Return the input that `split_calls` splits into these messages."""
    return b"".join(
        MESSAGE.pack(argument, len(memory), client) + memory for argument, memory, client in messages
    )


def split_race(data: bytes) -> tuple[Race, bytes]:
    """Split an input of `shm`."""
    return Race(*RACE.unpack(data[: RACE.size].ljust(RACE.size, b"\0"))), data[RACE.size :]


def split_channels(data: bytes, channels: tuple[str, ...]) -> dict[str, bytes]:
    """Return the parts of an input for each of the channels, in order."""
    parts, at = {}, 0
    for channel in channels[:-1]:
        (size,) = _LENGTH.unpack(data[at : at + _LENGTH.size].ljust(_LENGTH.size, b"\0"))
        at += _LENGTH.size
        parts[channel] = data[at : at + size]
        at += size
    parts[channels[-1]] = data[at:]
    return parts
