"""Decides the kind of a file: an enclave, a Linux host program, or a kernel program for S-mode.

`decide` adds up the evidence of `elf_evidence`; the kind with the largest weight wins. The user can always
override it (`--as`), and is told so if a decision with little evidence fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pltvm.errors import ElfError
from pltvm.host.elf_evidence import ENCLAVE, HOST, KERNEL, all_evidence, returns_and_exits, totals
from pltvm.host.elf_headers import Source, read_headers, read_source

SURE: Final = 20  # lead that the first kind must have over the second


class Kind(Enum):
    """The kind of a file. SERVER is never decided here: a server is an enclave that is created with a
    name."""

    ENCLAVE = "enclave"
    SERVER = "server"
    LINUX_PROGRAM = "host"
    KERNEL = "kernel"
    OTHER = "other"


NAMES: Final = {
    Kind.ENCLAVE: "an enclave",
    Kind.SERVER: "a server enclave",
    Kind.LINUX_PROGRAM: "a host program",
    Kind.KERNEL: "a kernel program",
}
CHOICES: Final = tuple(kind.value for kind in (Kind.LINUX_PROGRAM, Kind.ENCLAVE, Kind.SERVER, Kind.KERNEL))
_KINDS: Final = {ENCLAVE: Kind.ENCLAVE, HOST: Kind.LINUX_PROGRAM, KERNEL: Kind.KERNEL}


@dataclass(frozen=True, slots=True)
class Decision:
    """The decided kind of a file, with reasons.

    `reasons` complete "it …", the weightiest first; none for a kind chosen by the user. `against` are reasons
    for another kind. `sure` is False if these weigh nearly as much. `server`: an enclave that returns as only
    servers do; `exits`: an enclave that exits as only others do, and never returns as servers do.
    """

    kind: Kind
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    sure: bool = True
    server: bool = False
    exits: bool = False

    def hint(self) -> str:
        """Return a hint for after a failure: the kind, the reasons, and the option if it is wrong; "" if
        sure."""
        if self.server:
            return "seems to be a server: it runs when an enclave calls it (run CALLER --server NAME=FILE)"
        if self.sure or self.kind not in NAMES:
            return ""
        other = Kind.LINUX_PROGRAM if self.kind is Kind.ENCLAVE else Kind.ENCLAVE
        return (
            f"was taken for {NAMES[self.kind]}, as it {self.reasons[0]}; "
            f"--as {other.value} runs it as {NAMES[other]}"
        )


def decide(source: Source) -> Decision:
    """Decide the kind of a file. Never raises: a file that cannot run at all is OTHER, with the reason."""
    try:
        elf = read_headers(read_source(source))
    except ElfError as error:
        return Decision(Kind.OTHER, (str(error),))
    if not any(segment["p_type"] == "PT_LOAD" for segment in elf.segments):
        return Decision(Kind.OTHER, ("has no segment to load",))
    if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        return Decision(Kind.OTHER, (f"is not an executable ({elf.header['e_type']})",))
    evidence = sorted(all_evidence(elf), key=lambda one: -one.weight)  # stable
    weights = totals(evidence)
    first, second, _ = sorted(weights, key=lambda kind: -weights[kind])
    kind = _KINDS[first]
    return Decision(
        kind,
        tuple(one.text for one in evidence if one.kind == first),
        tuple(one.text for one in evidence if one.kind != first),
        weights[first] - weights[second] >= SURE,
        *(returns_and_exits(elf) if kind is Kind.ENCLAVE else ()),
    )


def sniff(source: Source) -> Kind:
    """Return the kind of a file; never raises, see `decide`."""
    return decide(source).kind
