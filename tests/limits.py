"""Time limits in tests: what is to happen before one may take long on a machine that is busy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from pltvm import Enclave
from pltvm.host.api import Result

_LIMITS: Final = (0.1, 0.5, 2.5, 12.5)  # seconds
_MOST_TIMES: Final = 1000  # then the test says what is wrong

T = TypeVar("T")


def long_enough(attempt: Callable[[float], T], reached: Callable[[T], bool]) -> tuple[T, float]:
    """What `attempt` gives with the first limit (in seconds) that lets it come as far as it should, and it.

    The last attempt is given in any case, for the test to say what is wrong with it.
    """
    for limit in _LIMITS:
        result = attempt(limit)
        if reached(result):
            break
    return result, limit


def stopped_in(enclave: Enclave, where: str) -> Result:
    """Run it until a time limit finds it in the loop that reports of places call `where`."""
    result = enclave.run(timeout=0.02)
    output = result.output
    for _ in range(_MOST_TIMES):
        if result.status != "interrupted" or where in str(result.place):
            break
        result = enclave.resume(timeout=0.02)
        output += result.output
    return replace(result, output=output)
