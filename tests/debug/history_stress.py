"""`python -m tests.debug.history_stress [COUNT [PLACES [SEED]]]`: back to random places of a long run.

COUNT instructions, about, of which a hook has seen the registers of each; at each of PLACES, and one before,
they have to be the same. Then to each write of a word, and on to the end, which is as without all that.
"""

import sys
import tempfile
import time
from array import array
from pathlib import Path
from random import Random

from pltvm import Machine
from pltvm.build.enclave import build_enclave
from pltvm.debug.history import History
from pltvm.engine.context import PC
from pltvm.engine.position import Counter
from tests.conftest import GUEST
from tests.debug.test_history import END, enclave, place_of, run_with, table_of

_SAMPLE = 1000  # rounds
_WRITES = (5, 4, 3, 2)  # of the word, the last one first


def seen_by_a_hook(elf: bytes, rounds: int) -> "array[int]":
    """A number for what each instruction started with: pc and registers."""
    machine, seen = Machine(64 << 20), array("q")
    hart = machine.hart
    before = (0, 0)  # flips and traps when the last one was looked at

    def look(_pc: int, _size: int) -> None:
        nonlocal before
        hart.read_registers()
        now, counts = _number(machine), (hart.flips, hart.traps)
        if not (seen and seen[-1] == now and before != counts):  # else it trapped, and is run once more
            seen.append(now)
        before = counts

    hart.watch(look, 1, 0, blocks=False)
    enclave(machine, elf, rounds)(None)
    return seen


def _number(machine: Machine) -> int:
    return hash(bytes(machine.hart.current.regs[PC : PC + 1]) + bytes(machine.hart.current.regs[4:36]))


def length_of(elf: bytes, rounds: int) -> int:
    """Instructions of a run."""
    machine = Machine(64 << 20)
    counter = Counter(machine.hart)
    enclave(machine, elf, rounds)(None)
    return counter.now


def main(count: int = 10_000_000, places: int = 200, seed: int = 1) -> None:
    """Raises AssertionError where it is not the same."""
    with tempfile.TemporaryDirectory() as folder:
        elf = build_enclave([GUEST / "history.c"], Path(folder) / "history.elf").read_bytes()
    short, longer = length_of(elf, _SAMPLE), length_of(elf, 2 * _SAMPLE)
    rounds = _SAMPLE + (count - short) * _SAMPLE // (longer - short)
    start = time.monotonic()
    seen, dice, word = seen_by_a_hook(elf, rounds), Random(seed), place_of(elf, "word")
    print(f"{len(seen):,} instructions seen in {time.monotonic() - start:.0f} s", flush=True)
    assert len(seen) == length_of(elf, rounds)
    plain, done = enclave(Machine(64 << 20), elf, rounds)(None), 0

    def errand(history: History, machine: Machine) -> None:
        nonlocal done
        end = history.position
        for position in sorted(dice.sample(range(1, end), places), key=lambda _: dice.random()):
            for here in (position, position - 1):
                history.go_to(here)
                assert (history.position, _number(machine)) == (here, seen[here]), here
                done += 1
        history.go_to(end)
        for value in _WRITES:
            at = history.back_to_write(table_of(machine), word, 8)
            assert at is not None
            assert _number(machine) == seen[at]
            assert table_of(machine).read(word, 8) == (value - 1).to_bytes(8, "little")

    start = time.monotonic()
    machine = Machine(64 << 20)
    result, printed = run_with(machine, enclave(machine, elf, rounds), errand, END)
    assert printed.decode() == result.output == plain.output
    took = time.monotonic() - start
    print(f"{done} places and {len(_WRITES)} writes, seed {seed}: all the same, in {took:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
