"""Work that is counted: speed in tests without a clock."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_of_python(act: Callable[[], object]) -> int:
    """How many lines of Python run while `act` does."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        act()
    finally:
        sys.settrace(before)
    return count
