"""The benchmark command works and writes what it says; how fast anything is, is none of a test's business."""

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[1] / "bench" / "run.py"


def test_quick_run_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, str(RUN), "--quick", "--only", "call.", "--json", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "call.1page" in result.stdout
    written = json.loads(file.read_text())
    assert {"cpu", "python", "unicorn"} <= written["machine"].keys()
    assert {row["name"] for row in written["results"]} >= {"call.null", "call.1page", "call.64pages"}
    assert all(row["value"] > 0 and row["unit"] == "µs" and row["n"] == 3 for row in written["results"])


def test_unknown_name() -> None:
    result = subprocess.run([sys.executable, str(RUN), "--quick", "--only", "nonsense"], capture_output=True)
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr
