"""Functions that get each new machine before anything runs on it, for test runners.

A separate file, so that registering one does not load the machine.
"""

from collections.abc import Callable
from typing import Any, Final

machine_made: Final[list[Callable[[Any], None]]] = []
