"""What is remembered of chains that run together: plain data, for `together` and the driver's snapshots."""

from dataclasses import dataclass, field

from pltvm.host.output import OutputState
from pltvm.host.report import FaultReport
from pltvm.host.schedule import Step
from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.turns import SavedTurns


@dataclass(slots=True)
class Chain:
    """One of them: the driver's id of its enclave, and how it is.

    `status` is that of its run, None while it goes on. `yields` are those in a row for which it has run as
    many instructions, `gap`, and `look` is what it looked like then: it waits for something.
    """

    enclave: int
    label: str
    status: int | None = None
    waits: bool = False  # for a server that is busy
    printed: OutputState = field(default_factory=OutputState)
    fault: FaultReport | None = None
    total: int = 0  # of all instructions, when it ended
    value: int = 0  # that it has returned
    shm: Span = NO_PAGES  # pages that it had, once it has ended
    relay: Span = NO_PAGES
    yields: int = 0
    gap: int = 0
    count: int = 0  # of its instructions, at its last yield
    look: bytes = b""
    stuck: str = ""  # in a deadlock: what it waits for


@dataclass(frozen=True, slots=True)
class Recipe:
    """By what the turns are decided, and how many instructions may run in all (0: any number)."""

    schedule: "str | int | tuple[Step, ...] | None" = None
    quantum: int | None = None
    most: int = 0


@dataclass(slots=True)
class TogetherState:
    """The chains, by number; `end` is why the run has ended before they have."""

    chains: list[Chain] = field(default_factory=list)
    end: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SavedTogether:
    """With their turns, and all that they have printed."""

    together: TogetherState
    turns: SavedTurns
    printed: OutputState
    recipe: Recipe
