"""What can be wrong with a run."""

from dataclasses import dataclass
from typing import Final

from pltvm.explore.races import Race
from pltvm.host.report import FaultReport

FAULT: Final = "fault"
DEADLOCK: Final = "deadlock"
HANG: Final = "hang"
VALUE: Final = "value"
RACE: Final = "race"


@dataclass(frozen=True, slots=True)
class Failure:
    """That a run has failed. The same `signature`: the same is wrong. `total` instructions had run."""

    kind: str
    signature: tuple[object, ...]
    summary: str
    total: int
    fault: FaultReport | None = None
    race: Race | None = None


def hang(total: int) -> Failure:
    """That a run has not ended within so many instructions."""
    return Failure(HANG, (HANG,), f"not all have come to their ends in {total:,} instructions", total)
