"""Shows the progress of a campaign: a screen on a terminal, else a line now and then, or JSON lines.

    screen      on stderr if that is a terminal: a panel at the bottom, and above it the findings, which
                stay in the terminal's history. Drawn when `update` is called, at most four times a second;
                there is no thread.
    lines       on stderr otherwise: one every few seconds
    --json      on stdout, one object per line with "event": status, finding or note; see `Snapshot`

Text from a target (summaries, names) is shown without control characters, so that it cannot move the cursor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self

from pltvm.fuzz.results import HANG, Finding
from pltvm.host.text import JSON_VERSION, one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

SCREEN_INTERVAL: Final = 0.25  # seconds between two updates of the screen
LINE_INTERVAL: Final = 5.0  # seconds between two lines, of text or JSON
WIDTH: Final = 80  # columns, at most
_TWO_COLUMNS: Final = 70  # columns from which there is room for two grids side by side


class Found(NamedTuple):
    """The number of findings of a kind, and the run time in seconds of the last one."""

    kind: str
    total: int
    last: float


@dataclass(frozen=True)
class Snapshot:
    """The progress of a campaign. Times are seconds of run time, including earlier runs of the campaign."""

    target: str
    run_time: float
    executions: int
    speed: float  # recent executions per second
    queue: int  # inputs
    edges: int
    map_size: int = 0  # edges that can be distinguished
    findings: tuple[Found, ...] = ()
    rounds: int = 0
    workers: int = 1
    last_path: float | None = None  # when the last input was added to the queue
    stability: float | None = None  # 0 … 1; None: unknown

    @property
    def average(self) -> float:
        """Executions per second since the campaign began."""
        return self.executions / self.run_time if self.run_time > 0 else 0.0

    @property
    def hangs(self) -> int:
        return sum(found.total for found in self.findings if found.kind == HANG)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""
        findings = {found.kind: {"count": found.total, "last": found.last} for found in self.findings}
        return {**asdict(self), "findings": findings, "average": self.average, "hangs": self.hangs}


class Status:
    """Shows a campaign; a context manager. `update` may be called at any rate: it shows only what is due.

    The streams and the clock (seconds) are for tests; `terminal` chooses between screen and lines, by default
    depending on stderr.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._err = out or sys.stdout, err or sys.stderr
        self._json, self._clock = as_json, clock
        if terminal is None:
            terminal = self._err.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._screen = _Screen(self._err) if terminal and not as_json else None
        self._interval = SCREEN_INTERVAL if self._screen else LINE_INTERVAL
        self._due = float("-inf")
        self._last: Snapshot | None = None
        self._shown: Snapshot | None = None

    def __enter__(self) -> Self:
        if self._screen:
            self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the final progress, and restore the terminal."""
        try:
            if self._last is not None and self._last is not self._shown:
                self._show(self._last)
        finally:
            if self._screen:
                self._screen.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Show the progress of the campaign."""
        self._last = snapshot
        now = self._clock()
        if now >= self._due:
            self._due = now + self._interval
            self._show(snapshot)

    def finding(self, finding: Finding, path: Path | None = None, run_time: float | None = None) -> None:
        """Show a finding at once, with its file and time."""
        if self._json:
            file = None if path is None else str(path)
            self._emit("finding", {**finding.to_dict(), "file": file}, run_time)
            return
        where = f"  → {path}" if path else ""
        self._say(f"found {finding.kind}: {finding.summary}", where, "bold red", run_time)

    def note(self, text: str) -> None:
        """Show another message at once, for example that a worker was lost."""
        if self._json:
            self._emit("note", {"text": text})
        else:
            self._say(text, "", "")

    def _show(self, snapshot: Snapshot) -> None:
        self._shown = snapshot
        if self._json:
            self._emit("status", snapshot.to_dict())
        elif self._screen:
            self._screen.draw(snapshot)
        else:
            print(one_line(line(snapshot)), file=self._err, flush=True)

    def _time(self, run_time: float | None) -> float:
        """Return the run time, by default that of the last update."""
        if run_time is not None:
            return run_time
        return self._last.run_time if self._last else 0.0

    def _emit(self, event: str, content: dict[str, Any], run_time: float | None = None) -> None:
        about = {"version": JSON_VERSION, "event": event, "run_time": self._time(run_time), **content}
        text = json.dumps(about, skipkeys=True, default=_plain)
        print(text, file=self._out, flush=True)

    def _say(self, text: str, rest: str, style: str, run_time: float | None = None) -> None:
        """Show a permanent line, with the run time before it."""
        at = clock_time(self._time(run_time))
        if self._screen:
            self._screen.say(at, one_line(text), one_line(rest), style)
        else:
            print(one_line(f"{at}  {text}{rest}"), file=self._err, flush=True)


class _Screen:
    """The panel, and the permanent lines above it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._live: Live | None = None

    def start(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, force_terminal=True, highlight=False)
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def draw(self, snapshot: Snapshot) -> None:
        if self._live:
            self._live.update(panel(snapshot, self._live.console), refresh=True)

    def say(self, at: str, text: str, rest: str, style: str) -> None:
        from rich.text import Text

        if self._live:
            console = self._live.console
            start, end = Text.assemble((f"{at}  ", "dim"), (text, style)), Text(rest, "dim")
            if len(start) + len(end) <= console.width:
                console.print(start + end)
            else:
                console.print(start)  # break between words; a path is one word, however long
                console.print(Text(rest.strip(), "dim"), soft_wrap=True, end="\n" if rest else "")


def panel(snapshot: Snapshot, console: Console) -> RenderableType:
    """Return the panel of a campaign, at most 80 columns wide."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    left, right = rows(snapshot)
    width = min(WIDTH, console.width)

    def grid(pairs: list[tuple[str, str]]) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", min_width=11)
        table.add_column(no_wrap=True)
        for name, value in pairs:
            table.add_row(name, Text(value))
        return table

    numbers: RenderableType = Columns([grid(left), grid(right)], width=(width - 6) // 2)
    if width < _TWO_COLUMNS:
        numbers = grid([*left, *right])
    findings = Table.grid(padding=(0, 2))
    findings.add_column(min_width=11)
    findings.add_column(min_width=6)
    findings.add_column(style="dim")
    for found in snapshot.findings:
        style = "yellow" if found.kind == HANG else "bold red"
        last = f"last {ago(snapshot.run_time - found.last)}"
        findings.add_row(Text(one_line(found.kind), style), str(found.total), last)
    if not snapshot.findings:
        findings.add_row(Text("none yet", "dim"))
    content = Group(numbers, Text(), Text("findings", "dim"), findings)
    title = Text.assemble(("pltvm fuzz ", "not dim bold"), (one_line(snapshot.target), "not dim cyan"))
    hint = "Ctrl-C stops, the same -o resumes"
    subtitle = Text(hint if width > len(hint) + 6 else "Ctrl-C stops", "dim")
    return Panel(
        content,
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        width=width,
        border_style="dim",
        padding=(0, 1),
    )


def rows(snapshot: Snapshot) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the two columns of the panel: work done, and results."""
    left = [
        ("run time", clock_time(snapshot.run_time)),
        ("executions", f"{snapshot.executions:,}"),
        ("speed", f"{snapshot.speed:,.0f} /s"),
        ("average", f"{snapshot.average:,.0f} /s"),
        ("workers", f"{snapshot.workers}"),
    ]
    full = f" ({100 * snapshot.edges / snapshot.map_size:.1f} % of map)" if snapshot.map_size else ""
    right = [
        ("inputs", f"{snapshot.queue:,}"),
        ("edges", f"{snapshot.edges:,}{full}"),
        ("last new", _last_new(snapshot)),
        ("rounds", f"{snapshot.rounds:,}"),
    ]
    if snapshot.stability is not None:
        right.append(("stability", f"{100 * snapshot.stability:.1f} %"))
    return left, right


def line(snapshot: Snapshot) -> str:
    """Return the same as one line."""
    kinds = ", ".join(f"{found.kind} {found.total}" for found in snapshot.findings)
    parts = [
        f"{clock_time(snapshot.run_time)}  {snapshot.executions:,} executions",
        f"{snapshot.speed:,.0f}/s",
        f"inputs {snapshot.queue:,}",
        f"edges {snapshot.edges:,}",
        f"last new {_last_new(snapshot)}",
        f"findings: {kinds or 'none'}",
    ]
    return ", ".join(parts)


def _last_new(snapshot: Snapshot) -> str:
    return "never" if snapshot.last_path is None else ago(snapshot.run_time - snapshot.last_path)


def clock_time(seconds: float) -> str:
    """Return seconds as 0:01:30, or 2 d 03:04:05."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02}:{minute:02}:{second:02}" if days else f"{hour}:{minute:02}:{second:02}"


def ago(seconds: float) -> str:
    """Return a past duration in its largest unit."""
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name} ago"
    return f"{int(max(seconds, 0))} s ago"


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
