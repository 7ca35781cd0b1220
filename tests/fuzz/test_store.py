"""The output folder: what AFL++'s tools read, what a resume and a replay find, what a kill leaves."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz.results import FAULT, HANG, SECRET, Counts, Entry, Finding
from pltvm.fuzz.store import OutputFolder, find_campaign

OPTIONS: dict[str, Any] = {"target": "kv.elf", "seed": 7, "channels": ["relay", "ocalls"]}
COUNTS = Counts(executions=5678, seconds=1.2345, edges=50, map_size=200, rounds=3)
CRASH = Finding(FAULT, "fault main", "load page fault", "line 1\nline 2", b"boom", {"pc": 4096})


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def folder(out: Path, **other: Any) -> OutputFolder:
    return OutputFolder(out, **{"options": OPTIONS, "target": ["kv.elf"], **other})


def fill(store: OutputFolder) -> None:
    """Two seeds, an input made from the second, one of another worker, a crash and a hang."""
    nothing = Counts()
    store.add_entry(Entry(b"one"), nothing, name="first.bin")
    store.add_entry(Entry(b"two"), nothing)
    store.add_entry(Entry(b"three", 1, "havoc"), COUNTS, repeat=2)
    store.add_entry(Entry(b"four", -1, "sync"), COUNTS, time_ms=9, name="worker-2")
    store.add_finding(CRASH, COUNTS, parent=2, repeat=4)
    store.add_finding(Finding(HANG, "hang loop", "no end", "stuck", b"zzz"), COUNTS, parent=0)


def test_names_are_those_of_afl(tmp_path: Path) -> None:
    with folder(tmp_path / "out") as store:
        fill(store)
        root = store.paths.root
    assert root == tmp_path / "out" / "default"
    assert sorted(path.name for path in (root / "queue").iterdir()) == [
        "id:000000,time:0,execs:0,orig:first.bin",
        "id:000001,time:0,execs:0,orig:seed",
        "id:000002,src:000001,time:1234,execs:5678,op:havoc,rep:2",
        "id:000003,sync:worker-2,time:9,execs:5678",
    ]
    crashes = sorted(path.name for path in (root / "crashes").iterdir())
    assert crashes == ["README.txt", "id:000000,sig:11,src:000002,time:1234,execs:5678,op:havoc,rep:4"]
    assert [path.name for path in (root / "hangs").iterdir()] == [
        "id:000001,src:000000,time:1234,execs:5678,op:havoc"
    ]
    assert (root / "crashes" / crashes[1]).read_bytes() == b"boom"
    assert (root / "reports" / "id:000000.txt").read_text() == "line 1\nline 2\n"
    assert sorted(path.suffix for path in (root / "reports").iterdir()) == [".json", ".json", ".txt", ".txt"]


def test_an_oracles_finding_is_an_abort(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        path = store.add_finding(Finding(SECRET, "s", "", "", b""), COUNTS)
        assert path is not None
        assert path.name.startswith("id:000000,sig:06,time:")


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        fill(store)
    with folder(tmp_path) as store:
        assert store.queue() == [
            Entry(b"one"),
            Entry(b"two"),
            Entry(b"three", 1, "havoc"),
            Entry(b"four", -1, "sync"),
        ]
        first, second = store.findings()
        assert first == CRASH
        assert (second.kind, second.signature, second.data) == (HANG, "hang loop", b"zzz")


def test_ids_go_on_after_a_resume(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        fill(store)
    with folder(tmp_path) as store:
        assert store.add_entry(Entry(b"five", 2, "splice"), COUNTS).name.startswith("id:000004,src:000002,")
        found = store.add_finding(Finding(FAULT, "other", "", "", b"!"), COUNTS)
        assert found is not None
        assert found.name.startswith("id:000002,")


def test_a_finding_is_kept_once(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        assert store.add_finding(CRASH, COUNTS) is not None
        assert store.add_finding(CRASH, COUNTS) is None
    with folder(tmp_path) as store:
        assert store.add_finding(CRASH, COUNTS) is None
        assert len(store.findings()) == 1


def test_a_gap_in_the_queue_does_not_mix_up_parents(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        fill(store)
        first = next(store.paths.queue.glob("id:000000*"))
    first.unlink()
    (first.parent / "notes.txt").write_text("not an input")
    with folder(tmp_path) as store:
        queue = store.queue()
        assert [entry.parent for entry in queue] == [-1, 0, -1]
        assert store.add_entry(Entry(b"x", 1), COUNTS).name.startswith("id:000004,")
        assert ",src:000002," in store.add_entry(Entry(b"y", 1, "havoc"), COUNTS).name


@pytest.mark.parametrize("name", ["a/b", "x" * 400, "é" * 300, "id:000003,time:0,execs:0,orig:old", "\n\0"])
def test_any_seed_name_makes_a_file(tmp_path: Path, name: str) -> None:
    with folder(tmp_path) as store:
        path = store.add_entry(Entry(b"data"), Counts(), name=name)
        assert path.read_bytes() == b"data"
        assert path.parent == store.paths.queue
        assert path.name.count("orig:") == 1


def test_odd_details_are_kept_as_text(tmp_path: Path) -> None:
    odd = Finding(
        SECRET, "s", "\ud800", "r\ud800", b"", {"secret": b"\1\2", "path": Path("x"), "list": (1, 2)}
    )
    with folder(tmp_path) as store:
        store.add_finding(odd, COUNTS)
        (found,) = store.findings()
    assert found.details == {"secret": "0102", "path": "x", "list": [1, 2]}


def test_a_lost_report_loses_no_finding(tmp_path: Path) -> None:
    with folder(tmp_path) as store:
        fill(store)
        shutil.rmtree(store.paths.reports)
    with folder(tmp_path) as store:
        assert [(finding.kind, finding.data) for finding in store.findings()] == [
            (FAULT, b"boom"),
            (HANG, b"zzz"),
        ]


# ---- refusals ----


def test_two_campaigns_do_not_share_a_folder(tmp_path: Path) -> None:
    with folder(tmp_path):
        with pytest.raises(PltvmError, match="another campaign uses it"):
            folder(tmp_path)
        with folder(tmp_path, name="second"):
            pass
    with folder(tmp_path):
        pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_lives_on_does_not_hold_the_lock(tmp_path: Path) -> None:
    store = folder(tmp_path)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(ready, 1)
        with pytest.raises(PltvmError):
            folder(tmp_path)  # the parent still has it
        store.close()
        folder(tmp_path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    folder(tmp_path).close()
    with pytest.raises(PltvmError, match=r"other options \(seed 7, not 8\)"):
        folder(tmp_path, options={**OPTIONS, "seed": 8})
    folder(tmp_path, options={**OPTIONS, "channels": ("relay", "ocalls")}).close()  # the same in JSON


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(PltvmError, match=r"holds something else \(thesis.tex\)"):
        folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(PltvmError, match="is a file"):
        folder(tmp_path / "thesis.tex")


def test_a_folder_of_afl_is_not_resumed_but_joined(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "fuzzer_stats").write_text("")
    with pytest.raises(PltvmError, match=r"holds something else \(fuzzer_stats\), not a campaign of pltvm"):
        folder(tmp_path)
    folder(tmp_path, name="pltvm").close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PltvmError, match="Not a directory"):
        folder(tmp_path / "file" / "out")
    with pytest.raises(PltvmError, match="null"):
        folder(tmp_path / "a\0b")
    with pytest.raises(PltvmError, match="is not a name"):
        folder(tmp_path, name="../x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PltvmError, match="Permission denied"):
        folder(tmp_path)


@pytest.mark.parametrize("text", ["[1", "[" * 200_000])
def test_a_damaged_campaign_is_named(text: str, tmp_path: Path) -> None:
    folder(tmp_path).close()
    (tmp_path / "default" / "campaign.json").write_text(text)
    with pytest.raises(PltvmError, match="is damaged"):
        folder(tmp_path)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder(tmp_path) as store:
        fill(store)

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(PltvmError, match="No space left"):
                store.add_entry(Entry(b"five"), COUNTS)
            with pytest.raises(PltvmError, match="No space left"):
                store.add_finding(Finding(FAULT, "new", "", "", b""), COUNTS)
        assert len(store.queue()) == 4
        assert store.add_entry(Entry(b"five"), COUNTS).name.startswith("id:000004,")
        assert store.add_finding(Finding(FAULT, "new", "", "", b""), COUNTS) is not None


# ---- replay ----


def test_the_campaign_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder(tmp_path) as store:
        file = store.add_finding(CRASH, COUNTS)
        assert file is not None
        options, where = find_campaign(file)  # while it runs
        assert options == OPTIONS
        assert where == store.paths
        assert where.report_of(file).read_text() == "line 1\nline 2\n"
    monkeypatch.chdir(file.parent)
    assert find_campaign(Path(file.name)) == (options, where)


def test_a_file_without_a_campaign(tmp_path: Path) -> None:
    with pytest.raises(PltvmError, match="in no campaign's folder"):
        find_campaign(tmp_path / "file")


# ---- kills ----


def run_until_killed(out: Path, step: int) -> bool:
    """Write a campaign in a child that is killed in the middle of its step-th write or at its step-th rename.

    False when the child came to its end before that.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    steps = iter(range(10**6))

    def dies_now() -> bool:
        return next(steps) == step

    whole_write, rename = os.write, os.replace

    def write(descriptor: int, data: bytes) -> int:
        done = whole_write(descriptor, data[: len(data) // 2])
        if dies_now():
            os.kill(os.getpid(), signal.SIGKILL)
        return done + whole_write(descriptor, data[len(data) // 2 :])

    def replace(*places: str, **folders: int) -> None:
        if dies_now():
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*places, **folders)

    try:
        os.write = write  # type: ignore[assignment]
        os.replace = replace  # type: ignore[assignment]
        store = folder(out)
        fill(store)
        store.write_stats(COUNTS)
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_any_moment_leaves_only_whole_files(tmp_path: Path) -> None:
    with folder(tmp_path / "whole") as store:
        fill(store)
        store.write_stats(COUNTS)
        entries, findings = store.queue(), store.findings()
    seen = set()
    step = 0
    while run_until_killed(tmp_path / str(step), step):
        with folder(tmp_path / str(step)) as store:  # the lock went with the process
            queue, found = store.queue(), store.findings()
            assert queue == entries[: len(queue)]
            assert found == findings[: len(found)]
            assert store.saved_counts() == Counts()
            if len(found) == 2:
                store.write_stats(COUNTS)
            else:  # what a half-written finding left is written over
                store.add_finding(CRASH, COUNTS)
                store.add_finding(Finding(HANG, "hang loop", "no end", "stuck", b"zzz"), COUNTS)
            assert store.findings() == findings
            assert not (store.paths.root / ".new").exists()
        seen.add((len(queue), len(found)))
        step += 1
    assert seen == {(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2)}


def test_a_kill_before_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / ".new").write_text('{"tar')
    folder(tmp_path).close()
    assert json.loads((tmp_path / "default" / "campaign.json").read_text()) == OPTIONS
