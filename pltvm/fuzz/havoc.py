"""Small changes to bytes, in native code: the operations that `mutate` stacks.

Everything is drawn from `rng`. Arrays must be contiguous and writable: any other kind is another type for
numba, and compiled once more.
"""

from typing import Final, TypeAlias

import numpy as np

from pltvm.fuzz.native import Bytes, Offsets, Words, native, signed

# Values that programs treat in a special way; those of a narrower field come first.
_VALUES: Final = (
    *(0, 1, 16, 32, 64, 100, 127, -128, -1),
    *(128, 255, 256, 512, 1000, 1024, 4096, 32767, -32768, -129),
    *(32768, 65535, 65536, 100663045, 2147483647, -2147483648, -100663046, -32769),
    *(1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, -(1 << 63), -(1 << 31) - 1, -4096),
)
_INTERESTING: Final = np.array([value & (1 << 64) - 1 for value in _VALUES], np.uint64)
_INTERESTING_FOR: Final = np.array([0, 9, 19, 19, 27, 27, 27, 27, 34], np.int64)  # how many, by width

Stock: TypeAlias = tuple[Bytes, Offsets, Bytes, Offsets]  # queue and dictionary, as `mutate` is given them

_FF: Final = np.uint64(0xFF)
_0, _1, _8, _17, _19, _23, _32, _41, _45 = (np.uint64(bits) for bits in (0, 1, 8, 17, 19, 23, 32, 41, 45))


def seed_state(seed: int) -> Words:
    """The state of a random number generator: four outputs of splitmix64."""
    state = []
    for step in range(1, 5):
        word = (seed + step * 0x9E3779B97F4A7C15) % (1 << 64)
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
        word = (word ^ word >> 27) * 0x94D049BB133111EB % (1 << 64)
        state.append(word ^ word >> 31)
    return np.array(state, np.uint64)


@native
def next64(rng: Words) -> np.uint64:
    """64 random bits (xoshiro256++)."""
    s0, s1, s2, s3 = rng[0], rng[1], rng[2], rng[3]
    total = s0 + s3
    s2 ^= s0
    s3 ^= s1
    rng[0] = s0 ^ s3
    rng[1] = s1 ^ s2
    rng[2] = s2 ^ (s1 << _17)
    rng[3] = (s3 << _45) | (s3 >> _19)
    result: np.uint64 = ((total << _23) | (total >> _41)) + s0
    return result


@native
def below(rng: Words, bound: int) -> int:
    """A number 0 … `bound` − 1; `bound` is 1 … 2³²."""
    return signed(((next64(rng) >> _32) * np.uint64(bound)) >> _32)


@native
def pick(rng: Words, bounds: Offsets) -> tuple[int, int]:
    """Start and end of one of the parts, (0, 0) if there is none."""
    if len(bounds) < 2:
        return 0, 0
    index = below(rng, len(bounds) - 1)
    return bounds[index], bounds[index + 1]


@native
def block_length(rng: Words, most: int) -> int:
    """A number 1 … `most` of bytes, small ones more often."""
    how = below(rng, 64)
    top = 8 if how < 32 else 32 if how < 48 else 64 if how < 60 else 128 if how < 63 else most
    return 1 + below(rng, min(top, most))


@native
def move(buffer: Bytes, source: int, target: int, count: int) -> None:
    """Copies inside the buffer; the two places may overlap."""
    if target < source:
        for i in range(count):
            buffer[target + i] = buffer[source + i]
    else:
        for i in range(count - 1, -1, -1):
            buffer[target + i] = buffer[source + i]


@native
def copy(data: Bytes, source: int, buffer: Bytes, target: int, count: int) -> None:
    """Copies from another array."""
    for i in range(count):
        buffer[target + i] = data[source + i]


@native
def fill(rng: Words, buffer: Bytes, at: int, count: int) -> None:
    """Writes zeros, one byte many times, random bytes or printable ones."""
    how = below(rng, 4)
    if how < 2:
        byte = 0 if how == 0 else below(rng, 256)
        for i in range(count):
            buffer[at + i] = byte
        return
    bits = _0
    for i in range(count):
        if i & 7 == 0:
            bits = next64(rng)
        byte = signed(bits & _FF)
        buffer[at + i] = byte if how == 2 else 32 + (byte * 95 >> 8)
        bits >>= _8


@native
def write(buffer: Bytes, at: int, width: int, value: np.uint64) -> None:
    """Writes the lowest bytes of a number, little endian."""
    for i in range(width):
        buffer[at + i] = value & _FF
        value >>= _8


@native
def change_number(rng: Words, buffer: Bytes, at: int, width: int) -> None:
    """Changes a whole number, one time of four as big endian.

    ± 1 … 32, an interesting one, 0 … 16, one bit, or any of any magnitude.
    """
    flip = width - 1 if below(rng, 4) == 0 else 0
    value = _0
    for i in range(width - 1, -1, -1):
        value = (value << _8) | np.uint64(buffer[at + (i ^ flip)])
    how = below(rng, 8)
    if how == 0:
        value += np.uint64(1 + below(rng, 32))
    elif how == 1:
        value -= np.uint64(1 + below(rng, 32))
    elif how == 2:
        value += _1 if below(rng, 2) == 0 else ~_0
    elif how < 5:
        value = _INTERESTING[below(rng, _INTERESTING_FOR[width])]
    elif how == 5:
        value = np.uint64(below(rng, 17))
    elif how == 6:
        value ^= _1 << np.uint64(below(rng, 8 * width))
    else:
        value = next64(rng) >> np.uint64(below(rng, 64))
    for i in range(width):
        buffer[at + (i ^ flip)] = value & _FF
        value >>= _8


@native
def change_header(rng: Words, buffer: Bytes, header: int) -> None:
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


@native
def change_digits(rng: Words, buffer: Bytes, at: int, end: int) -> None:
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


@native
def change_words(rng: Words, buffer: Bytes, start: int, end: int) -> None:
    """Changes aligned u64, as in arrays of {u64 address, u64 size}."""
    words = (end - start) // 8
    one, two = start + 8 * below(rng, words), start + 8 * below(rng, words)
    how = below(rng, 4)
    if how == 0:
        change_number(rng, buffer, one, 8)
    elif how == 1:
        write(buffer, one, 8, np.uint64(below(rng, end - start + 2)))  # a size that may just fit
    else:
        for i in range(8):
            byte = buffer[one + i]
            buffer[one + i] = buffer[two + i]
            if how == 2:
                buffer[two + i] = byte


@native
def change_in_place(rng: Words, buffer: Bytes, start: int, end: int, stock: Stock) -> None:
    """One change of buffer[start:end], not empty, that keeps its size."""
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
    elif op == 8:  # a length field, of what follows it or of everything
        at = start if below(rng, 4) == 0 else start + below(rng, length - width + 1)
        rest = length if below(rng, 4) == 0 else end - at - width
        write(buffer, at, width, np.uint64(rest + max(below(rng, 4) - 1, 0) - 1))
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


@native
def grow(rng: Words, buffer: Bytes, start: int, end: int, size: int, limit: int, stock: Stock) -> int:
    """Inserts up to `limit` − `size` bytes, more than 0, into buffer[start:end]; the new size."""
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
    elif op < 6 and start < end:  # a copy of what is there
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


@native
def havoc(rng: Words, buffer: Bytes, start: int, end: int, size: int, limit: int, stock: Stock) -> int:
    """One change of buffer[start:end]; what follows up to `size` moves along. The new size."""
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


@native
def crossover(rng: Words, buffer: Bytes, start: int, size: int, limit: int, stock: Stock) -> int:
    """Replaces what follows some place by what follows one in another input; the new size."""
    first, last = pick(rng, stock[1])
    if last - first <= start or size <= start:
        return size
    at = start + below(rng, size - start)
    source = first + at  # mostly the same place
    if source >= last or below(rng, 4) == 0:
        source = first + start + below(rng, last - first - start)
    count = min(last - source, limit - at)
    copy(stock[0], source, buffer, at, count)
    return at + count
