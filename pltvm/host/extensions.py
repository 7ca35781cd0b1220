"""Finds the extension of an instruction that the hart does not have, by its bytes."""

from typing import Final

_CUSTOM: Final = {0x0B: "custom-0", 0x2B: "custom-1", 0x5B: "custom-2", 0x7B: "custom-3"}
_CACHE: Final = {
    0: "cbo.inval (Zicbom)",
    1: "cbo.clean (Zicbom)",
    2: "cbo.flush (Zicbom)",
    4: "cbo.zero (Zicboz)",
}
_SYSTEM: Final = {
    0x10200073: "sret", 0x30200073: "mret", 0x00200073: "uret", 0x7B200073: "dret", 0x10500073: "wfi",
}  # fmt: skip
_VECTOR_WIDTHS: Final = (0, 5, 6, 7)  # funct3 of loads and stores
_COUNTERS: Final = range(0xC00, 0xC20)


def extension_of(code: bytes) -> str:
    """Describe an illegal instruction, in words that complete "it is …"; "" if unknown."""
    if len(code) < 2:
        return ""
    half = int.from_bytes(code[:2], "little")
    if half & 3 != 3:
        return _compressed(half)
    if len(code) < 4:
        return ""
    word = int.from_bytes(code[:4], "little")
    if word == 0xFFFF_FFFF:
        return "all ones: no code, perhaps memory that was never filled"
    opcode, kind, top = word & 0x7F, word >> 12 & 7, word >> 25
    if opcode in _CUSTOM:
        return f"of a vendor's own extension ({_CUSTOM[opcode]})"
    if opcode == 0x57 or (opcode in (0x07, 0x27) and kind in _VECTOR_WIDTHS):
        return "of the vector extension (V)"
    if opcode == 0x77:
        return "of the vector cryptography extensions (Zvk…)"
    if (opcode in (0x07, 0x27) and kind == 1) or (opcode in (0x43, 0x47, 0x4B, 0x4F, 0x53) and top & 3 == 2):
        return "of half precision (Zfh)"
    if (opcode in (0x07, 0x27) and kind == 4) or (opcode == 0x53 and top & 3 == 3):
        return "of quadruple precision (Q)"
    if opcode == 0x0F and kind == 2:
        return f"a cache operation: {_CACHE.get(word >> 20, 'of an unknown kind')}"
    if opcode == 0x2F:
        return (
            "of compare-and-swap (Zacas)"
            if word >> 27 == 5
            else "of small atomics (Zabha)"
            if kind < 2
            else ""
        )
    if opcode == 0x73:
        return _system(word, kind)
    return _cryptography(word, opcode, kind, top)


def _compressed(half: int) -> str:
    if not half:
        return "zeros: no code, so something jumped to data, or the code ends here"
    if half & 0xE003 == 0xA002:
        return "of Zcmp or Zcmt (cm.push, cm.jt …)"
    return ""


def _system(word: int, kind: int) -> str:
    if word in _SYSTEM or word >> 25 in (0x09, 0x0B, 0x11, 0x31):
        return (
            f"an instruction of the kernel ({_SYSTEM.get(word, 'a fence of translations')}), not of user mode"
        )
    if kind == 4:
        return "of the hypervisor extension (H)"
    number = word >> 20
    if kind and number >> 8 & 3:
        return f"an access to CSR {number:#x}, which belongs to the kernel or the firmware"
    if kind and number in _COUNTERS:
        return f"an access to counter {number:#x}, which cannot be written"
    if kind and number in (0x008, 0x009, 0x00A, 0x00F, 0xC20, 0xC21, 0xC22):
        return "of the vector extension (V)"
    if kind and number == 0x015:
        return "of the entropy source (Zkr)"
    return f"an access to CSR {number:#x}, which there is not" if kind else ""


def _cryptography(word: int, opcode: int, kind: int, top: int) -> str:
    if opcode == 0x33 and top == 5 and kind in (1, 2, 3):
        return "of carry-less multiplication (Zbc, Zbkc)"
    if opcode == 0x33 and top == 0x14 and kind in (2, 4):
        return "of crossbar permutation (Zbkx)"
    if opcode == 0x33 and top & 0x1F in (0x19, 0x1B, 0x1D, 0x1F, 0x11, 0x13, 0x15, 0x17) and kind == 0:
        return "of AES (Zkne, Zknd)"
    if opcode == 0x33 and top & 0x1F in (0x18, 0x1A) and kind == 0:
        return "of SM4 (Zksed)"
    if opcode == 0x13 and kind == 1 and top == 0x08:
        return "of SHA-2 or SM3 (Zknh, Zksh)"
    if opcode == 0x13 and kind == 1 and top == 0x18:
        return "of AES (Zkne, Zknd)"
    if (opcode, kind) in ((0x33, 4), (0x33, 7), (0x3B, 4)) and top == 4:
        return "of packing bits (Zbkb)"
    return ""
