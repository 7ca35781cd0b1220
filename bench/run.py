"""Measure pltvm on this machine: `python bench/run.py [--quick] [--only NAME] [--json FILE]`.

Prints the median of each benchmark, its spread, and the targets. NAME is a part of a benchmark's name, or
`micro` or `lifecycle` for all of a kind.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import harness, lifecycle, micro

KINDS = {"micro": micro.benchmarks, "lifecycle": lifecycle.benchmarks}


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repeats: noisy, in seconds.")] = False,
    only: Annotated[str, typer.Option(metavar="NAME", help="Only these.")] = "",
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results there.")] = None,
) -> None:
    results: list[harness.Measurement] = []

    def show(benchmark: harness.Benchmark, result: harness.Measurement) -> None:
        results.append(result)
        targets = ", ".join(
            f"{who} {limit:g} {'met' if result.value <= limit else 'MISSED'}"
            for who, limit in benchmark.targets
        )
        print(f"{result.name:24} {result.value:9.2f} {result.unit}  ±{result.spread / 2:4.0%}   {targets}")

    for name, value in harness.machine().items():
        print(f"{name}: {value}")
    with tempfile.TemporaryDirectory() as scratch:
        for kind, benchmarks in KINDS.items():
            chosen = [
                one for one in benchmarks(Path(scratch), quick)
                if not only or only == kind or only in one.name
            ]  # fmt: skip
            if chosen:
                harness.measure(chosen, quick, show)
    if not results:
        raise typer.BadParameter(f"no benchmark is called {only!r}")
    if json is not None:
        harness.save(json, results)


if __name__ == "__main__":
    typer.run(main)
