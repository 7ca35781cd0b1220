"""Who is told of each new machine before anything runs on it: runners of tests, for output and coverage.

A file of its own, so that they need not load a machine to say so.
"""

from collections.abc import Callable
from typing import Any, Final

machine_made: Final[list[Callable[[Any], None]]] = []
