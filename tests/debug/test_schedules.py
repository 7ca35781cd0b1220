"""A schedule is the same under a debugger: stops and ways back in time change nothing of whose turn it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import native
from pltvm.debug.history import History
from tests.debug.debuggers import debug, has_all, needs_gdb
from tests.host.test_together import COUNT, PRINT, QUEUE, Cast, seen

Build = Callable[[str], bytes]
PARTS = [(COUNT, 200), (QUEUE, 10), (QUEUE, 10), (PRINT, 6)]


@pytest.mark.parametrize("core", [True, False])
def test_ways_back_in_time(build_guest: Build, core: bool) -> None:
    """Among all chains: what ran once more ran the same way, and nothing is printed twice."""
    if core and native.core is None:
        pytest.skip(native.status)
    first = Cast(build_guest, PARTS, 2).run(schedule=4, quantum=70)
    cast = Cast(build_guest, PARTS, 2, native=core)
    machine, texts = cast.machine, list[bytes]()
    history = History(machine, every=3000)
    begin = history.position
    been: list[int] = []

    def back() -> None:
        now = history.position
        for part in (2, 5, 3):
            history.go_to(now - (now - begin) // part)
            been.append(history.position)
        history.go_to(now)
        assert history.position == now

    def on_output(text: bytes) -> None:
        texts.append(text)
        machine.hart.outside(back)

    results = cast.run(schedule=4, quantum=70, on_output=on_output)
    assert (seen(results), results.steps) == (seen(first), first.steps)
    assert b"".join(texts).decode() == first.output
    assert len(set(been)) >= 3 * 6


@needs_gdb
def test_the_same_update_is_lost_in_gdb(tmp_path: Path, build_guest: Build) -> None:
    (tmp_path / "turns.elf").write_bytes(build_guest("turns"))
    (tmp_path / "count").write_bytes((COUNT).to_bytes(8, "little") + (50).to_bytes(8, "little"))
    first = Cast(build_guest, [(COUNT, 50)] * 2).run(schedule=1, quantum=60)
    values = [one.retval for one in first]
    assert len(first.steps) > 10
    run = ["turns.elf", "--callers", "2", "--shm", "@count", "--schedule", first.schedule]
    output = debug(
        run, "break eapp_return", "tbreak turns.c:30", "continue", "stepi", "stepi", "reverse-stepi", "stepi",
        "continue", "reverse-continue", "continue", "delete", "continue", "continue", cwd=tmp_path,
    )  # fmt: skip
    has_all(output, "hit Temporary breakpoint 2", "hit Breakpoint 1")
    has_all(output, f"turns.elf#0 returned {values[0]}", f"turns.elf#1 returned {values[1]}")
