"""Output is passed on whole, and kept up to a limit."""

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
