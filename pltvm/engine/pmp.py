"""Physical memory protection: which regions of RAM each privilege may access, in addition to page tables.

Unicorn implements PMP but its registers are missing from the register API, so a few instructions in M-mode
set them. An entry with a lower number wins. Regions are naturally aligned powers of two (NAPOT), which also
keeps them page aligned, as the JIT checks PMP once for a whole cached page.
"""

from dataclasses import dataclass
from typing import Final

from pltvm.engine.context import X0, Context, M
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import EngineError

ENTRIES: Final = 8  # writes to pmpcfg2 reach the wrong entries in Unicorn, so only the first 8 are used
LAST: Final = ENTRIES - 1
R, W, X = 1, 2, 4
NO_ACCESS, READ_ONLY, ALL = 0, R, R | W | X

_TOR, _NAPOT = 1 << 3, 3 << 3
_EVERYTHING: Final = (1 << 54) - 1
_CSR_PMPCFG0, _CSR_PMPADDR0 = 0x3A0, 0x3B0
_CSR_MCOUNTEREN, _CSR_SCOUNTEREN = 0x306, 0x106
_WFI: Final = 0x1050_0073


@dataclass(frozen=True, slots=True)
class Entry:
    """Access `permissions` (R, W, X) for `size` bytes at `base`; size 0 means all memory."""

    base: int
    size: int
    permissions: int

    def address_register(self) -> int:
        """The value of `pmpaddr` for this region."""
        if self.size == 0:
            return _EVERYTHING
        if self.size < PAGE or self.size & (self.size - 1) or self.base % self.size:
            raise EngineError(f"PMP region {self.base:#x}+{self.size:#x} is not naturally aligned")
        return (self.base | (self.size // 2 - 1)) >> 2

    def span(self, memory: Memory) -> tuple[int, int, int]:
        """Return the same as start, end, permissions; all memory means RAM."""
        if self.size == 0:
            return memory.base, memory.end, self.permissions
        return self.base, self.base + self.size, self.permissions


def _csrw(csr: int, source: int) -> int:
    return csr << 20 | source << 15 | 1 << 12 | 0x73


def program(hart: Hart, entries: dict[int, Entry], scratch: int) -> None:
    """Set PMP to exactly `entries` (by number, 0…LAST), from code at the page `scratch`, which is restored.

    Without a matching entry user and supervisor mode may access nothing. All memory, in the last entry, means
    RAM: its start is the address of the entry before, which is off then. So a page-table entry that points
    outside RAM traps at the instruction that uses it; otherwise Unicorn would leave the JIT some time later.
    Also turns off the user-visible counters, so that reading one traps and gives the same value in every run.
    """
    memory = hart.memory
    config, code = [0] * ENTRIES, [_csrw(_CSR_MCOUNTEREN, 0), _csrw(_CSR_SCOUNTEREN, 0)]
    context = Context(M, pc=scratch)
    for number in range(ENTRIES):
        entry = entries.get(number)
        if entry is not None:
            config[number] = _NAPOT | entry.permissions
            context.regs[X0 + 1 + number] = entry.address_register()
        code.append(_csrw(_CSR_PMPADDR0 + number, 1 + number))
    rest = entries.get(LAST)
    if rest is not None and rest.size == 0 and LAST - 1 not in entries:
        config[LAST] = _TOR | rest.permissions
        context.regs[X0 + LAST], context.regs[X0 + 1 + LAST] = memory.base >> 2, memory.end >> 2
    context.regs[X0 + 31] = int.from_bytes(bytes(config), "little")
    code += [_csrw(_CSR_PMPCFG0, 31), _WFI]

    text = b"".join(word.to_bytes(4, "little") for word in code)
    saved = memory.read(scratch, len(text))
    memory.write(scratch, text)
    hart.run_bare(context)
    hart.protect({number: entry.span(memory) for number, entry in sorted(entries.items())})
    memory.write(scratch, saved)
    hart.forget_code(scratch, PAGE)  # it ran without translation, so no entry made the page executable
