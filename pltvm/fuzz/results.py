"""What fuzzing gives: inputs worth keeping, findings, and counts. Plain data, so it can cross processes."""

from dataclasses import dataclass, field
from typing import Any

# Kinds of findings; the first three need nothing but the machine, the rest see what only a monitor sees.
FAULT = "fault"  # a trap that destroys the enclave
STACK = "stack"  # the stack is used up
HANG = "hang"  # it does not end in its budget of blocks
GIVEN_AWAY = "given-away"  # it touches a page that it has passed on
POINTER = "pointer"  # it uses a number of the input as an address, unchecked
SECRET = "secret"  # its secret is in memory that the host, or the caller, can read
STALE = "stale"  # a response has memory in it that nobody wrote since another use
OTHER_CLIENT = "other-client"  # a response has memory of another client in it
REFUSAL = "refusal"  # a call was refused, and has changed the server all the same


@dataclass(frozen=True)
class Finding:
    """One bug, with the input that shows it.

    `signature` is the same for what is probably the same bug: kind and stack. `report` is for people, many
    lines, the same for every replay.
    """

    kind: str
    signature: str
    summary: str
    report: str
    data: bytes
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What it is, without the input and the report, as plain data."""
        about = {"kind": self.kind, "signature": self.signature, "summary": self.summary}
        return {**about, "details": self.details}


@dataclass(frozen=True)
class Entry:
    """An input that reaches what no earlier one did. `parent` is an index in the queue, −1 for a seed."""

    data: bytes
    parent: int = -1
    operation: str = "seed"  # seed, havoc, splice, compare, trim, sync
    blocks: int = 0  # that one execution runs


@dataclass
class Counts:
    """How far a campaign is."""

    executions: int = 0
    seconds: float = 0.0  # that executions took, all workers together
    edges: int = 0  # different edges seen
    map_size: int = 0  # edges that can be told apart
    rounds: int = 0
