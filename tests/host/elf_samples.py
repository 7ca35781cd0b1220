"""ELF files built byte by byte for the tests, so that each can be wrong in exactly one way."""

import struct
from dataclasses import dataclass, field

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PT_GNU_STACK, PT_GNU_RELRO, PT_RISCV_ATTRIBUTES = 0x6474E551, 0x6474E552, 0x70000003
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS, SHT_RISCV_ATTRIBUTES = 1, 2, 3, 8, 0x70000003
SHF_ALLOC, SHF_TLS = 2, 0x400
R, RX, RW, RWX = 4, 5, 6, 7
CODE = bytes.fromhex("37081000 1b081810 93083006 73000000")  # li a6, 0x100101; li a7, 99; ecall
LINUX_CODE = bytes.fromhex("93080004 73000000 9308d005 73000000")  # li a7, 64; ecall; li a7, 93; ecall


@dataclass
class Segment:
    """`file_size` and `offset` override what follows from `data`, to build damaged files."""

    vaddr: int
    data: bytes = b""
    flags: int = RX
    memory_size: int | None = None
    type: int = PT_LOAD
    file_size: int | None = None
    offset: int | None = None


@dataclass
class Section:
    name: str
    type: int = SHT_NOBITS
    addr: int = 0
    size: int | None = None
    data: bytes = b""
    flags: int = SHF_ALLOC
    link: int = 0
    entry_size: int = 0


@dataclass
class Elf:
    """An ELF in parts; `bytes(elf)` lays it out: header, program headers, contents, section headers."""

    segments: list[Segment] = field(default_factory=lambda: [Segment(0x1000, CODE)])
    sections: list[Section] | None = field(default_factory=list)  # None: no section header table
    entry: int = 0x1000
    type: int = ET_EXEC
    machine: int = 243
    header: dict[str, int] = field(default_factory=dict)  # phentsize, phnum, phoff, shnum … to override

    def __bytes__(self) -> bytes:
        body = bytearray(64 + 56 * len(self.segments))
        program_headers = b""
        for segment in self.segments:
            offset = len(body) if segment.offset is None else segment.offset
            size = len(segment.data) if segment.file_size is None else segment.file_size
            memory = size if segment.memory_size is None else segment.memory_size
            program_headers += struct.pack(
                "<IIQQQQQQ",
                segment.type,
                segment.flags,
                offset,
                segment.vaddr,
                segment.vaddr,
                size,
                memory,
                4096,
            )
            body += segment.data
        body[64 : 64 + len(program_headers)] = program_headers
        section_headers = self._sections(body)
        fields = {
            "phoff": 64, "shoff": len(body) if section_headers else 0, "flags": 1, "ehsize": 64,
            "phentsize": 56, "phnum": len(self.segments), "shentsize": 64,
            "shnum": len(section_headers) // 64,
            "shstrndx": len(section_headers) // 64 - 1 if section_headers else 0,
        }  # fmt: skip
        fields |= self.header
        ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
        body[:64] = ident + struct.pack(
            "<HHIQQQIHHHHHH", self.type, self.machine, 1, self.entry, *fields.values()
        )
        return bytes(body) + section_headers

    def _sections(self, body: bytearray) -> bytes:
        """Append the sections' contents to `body`; returns the header table."""
        if self.sections is None:
            return b""
        names = b"\0"
        headers = bytes(64)
        for section in [*self.sections, Section(".shstrtab", SHT_STRTAB, flags=0)]:
            name = len(names)
            names += section.name.encode() + b"\0"
            data = names if section.name == ".shstrtab" else section.data
            size = len(data) if section.size is None else section.size
            headers += struct.pack(
                "<IIQQQQIIQQ", name, section.type, section.flags, section.addr, len(body), size,
                section.link, 0, 1, section.entry_size,
            )  # fmt: skip
            body += data
        return headers


def attributes(arch: str) -> bytes:
    """The contents of .riscv.attributes for one arch string."""
    tag = b"\x05" + arch.encode() + b"\0"
    file = b"\x01" + struct.pack("<I", 5 + len(tag)) + tag
    return b"A" + struct.pack("<I", 4 + len(b"riscv\0") + len(file)) + b"riscv\0" + file


def symbol_table(symbols: list[tuple[str, int, int, int, int]], first_index: int) -> list[Section]:
    """.symtab, to be section `first_index`, and .strtab, of (name, address, size, type, section index)."""
    names, table = b"\0", bytes(24)
    for name, address, size, kind, index in symbols:
        table += struct.pack("<IBBHQQ", len(names), 0x10 | kind, 0, index, address, size)
        names += name.encode() + b"\0"
    return [
        Section(".symtab", SHT_SYMTAB, data=table, flags=0, link=first_index + 1, entry_size=24),
        Section(".strtab", SHT_STRTAB, data=names, flags=0),
    ]


def typical() -> Elf:
    """Text, rodata, data with a .bss that starts on data's last page, and symbols: what an SDK links."""
    text = (CODE + bytes(0x1100))[:0x1100]
    sections = [
        Section(".text", SHT_PROGBITS, 0x1000, data=text),
        Section(".bss", SHT_NOBITS, 0x4010, 0x3000),
    ]
    sections += symbol_table([("_start", 0x1000, 14, 2, 1), ("buffer", 0x4010, 0x3000, 1, 2)], 3)
    return Elf(
        [
            Segment(0x1000, text),
            Segment(0x3000, b"rodata", R),
            Segment(0x4000, b"data" * 4, RW, memory_size=0x3010),
            Segment(0, type=PT_GNU_STACK, flags=RW),
        ],
        sections,
    )
