"""Measuring on a machine with other load: warm-up, interleaved repeats, median and spread.

A benchmark may have peers: other ways to do the same, measured in turn with it. The figure reported for a
peer is its time divided by ours, from the same run: 2 means that pltvm is twice as fast.
"""

import math
import os
import platform
import statistics
import sysconfig
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import unicorn

from bench import peers
from pltvm import native
from pltvm.build.enclave import build_enclave

REPEATS, QUICK_REPEATS = 9, 3
GUEST = Path(__file__).parent / "guest"

# Gives one sample, in the unit of its benchmark.
Sample = Callable[[], float]


@dataclass(frozen=True)
class Measurement:
    """`value` is the median of `n` repeats in `unit`, `spread` their interquartile range over the median."""

    name: str
    value: float
    unit: str
    spread: float
    n: int
    peer: dict[str, float] = field(default_factory=dict)  # its time over ours


@dataclass(frozen=True)
class Benchmark:
    """Something to measure, and what to measure beside it. Nothing is built before the first sample."""

    name: str
    unit: str
    sample: Sample
    peers: dict[str, Sample] = field(default_factory=dict)
    repeats: int | None = None  # fewer where each gives the same, or takes long


@dataclass(frozen=True)
class Bench:
    """What all benchmarks of a run share: a folder, whether they hurry, and programs built once."""

    scratch: Path
    quick: bool
    _built: dict[str, bytes] = field(default_factory=dict)

    def build(self, *sources: str) -> bytes:
        """The enclave ELF of these files of bench/guest."""
        name = "-".join(sources)
        if name not in self._built:
            output = self.scratch / (name.replace("/", "_") + ".elf")
            self._built[name] = build_enclave([GUEST / one for one in sources], output).read_bytes()
        return self._built[name]

    @cached_property
    def empty(self) -> bytes:
        """An enclave that does nothing: `EAPP_RETURN(0)`."""
        source = self.scratch / "empty.c"
        source.write_text('#include "eapp.h"\nint EAPP_ENTRY main() { EAPP_RETURN(0); }\n')
        return build_enclave([source], self.scratch / "empty.elf").read_bytes()

    def times(self, count: int) -> int:
        """Return the number of repetitions in one sample for which a full run has `count`."""
        return max(count // 10, 2) if self.quick else count


def measure(benchmarks: list[Benchmark], quick: bool, on_result: Callable[[Measurement], None]) -> None:
    """Take turns between the benchmarks, so that other load of the machine affects all of them alike."""
    repeats = QUICK_REPEATS if quick else REPEATS
    columns = {one.name: {"": one.sample, **one.peers} for one in benchmarks}
    samples: dict[tuple[str, str], list[float]] = {}
    for one in benchmarks:
        if one.repeats != 1:
            for sample in columns[one.name].values():
                sample()  # warm-up: translated code, caches, allocators
    for turn in range(repeats):
        for one in benchmarks:
            if turn < (one.repeats or repeats):
                for peer, sample in columns[one.name].items():
                    samples.setdefault((one.name, peer), []).append(sample())
    for one in benchmarks:
        values = samples[one.name, ""]
        median = statistics.median(values)
        ratios = {peer: _ratio(samples[one.name, peer], values) for peer in one.peers}
        on_result(Measurement(one.name, median, one.unit, _spread(values, median), len(values), ratios))


def _ratio(others: list[float], own: list[float]) -> float:
    """Median of the ratios of samples that were taken one after the other."""
    return statistics.median(theirs / ours for theirs, ours in zip(others, own, strict=True))


def _spread(values: list[float], median: float) -> float:
    if len(values) == 1 or not median:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return abs((high - low) / median)


def machine() -> dict[str, Any]:
    """Return the machine measured on, and the installed peers."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.machine()),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_version()}, built {'with' if _optimized() else 'without'} optimization",
        "pltvm": native.status,
        "unicorn": unicorn.__version__,
        **peers.versions(),
    }


def _optimized() -> bool:
    """Whether the interpreter was built with profile-guided or link-time optimization.

    As it was configured: other variables name the flags for that in every build.
    """
    config = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return "--enable-optimizations" in config or "--with-lto" in config


def row(one: Measurement) -> dict[str, Any]:
    """Return the result as it is in the JSON file."""
    rounded: dict[str, Any] = _rounded(asdict(one))
    return rounded


def _rounded(value: Any) -> Any:
    """Numbers to four digits: the rest is noise."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, float) and value and math.isfinite(value):
        return round(value, max(3 - math.floor(math.log10(abs(value))), 0))
    return value
