"""New inputs from old ones: `mutate` is called by the loop that executes inputs.

One call stacks 1 to 32 small changes, about four on average, like AFL's havoc stage. A header is changed by
whole fields; inputs of messages (layout `calls`) are changed by messages too. Everything is drawn from `rng`,
so one seed gives one sequence of inputs.

This is the reference of `native/mutate.c`, which does the same for that loop.
"""

from typing import Final

from pltvm.fuzz.havoc import (
    Buffer,
    Random,
    Stock,
    below,
    block_length,
    change_header,
    change_number,
    copy,
    crossover,
    fill,
    havoc,
    move,
    pick,
)
from pltvm.fuzz.layout import MESSAGE

HEAD: Final = MESSAGE.size  # bytes of a message before its memory
SIZE_AT: Final = 8  # offset of its u16 size
CLIENT_AT: Final = 10
MOST_MEMORY: Final = 0xFFFF  # largest value of the size
# (threshold of 64, number of changes)
_STACKS: Final = ((14, 1), (40, 2), (54, 4), (60, 8), (63, 16), (64, 32))


def span(data: Buffer, at: int, end: int) -> int:
    """Return the size of the message at a place, with its header; `end` cuts it."""
    if at + HEAD > end:
        return end - at
    memory = data[at + SIZE_AT] + 256 * data[at + SIZE_AT + 1]
    return min(HEAD + memory, end - at)


def seek(data: Buffer, at: int, end: int, index: int) -> tuple[int, int]:
    """Return the start of the message with that index, or the last border, and the number of messages before
    it."""
    count = 0
    while count < index and at < end:
        at += span(data, at, end)
        count += 1
    return at, count


def set_size(buffer: Buffer, at: int, length: int) -> None:
    """Writes the size field of a message with this length."""
    buffer[at + SIZE_AT] = (length - HEAD) & 0xFF
    buffer[at + SIZE_AT + 1] = (length - HEAD) >> 8


def tidy(buffer: Buffer, size: int, limit: int) -> int:
    """Makes whole messages of any bytes: the last one ends at the end of the input. Returns the new size."""
    at = 0
    while at < size:
        length = span(buffer, at, size)
        if length < HEAD:
            if at + HEAD > limit:
                return at
            buffer[size : at + HEAD] = bytes(at + HEAD - size)
            size, length = at + HEAD, HEAD
        if at + length == size:
            set_size(buffer, at, length)
        at += length
    return size


def add_message(rng: Random, buffer: Buffer, at: int, size: int, limit: int, stock: Stock) -> int:
    """Inserts a message at a border: one of the same input, of another input, or a new one. Returns the new
    size."""
    room = limit - size
    if room < HEAD:
        return size
    origin = below(rng, 4)
    data = buffer if origin == 0 else stock[0]
    first, last = pick(rng, stock[1])
    if origin == 0:
        first, last = 0, size
    source, length = first, 0
    if origin < 2 and first < last:
        source = seek(data, first, last, below(rng, seek(data, first, last, last)[1]))[0]
        length = min(span(data, source, last), room)
    if length >= HEAD:
        move(buffer, at, at + length, size - at)
        copy(data, source if origin or source < at else source + length, buffer, at, length)
    else:
        memory = 0 if room == HEAD or below(rng, 4) == 0 else block_length(rng, min(room - HEAD, MOST_MEMORY))
        length = HEAD + memory
        move(buffer, at, at + length, size - at)
        fill(rng, buffer, at + HEAD, memory)
        buffer[at : at + HEAD] = bytes(HEAD)
        buffer[at] = below(rng, 17)
        if below(rng, 4) == 0:
            change_number(rng, buffer, at, 8)
    set_size(buffer, at, length)
    if below(rng, 4) == 0:
        buffer[at + CLIENT_AT] = below(rng, 4)
    return size + length


def swap_messages(buffer: Buffer, one: int, two: int, size: int) -> None:
    """Swaps the message at `one` with the later one at `two`."""
    one_end, two_end = one + span(buffer, one, size), two + span(buffer, two, size)
    swapped = (buffer[two:two_end], buffer[one_end:two], buffer[one:one_end])
    buffer[one:two_end] = b"".join(swapped)


def resize_message(rng: Random, buffer: Buffer, at: int, size: int, limit: int) -> int:
    """Cuts or extends the memory of the message at `at`; returns the new size."""
    length = span(buffer, at, size)
    most = min(HEAD + MOST_MEMORY, length + limit - size)
    wanted = HEAD + block_length(rng, most - HEAD + 1) - 1
    if below(rng, 2) == 0:
        wanted = min(max(length + below(rng, 17) - 8, HEAD), most)
    move(buffer, at + length, at + wanted, size - at - length)
    if wanted > length:
        fill(rng, buffer, at + length, wanted - length)
    set_size(buffer, at, wanted)
    return size + wanted - length


def change_messages(rng: Random, buffer: Buffer, size: int, limit: int, stock: Stock) -> int:
    """Makes one change to whole messages (see `tidy`); returns the new size."""
    count = seek(buffer, 0, size, size)[1]
    op = below(rng, 16)
    if op < 3 or count == 0:
        border = seek(buffer, 0, size, below(rng, count + 1))[0]
        return add_message(rng, buffer, border, size, limit, stock)
    at = seek(buffer, 0, size, below(rng, count))[0]
    length = span(buffer, at, size)
    if op == 3 and count > 1:
        move(buffer, at + length, at, size - at - length)
        return size - length
    if op == 4:
        other = seek(buffer, 0, size, below(rng, count))[0]
        if other != at:
            swap_messages(buffer, min(at, other), max(at, other), size)
    elif op == 5:
        buffer[at + CLIENT_AT] = below(rng, 4)
    elif op < 8:
        change_number(rng, buffer, at, 8)
    elif op == 8:
        return resize_message(rng, buffer, at, size, limit)
    elif op == 9 and len(stock[1]) > 1:  # the rest from another input
        first, last = pick(rng, stock[1])
        source = seek(stock[0], first, last, below(rng, seek(stock[0], first, last, last)[1] + 1))[0]
        copied = min(last - source, limit - at)
        copy(stock[0], source, buffer, at, copied)
        return tidy(buffer, at + copied, limit)
    else:
        most = min(limit, size + HEAD + MOST_MEMORY - length)
        after = havoc(rng, buffer, at + HEAD, at + length, size, most, stock)
        set_size(buffer, at, length + after - size)
        return after
    return size


def mutate(
    rng: Random,
    buffer: Buffer,
    size: int,
    limit: int,
    header: int,
    stock: Stock,
    calls: bool,
) -> int:
    """Changes the input buffer[:size] in place; returns its new size, at most `limit`, which buffer must
    have.

    `header` bytes at the start are fields. `calls`: the input is messages, and stays so 15 times of 16.
    """
    size = min(size, limit)
    draw = below(rng, 64)
    stack = next(count for top, count in _STACKS if draw < top)
    if calls and below(rng, 16) > 0:
        size = tidy(buffer, size, limit)
        for _ in range(stack):
            size = change_messages(rng, buffer, size, limit, stock)
        return size
    header = min(header, limit)
    if below(rng, 16) == 0:
        size = crossover(rng, buffer, header, size, limit, stock)
    if size < header:
        buffer[size:header] = bytes(header - size)
        size = header
    for _ in range(stack):
        if header > 0 and (header == limit or below(rng, 4) == 0):
            change_header(rng, buffer, header)
        else:
            size = havoc(rng, buffer, header, size, size, limit, stock)
    return size
