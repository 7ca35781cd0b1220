"""Enclaves with planted concurrency bugs for `pltvm explore`; built with FIXED each is without its bug.

The comment that a target's file starts with says what it is, what the bug is, how it is explored, and as what
it is found:

     * explore: --callers 2 --server target=lost_update.c,concurrent --fail-on-value
     * finds: value

The callers are `client.c`, or what stands behind `--client`.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pltvm import Machine
from pltvm.build.enclave import build_enclave
from pltvm.explore.campaign import Campaign, Limits, Options
from pltvm.explore.findings import Finding
from pltvm.explore.subject import Enclaves

FOLDER = Path(__file__).parent
RAM = 32 << 20

_EXPLORE = re.compile(r"^ \* explore: *(.*)$", re.MULTILINE)
_FINDS = re.compile(r"^ \* finds: *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """Enclaves with a bug: how they are explored, and the kind of finding."""

    name: str
    options: tuple[str, ...]
    finds: str

    def value(self, option: str, default: str) -> str:
        """What stands behind an `option`."""
        return self.options[self.options.index(option) + 1] if option in self.options else default


def targets() -> list[Target]:
    """All of them, by name."""
    found = []
    for source in sorted(FOLDER.glob("*.c")):
        comment = source.read_text(encoding="utf-8").partition("*/")[0]
        explore, finds = _EXPLORE.search(comment), _FINDS.search(comment)
        if explore and finds:
            found.append(Target(source.stem, tuple(shlex.split(explore[1])), finds[1].strip()))
    return found


class Built:
    """A target, built into a folder unless it is there, and what explores it."""

    def __init__(self, target: Target, fixed: bool, into: Path) -> None:
        self.target = target
        folder = into / ("fixed" if fixed else "buggy")
        self.client = _build(FOLDER / target.value("--client", "client.c"), folder, fixed)
        name, _, file = target.value("--server", "").partition("=")
        file, _, kind = file.partition(",")
        self.server, self._name = _build(FOLDER / file, folder, fixed), name
        self._kind = "concurrent" if kind else "server"

    def subject(self, **options: object) -> Enclaves:
        """A machine with all of it."""
        machine = Machine(RAM, **options)  # type: ignore[arg-type]
        machine.create(self.server, name=self._name, type=self._kind)
        callers = int(self.target.value("--callers", "2"))
        enclaves = [machine.create(self.client) for _ in range(callers)]
        for number, enclave in enumerate(enclaves):
            enclave.inner.label = f"client#{number}"
        return Enclaves(machine, enclaves)

    def explore(self, limits: Limits, **options: object) -> tuple[Campaign, Finding | None]:
        """One campaign."""
        on_value = "--fail-on-value" in self.target.options
        campaign = Campaign(
            self.subject(),
            Options(on_value=on_value, **options),
            lambda _campaign: None,  # type: ignore[arg-type]
        )
        return campaign, campaign.run(limits)


def _build(source: Path, into: Path, fixed: bool) -> Path:
    """Build one, unless another process has: it sees all of an ELF or nothing."""
    elf = into / f"{source.stem}.elf"
    if not elf.exists():
        into.mkdir(parents=True, exist_ok=True)
        defines = {"FIXED": None} if fixed else None
        build_enclave([source], elf.with_suffix(f".{os.getpid()}"), defines=defines).replace(elf)
    return elf
