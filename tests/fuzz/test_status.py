"""What a campaign shows: the picture, the lines, the JSON, and when."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pltvm.fuzz.results import FAULT, HANG, SECRET, Finding
from pltvm.fuzz.status import Found, Snapshot, Status, ago, clock_time, line, panel

SNAPSHOT = Snapshot(
    target="kv-server.elf",
    run_time=754.2,
    executions=45_252_000,
    speed=61_234.4,
    queue=1214,
    edges=1208,
    map_size=65536,
    findings=(Found(FAULT, 3, 700.1), Found(SECRET, 1, 120.0), Found(HANG, 2, 640.0)),
    rounds=12,
    workers=2,
    last_path=751.0,
    stability=1.0,
)
EMPTY = Snapshot("kv-server.elf", 0.0, 0, 0.0, 0, 0)
FINDING = Finding(
    FAULT, "fault main", "put+0x1c (kv.c:42): [bold]page\x1b[2J fault\n", "…", b"", {"raw": b"\1"}
)
PICTURE = """\
╭─ pltvm fuzz kv-server.elf ───────────────────────────────────────────────────╮
│ run time     0:12:34                  inputs       1,214                     │
│ executions   45,252,000               edges        1,208 (1.8 % of map)      │
│ speed        61,234 /s                last new     3 s ago                   │
│ average      60,000 /s                rounds       12                        │
│ workers      2                        stability    100.0 %                   │
│                                                                              │
│ findings                                                                     │
│ fault        3       last 54 s ago                                           │
│ secret       1       last 10 min ago                                         │
│ hang         2       last 1 min ago                                          │
╰────────────────────────────────────────── Ctrl-C stops, the same -o resumes ─╯
"""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def picture(snapshot: Snapshot, width: int = 120) -> str:
    from rich.console import Console

    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(panel(snapshot, console))
    return console.export_text()


# ---- the screen ----


def test_the_picture() -> None:
    assert round(SNAPSHOT.average, -2) == 60_000
    assert picture(SNAPSHOT) == PICTURE


def test_a_campaign_that_has_just_begun() -> None:
    text = picture(EMPTY)
    assert "none yet" in text
    assert "last new     never" in text
    assert "stability" not in text
    assert "of map" not in text


@pytest.mark.parametrize("width", [30, 50, 80])
def test_it_fits(width: int) -> None:
    long = Snapshot("x" * 300, 9e6, 10**13, 1e6, 10**6, 65536, 65536, (Found("k" * 200, 1, 0.0),))
    lines = picture(long, width).splitlines()
    assert max(map(len, lines)) == min(map(len, lines)) == width


def test_a_target_cannot_steer_the_terminal() -> None:
    text = picture(Snapshot("[red]x\x1b[2J\n", 1.0, 1, 1.0, 1, 1, findings=(Found("a\rb", 1, 0.0),)))
    assert "[red]x�[2J�" in text
    assert "a�b" in text


def test_the_screen_on_a_terminal() -> None:
    clock, err, out = Clock(), io.StringIO(), io.StringIO()
    with Status(terminal=True, err=err, out=out, clock=clock) as status:
        status.update(EMPTY)
        status.finding(FINDING, Path("out/crashes/id:0"))
        drawn = err.getvalue().count("run time")
        status.update(SNAPSHOT)  # too early
        assert err.getvalue().count("run time") == drawn
        clock.now += 0.25
        status.update(SNAPSHOT)
        assert "45,252,000" in err.getvalue()
        assert "\x1b[?25l" in err.getvalue()
        assert "\x1b[?25h" not in err.getvalue()
    text = err.getvalue()
    assert "\x1b[?25h" in text  # the cursor is back
    assert "found fault: put+0x1c (kv.c:42): [bold]page�[2J fault�" in text
    assert "out/crashes/id:0" in text
    assert out.getvalue() == ""


def interrupted(err: io.StringIO) -> None:
    with Status(terminal=True, err=err) as status:
        status.update(EMPTY)
        status.update(SNAPSHOT)
        raise KeyboardInterrupt


def test_the_terminal_is_as_it_was_after_ctrl_c() -> None:
    err = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        interrupted(err)
    assert err.getvalue().rpartition("\x1b[?25h")[1]
    assert "45,252,000" in err.getvalue()  # the last state is shown although it was not due


# ---- lines ----


def test_a_line() -> None:
    assert line(SNAPSHOT) == (
        "0:12:34  45,252,000 executions, 61,234/s, inputs 1,214, edges 1,208, last new 3 s ago, "
        "findings: fault 3, secret 1, hang 2"
    )
    assert line(EMPTY).endswith("last new never, findings: none")


def test_lines_without_a_terminal() -> None:
    clock, err, out = Clock(), io.StringIO(), io.StringIO()
    with Status(err=err, out=out, clock=clock) as status:
        for clock.now in (0.0, 1.0, 4.9, 5.0, 6.0):
            status.update(Snapshot("x", clock.now, int(clock.now * 10), 10.0, 1, 1))
        status.finding(FINDING)
        status.note("worker 2 was lost")
    starts = [text.split(",")[0] for text in err.getvalue().splitlines()]
    assert starts == [
        "0:00:00  0 executions",
        "0:00:05  50 executions",
        "0:00:06  found fault: put+0x1c (kv.c:42): [bold]page�[2J fault�",
        "0:00:06  worker 2 was lost",
        "0:00:06  60 executions",  # where it got to
    ]
    assert out.getvalue() == ""


def test_the_end_is_not_shown_twice() -> None:
    err = io.StringIO()
    with Status(err=err) as status:
        status.update(SNAPSHOT)
    assert len(err.getvalue().splitlines()) == 1
    with Status(err=err):
        pass
    assert len(err.getvalue().splitlines()) == 1


# ---- JSON ----


def test_json() -> None:
    err, out = io.StringIO(), io.StringIO()
    with Status(as_json=True, terminal=True, err=err, out=out) as status:
        status.note("begins")
        status.update(SNAPSHOT)
        status.finding(FINDING, Path("out/crashes/id:0"))
    begins, state, finding = map(json.loads, out.getvalue().splitlines())
    assert begins == {"version": 1, "event": "note", "run_time": 0.0, "text": "begins"}
    assert state["event"] == "status"
    assert state["executions"] == 45_252_000
    assert state["hangs"] == 2
    assert state["average"] == pytest.approx(60_000, rel=0.01)
    assert state["findings"]["fault"] == {"count": 3, "last": 700.1}
    assert finding == {
        **{"version": 1, "event": "finding", "run_time": 754.2, "kind": FAULT, "signature": "fault main"},
        **{"summary": FINDING.summary, "details": {"raw": "01"}, "file": "out/crashes/id:0"},
    }
    assert err.getvalue() == ""


# ---- the rest ----


@pytest.mark.parametrize(
    ("seconds", "passed", "at"),
    [
        (-1, "0 s ago", "0:00:00"),
        (59.4, "59 s ago", "0:00:59"),
        (59.9, "59 s ago", "0:00:59"),
        (60, "1 min ago", "0:01:00"),
        (3599, "59 min ago", "0:59:59"),
        (7300, "2 h ago", "2:01:40"),
        (200_000, "2 d ago", "2 d 07:33:20"),
    ],
)
def test_times(seconds: float, passed: str, at: str) -> None:
    assert (ago(seconds), clock_time(seconds)) == (passed, at)


def test_rich_is_imported_for_the_screen_only() -> None:
    program = (
        "import sys; from pltvm.fuzz.status import *\n"
        "with Status() as s: s.update(Snapshot('x', 1.0, 1, 1.0, 1, 1))\n"
        "print('rich' in sys.modules)\n"
        "with Status(terminal=True) as s: s.update(Snapshot('x', 1.0, 1, 1.0, 1, 1))\n"
        "print('rich' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "TERM": "dumb"}
    )
    assert result.stdout.split() == ["False", "True"]
