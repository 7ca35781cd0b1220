"""A profile as a file of speedscope (https://www.speedscope.app): a flame graph for each enclave and process.

Stacks are from the tree of calls, the heaviest on the left; weights are instructions.
"""

from collections import defaultdict
from typing import Any, Final

from pltvm.debug.profile.result import Profile

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


def speedscope(profile: Profile, name: str) -> dict[str, Any]:
    """Return the file as plain data, for JSON."""
    frames: list[dict[str, Any]] = []
    frame_of: dict[int, int] = {}
    below: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(profile.nodes):
        if number:
            below[node.parent].append(number)
        if node.function not in frame_of:
            frame_of[node.function] = len(frames)
            one = profile.functions[node.function]
            file, line = profile.place(node.function, one.start + one.moved) if one.start else ("?", 0)
            frames.append({"name": one.name or "?"} | ({"file": file, "line": line} if line else {}))
    profiles = []
    for who, label in enumerate(profile.labels):
        roots = [at for at in below[0] if profile.functions[profile.nodes[at].function].who == who]
        samples: list[list[int]] = []
        weights: list[int] = []
        waiting: list[tuple[int, tuple[int, ...]]] = [
            (at, ()) for root in roots for at in _heavy_first(profile, below[root])
        ]
        waiting.reverse()
        while waiting:
            at, above = waiting.pop()
            node = profile.nodes[at]
            stack = (*above, frame_of[node.function])
            if node.own:
                samples.append(list(stack))
                weights.append(node.own)
            waiting += [(child, stack) for child in reversed(_heavy_first(profile, below[at]))]
        profiles.append(
            {
                "type": "sampled", "name": label, "unit": "none", "startValue": 0, "endValue": sum(weights),
                "samples": samples, "weights": weights,
            }
        )  # fmt: skip
    return {
        "$schema": _SCHEMA,
        "exporter": "pltvm",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": profiles,
    }


def _heavy_first(profile: Profile, nodes: list[int]) -> list[int]:
    return sorted(nodes, key=lambda at: (-profile.totals[at], at))
