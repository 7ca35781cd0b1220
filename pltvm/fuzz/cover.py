"""Finds the blocks of code that the inputs of a corpus run, as modules of `pltvm.coverage`."""

from collections.abc import Sequence
from pathlib import Path

from pltvm.build import guest
from pltvm.coverage.module import Module
from pltvm.fuzz.harness import errors_of
from pltvm.fuzz.options import Options
from pltvm.fuzz.target import Target
from pltvm.fuzz.worker import open_target


def cover(options: Options, inputs: Sequence[bytes], sources: Sequence[Path] = ()) -> list[Module]:
    """Run the inputs and return the blocks of the target and of the servers that it calls, as modules."""
    seen: list[dict[int, tuple[int, int]]] = [{} for _ in range(1 + len(options.servers))]

    def note(target: Target, pc: int, size: int) -> None:
        blocks = seen[target.running_index()]
        _, count = blocks.get(pc, (size, 0))
        blocks[pc] = (size, count + 1)

    with errors_of(options.harness):
        target = open_target(options, note, blocks=True)
        for data in inputs:
            target.execute(data)
    folders = [*sources, guest.guest_dir(), Path(options.elf).parent]
    elves = [options.elf, *(path for _, path in options.servers)]
    return [Module.of(elf, blocks, sources=folders) for elf, blocks in zip(elves, seen, strict=True)]
