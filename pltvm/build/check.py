"""The memory checker of `pltvm build --check`: compiler flags, and the libraries to link.

The compiler's address instrumentation calls `__asan_…` before each load and store, and its checks for
undefined behaviour call `__ubsan_…` when they fail; `guest/lib/check` implements these. An error is printed,
and ends the enclave by a breakpoint in a function named after it, which a run and the fuzzer report.

A program cannot read its own symbols. So it is linked twice: the second time with a table of names for its
return addresses, which is after the code and does not move it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pltvm.build import guest, library
from pltvm.errors import BuildError

Locate = Callable[[int], str]  # describes an address of the code
Symbols = Callable[[bytes], Locate]  # for an ELF

_OFFSET: Final = 0x20_0000_0000  # as in guest/lib/check/shadow.c
_FRAMES: Final = ("-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer")  # for backtraces
_ADDRESS: Final = (
    "asan-instrumentation-with-call-threshold=0",  # each access by a call: the shadow is in several places
    "asan-max-inline-poisoning-size=0",  # and so is that of the stack
    f"asan-mapping-offset={_OFFSET:#x}",
    "asan-use-after-return=always",
    "asan-constructor-kind=none",  # the runtime finds globals by their section
    "asan-destructor-kind=none",
)
_OF_LIBRARY: Final = (
    "asan-stack=0",
    "asan-globals=0",
)  # only instruments accesses, which are to the program's memory
_TABLE: Final = '.section .rodata.check_names, "a"\n.balign 8\n.globl __check_names, __check_names_end\n'


def _address(*options: str) -> list[str]:
    return ["-fsanitize=address", *(word for one in (*_ADDRESS, *options) for word in ("-mllvm", f"-{one}"))]


def flags() -> list[str]:
    """The compiler's flags for a file of the program."""
    undefined = ("-fsanitize=undefined", "-fno-sanitize=function,vptr")
    return [*_address(), *undefined, "-fno-sanitize-trap=all", "-fno-sanitize-recover=all", *_FRAMES]


def library_flags() -> list[str]:
    """The compiler's flags for the SDK's library."""
    return ["-fno-sanitize=undefined", *_address(*_OF_LIBRARY), *_FRAMES]


def runtime(flags: Sequence[str], made: Path, output: Path, cache: Path) -> Path:
    """Make the archive of `guest/lib/check`, to be linked before the SDK's library: it has its own malloc."""
    folder = guest.guest_dir() / "lib" / "check"
    return library.archive(
        [*flags, *_FRAMES], [*folder.glob("*.c"), *folder.glob("*.S")], made, output, cache
    )


def names(elf: bytes, into: Path, symbols: Symbols | None = None) -> Path:
    """Write the table of names for return addresses, as assembly."""
    locate = (symbols or _functions)(elf)
    texts: dict[str, int] = {}
    rows = [(pc, texts.setdefault(locate(pc - 2), len(texts))) for pc in _behind_calls(elf)]
    lines = [_TABLE, "__check_names:"]
    lines += [f".quad {pc:#x}, .Ltext{number}" for pc, number in rows]
    lines += ["__check_names_end:"]
    for text, number in texts.items():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'.Ltext{number}: .asciz "{quoted}"')
    into.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return into


def _behind_calls(elf: bytes) -> Iterator[int]:
    """Yield possible return addresses: those after each instruction that may be a call."""
    binary = _parsed(elf)  # objects from it are valid as long as this
    text = binary.get_section(".text")
    if text is None:
        return
    code, start = bytes(text.content), text.virtual_address
    for at in range(0, len(code) - 3, 2):
        half = int.from_bytes(code[at : at + 2], "little")
        if half & 0xFFF in (0x0EF, 0x0E7):  # jal ra, jalr ra
            yield start + at + 4
        elif half & 0xF07F == 0x9002 and half & 0xF80:  # c.jalr
            yield start + at + 2


def _functions(elf: bytes) -> Locate:
    """Return function names, for callers without line numbers."""
    binary = _parsed(elf)
    symbols = ((one.value, str(one.name)) for one in binary.symtab_symbols if one.is_function and one.value)
    found = sorted(symbols)
    starts = [start for start, _ in found]

    def locate(pc: int) -> str:
        at = bisect_right(starts, pc) - 1
        return f"{found[at][1]}+{pc - starts[at]:#x}" if at >= 0 else f"{pc:#x}"

    return locate


def _parsed(elf: bytes) -> "ELF.Binary":  # type: ignore[name-defined]  # noqa: F821
    from lief import ELF

    binary = ELF.parse(elf)
    if binary is None:
        raise BuildError("the linker made no ELF")
    return binary
