"""The account of a time slice. That guest code is left at its end is tested with the hart (test_hart.py)."""

import sys

import pytest

from pltvm.engine.preemption import TimeSlice


def test_there_are_no_slices_at_first() -> None:
    one = TimeSlice()
    assert one.left() == 0
    one.use(5)
    assert one.left() == 0


def test_a_slice_ends_and_the_next_one_begins() -> None:
    one = TimeSlice()
    one.set(10)
    assert one.left() == 10
    one.use(4)
    assert (one.used, one.left()) == (4, 6)
    one.use(6)
    assert [one.left(), one.left()] == [-1, 10]
    one.begin(used=7)
    assert one.left() == 3


def test_another_length_begins_another_slice() -> None:
    """What ran until guest code was left was of the slice before, whatever was set meanwhile."""
    one = TimeSlice()
    one.set(10)
    assert one.left() == 10
    one.set(20)
    one.use(9)
    assert (one.used, one.left()) == (0, 20)
    one.set(0)
    one.use(9)
    assert (one.used, one.left()) == (0, 0)


@pytest.mark.parametrize(("before", "after"), [(1000, 5), (0, 1000), (1000, 0)])
def test_a_length_that_another_thread_sets_meanwhile(before: int, after: int) -> None:
    """At each line: what is left is of one of the two, and the new one holds from the next time on."""
    for line in range(1, 5):
        one = TimeSlice()
        one.set(before)
        one.begin()
        todo = [line]

        def trace(_frame: object, event: str, _argument: object) -> object:
            if event == "line":
                todo[0] -= 1  # noqa: B023
                if not todo[0]:  # noqa: B023
                    sys.settrace(None)
                    one.set(after)  # noqa: B023
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]
        left = one.left()
        sys.settrace(None)
        assert todo == [0]
        assert left in (before, after)
        assert one.left() == after
