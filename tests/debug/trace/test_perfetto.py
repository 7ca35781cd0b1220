"""Traces for Perfetto: what its own trace processor makes of them, and the shape that the format asks for."""

import json
from pathlib import Path
from typing import Any

from pltvm import Machine
from pltvm.build import guest
from pltvm.debug.trace.collect import tracing
from tests.debug.trace.chain import COUNTER, FRONT, RAM, finish, make, queueing, traced
from tests.debug.trace.processor import ask
from tests.test_ten_runs import PROGRAMS

SLICES = """
    select slice.ts, slice.dur, slice.name, slice.depth, thread.name as track
    from slice join thread_track on slice.track_id = thread_track.id join thread using(utid)
    order by slice.ts, slice.depth
"""
ERRORS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def test_the_chain_as_perfetto_sees_it(tmp_path: Path) -> None:
    machine = traced(tmp_path / "run.json")
    slices, flows, counters, errors = ask(
        (tmp_path / "run.json").read_bytes(),
        SLICES,
        "select a.name as out, b.name as into_ from flow"
        " join slice a on a.id = slice_out join slice b on b.id = slice_in order by flow.id",
        "select track.name, counter.value from counter join counter_track track on track_id = track.id"
        " order by counter.ts, counter.id",
        ERRORS,
    )
    assert errors == []
    named = {(one["track"], one["name"]): one for one in slices if one["dur"] > 0}
    outer = named["test-server1 (eid 1)", "called by caller (eid 2)"]
    inner = named["test-server (eid 0)", "called by test-server1 (eid 1)"]
    waits = named["caller (eid 2)", "calling"]
    assert outer["ts"] < inner["ts"] < inner["ts"] + inner["dur"] < outer["ts"] + outer["dur"]
    assert waits["ts"] < inner["ts"]
    assert waits["ts"] + waits["dur"] > inner["ts"] + inner["dur"]
    assert {"ocall mmap(0x4000, 0x0)", "running"} <= {name for track, name in named if track[:6] == "caller"}
    assert [(one["out"], one["into_"]) for one in flows] == [
        ("calling", "called by caller (eid 2)"),
        ("calling", "called by test-server1 (eid 1)"),
        ("called by test-server1 (eid 1)", "running"),
        ("called by caller (eid 2)", "running"),
    ]
    last = {one["name"]: one["value"] for one in counters}
    assert sum(last.values()) == machine.memory.size // 4096
    assert last["enclave 2 pages"] == 0
    there: dict[str, int] = {}
    for row in machine.owners:
        there[f"{row.owner} pages"] = there.get(f"{row.owner} pages", 0) + row.pages
    assert {name: value for name, value in last.items() if value} == there


def test_a_host_program_and_a_torn_file_of_it(tmp_path: Path) -> None:
    """Of which Perfetto reads as much as there is."""
    machine = Machine(RAM)
    (tmp_path / "files").mkdir()
    with tracing(machine, tmp_path / "run.json"):
        PROGRAMS["host: threads"](machine, tmp_path / "files")
    whole = (tmp_path / "run.json").read_bytes()
    slices, errors = ask(whole[: whole.rindex(b"},\n", 0, len(whole) - 5000) + 3], SLICES, ERRORS)
    assert errors == []
    running = {one["track"] for one in slices if one["name"] == "running"}
    assert len({track for track in running if "(thread" in track}) > 1
    assert len({track for track in running if "(eid" in track}) > 1


def test_slots_of_a_server_have_a_track_each(tmp_path: Path) -> None:
    """Two callers are in the server at once: each of its slots says who has called it, and for how long."""
    machine, examples = Machine(RAM), guest.examples()
    machine.create(examples["counter"].elf, name="counter", type="concurrent", slots=2)
    clients = [machine.create(examples["count-client"].elf, name=f"client{number}") for number in range(2)]
    with tracing(machine, tmp_path / "run.json"):
        machine.run_together(clients)
    slices, errors = ask((tmp_path / "run.json").read_bytes(), SLICES, ERRORS)
    assert errors == []
    lasting = [one for one in slices if one["dur"] > 0]  # the others are marks
    tracks = {slot: f"counter (eid 0, slot {slot})" for slot in (0, 1)}
    calls = {slot: [one for one in lasting if one["track"] == track] for slot, track in tracks.items()}
    for slot, client in ((0, "client0 (eid 1)"), (1, "client1 (eid 2)")):
        outer = [one for one in calls[slot] if one["depth"] == 0 and one["name"] != "running"]
        assert {one["name"] for one in outer} == {f"called by {client}"}
        assert len(outer) == 10
    first, second = (calls[slot][0] for slot in (0, 1))
    assert first["ts"] < second["ts"] < first["ts"] + first["dur"] < second["ts"] + second["dur"]
    assert not [one for one in lasting if one["track"] == "counter (eid 0)"]


def test_calls_that_have_waited(tmp_path: Path) -> None:
    """The time in the queue is shown, and each flow leads from a caller into its server, or back."""
    machine = Machine(RAM)
    with tracing(machine, tmp_path / "run.json"):
        finish(queueing(machine, slots=1))
    slices, flows, errors = ask(
        (tmp_path / "run.json").read_bytes(),
        SLICES,
        "select flow.id, a.name as out, b.name as into_ from flow"
        " join slice a on a.id = slice_out join slice b on b.id = slice_in order by flow.id",
        ERRORS,
    )
    assert errors == []
    lasting = [one for one in slices if one["dur"] > 0]
    front = [f"front (eid {FRONT}, slot {slot})" for slot in range(3)]
    assert {one["track"] for one in lasting if one["name"] == "queued"} == {*front}
    inside = [
        one for one in lasting if one["track"] == f"counter (eid {COUNTER}, slot 0)" and one["depth"] == 0
    ]
    assert sorted(one["name"] for one in inside) == sorted(2 * [f"called by {name}" for name in front])
    calls, returns = ([one for one in flows if (one["out"] == "calling") is known] for known in (True, False))
    assert len(calls) == len(returns) == 3 * 2 * 2
    assert {one["into_"][:10] for one in calls} == {one["out"][:10] for one in returns} == {"called by "}
    assert {one["into_"] for one in returns} == {"running"}


def test_the_shape_that_the_format_asks_for(tmp_path: Path) -> None:
    """What the description of the Trace Event Format says of each kind of row, also where it is put back."""
    machine = Machine(RAM)
    with tracing(machine, tmp_path / "run.json"):
        enclave = make(machine)
        saved = machine.snapshot()
        assert enclave.run().ok
        machine.restore(saved)
        assert enclave.run().ok
    rows, now = rows_of(tmp_path / "run.json"), 0
    stacks: dict[tuple[int, int], int] = {}
    flows: dict[int, str] = {}
    for row in rows:
        assert {"ph", "pid", "tid", "ts"} <= row.keys()
        assert row["ts"] >= now
        now, track = row["ts"], (row["pid"], row["tid"])
        if row["ph"] == "B":
            stacks[track] = stacks.get(track, 0) + 1
        elif row["ph"] == "E":
            stacks[track] -= 1
            assert stacks[track] >= 0
        elif row["ph"] == "C":
            assert all(isinstance(value, int) for value in row["args"].values())
        elif row["ph"] == "i":
            assert row["s"] in ("g", "p", "t")
        elif row["ph"] in ("s", "f"):
            assert flows.get(row["id"]) == (None if row["ph"] == "s" else "s")
            flows[row["id"]] = row["ph"]
        else:
            assert row["ph"] == "M"
            assert row["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
        assert row["ph"] in ("E",) or row["name"]
    assert not any(stacks.values())
    assert set(flows.values()) == {"f"}
    assert sum(row["ph"] == "i" and row["cat"] == "restore" for row in rows) == 1
