"""Plots of the results, as SVG files that come out the same for the same results. Needs matplotlib."""

from pathlib import Path
from typing import Any

from bench import call_profile, targets

Rows = dict[str, dict[str, Any]]
_SCALE = {"ns": 1e-3, "µs": 1.0, "ms": 1e3}


def draw(rows: Rows, folder: Path) -> None:
    """Draw `calls.svg`, `compute.svg` and `profile.svg` from the rows of each."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "pltvm", "font.size": 9, "axes.spines.top": False})
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw_one in (("calls", _calls), ("compute", _compute), ("profile", _profile)):
        figure = draw_one(rows)
        if figure is not None:
            figure.tight_layout()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height))
    return figure, figure.add_subplot()


def _calls(rows: Rows) -> Any:
    """Plot, on a logarithmic scale, the benchmarks for which there is a figure of the original, with that."""
    names = [name for name, one in targets.TARGETS.items() if one.original and name in rows]
    if not names:
        return None
    figure, axes = _axes(0.5 + 0.45 * len(names))
    for place, name in enumerate(reversed(names)):
        unit = _SCALE[rows[name]["unit"]]
        original = targets.TARGETS[name].original
        assert original is not None
        axes.barh(place - 0.2, rows[name]["value"] * unit, 0.38, color="tab:blue", label="pltvm")
        axes.barh(place + 0.2, original[0] * unit, 0.38, color="tab:gray", label="original under QEMU")
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xscale("log")
    axes.set_xlabel("µs, logarithmic")
    _legend(axes)
    return figure


def _compute(rows: Rows) -> Any:
    """Each kernel's speed in each runner, over that of qemu-riscv64 or, without it, ours."""
    names = [name for name in rows if name.startswith("compute.")]
    if not names:
        return None
    runners = list(dict.fromkeys(["pltvm", *(peer for name in names for peer in rows[name]["peer"])]))
    figure, axes = _axes(0.6 + 0.16 * len(names) * len(runners))
    height = 0.8 / len(runners)
    for place, name in enumerate(reversed(names)):
        times = {"pltvm": 1.0, **rows[name]["peer"]}
        reference = times.get("qemu-riscv64", 1.0)
        for index, runner in enumerate(runners):
            if runner in times:
                at = place + 0.4 - height * (index + 0.5)
                axes.barh(at, reference / times[runner], height, color=f"C{index}", label=runner)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.margins(y=0.01)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("speed, qemu-riscv64 = 1 (dotted: the target of one half), logarithmic")
    _legend(axes)
    return figure


def _profile(rows: Rows) -> Any:
    """The parts of a call, stacked."""
    kinds = [kind for kind in call_profile.KINDS if f"profile.{kind}.total" in rows]
    if not kinds:
        return None
    figure, axes = _axes(3.6)
    left = [0.0] * len(kinds)
    for index, row in enumerate(name for name in call_profile.ROWS if name != "total"):
        values = [rows.get(f"profile.{kind}.{row}", {"value": 0.0})["value"] for kind in kinds]
        color = _color(index)
        axes.barh(range(len(kinds)), values, left=left, label=row.replace("_", " "), color=color)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(kinds)), [f"call.{kind}" for kind in kinds])
    axes.invert_yaxis()
    axes.set_xlabel("µs")
    axes.legend(ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def _color(index: int) -> Any:
    """One of twenty colours."""
    from matplotlib import colormaps

    return colormaps["tab20"](index)


def _legend(axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        once.values(), once.keys(), ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
    )
