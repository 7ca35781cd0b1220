"""The description of a Linux host program for `pltvm info`: its linking, and what it needs to run."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from pltvm.errors import ElfError
from pltvm.host.elf_details import arch_string, segment_name, unsupported_extensions
from pltvm.host.elf_headers import Source, name_of, read_headers, read_source
from pltvm.host.elf_interpreter import advice, interpreter_of, needed_libraries, path_of
from pltvm.host.elf_kind import Decision
from pltvm.host.elf_table import Mapping, human, reason_lines, table


@dataclass(frozen=True)
class ProgramInfo:
    """A description of a host program. `mappings` are its segments, at the addresses in the file."""

    name: str
    kind: str
    reasons: tuple[str, ...]  # why this kind was chosen: each completes "it …"
    file_size: int  # bytes
    sha256: str
    entry: int
    linking: str  # "statically linked", "dynamically linked", "position independent, statically linked"
    interpreter: str | None
    libraries: tuple[str, ...]  # that it needs from the interpreter
    mappings: tuple[Mapping, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain types, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text()

    def text(self, narrow: bool = False) -> str:
        """Return the description as lines of text; `narrow`: fewer columns in the table of mappings."""
        lines = [
            f"{self.name}: {self.kind}, RISC-V RV64, {self.linking}",
            *reason_lines(self.reasons),
            f"  sha256   {self.sha256}",
            f"  size     {human(self.file_size)}",
            f"  entry    {self.entry:#x}",
        ]
        if self.interpreter is not None:
            lines += [f"  starts   {self.interpreter}"]
        if self.libraries:
            lines += [f"  needs    {', '.join(self.libraries)}"]
        lines += ["", *table(self.mappings, narrow)]
        if self.warnings:
            lines += ["", *(f"  warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines)


def describe_program(source: Source, decision: Decision) -> ProgramInfo:
    """Describe a host program. Raises ElfError, one line that starts with the file's name."""
    try:
        data = read_source(source)
        elf = read_headers(data)
    except ElfError as error:
        raise ElfError(f"{name_of(source)}: {error}") from None
    interpreter = interpreter_of(elf)
    movable = "position independent, " if elf.header["e_type"] == "ET_DYN" else ""
    warnings = []
    if interpreter is not None:
        warnings.append(f"needs {path_of(interpreter)} in its root: {advice(interpreter)}")
    if lacking := unsupported_extensions(arch_string(elf)):
        warnings.append(
            f"built for {', '.join(lacking)}, which pltvm lacks: it runs until the first such instruction"
        )
    return ProgramInfo(
        name=name_of(source),
        kind="Linux host program",
        reasons=decision.reasons,
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        entry=elf.header["e_entry"],
        linking=f"{movable}statically linked" if interpreter is None else f"{movable}dynamically linked",
        interpreter=None if interpreter is None else path_of(interpreter),
        libraries=tuple(needed_libraries(elf)),
        mappings=tuple(
            Mapping(
                one["p_vaddr"],
                one["p_memsz"],
                one["p_filesz"],
                segment_name(one).rpartition(" ")[2],
                segment_name(one),
            )
            for one in elf.segments
            if one["p_type"] in ("PT_LOAD", "PT_TLS")
        ),
        warnings=tuple(warnings),
    )
