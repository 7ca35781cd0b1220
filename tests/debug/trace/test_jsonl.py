"""Traces as JSON lines: what is in them, that they repeat, and what a torn one is still good for."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine
from pltvm.debug.trace import jsonl
from pltvm.debug.trace.collect import TraceFile, tracing
from pltvm.errors import ArgumentError, PltvmError
from tests.cli.command import COMMAND, ELVES, pltvm
from tests.debug.trace.chain import ELF, RAM, make, traced
from tests.debug.trace.replay import Replay
from tests.test_ten_runs import PROGRAMS


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(jsonl.read(path.read_text().splitlines()))


def test_calls_of_the_chain(tmp_path: Path) -> None:
    traced(tmp_path / "run.jsonl")
    rows = rows_of(tmp_path / "run.jsonl")
    told = [
        (row["kind"], row["caller"]["name"], row["callee"]["name"])
        for row in rows
        if row["kind"] in ("call", "return")
    ]
    assert told == [
        ("call", "caller", "test-server1"),
        ("call", "test-server1", "test-server"),
        ("return", "test-server1", "test-server"),
        ("return", "caller", "test-server1"),
    ]
    assert [row["value"] for row in rows if row["kind"] == "return"] == ["0x2", "0x3"]
    printed = [row["printed"] for row in rows if row["kind"] == "ocall" and row["name"] == "write"]
    assert printed[0] == "[caller] shared memory starts with 11111\n"
    wheres = {row["where"] for row in rows if row["kind"] == "call"}
    assert wheres == {"call_enclave+0x18 (ecall.h:57)"}
    nearest = [row["callers"][0].split(" ")[1] for row in rows if row["kind"] == "call"]
    assert nearest == ["(caller.c:53)", "(server1.c:29)"]
    assert rows[-1] == {"kind": "end", "events": rows[-2]["number"] + 1}


def test_ten_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """In this process, with the native core and without."""
    for number in range(10):
        traced(tmp_path / f"{number}.jsonl", native=number % 2 == 0)
    contents = {(tmp_path / f"{number}.jsonl").read_bytes() for number in range(10)}
    assert len(contents) == 1


@pytest.mark.parametrize("name", ["host: threads", "host: fork", "shadows", "relay"])
def test_programs_give_the_same_bytes_with_the_core_and_without(name: str, tmp_path: Path) -> None:
    contents = set()
    for native in (True, True, False):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        machine = Machine(RAM, native=native)
        with tracing(machine, folder / "run.jsonl"):
            PROGRAMS[name](machine, folder)
        contents.add((folder / "run.jsonl").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("name", ["run.jsonl", "run.txt", "run.json"])
def test_another_process_and_other_hashes_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    contents = set()
    for seed, core in (("1", ""), ("2", "0")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, **({"PLTVM_NATIVE": core} if core else {})}
        command = [*COMMAND, "run", "--trace", name, ELVES["hello-world"]]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_what_is_torn_away(tmp_path: Path) -> None:
    traced(tmp_path / "run.jsonl")
    whole = (tmp_path / "run.jsonl").read_text()
    for size in (len(whole) // 3, len(whole) // 2, len(whole) - 5):
        rows = list(jsonl.read(whole[:size].splitlines()))
        assert rows[-1]["kind"] != "end"
        Replay().feed(rows)


def test_a_run_that_is_killed(tmp_path: Path, build_guest: Any) -> None:
    (tmp_path / "spin.elf").write_bytes(build_guest("endless"))
    path = tmp_path / "run.jsonl"
    running = subprocess.Popen([*COMMAND, "run", "--trace", str(path), str(tmp_path / "spin.elf")])
    try:
        until = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    assert rows_of(path)[0]["kind"] == "trace"


def test_ctrl_c_ends_a_trace_in_order(tmp_path: Path, build_guest: Any) -> None:
    (tmp_path / "spin.elf").write_bytes(build_guest("endless"))
    path = tmp_path / "run.jsonl"
    command = [*COMMAND, "run", "--trace", str(path), str(tmp_path / "spin.elf")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped by Ctrl-C" in errors
    rows = rows_of(path)
    assert rows[-1]["kind"] == "end"
    assert Replay().feed(rows).states


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[1]", "nonsense", '{"kind":"snapshot"}', '{"kind":"trace","version":99}', "[" * 100_000],
)
def test_what_is_no_trace(content: str) -> None:
    if content:
        with pytest.raises(PltvmError, match="not a trace of") as raised:
            list(jsonl.read([content]))
        assert "\n" not in str(raised.value)
    else:
        assert list(jsonl.read([])) == []


def test_a_line_in_between_that_is_no_json() -> None:
    with pytest.raises(PltvmError, match="line 2 of the trace is not JSON"):
        list(jsonl.read(['{"kind":"trace","version":2,"ram":[]}', "{", '{"kind":"end"}']))


def test_names_that_do_not_say_the_format(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"ends with none of \.txt, \.jsonl, \.json: give --trace-format"):
        TraceFile(tmp_path / "run")
    with pytest.raises(ArgumentError, match="write one of text, jsonl, perfetto"):
        TraceFile(tmp_path / "run", "xml")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PltvmError, match="cannot be written: No such file"):
        TraceFile(tmp_path / "nowhere" / "run.txt")


def fill(machine: Machine, path: str) -> None:
    with tracing(machine, path, "jsonl"):
        for _ in range(5):
            make(machine).run()
            for one in machine.enclaves:
                one.destroy()


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    machine = Machine(RAM)
    with pytest.raises(PltvmError, match="cannot be written: No space left"):
        fill(machine, "/dev/full")
    assert machine.create(ELF["hello-world"]).run().ok


def test_text_of_guests_can_not_break_lines(tmp_path: Path) -> None:
    """Names and printed text with ends of lines, colours and bytes that are no text."""
    for name in ("run.jsonl", "run.txt", "run.json"):
        machine = Machine(RAM)
        with tracing(machine, tmp_path / name):
            machine.create(ELF["server"], name="a\nb\x1b[1m\udcff", type="server")
            machine.create(ELF["hello-world"], name='"]}\r').run()
        lines = (tmp_path / name).read_text().splitlines()
        if name == "run.txt":
            assert all(len(line) > 20 and line.isprintable() for line in lines)
        elif name == "run.jsonl":
            assert all(json.loads(line)["kind"] for line in lines)
        else:
            json.loads("\n".join(lines))


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = pltvm("run", *arguments, cwd=tmp_path)
        return done.returncode, done.stderr

    status, text = run("--trace", "run", ELVES["hello-world"])
    assert (status, text.count("\n")) == (2, 1), text
    status, text = run("--trace-format", "text", ELVES["hello-world"])
    assert status == 2
    assert "--trace-format: it is for --trace FILE, which is missing" in text
    status, text = run("--trace", "nowhere/run.txt", ELVES["hello-world"])
    assert (status, text) == (1, "pltvm: nowhere/run.txt: cannot be written: No such file or directory\n")
    with_both = "--trace", "run", "--trace-format", "jsonl", "--record", "seeds", "--shm", "x"
    status, text = run(*with_both, ELVES["caller"])
    assert status == 0
    assert "recorded 1 new input in seeds" in text
    assert rows_of(tmp_path / "run")[-1]["kind"] == "end"
