"""The state of chains that run together: plain data, for `together` and the driver's snapshots."""

from dataclasses import dataclass, field

from pltvm.host.output import OutputState
from pltvm.host.report import FaultReport
from pltvm.host.schedule import Step
from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.turns import SavedTurns


@dataclass(slots=True)
class Chain:
    """One chain: the driver's id of its enclave, and its state.

    `status` is that of its run, None while it goes on. `yields` counts consecutive yields after the same
    number of instructions, `gap`, with the same state `look`: such a chain waits for something.
    """

    enclave: int
    label: str
    status: int | None = None
    waits: bool = False  # whether it waits for a busy server
    printed: OutputState = field(default_factory=OutputState)
    fault: FaultReport | None = None
    total: int = 0  # all its instructions, set at its end
    value: int = 0  # its return value
    shm: Span = NO_PAGES  # its shared pages, set at its end
    relay: Span = NO_PAGES
    yields: int = 0
    gap: int = 0
    count: int = 0  # its instructions at its last yield
    look: bytes = b""
    stuck: str = ""  # in a deadlock: the resource it waits for


@dataclass(frozen=True, slots=True)
class Recipe:
    """The policy for the turns, and the limit of instructions in total (0: no limit)."""

    schedule: "str | int | tuple[Step, ...] | None" = None
    quantum: int | None = None
    most: int = 0


@dataclass(slots=True)
class TogetherState:
    """The chains, by number; `end` is why the run has ended before all of them."""

    chains: list[Chain] = field(default_factory=list)
    end: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SavedTogether:
    """The state with turns and output."""

    together: TogetherState
    turns: SavedTurns
    printed: OutputState
    recipe: Recipe
