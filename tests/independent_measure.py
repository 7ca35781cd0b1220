"""The measurement of an enclave, computed a second time: shares no code with the package.

It reads the ELF itself, lays out the address space of ABI §1, and computes the digest of §9 word by word.

    python tests/independent_measure.py ELF [STACK_BYTES [NONCE [SHM_FILE]]]
"""

import struct
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = 4096
STACK_TOP, SHM, KBUFFER = 0x38_0000_0000, 0x39_0000_0000, 0xFFFF_FFE0_0000_0000
NOBITS = 8
MASK = 2**64 - 1


def rotl(x: int, n: int) -> int:
    return ((x & 0xFFFFFFFF) << (n % 64) | x >> ((32 - n) % 64)) & MASK


ROUND = [rotl(0x79CC4519 if j < 16 else 0x7A879D8A, j) for j in range(64)]


def digest(message: bytes) -> bytes:
    """§9: SM3 in 64-bit words."""
    bits = 8 * len(message)
    message += b"\x80"
    while len(message) % 64 != 56:
        message += b"\0"
    message += struct.pack(">Q", bits)
    state = [
        *(0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600),
        *(0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E),
    ]
    for start in range(0, len(message), 64):
        w = list(struct.unpack_from(">16I", message, start))
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ rotl(w[j - 3], 15)
            w.append(x ^ rotl(x, 15) ^ rotl(x, 23) ^ rotl(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = state
        for j in range(64):
            a12 = rotl(a, 12)
            ss1 = rotl((a12 + e + ROUND[j]) & MASK, 7)
            ss2 = ss1 ^ a12
            ff = a ^ b ^ c if j < 16 else a & b | a & c | b & c
            gg = e ^ f ^ g if j < 16 else e & f | (e ^ MASK) & g
            tt1 = (ff + d + ss2 + (w[j] ^ w[j + 4])) & MASK
            tt2 = (gg + h + ss1 + w[j]) & MASK
            a, b, c, d = tt1, a, rotl(b, 9), c
            e, f, g, h = tt2 ^ rotl(tt2, 9) ^ rotl(tt2, 17), e, rotl(f, 19), g
        state = [old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]
    return b"".join(struct.pack(">I", word & 0xFFFFFFFF) for word in state)


def message(entry: int, pages: Mapping[int, bytes], nonce: int) -> bytes:
    """What the digest is over: `pages` by virtual address, all permission bits 63…56 zero."""
    parts = [struct.pack("<Q", entry)]
    before = None
    for va in sorted(pages, key=lambda va: va % 2**39):  # the order of the tables
        if before is None or va != before + PAGE:
            parts.append(struct.pack("<QB", va | 0xFFFF_FF80_0000_0000, 0))
        parts.append(pages[va])
        before = va
    return b"".join(parts) + struct.pack("<Q", nonce)


def layout(elf: bytes, stack_size: int, shm: bytes = b"") -> tuple[int, dict[int, bytes]]:
    """§1: entry point and pages at creation."""
    entry, phoff, shoff = struct.unpack_from("<3Q", elf, 24)
    phsize, phcount, shsize, shcount = struct.unpack_from("<4H", elf, 54)
    pages: dict[int, bytes] = {}

    def put(va: int, data: bytes) -> None:
        data = bytes(va % PAGE) + data
        data += bytes(-len(data) % PAGE)
        for at in range(0, len(data), PAGE):
            pages[va // PAGE * PAGE + at] = data[at : at + PAGE]

    stack = -(-stack_size // PAGE) * PAGE
    put(STACK_TOP - stack, bytes(stack))
    for index in range(shcount):
        _, kind, _, address, _, size = struct.unpack_from("<2I4Q", elf, shoff + index * shsize)
        if kind == NOBITS and address and size:
            put(address, bytes(size))
    for index in range(phcount):
        _, _, offset, address, _, size, _ = struct.unpack_from("<2I5Q", elf, phoff + index * phsize)
        if size:
            put(address, elf[offset : offset + size])
    if shm:
        put(SHM, shm)
    put(KBUFFER, bytes(PAGE))
    return entry, pages


def measure(elf: bytes, stack_size: int = 64 << 10, nonce: int = 0, shm: bytes = b"") -> bytes:
    """The measurement at creation (nonce 0)."""
    entry, pages = layout(elf, stack_size, shm)
    return digest(message(entry, pages, nonce))


def report_hash(measurement: bytes, nonce: int) -> bytes:
    """The hash of the host's report."""
    return digest(measurement + struct.pack("<Q", nonce))


if __name__ == "__main__":
    path, *more = sys.argv[1:]
    numbers = [int(text, 0) for text in more[:2]]
    print(
        measure(Path(path).read_bytes(), *numbers, shm=Path(more[2]).read_bytes() if more[2:] else b"").hex()
    )
