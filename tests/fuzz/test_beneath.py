"""Folders that somebody else made: nothing is written or read through what lies in them."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.errors import PltvmError
from pltvm.fuzz import beneath, paths
from pltvm.fuzz.campaign import read_seeds
from pltvm.fuzz.record import Recorder
from pltvm.fuzz.results import FAULT, HANG, Counts, Entry, Finding
from pltvm.fuzz.store import OutputFolder, find_campaign

OPTIONS: dict[str, Any] = {"target": "kv.elf"}
COUNTS = Counts(executions=5678, seconds=1.2345, edges=50, map_size=200, rounds=3)
SECRET = b"what nobody may touch"
FILES = [
    "campaign.json", "cmdline", "fuzzer_setup", "fuzzer_stats", "plot_data", "crashes/README.txt",
    "crashes/id:000000,sig:11,time:1234,execs:5678,op:havoc", "reports/id:000000.txt",
    "reports/id:000000.json",
    "queue/id:000000,time:1234,execs:5678,orig:seed",
]  # fmt: skip
FOLDERS = ["queue", "crashes", "hangs", "reports"]


def work(out: Path) -> None:
    """Everything that a campaign does with its folder."""
    with OutputFolder(out, options=OPTIONS, target=["kv.elf"], clock=lambda: 1e9) as store:
        store.queue(), store.findings()
        store.add_entry(Entry(b"input"), COUNTS)
        store.add_finding(Finding(FAULT, "a", "", "report", b"crash"), COUNTS)
        store.add_finding(Finding(HANG, "b", "", "report", b"hang"), COUNTS)
        store.write_stats(COUNTS)
        store.append_plot(COUNTS)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to(path.parents[len(path.parents) - 1] / "dev" / "null")


def to_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def listening(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_written_or_read_through_a_link(tmp_path: Path, secret: Path, name: str) -> None:
    """Of a new campaign, where the link waits; and of one that goes on."""
    for begun in (False, True):
        out = tmp_path / f"out{begun}"
        if begun:
            OutputFolder(out, options=OPTIONS).close()
        place = out / "default" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not begun:
            (out / "default" / "campaign.json").write_text('{"target": "kv.elf"}')
        place.unlink(missing_ok=True)
        place.symlink_to(secret)
        inode = secret.stat().st_ino
        with pytest.raises(PltvmError, match="is a link, and none is followed here") as caught:
            work(out)
        assert "\n" not in str(caught.value)
        assert (secret.read_bytes(), secret.stat().st_ino) == (SECRET, inode)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("begun", [False, True])
def test_no_folder_is_entered_through_a_link(tmp_path: Path, name: str, begun: bool) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    OutputFolder(out, options=OPTIONS).close()
    (out / "default" / name).rmdir()
    (out / "default" / name).symlink_to(elsewhere)
    with pytest.raises(PltvmError, match=f"{name} is a link"):
        work(out)
    assert list(elsewhere.iterdir()) == []


def test_the_instance_itself_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "default").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PltvmError, match="default is a link"):
        work(tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "named").symlink_to(tmp_path / "elsewhere")  # what the user names may be one
    work(tmp_path / "named")
    assert (tmp_path / "elsewhere" / "default" / "plot_data").is_file()


def test_what_a_killed_process_left_is_no_way_out(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "out" / "default").mkdir(parents=True)
    (tmp_path / "out" / "default" / ".new").symlink_to(secret)
    work(tmp_path / "out")
    assert secret.read_bytes() == SECRET
    assert not os.path.lexists(tmp_path / "out" / "default" / ".new")


@pytest.mark.parametrize("make", [fifo, listening, os.mkdir], ids=["fifo", "socket", "folder"])
@pytest.mark.parametrize(
    "name", ["campaign.json", "fuzzer_stats", "plot_data", "reports/id:000000.txt", ".new"]
)
def test_what_is_no_plain_file_is_one_clear_line(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    OutputFolder(tmp_path, options=OPTIONS).close()
    place = tmp_path / "default" / name
    place.unlink(missing_ok=True)
    make(place)
    if name == ".new" and make is not os.mkdir:
        work(tmp_path)  # it is removed
        return
    with pytest.raises(PltvmError, match=r"is not a plain file$|Is a directory$"):
        work(tmp_path)


@pytest.mark.parametrize("folder", ["queue", "crashes"])
@pytest.mark.parametrize("make", [fifo, link, os.mkdir, to_folder])
def test_odd_entries_are_no_inputs(tmp_path: Path, folder: str, make: Callable[[Path], None]) -> None:
    work(tmp_path)
    make(tmp_path / "default" / folder / "id:000007,time:0,execs:0,op:havoc")
    with OutputFolder(tmp_path, options=OPTIONS) as store:
        assert [entry.data for entry in store.queue()] == [b"input"]
        assert [finding.data for finding in store.findings()] == [b"crash", b"hang"]
    assert [file.name for file in paths.inputs_of(tmp_path)] == ["id:000000,time:1234,execs:5678,orig:seed"]


def test_huge_files_are_named_and_not_read(tmp_path: Path) -> None:
    work(tmp_path)
    for place, most in (
        ("queue/id:000001,time:0,execs:0,op:havoc", "1,048,576"),
        ("reports/id:000000.txt", "16,777,216"),
        ("fuzzer_stats", "16,777,216"),
        ("campaign.json", "16,777,216"),
    ):
        path = tmp_path / "default" / place
        before = path.read_bytes() if path.exists() else None
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(PltvmError, match=rf"has 1,099,511,627,776 bytes; at most {most} are read"):
            work(tmp_path)
        path.unlink() if before is None else path.write_bytes(before)
    with (tmp_path / "default" / "plot_data").open("r+b") as file:
        file.truncate(1 << 40)  # no line in the last part of it: it begins anew
    work(tmp_path)
    assert (tmp_path / "default" / "plot_data").stat().st_size < 1000


def test_ids_of_many_digits(tmp_path: Path) -> None:
    work(tmp_path)
    (tmp_path / "default" / "queue" / ("id:" + "9" * 200)).write_bytes(b"")
    (tmp_path / "default" / "queue" / "id:٣").write_bytes(b"")
    with OutputFolder(tmp_path, options=OPTIONS) as store:
        assert len(store.queue()) == 1


def test_a_replay_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"")
    (tmp_path / "campaign.json").symlink_to("/etc/hostname")
    with pytest.raises(PltvmError, match=r"campaign\.json is a link"):
        find_campaign(tmp_path / "input")
    fifo(tmp_path / "fifo")
    with pytest.raises(PltvmError, match="is not a plain file"):
        paths.read_input(tmp_path, tmp_path / "fifo")
    with pytest.raises(PltvmError, match="no such file"):
        paths.read_input(tmp_path, tmp_path / "nothing")


def test_seeds_that_would_never_end(tmp_path: Path) -> None:
    fifo(tmp_path / "fifo")
    with pytest.raises(PltvmError, match="is not a plain file"):
        read_seeds(tmp_path / "fifo")
    with pytest.raises(PltvmError, match="is not a plain file"):
        read_seeds(Path("/dev/zero"))


def test_a_recording_follows_no_link(tmp_path: Path, secret: Path) -> None:
    machine = Machine(64 << 20)
    recorder = Recorder(machine)
    elf = guest.examples()["hello-world"].elf
    machine.create(elf, name="one", relay=b"x").run()
    seeds, elsewhere = tmp_path / "seeds", tmp_path / "elsewhere"
    seeds.mkdir()
    elsewhere.mkdir()
    (seeds / "one.relay").symlink_to(elsewhere)
    with pytest.raises(PltvmError, match=r"one\.relay is a link"):
        recorder.write(seeds)
    assert list(elsewhere.iterdir()) == []
    (seeds / "one.relay").unlink()
    (seeds / "one.relay").mkdir()
    (seeds / "one.relay" / "000000").symlink_to(secret)
    with pytest.raises(PltvmError, match="cannot be written: File exists"):
        recorder.write(seeds)
    assert secret.read_bytes() == SECRET


def test_no_path_leads_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (
        pytest.raises(PltvmError, match="leads out"),
        beneath.opened(tmp_path / "in", tmp_path / "in" / ".." / "x"),
    ):
        pass


def test_a_file_that_became_a_link_meanwhile(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look beforehand finds words only: opening does not follow either."""
    work(tmp_path / "out")
    plot = tmp_path / "out" / "default" / "plot_data"
    plot.unlink()
    plot.symlink_to(secret)
    monkeypatch.setattr(beneath, "_must_not_be_a_link", lambda *_: None)
    monkeypatch.setattr(beneath, "_must_be_plain", lambda *_: None)
    for act in (
        lambda: beneath.append(tmp_path, plot, b"x"),
        lambda: beneath.read(tmp_path, plot, 100),
        lambda: beneath.cut_last_line(tmp_path, plot, 100),
        lambda: beneath.make_folder(tmp_path, plot),
    ):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            act()
    assert secret.read_bytes() == SECRET
    fifo(tmp_path / "fifo")
    with pytest.raises(PltvmError, match="is not a plain file"):
        beneath.read(tmp_path, tmp_path / "fifo", 100)
