"""AFL++'s names and text files: as it writes them, read back, and read by its own tools."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pltvm.fuzz import afl_files
from pltvm.fuzz.results import Counts, Entry
from pltvm.fuzz.store import Progress
from tests.fuzz.test_store import COUNTS, Clock, fill, folder


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("id:000001,src:000000,time:1,execs:9,op:havoc,rep:16,+cov", (0, "havoc")),
        ("id:000005,src:000003+000004,time:1,execs:9,op:splice,rep:16", (3, "splice")),
        ("id:000005,sync:main,src:000003,time:1,execs:9", (3, "sync")),
        ("id:000000,time:0,execs:0,orig:a,src:000009,op:b", (-1, "seed")),
        ("id:7", (-1, "havoc")),
    ],
)
def test_names_that_afl_made_are_read(name: str, origin: tuple[int, str]) -> None:
    assert afl_files.origin(name) == origin


# ---- statistics ----


def test_fuzzer_stats(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress(speed=88.5, current=2, favored=3, pending=1, pending_favored=1, stability=0.5)
    command = ["pltvm", "fuzz", "my kv.elf"]
    with folder(tmp_path, clock=clock, command=command, target=["/a/$(reboot).elf"]) as store:
        fill(store)
        clock.now += 100
        store.write_stats(COUNTS, progress)
        text = (store.paths.root / "fuzzer_stats").read_text()
    assert all(re.fullmatch(r"\w+ *: .*", line) and line[18:20] == ": " for line in text.splitlines())
    stats = afl_files.parse_stats(text)
    expected = {
        **{"start_time": "1700000000", "last_update": "1700000100", "run_time": "100"},
        **{"fuzzer_pid": str(os.getpid()), "cycles_done": "3", "execs_done": "5678"},
        **{"execs_per_sec": "56.78", "execs_ps_last_min": "88.50", "time_wo_finds": "100"},
        **{"corpus_count": "4", "corpus_found": "2", "corpus_imported": "1", "max_depth": "2"},
        **{"stability": "50.00%", "bitmap_cvg": "25.00%", "edges_found": "50", "total_edges": "200"},
        **{"saved_crashes": "1", "saved_hangs": "1", "last_crash": "1700000000", "execs_since_crash": "0"},
        **{"afl_banner": "__reboot_.elf", "command_line": "pltvm fuzz my kv.elf"},
    }
    assert stats.items() >= expected.items()
    assert int(stats["peak_rss_mb"]) > 5
    root = tmp_path / "default"
    assert (root / "cmdline").read_text() == "/a/$(reboot).elf\n"
    assert (root / "fuzzer_setup").read_text().endswith("# command line:\n'pltvm' 'fuzz' 'my kv.elf'\n")


def test_time_and_counts_go_on_after_a_resume(tmp_path: Path) -> None:
    clock = Clock()
    with folder(tmp_path, clock=clock) as store:
        assert store.saved_counts() == Counts()
        fill(store)
        clock.now += 100
        store.write_stats(Counts(6000, 1.25, 50, 200, 3))
        store.append_plot(COUNTS)
    clock.now += 5000  # a break
    with folder(tmp_path, clock=clock) as store:
        assert store.saved_counts() == Counts(6000, 1.25, 50, 200, 3)
        clock.now += 10
        store.write_stats(store.saved_counts())
        store.append_plot(COUNTS)
        root = store.paths.root
    stats = afl_files.parse_stats((root / "fuzzer_stats").read_text())
    assert stats["run_time"] == "110"
    assert stats["last_find"] == "1700000000"
    assert stats["execs_since_crash"] == "322"
    lines = (root / "plot_data").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["# relative_time", "100", "110"]
    assert lines[2] == "110, 3, 0, 4, 0, 0, 25.00%, 1, 1, 2, 0.00, 5678, 50"
    assert len(lines[0].split(", ")) == len(lines[2].split(", "))


def test_no_stats_before_there_is_something_to_divide_by(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        store.write_stats(Counts())
        store.write_stats(COUNTS)
        assert not (store.paths.root / "fuzzer_stats").exists()
        store.add_entry(Entry(b""), Counts())
        store.write_stats(COUNTS)
        assert (store.paths.root / "fuzzer_stats").exists()


NINES = b"9" * 400  # as a float: infinity


@pytest.mark.parametrize(
    "text",
    [
        b"run_time : x\nexecs_done\n\xff:\nedges_found:inf\n",
        b"run_time : -%b\nlast_find : %b\nexecs_done : %b\nexecs_since_crash : %b\nexec_seconds : 1.%b"
        % ((NINES,) * 5),
        "execs_done : \u0661\n".encode(),
    ],
)
def test_damaged_stats_do_no_harm(tmp_path: Path, text: bytes) -> None:
    with folder(tmp_path) as store:
        fill(store)
        (store.paths.root / "fuzzer_stats").write_bytes(text)
    with folder(tmp_path) as store:
        assert store.saved_counts() == Counts()
        store.write_stats(COUNTS)


def test_half_a_line_of_the_plot_is_cut_off(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        store.append_plot(COUNTS)
        path = store.paths.root / "plot_data"
    whole = path.read_bytes()
    for end in (b"12, 3,", b""):
        path.write_bytes(whole + end)
        folder(tmp_path).close()
        assert path.read_bytes() == whole
    path.write_bytes(b"# rel")
    folder(tmp_path).close()
    assert path.read_text() == afl_files.PLOT_HEADER


# ---- AFL++'s own tools ----


@pytest.mark.skipif(shutil.which("afl-whatsup") is None, reason="AFL++ is not installed (apt install afl++)")
def test_afl_whatsup_reads_it(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.time()
    with folder(tmp_path / "out", clock=clock) as store:
        clock.now += 100
        fill(store)
        store.write_stats(Counts(2_500_000, 90.0, 50, 200, 3), Progress(current=1))
        out = subprocess.run(
            ["afl-whatsup", "-d", str(tmp_path / "out")],
            capture_output=True,
            text=True,
            env={**os.environ, "TERM": "xterm"},
            check=True,
        )
    text = re.sub(r"\x1b\[[\d;]*m|\x1b\(B", "", out.stdout)
    assert [line for line in out.stderr.splitlines() if not line.startswith("tput: ")] == []
    assert ">>> kv.elf (0 days, 0 hrs) fuzzer PID: " in text
    assert "cycles 4, lifetime speed 25000 execs/sec, items 1/4 (25%)" in text
    assert "coverage 25.00%, crashes saved 1 (!)" in text
    assert re.search(r"Fuzzers alive : 1\n", text)


@pytest.mark.skipif(
    shutil.which("afl-plot") is None or shutil.which("gnuplot") is None,
    reason="AFL++ or gnuplot is not installed (apt install afl++ gnuplot-nox)",
)
def test_afl_plot_draws_it(tmp_path: Path) -> None:
    clock = Clock()
    with folder(tmp_path / "out", clock=clock) as store:
        fill(store)
        for second in range(1, 20):
            clock.now += second
            store.append_plot(
                Counts(second * 5000, 1.0, second * 3, 200, second), Progress(speed=5000.0 - second)
            )
        store.write_stats(COUNTS)
        command = ["afl-plot", str(store.paths.root), str(tmp_path / "plot")]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rror" not in out.stdout + out.stderr
    pictures = {path.name for path in (tmp_path / "plot").glob("*.png")}
    assert pictures >= {"high_freq.png", "low_freq.png", "exec_speed.png", "edges.png"}
    assert all((tmp_path / "plot" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
