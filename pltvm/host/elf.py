"""The pages of an enclave ELF: the loading rules of §1, as data.

`load_image` checks a file and returns, without accessing guest memory, what the driver has to map: its
*pieces* (as the file names them, in the order of §1) and its *runs* (the final content of pages). Loaders
copy runs. Both are views of the file, so there is no other copy.

Where the ELF specification and the original loader disagree, these rules hold; `EnclaveImage.warnings` names
each rule that a file needs:

1. Bytes go where the ELF says. The original copies a segment to the start of its first page, so a segment
   that is not page aligned only works here.
2. Pieces on one page are merged: the bytes of all, writable if one is. The original keeps only the last.
3. PT_LOAD and .bss decide the bytes and permissions of their pages. Headers that only describe part of them
   (PT_TLS, PT_GNU_RELRO, PT_NOTE …) are mapped too, as §1 asks, but take nothing away from them.
4. A file without section headers has no NOBITS section to name its .bss, so there the tail of a segment
   (p_memsz beyond p_filesz) is mapped, zeroed. With section headers only NOBITS sections are, as in §1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from pltvm.errors import ElfError
from pltvm.host.elf_details import PF_W, arch_string, section_name, segment_name, unsupported_extensions
from pltvm.host.elf_headers import MAX_PIECES, Headers, Source, name_of, read_headers, read_source
from pltvm.host.elf_pages import Piece, Run, intervals, runs_of
from pltvm.monitor.abi import HEAP_BASE, MAX_ELF, PAGE

MAX_NAMED = 2 * MAX_ELF  # bytes named by all headers together: many can name the same part of a file
CACHED = 16  # files
CACHEABLE = 1 << 20  # bytes: larger files are parsed again, so that the cache never exceeds 16 MiB

SHF_TLS = 0x400

_NOTHING = memoryview(b"")


@dataclass(frozen=True)
class EnclaveImage:
    """A checked ELF. `pieces` are in the loading order of §1 (the stack, which comes first, is not in it)."""

    entry: int
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...] = ()
    places: tuple[tuple[int, int], ...] = ()  # the pages of each warning; (0, 0): none

    @cached_property
    def _runs(self) -> tuple[Run, ...]:
        return tuple(runs_of(self.pieces))

    def runs(self) -> tuple[Run, ...]:
        """The pages to map, sorted by address: page aligned, not overlapping. Computed once."""
        return self._runs

    @cached_property
    def pages(self) -> int:
        """The number of distinct pages of the pieces: the "elf pages" by which the driver sizes the block
        (§1)."""
        return sum((end - start) // PAGE for start, end, _ in intervals(self.pieces))


def load_image(source: Source) -> EnclaveImage:
    """Read and check an enclave ELF: a path, or the bytes. The same content again is not parsed again.

    Raises ElfError, one line that starts with the file's name, for anything that cannot run as an enclave.
    """
    return load_named(source)[1]


def load_named(source: Source) -> tuple[bytes, EnclaveImage]:
    """Return the bytes of a source, read once, and the result of `load_image`."""
    try:
        data = read_source(source)
        return data, _cached_parse(data) if len(data) <= CACHEABLE else _parse(data)
    except ElfError as error:
        raise ElfError(f"{name_of(source)}: {error}") from None


def _parse(data: bytes) -> EnclaveImage:
    elf = read_headers(data)
    _check_type(elf)
    pieces = (*_nobits(elf), *_segments(elf))
    _check_memory(pieces, elf)
    _check_entry(elf.header["e_entry"], pieces)
    warned = list(_warnings(elf, pieces))
    warnings, places = tuple(text for text, _ in warned), tuple(place for _, place in warned)
    return EnclaveImage(elf.header["e_entry"], pieces, warnings, places)


_cached_parse = lru_cache(maxsize=CACHED)(_parse)


def _check_type(elf: Headers) -> None:
    kind, types = elf.header["e_type"], {segment["p_type"] for segment in elf.segments}
    if kind == "ET_REL":
        raise ElfError("is an object file, not linked; link it into an executable")
    if kind == "ET_CORE":
        raise ElfError("is a core dump, not a program")
    if "PT_INTERP" in types:
        raise ElfError("is dynamically linked, as no enclave can be: link it with -static")
    if kind == "ET_DYN" and "PT_DYNAMIC" in types:
        raise ElfError("is position independent and needs relocation; link it with -static -no-pie")
    if kind not in ("ET_EXEC", "ET_DYN"):
        raise ElfError(f"is not an executable (e_type {kind})")


def _nobits(elf: Headers) -> Iterator[Piece]:
    """§1, first step: every SHT_NOBITS section with an address, in the order of the table."""
    for section in elf.sections:
        if section["sh_type"] == "SHT_NOBITS" and section["sh_addr"] and section["sh_size"]:
            tls = bool(section["sh_flags"] & SHF_TLS)  # .tbss: the section after it has the same addresses
            name = f"section {section_name(elf, section)}"
            yield Piece(section["sh_addr"], section["sh_size"], _NOTHING, True, name, not tls)


def _segments(elf: Headers) -> Iterator[Piece]:
    """§1, second step: every program header with bytes in the file, whatever its type, in table order."""
    content = memoryview(elf.data)
    for number, segment in enumerate(elf.segments):
        offset, size, memory_size = segment["p_offset"], segment["p_filesz"], segment["p_memsz"]
        load = segment["p_type"] == "PT_LOAD"
        if load and size > memory_size:
            raise ElfError(f"is corrupt: segment {number} has more bytes in the file than in memory")
        if size and (missing := offset + size - len(elf.data)) > 0:
            raise ElfError(
                f"is truncated: {missing} bytes of segment {number} are beyond the end of the file"
            )
        if elf.sections or not load:  # otherwise rule 4: the zeroed tail is mapped too
            memory_size = size
        if memory_size:
            writable = load and bool(segment["p_flags"] & PF_W)
            data = content[offset : offset + size]
            yield Piece(segment["p_vaddr"], memory_size, data, writable, segment_name(segment), load)


def _check_memory(pieces: tuple[Piece, ...], elf: Headers) -> None:
    loads = [segment for segment in elf.segments if segment["p_type"] == "PT_LOAD" and segment["p_memsz"]]
    if not any(segment["p_filesz"] for segment in loads):
        raise ElfError(
            "has no loadable segment with bytes in it" + (" (a debug-only file?)" if loads else "")
        )
    if len(pieces) > MAX_PIECES:
        raise ElfError(f"maps {len(pieces)} segments and sections; at most {MAX_PIECES} are accepted")
    if (named := sum(len(piece.data) for piece in pieces)) > MAX_NAMED:
        raise ElfError(f"names {named >> 20} MiB of its bytes; at most {MAX_NAMED >> 20} MiB are accepted")
    ends = [(piece.end, piece.what) for piece in pieces]
    ends += [(load["p_vaddr"] + load["p_memsz"], segment_name(load)) for load in loads]
    for end, what in ends:
        if end > HEAP_BASE:
            raise ElfError(f"{what} ends at {end:#x}, but the heap starts at {HEAP_BASE:#x}; link it lower")
    loads.sort(key=lambda load: int(load["p_vaddr"]))
    for low, high in pairwise(loads):
        if low["p_vaddr"] + low["p_memsz"] > high["p_vaddr"]:
            raise ElfError(f"segments at {low['p_vaddr']:#x} and {high['p_vaddr']:#x} overlap")
    size = sum(end - start for start, end, _ in intervals(pieces))
    if size > MAX_ELF:
        raise ElfError(f"needs {size >> 20} MiB of memory; an enclave ELF may have {MAX_ELF >> 20} MiB")


def _check_entry(entry: int, pieces: tuple[Piece, ...]) -> None:
    """Every page of an enclave is executable (§1), so the entry only has to be in a PT_LOAD's bytes."""
    if entry == 0:
        raise ElfError("has no entry point (e_entry is 0); name one with the linker's -e or ENTRY()")
    if not any(piece.decides and piece.has_data_in(entry, entry + 1) for piece in pieces):
        raise ElfError(f"entry point {entry:#x} is outside every loaded segment")
    if entry % 2:
        raise ElfError(f"entry point {entry:#x} is odd; RISC-V instructions are 2-byte aligned")


# ---- warnings ----


ORIGINAL = "the original loader would"


def _warnings(elf: Headers, pieces: tuple[Piece, ...]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield warnings about a file that loads, with pages: the rules that it needed, and what it lacks."""
    mapped = list(intervals(pieces))
    loaded = [(start, end) for start, end, on in mapped if any(piece.decides and piece.data for piece in on)]
    for piece in pieces:
        where, place = f"{piece.what} at {piece.vaddr:#x}", (piece.first_page, piece.end_page)
        if "RISCV_ATTRIBUTES" in piece.what:
            yield (
                f"{where} is mapped like any header with bytes: discard .riscv.attributes when linking",
                place,
            )
        elif piece.data and piece.decides and piece.vaddr % PAGE:
            yield f"{where} is not page aligned: {ORIGINAL} move it to the start of its page", place
        elif piece.data and not piece.decides and _overlap(piece.first_page, piece.end_page, loaded):
            yield f"{where} shares pages with a PT_LOAD: {ORIGINAL} replace those, read-only", place
    for segment in elf.segments:
        data_end = segment["p_vaddr"] + segment["p_filesz"]
        start, end = data_end & -PAGE, (segment["p_vaddr"] + segment["p_memsz"] + PAGE - 1) & -PAGE
        if segment["p_type"] != "PT_LOAD" or segment["p_memsz"] == segment["p_filesz"]:
            continue
        if not elf.sections:
            text = f"no section headers: {ORIGINAL} not map the zeroed memory from {data_end:#x} on"
            yield text, (start, end)
        elif missing := end - start - _overlap(start, end, [(low, high) for low, high, _ in mapped]):
            text = f"{missing // PAGE} pages before {end:#x} belong to no NOBITS section and are not mapped"
            yield text, (start, end)
    if lacking := unsupported_extensions(arch_string(elf)):
        text = f"built for {', '.join(lacking)}, which pltvm lacks: it runs until the first such instruction"
        yield text, (0, 0)


def _overlap(start: int, end: int, ranges: list[tuple[int, int]]) -> int:
    """Return how many bytes of [start, end) are in the ranges, which do not overlap each other."""
    return sum(max(0, min(end, high) - max(start, low)) for low, high in ranges)
