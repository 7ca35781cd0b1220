"""The results of fuzzing: inputs worth keeping, findings, and counts. Plain data for all processes."""

from dataclasses import dataclass, field
from typing import Any

# Kinds of findings; the first three need only the machine, the others need the monitor's knowledge.
FAULT = "fault"  # a trap that destroys the enclave
STACK = "stack"  # the stack is used up
HANG = "hang"  # it does not end within its budget of blocks
GIVEN_AWAY = "given-away"  # it accesses a page that it has passed on
POINTER = "pointer"  # it uses a number of the input as an address, unchecked
SECRET = "secret"  # its secret is in memory that the host, or the caller, can read
STALE = "stale"  # a response contains memory that was not written since another use
OTHER_CLIENT = "other-client"  # a response contains memory of another client
REFUSAL = "refusal"  # a refused call has changed the server


@dataclass(frozen=True)
class Finding:
    """One bug, with the input that shows it.

    `signature`, made of kind and stack, is the same for probably the same bug. `report` is a text of many
    lines, the same for every replay.
    """

    kind: str
    signature: str
    summary: str
    report: str
    data: bytes
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without the input and the report."""
        about = {"kind": self.kind, "signature": self.signature, "summary": self.summary}
        return {**about, "details": self.details}


@dataclass(frozen=True)
class Entry:
    """An input with new coverage. `parent` is an index in the queue, −1 for a seed."""

    data: bytes
    parent: int = -1
    operation: str = "seed"  # seed, havoc, splice, compare, trim, sync
    blocks: int = 0  # blocks of one execution


@dataclass
class Counts:
    """The progress of a campaign."""

    executions: int = 0
    seconds: float = 0.0  # time of executions, of all workers together
    edges: int = 0  # different edges seen
    map_size: int = 0  # edges that can be distinguished
    rounds: int = 0
