"""Measuring on a machine that has other things to do: warm-up, interleaved repeats, median and spread."""

import json
import os
import platform
import statistics
import sysconfig
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import unicorn

REPEATS, QUICK_REPEATS = 9, 3


@dataclass(frozen=True)
class Measurement:
    """`value` is the median of `n` repeats in `unit`, `spread` the middle half of them over the median."""

    name: str
    value: float
    unit: str
    spread: float
    n: int


# Gives one sample, in the unit of its benchmark.
Sample = Callable[[], float]


@dataclass(frozen=True)
class Benchmark:
    """Something to measure, and the targets it is held to: (who set it, at most so much)."""

    name: str
    unit: str
    sample: Sample
    targets: tuple[tuple[str, float], ...] = ()


def measure(
    benchmarks: list[Benchmark], quick: bool, on_result: Callable[[Benchmark, Measurement], None]
) -> None:
    """Take turns between the benchmarks, so that what else the machine does hits all of them alike."""
    repeats = QUICK_REPEATS if quick else REPEATS
    samples: dict[str, list[float]] = {one.name: [] for one in benchmarks}
    for one in benchmarks:
        one.sample()  # warm-up: translated code, caches, allocators
    for _ in range(repeats):
        for one in benchmarks:
            samples[one.name].append(one.sample())
    for one in benchmarks:
        values = samples[one.name]
        low, _, high = statistics.quantiles(values, n=4)
        median = statistics.median(values)
        on_result(one, Measurement(one.name, median, one.unit, (high - low) / median, len(values)))


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": f"{platform.python_version()}, built {'with' if _optimized() else 'without'} optimization",
        "unicorn": unicorn.__version__,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def _optimized() -> bool:
    """Whether the interpreter was built with profile-guided or link-time optimization."""
    config = " ".join(str(value) for value in sysconfig.get_config_vars().values())
    return any(word in config for word in ("--enable-optimizations", "-flto", "-fprofile-use"))


def save(path: Path, results: list[Measurement]) -> None:
    """Write the results as JSON."""
    rows = [{**asdict(one), "peer": {}} for one in results]
    path.write_text(json.dumps({"machine": machine(), "results": rows}, indent=2) + "\n")
