"""The benchmark command works and writes what it says; how fast anything is, is none of a test's business."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bench import harness

ROOT = Path(__file__).parents[1]
RUN = ROOT / "bench" / "run.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run of a few benchmarks of different kinds writes."""
    file = tmp_path_factory.mktemp("bench") / "results.json"
    chosen = ("call.null", "call.1page", "lifecycle.fork", "compute.sort", "profile.null")
    names = [part for name in chosen for part in ("--only", name)]
    result = bench("--quick", *names, "--json", str(file))
    assert result.returncode == 0, result.stderr
    assert "call.1page" in result.stdout
    return file


def test_quick_run_writes_json(results: Path) -> None:
    written = json.loads(results.read_text(encoding="utf-8"))
    assert {"cpu", "python", "unicorn", "qemu-riscv64", "icicle-emu"} <= written["machine"].keys()
    rows = {row["name"]: row for row in written["results"]}
    expected = {"call.null", "call.1page", "lifecycle.fork", "compute.sort", "compute.sort_rwx"}
    assert rows.keys() >= expected | {"profile.null.total", "profile.null.guest"}
    for row in rows.values():
        assert row.keys() == {"name", "value", "unit", "spread", "n", "peer"}
        assert row["n"] == 3
    assert rows["call.null"]["unit"] == "µs"
    assert rows["call.null"]["peer"].keys() == {"unicorn", "hooks"}
    assert rows["compute.sort"]["peer"].keys() >= {"unicorn", "hooks"}


def test_page_from_json(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    result = bench("--from", str(results), "--docs", str(page))
    assert result.returncode == 0, result.stderr
    text = page.read_text(encoding="utf-8")
    assert "| `call.null` |" in text
    assert "## Where the time of a call goes" in text


def test_plots_from_json(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = bench("--from", str(results), "--plot", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"calls.svg", "compute.svg", "profile.svg"}


def test_unknown_name() -> None:
    result = bench("--quick", "--only", "nonsense")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "optimized"),
    [
        ("'--prefix=/x' '--enable-optimizations'", True),
        ("'--with-lto'", True),
        ("'--enable-shared'", False),
        ("", False),
    ],
)
def test_how_python_was_built(arguments: str, optimized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"CONFIG_ARGS": arguments, "PGO_PROF_USE_FLAG": "-fprofile-use"}
    monkeypatch.setattr(sysconfig, "get_config_var", known.get)
    assert harness._optimized() is optimized
