"""Builds the first stack of a Linux program: arguments, environment, auxiliary vector.

STACK_TOP ->  a null pointer
              the texts of the arguments, of the environment and of the name, in this order, each with a NUL:
              programs that set their title write it over the arguments and the environment
              16 random bytes
              AT_… pairs up to (0, 0)
              pointers to the environment, 0
              pointers to the arguments, 0
sp        ->  number of arguments
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from pltvm.errors import PltvmError
from pltvm.host.linux.space import EXEC, READ, WRITE, Space

STACK_TOP: Final = 0x3F_FFFF_F000
STACK_SIZE: Final = 8 << 20
MOST_ARGUMENTS: Final = STACK_SIZE // 4  # bytes of arguments and environment, as in Linux
DEFAULT_ENVIRONMENT: Final = (b"PATH=/bin:/usr/bin:/", b"HOME=/", b"LANG=C")

_AT: Final = {
    "PHDR": 3, "PHENT": 4, "PHNUM": 5, "PAGESZ": 6, "BASE": 7, "FLAGS": 8, "ENTRY": 9, "UID": 11, "EUID": 12,
    "GID": 13, "EGID": 14, "HWCAP": 16, "CLKTCK": 17, "SECURE": 23, "RANDOM": 25, "EXECFN": 31,
}  # fmt: skip


def check_size(texts: Sequence[bytes]) -> None:
    """Raise PltvmError if arguments and environment do not fit into a stack."""
    if sum(map(len, texts)) + 9 * len(texts) > MOST_ARGUMENTS:
        raise PltvmError(f"the arguments of the program have more than {MOST_ARGUMENTS >> 20} MiB")


def build_stack(
    space: Space,
    name: bytes,
    arguments: Sequence[bytes],
    environment: Sequence[bytes],
    vector: dict[str, int],
    random: bytes,
    executable: bool = False,
) -> int:
    """Map the stack and write what the C library's start code reads; return the stack pointer.

    `vector` is the auxiliary vector by the names of its keys, without AT_EXECFN, which is `name`, and
    AT_RANDOM, the 16 bytes `random`. Texts must have passed `check_size`. Raises OutOfMemory.
    """
    space.map(STACK_TOP - STACK_SIZE, STACK_SIZE, READ | WRITE | (EXEC if executable else 0), name="[stack]")
    texts = [random, *(one + b"\0" for one in (*arguments, *environment, name)), bytes(8)]
    place = STACK_TOP - sum(map(len, texts))
    space.write(place, b"".join(texts))
    random_at, *places, name_at, _ = accumulate(map(len, texts[:-1]), initial=place)
    values, variables = places[: len(arguments)], places[len(arguments) :]
    first_variable = variables[0] if variables else name_at
    space.state.arguments = (random_at + len(random), first_variable)
    space.state.environment = (first_variable, name_at)
    words = [len(values), *values, 0, *variables, 0]
    pairs = {_AT[key]: value for key, value in vector.items()}
    for pair in (pairs | {_AT["RANDOM"]: random_at, _AT["EXECFN"]: name_at}).items():
        words += pair
    words += [0, 0]
    pointer = (random_at - 8 * len(words)) & ~15
    space.write(pointer, b"".join(word.to_bytes(8, "little") for word in words))
    return pointer
