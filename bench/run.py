"""Measure pltvm on this machine: `python bench/run.py [--quick] [--only NAME] [--json FILE] [--plot DIR]`.

Prints the median of each benchmark, its spread, how it compares with its peers, and the targets. NAME is a
part of a benchmark's name, or all of a kind: `micro`, `lifecycle`, `programs`, `linux`, `compute`, `profile`,
`scale`, `concurrent`, `fuzzing`, `debug`.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import (
    call_profile,
    compute,
    concurrent,
    debugging,
    fuzzing,
    harness,
    lifecycle,
    linux,
    micro,
    programs,
    scale,
    targets,
)

KINDS = {
    "micro": micro.benchmarks,
    "lifecycle": lifecycle.benchmarks,
    "programs": programs.benchmarks,
    "linux": linux.benchmarks,
    "compute": compute.benchmarks,
    "profile": call_profile.benchmarks,
    "scale": scale.benchmarks,
    "concurrent": concurrent.benchmarks,
    "fuzzing": fuzzing.benchmarks,
    "debug": debugging.benchmarks,
}


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repeats: noisy.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these; may be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results there.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw plots (needs matplotlib).")] = None,
    docs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page of results there.")
    ] = None,
    stored: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Measure nothing: results from there.")
    ] = None,
) -> None:
    from bench import report

    if stored is not None:
        results = report.load(stored)
    else:
        results = {"machine": harness.machine(), "results": _measure(quick, only or [])}
    if json is not None:
        report.save(json, results)
    if plot is not None:
        report.plots(results, plot)
    if docs is not None:
        docs.write_text(report.page(results, plot, docs), encoding="utf-8")


def _measure(quick: bool, only: list[str]) -> list[dict[str, Any]]:
    """Print and give the results of the chosen benchmarks."""
    for name, value in harness.machine().items():
        print(f"{name}: {value}")
    print("× of a peer: its time over ours\n")
    results: list[dict[str, Any]] = []

    def show(result: harness.Measurement) -> None:
        results.append(harness.row(result))
        print(_line(result), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        bench = harness.Bench(Path(scratch), quick)
        for kind, benchmarks in KINDS.items():
            chosen = [
                one for one in benchmarks(bench)
                if not only or any(part == kind or part in one.name for part in only)
            ]  # fmt: skip
            try:
                harness.measure(chosen, quick, show)
            except Exception as error:  # what else was measured must not be lost
                print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr)
    if not results:
        raise typer.BadParameter(f"no benchmark is called {' or '.join(only)!r}")
    return results


def _line(result: harness.Measurement) -> str:
    notes = [
        f"{words} {'' if met is None else 'met' if met else 'MISSED'}".rstrip()
        for words, met in targets.of(result.name).verdicts(result.value)
    ]
    for peer, ratio in result.peer.items():
        least = targets.peer_target(result.name, peer)
        wanted = "" if least is None else f" of {least:.2g}× {'met' if ratio >= least else 'MISSED'}"
        notes.append(f"{peer} {ratio:.2f}×{wanted}")
    figure = f"{result.name:28} {result.value:9.2f} {result.unit:3} ±{result.spread / 2:4.0%}"
    return f"{figure}   {', '.join(notes)}".rstrip()


if __name__ == "__main__":
    typer.run(main)
