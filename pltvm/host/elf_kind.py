"""What a file is: an enclave, a Linux host program, or a kernel program that takes the host kernel's place.

`decide` adds up what `elf_evidence` finds; the kind that has most for it is it. A person can always say
otherwise (`--as`), and is told to when what was decided then fails and little spoke for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pltvm.errors import ElfError
from pltvm.host.elf_evidence import ENCLAVE, HOST, KERNEL, all_evidence, returns_and_exits, totals
from pltvm.host.elf_headers import Source, read_headers, read_source

SURE: Final = 20  # by how much the first kind must be ahead of the second


class Kind(Enum):
    """What a file is; SERVER is never decided: a server is an enclave, made with a name."""

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
    """What a file is taken for, and why.

    `reasons` complete "it …", what weighs most first; of a kind that somebody chose there are none. `against`
    are those that spoke for another kind. `sure` is False when these weigh nearly as much. `server`: it is an
    enclave that returns as only servers do; `exits`: one that ends as only the others do, and does not.
    """

    kind: Kind
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    sure: bool = True
    server: bool = False
    exits: bool = False

    def hint(self) -> str:
        """For after a failure: what it was taken for, why, and what to say if that is wrong; "" if sure."""
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
    """What a file is taken for, and why. Never an error: what cannot run at all is OTHER, with the reason."""
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
    """What a file is taken for, never an error; see `decide`."""
    return decide(source).kind
