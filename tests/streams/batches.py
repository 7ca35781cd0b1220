"""Streams in batches: each starts with a fresh machine, so that it repeats by itself.

done  one stream: how it ended          broken  what a stream did that none may
trace of a batch: the same seed and batch give the same
"""

import hashlib
import traceback
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.streams.enclaves import EnclaveWorld
from tests.streams.kernels import KernelWorld
from tests.streams.world import World

SIZE: Final = 100  # streams of a batch
WORLDS: Final[tuple[type[World], ...]] = (EnclaveWorld, KernelWorld)


class Step(NamedTuple):
    """What happened in a batch: `kind` is "done", "broken" or "trace"."""

    kind: str
    text: str


def batch(seed: int, number: int, size: int = SIZE, audit_every: int = 1) -> Iterator[Step]:
    """Run one batch. It ends with its trace, or with what broke."""
    make, machines = WORLDS[number % len(WORLDS)], 1
    trace = hashlib.sha256()
    try:
        world = make(f"{seed}/{number}/0", audit_every)
        for _ in range(size):
            if world.spoilt:
                trace.update(world.trace.digest())
                world = make(f"{seed}/{number}/{machines}", audit_every)
                machines += 1
            yield Step("done", world.stream())
        trace.update(world.trace.digest())
    except Exception:
        yield Step("broken", traceback.format_exc())
        return
    yield Step("trace", trace.hexdigest())
