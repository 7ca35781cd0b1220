"""Back in time: every position is the one that a slow hook for single instructions has seen there."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.debug.history import History, HistoryError
from pltvm.engine.context import PC
from pltvm.host.linux.runner import run_program
from pltvm.host.symbols import Symbols

ELF = {name: example.elf for name, example in guest.examples().items()}
END = b"end"
Errand = Callable[[History, Machine], None]
Seen = tuple[int, int]  # pc, and a hash of the registers


def registers(machine: Machine) -> Seen:
    """Of whoever has the hart: x1 … x31, pc."""
    regs = machine.hart.current.regs
    return regs[PC], hash(bytes(regs[4:36]))


def model(machine: Machine, run: Callable[[Machine], Any]) -> list[Seen]:
    """What each instruction of a run started with, by its position."""
    seen: list[Seen] = []
    hart = machine.hart
    before = [0, 0]  # flips and traps when the last one was looked at

    def look(_pc: int, _size: int) -> None:
        hart.read_registers()
        now = registers(machine)
        again = bool(seen) and seen[-1] == now and before != [hart.flips, hart.traps]
        if not again:  # else it trapped, and is run once more
            seen.append(now)
        before[:] = hart.flips, hart.traps

    hart.watch(look, 1, 0, blocks=False)
    run(machine)
    return seen


def chain(machine: Machine) -> Callable[[Any], Any]:
    """What `pltvm demo` runs."""
    for name in ("server", "server1"):
        machine.create(ELF[name], name=f"test-{name}", type=EnclaveType.SERVER)
    caller = machine.create(ELF["caller"], name="caller", shm=b"one", relay=b"two")
    return lambda on_output: caller.run(60, on_output)


def run_with(
    machine: Machine, run: Callable[[Any], Any], errand: Errand, at: bytes, **options: int
) -> tuple[Any, bytes]:
    """A run with a history, in which the errand is made when a text is printed; and what was printed."""
    history, printed, made = History(machine, **options), bytearray(), []

    def on_output(text: bytes) -> None:
        printed.extend(text)
        if at in printed and not made:
            made.append(True)
            machine.hart.outside(lambda: errand(history, machine))

    result = run(on_output)
    assert made
    return result, bytes(printed)


def somewhere(seen: list[Seen], count: int, seed: int) -> Errand:
    """Go to random places behind, each of which has to be that of the model."""

    def errand(history: History, machine: Machine) -> None:
        dice, end = Random(seed), history.position
        for _ in range(count):
            position = dice.randrange(history.position + 1) if dice.random() < 0.6 else history.position - 1
            if position < 0:
                continue
            history.go_to(position)
            assert history.position == position
            assert registers(machine) == seen[position], position
            if position < end // 4:
                break

    return errand


@pytest.mark.parametrize("native", [True, False])
def test_positions_of_a_chain(native: bool) -> None:
    machine = Machine()
    run = chain(machine)
    seen = model(machine, lambda _machine: run(None))
    machine = Machine(native=native)
    errand = somewhere(seen, 60, 1)
    result, printed = run_with(machine, chain(machine), errand, b"resp sum 0x2000", every=20_000)
    assert result.output.encode() == printed, "nothing is printed twice, nor lost"
    assert result.stats.traps == 19


@pytest.fixture(scope="module")
def history_elf(build_guest: Callable[[str], bytes]) -> bytes:
    return build_guest("history")


def enclave(machine: Machine, elf: bytes, rounds: int) -> Callable[[Any], Any]:
    made = machine.create(elf, name="history", shm=rounds.to_bytes(8, "little"))
    return lambda on_output: made.run(60, on_output)


def place_of(elf: bytes, name: str) -> int:
    from io import BytesIO

    from elftools.elf.elffile import ELFFile

    table: Any = ELFFile(BytesIO(elf)).get_section_by_name(".symtab")
    return int(table.get_symbol_by_name(name)[0]["st_value"])


def table_of(machine: Machine) -> Any:
    running = machine.monitor.state.running
    assert running is not None
    return running.space.table


@pytest.mark.parametrize("native", [True, False])
def test_who_wrote_this(history_elf: bytes, native: bool) -> None:
    """Backwards from the end: 5, 4, 3, 2, each written by `set`, with the value before."""
    word = place_of(history_elf, "word")
    found = []

    def errand(history: History, machine: Machine) -> None:
        table = table_of(machine)
        for value in (5, 4, 3, 2):
            position = history.back_to_write(table, word, 8)
            assert position == history.position
            place = str(Symbols(history_elf).locate(machine.hart.current.regs[PC]))
            before = int.from_bytes(table.read(word, 8), "little")
            found.append((value, before, place.split("+")[0]))
            history_at = history.position
            history.step_back()
            history.step_back()
            assert history.position == history_at - 2
        assert history.back_to_write(table, word, 8) is None
        assert history.position == history.start == 0

    rounds = 20_000 if native else 500
    machine = Machine(native=native)
    result, printed = run_with(machine, enclave(machine, history_elf, rounds), errand, END, every=30_000)
    assert found == [(5, 4, "set"), (4, 3, "set"), (3, 2, "set"), (2, 1, "set")]
    assert result.retval == 5
    assert printed == result.output.encode()


@pytest.mark.parametrize("native", [True, False])
def test_places_backwards(history_elf: bytes, native: bool) -> None:
    place = place_of(history_elf, "set")
    seen = []

    def errand(history: History, machine: Machine) -> None:
        table, end = table_of(machine), history.position
        while (position := history.back_to_break([(table, place), (None, 0x1234_5678)])) is not None:
            seen.append((machine.hart.current.regs[PC], position < end))
            end = position
        assert history.position == history.start

    machine = Machine(native=native)
    rounds = 20_000 if native else 500
    result, _ = run_with(machine, enclave(machine, history_elf, rounds), errand, END, every=30_000)
    assert seen == [(place, True)] * 4
    assert result.retval == 5


def test_a_print_is_a_write_of_the_host(history_elf: bytes) -> None:
    """Bytes that no instruction wrote, but the host in an ocall: here by the test, which plays it."""
    other = place_of(history_elf, "table")
    calls = []

    def errand(history: History, machine: Machine) -> None:
        table = table_of(machine)
        position = history.back_to_write(table, other + 8, 8)
        assert position is not None
        calls.append(Symbols(history_elf).locate(machine.hart.current.regs[PC]))

    machine = Machine()
    run_with(machine, enclave(machine, history_elf, 3000), errand, END)
    assert str(calls[0]).startswith("mix") or str(calls[0]).startswith("main")


def test_it_thins_out_and_is_bounded(history_elf: bytes) -> None:
    """With age, and by bytes; what is kept still leads everywhere."""
    kept: dict[int, tuple[list[int], int, int]] = {}

    def errand_for(size: int) -> Errand:
        def errand(history: History, _machine: Machine) -> None:
            kept[size] = history.positions, history.bytes_taken, history.position
            history.go_to(history.position // 3)

        return errand

    for size in (1 << 30, 1 << 20):
        machine = Machine()
        run = enclave(machine, history_elf, 100_000)
        result, printed = run_with(machine, run, errand_for(size), END, size=size, every=50_000)
        assert printed == result.output.encode()
    positions, _, end = kept[1 << 30]
    assert len(positions) < 60 < end / 50_000
    assert positions[-1] > end - 100_000, "the newest are close to each other"
    assert all(b - a <= max(100_000, (end - b) // 4 + 50_000) for a, b in pairwise(positions))
    assert kept[1 << 20][1] <= 1 << 20


def test_what_cannot_be(history_elf: bytes) -> None:
    def errand(history: History, machine: Machine) -> None:
        with pytest.raises(HistoryError, match="the run has not been at position"):
            history.go_to(history.position + 1)
        with pytest.raises(HistoryError, match="not mapped, or not on one page"):
            history.back_to_write(table_of(machine), 0x7777_0000, 8)

    machine = Machine()
    run_with(machine, enclave(machine, history_elf, 100), errand, END)


def test_changed_registers_lead_elsewhere(history_elf: bytes) -> None:
    """Who changes something goes on from there, and what follows is shown."""
    word = place_of(history_elf, "word")

    def errand(history: History, machine: Machine) -> None:
        table = table_of(machine)
        history.back_to_write(table, word, 8)
        machine.hart.current.regs[PC] += (
            4
            if machine.hart.current.table.read(  # type: ignore[union-attr]
                machine.hart.current.regs[PC], 1
            )[0]
            & 3
            == 3
            else 2
        )  # the store is not done
        history.forget_what_follows()

    machine = Machine()
    result, printed = run_with(machine, enclave(machine, history_elf, 2000), errand, END)
    assert result.retval == 4
    assert printed.count(b"end") == 2, "the end was printed, and is again"


# -- Linux ---------------------------------------------------------------------------------------------------


def linux(machine: Machine, program: Path, root: Path, *arguments: str) -> Callable[[Any], Any]:
    return lambda on_output: run_program(
        machine.driver, program, arguments, root=root, on_output=on_output, timeout=100
    )


def test_time_slices_of_a_linux_program(build_linux: Callable[[str], Path], tmp_path: Path) -> None:
    """Two threads: where one is stopped and the other goes on is the same each time."""
    program = build_linux("history_threads")
    machine = Machine(256 << 20)
    plain = linux(machine, program, tmp_path)(None)
    machine = Machine(256 << 20)
    seen = model(machine, lambda one: linux(one, program, tmp_path)(None))
    machine = Machine(256 << 20)
    errand = somewhere(seen, 40, 2)
    result, printed = run_with(machine, linux(machine, program, tmp_path), errand, b"end", every=2048)
    assert (result.bugs, result.end) == (0, "")
    assert result.output == plain.output
    assert printed == plain.output


def test_files_that_were_written(build_linux: Callable[[str], Path], tmp_path: Path) -> None:
    """What a run has written to files is not taken back, and it is said."""
    program = build_linux("history_threads")
    said = []

    def errand(history: History, _machine: Machine) -> None:
        with pytest.raises(HistoryError) as raised:
            history.go_to(1000)
        said.append(str(raised.value))
        history.go_to(history.position - 1000)

    machine = Machine(256 << 20)
    run = linux(machine, program, tmp_path, "write")
    result, printed = run_with(machine, run, errand, b"end", every=100_000)
    assert said == ["the program has changed files since: what is written to them cannot be taken back"]
    assert result.output == printed


class Lines:
    """Input that can be read again."""

    def __init__(self) -> None:
        self.position = 0

    def __call__(self, size: int) -> bytes:
        self.position += 1
        return b"line\n"[:size] if self.position < 4 else b""


@pytest.mark.parametrize("rewinds", [True, False])
def test_input_that_was_read(build_linux: Callable[[str], Path], tmp_path: Path, rewinds: bool) -> None:
    """It is read again if it can be; else cannot go back beyond it."""
    program, said, source = build_linux("history_threads"), [], Lines()

    def errand(history: History, _machine: Machine) -> None:
        try:
            history.go_to(history.start)
        except HistoryError as error:
            said.append(str(error))

    machine = Machine(256 << 20)
    result, printed = run_with(
        machine,
        lambda on_output: run_program(
            machine.driver, program, ["read"], root=tmp_path, timeout=100, on_output=on_output,
            source=source if rewinds else lambda size: source(size),
        ),
        errand, b"end",
    )  # fmt: skip
    assert printed == result.output
    assert printed.count(b"input: line") == 3
    assert bool(said) != rewinds
    assert rewinds or "standard input: some was read" in said[0]
