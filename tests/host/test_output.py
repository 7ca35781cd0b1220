"""Output is passed on whole, and kept up to a limit."""

import tracemalloc

from pltvm.host.output import KEPT, Output


def test_all_is_passed_on_and_the_first_part_kept() -> None:
    seen: list[int] = []
    output = Output(lambda text: seen.append(len(text)))
    for _ in range(5):
        output.write(b"x" * (KEPT // 4 + 1))
    assert sum(seen) == output.size == 5 * (KEPT // 4 + 1)
    assert len(output.text) == KEPT


def test_nobody_listens() -> None:
    output = Output(None)
    output.write(b"one ")
    output.write(b"")
    output.write(b"two")
    assert output.text == b"one two"


def test_small_parts_take_no_more_memory() -> None:
    tracemalloc.start()
    try:
        output = Output(None)
        for number in range(100_000):
            output.write(number.to_bytes(4, "little")[:2])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert len(output.text) == 200_000
