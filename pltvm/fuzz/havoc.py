"""Small changes to bytes: the operations that `mutate` stacks. Everything is drawn from `rng`.

This is the reference of `native/havoc.c`, which does the same for the loop that executes inputs.
"""

from typing import Final, Literal, TypeAlias

# Values that programs often treat specially; those for narrower fields come first.
_INTERESTING: Final = (
    *(0, 1, 16, 32, 64, 100, 127, -128, -1),
    *(128, 255, 256, 512, 1000, 1024, 4096, 32767, -32768, -129),
    *(32768, 65535, 65536, 100663045, 2147483647, -2147483648, -100663046, -32769),
    *(1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, -(1 << 63), -(1 << 31) - 1, -4096),
)
_INTERESTING_FOR: Final = {1: 9, 2: 19, 4: 27, 8: 34}  # number of them, by width
_MASK: Final = (1 << 64) - 1

Random: TypeAlias = memoryview  # four u64
Buffer: TypeAlias = bytearray | memoryview
Order: TypeAlias = Literal["little", "big"]

# Queue and dictionary: each has n byte strings end to end, and n + 1 offsets.
Stock: TypeAlias = tuple[memoryview, memoryview, memoryview, memoryview]


def seed_state(seed: int) -> list[int]:
    """Return the state of a random number generator: four outputs of splitmix64."""
    state = []
    for step in range(1, 5):
        word = (seed + step * 0x9E3779B97F4A7C15) % (1 << 64)
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
        word = (word ^ word >> 27) * 0x94D049BB133111EB % (1 << 64)
        state.append(word ^ word >> 31)
    return state


def next64(rng: Random) -> int:
    """Return 64 random bits (xoshiro256++)."""
    s0, s1, s2, s3 = rng
    total = s0 + s3 & _MASK
    s2 ^= s0
    s3 ^= s1
    rng[0] = s0 ^ s3
    rng[1] = s1 ^ s2
    rng[2] = s2 ^ s1 << 17 & _MASK
    rng[3] = (s3 << 45 | s3 >> 19) & _MASK
    return (total << 23 | total >> 41) + s0 & _MASK


def below(rng: Random, bound: int) -> int:
    """Return a number 0 … `bound` − 1; `bound` is 1 … 2³²."""
    return (next64(rng) >> 32) * bound >> 32


def pick(rng: Random, bounds: memoryview) -> tuple[int, int]:
    """Return start and end of one of the parts, (0, 0) if there is none."""
    if len(bounds) < 2:
        return 0, 0
    index = below(rng, len(bounds) - 1)
    return bounds[index], bounds[index + 1]


def block_length(rng: Random, most: int) -> int:
    """Return a number of bytes, 1 … `most`, small ones more often."""
    how = below(rng, 64)
    top = 8 if how < 32 else 32 if how < 48 else 64 if how < 60 else 128 if how < 63 else most
    return 1 + below(rng, min(top, most))


def move(buffer: Buffer, source: int, target: int, count: int) -> None:
    """Copies inside the buffer; the two places may overlap."""
    buffer[target : target + count] = bytes(buffer[source : source + count])


def copy(data: Buffer, source: int, buffer: Buffer, target: int, count: int) -> None:
    """Copies from another array."""
    buffer[target : target + count] = bytes(data[source : source + count])


def fill(rng: Random, buffer: Buffer, at: int, count: int) -> None:
    """Writes zeros, one byte many times, random bytes or printable ones."""
    how = below(rng, 4)
    if how < 2:
        byte = 0 if how == 0 else below(rng, 256)
        buffer[at : at + count] = bytes((byte,)) * count
        return
    random = b"".join(next64(rng).to_bytes(8, "little") for _ in range(0, count, 8))[:count]
    buffer[at : at + count] = random if how == 2 else bytes(32 + (byte * 95 >> 8) for byte in random)


def write(buffer: Buffer, at: int, width: int, value: int, order: Order = "little") -> None:
    """Writes the lowest bytes of a number."""
    buffer[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, order)


def change_number(rng: Random, buffer: Buffer, at: int, width: int) -> None:
    """Changes a whole number, one time of four as big endian.

    ± 1 … 32, an interesting one, 0 … 16, one bit, or any of any magnitude.
    """
    order: Order = "big" if below(rng, 4) == 0 else "little"
    value = int.from_bytes(buffer[at : at + width], order)
    how = below(rng, 8)
    if how == 0:
        value += 1 + below(rng, 32)
    elif how == 1:
        value -= 1 + below(rng, 32)
    elif how == 2:
        value += 1 if below(rng, 2) == 0 else -1
    elif how < 5:
        value = _INTERESTING[below(rng, _INTERESTING_FOR[width])]
    elif how == 5:
        value = below(rng, 17)
    elif how == 6:
        value ^= 1 << below(rng, 8 * width)
    else:
        value = next64(rng) >> below(rng, 64)
    write(buffer, at, width, value, order)


def change_header(rng: Random, buffer: Buffer, header: int) -> None:
    """Changes one field: u64 each, but for 16 bytes u32, u32, u64; now and then a part of one."""
    at, width = 0, 1
    if header == 16 and below(rng, 4) > 1:
        at, width = 4 * below(rng, 2), 4
    elif header == 16:
        at, width = 8, 8
    elif header >= 8:
        at, width = 8 * below(rng, header // 8), 8
    else:
        at = below(rng, header)
    if width > 1 and below(rng, 8) == 0:
        part = 1 << below(rng, 2)
        at += part * below(rng, width // part)
        width = part
    change_number(rng, buffer, at, width)


def change_digits(rng: Random, buffer: Buffer, at: int, end: int) -> None:
    """Changes the first decimal number in the 16 bytes after `at`, or writes a digit."""
    for i in range(at, min(at + 16, end)):
        if 48 <= buffer[i] <= 57:
            at = i
            break
    how = below(rng, 4)
    if how < 2:
        buffer[at] = 48 + below(rng, 10)
    elif how == 2:
        buffer[at] = 45  # a minus sign
    else:
        while at < end and 48 <= buffer[at] <= 57:
            buffer[at] = 57
            at += 1


def change_words(rng: Random, buffer: Buffer, start: int, end: int) -> None:
    """Changes aligned u64, as in arrays of {u64 address, u64 size}."""
    words = (end - start) // 8
    one, two = start + 8 * below(rng, words), start + 8 * below(rng, words)
    how = below(rng, 4)
    if how == 0:
        change_number(rng, buffer, one, 8)
    elif how == 1:
        write(buffer, one, 8, below(rng, end - start + 2))  # a size that may just fit
    else:
        word = bytes(buffer[one : one + 8])
        move(buffer, two, one, 8)
        if how == 2:
            buffer[two : two + 8] = word


def change_in_place(rng: Random, buffer: Buffer, start: int, end: int, stock: Stock) -> None:
    """Makes one change in buffer[start:end], which is not empty, that keeps the size."""
    corpus, bounds, tokens, token_bounds = stock
    length = end - start
    at = start + below(rng, length)
    width = 1 << below(rng, 4)
    while width > length:
        width >>= 1
    op = below(rng, 16)
    if op < 3:
        buffer[at] ^= 1 << below(rng, 8)
    elif op < 5:
        buffer[at] = below(rng, 256)
    elif op < 8:
        at = start + below(rng, length - width + 1)
        change_number(rng, buffer, at, width)
    elif op == 8:  # a length field, for the rest after it or for everything
        at = start if below(rng, 4) == 0 else start + below(rng, length - width + 1)
        rest = length if below(rng, 4) == 0 else end - at - width
        write(buffer, at, width, rest + max(below(rng, 4) - 1, 0) - 1)
    elif op == 9:
        change_digits(rng, buffer, at, end)
    elif op == 10 and length >= 8:
        change_words(rng, buffer, start, end)
    elif op == 11:
        fill(rng, buffer, at, block_length(rng, end - at))
    elif op == 12:
        count = block_length(rng, length)
        move(buffer, start + below(rng, length - count + 1), start + below(rng, length - count + 1), count)
    elif op == 13 and len(bounds) > 1:
        first, last = pick(rng, bounds)
        if first < last:
            first += below(rng, last - first)
            copy(corpus, first, buffer, at, block_length(rng, min(last - first, end - at)))
    else:
        first, last = pick(rng, token_bounds)
        if 0 < last - first <= length:
            copy(tokens, first, buffer, start + below(rng, length - last + first + 1), last - first)
        else:
            buffer[at] ^= 1 << below(rng, 8)


def grow(rng: Random, buffer: Buffer, start: int, end: int, size: int, limit: int, stock: Stock) -> int:
    """Inserts at least 1 and up to `limit` − `size` bytes into buffer[start:end]; returns the new size."""
    corpus, bounds, tokens, token_bounds = stock
    at = start + below(rng, end - start + 1)
    op = below(rng, 8)
    first, last = pick(rng, token_bounds if op < 2 else bounds)
    if op < 4 and first < last:
        if op >= 2:
            first += below(rng, last - first)
            last = first + block_length(rng, last - first)
        count = min(last - first, limit - size)
        move(buffer, at, at + count, size - at)
        copy(tokens if op < 2 else corpus, first, buffer, at, count)
    elif op < 6 and start < end:  # a copy of existing bytes
        count = block_length(rng, min(end - start, limit - size))
        first = start + below(rng, end - start - count + 1)
        if first < at < first + count:
            at = first + count
        move(buffer, at, at + count, size - at)
        move(buffer, first + count if at <= first else first, at, count)
    else:
        count = block_length(rng, limit - size)
        move(buffer, at, at + count, size - at)
        fill(rng, buffer, at, count)
    return size + count


def havoc(rng: Random, buffer: Buffer, start: int, end: int, size: int, limit: int, stock: Stock) -> int:
    """Makes one change in buffer[start:end]; bytes after it, up to `size`, move along. Returns the new
    size."""
    op = below(rng, 16)
    if (op < 4 or start == end) and size < limit:
        return grow(rng, buffer, start, end, size, limit, stock)
    if start == end:
        return size
    if op < 7:
        count = block_length(rng, end - start)
        at = start + below(rng, end - start - count + 1)
        move(buffer, at + count, at, size - at - count)
        return size - count
    change_in_place(rng, buffer, start, end, stock)
    return size


def crossover(rng: Random, buffer: Buffer, start: int, size: int, limit: int, stock: Stock) -> int:
    """Replaces the rest after some place by the rest of another input; returns the new size."""
    first, last = pick(rng, stock[1])
    if last - first <= start or size <= start:
        return size
    at = start + below(rng, size - start)
    source = first + at  # usually the same place
    if source >= last or below(rng, 4) == 0:
        source = first + start + below(rng, last - first - start)
    count = min(last - source, limit - at)
    copy(stock[0], source, buffer, at, count)
    return at + count
