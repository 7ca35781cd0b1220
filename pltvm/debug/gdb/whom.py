"""The processes and threads that a client sees, and which of them it has chosen.

A client that supports only one process (lldb) sees the one that the session is about.
"""

from pltvm.debug.gdb.answers import BAD, OK, Table
from pltvm.debug.viewing import ThreadView, View, Views
from pltvm.engine.context import Context


class Whom:
    """The knowledge of one client. `focus` is the name or number of the process for single-process
    clients."""

    def __init__(self, views: Views, focus: str = "") -> None:
        self._views = views
        self._focus = focus
        self.several = False  # whether it supports several processes
        self.first_seen = 0  # the process that was stopped when the client connected
        self.waiting: tuple[int, int] | None = None  # process and thread of the stop
        self.chosen: dict[str, tuple[int, int]] = {}  # "g", "c": process and thread
        self.shown: set[int] = set()  # processes reported to the client
        self.described: set[int] = set()  # processes whose registers it has requested
        self.detached: set[int] = set()
        self.gone: set[int] = set()  # processes whose end was reported
        self._suffix = False  # whether packets end with a thread

    def living(self) -> list[View]:
        """Return the views that the client sees."""
        left = [v for v in self._views.all() if v.number not in self.detached and v.number not in self.gone]
        if self.several:
            # that one becomes the client's first
            return sorted(left, key=lambda view: view.number != self.first_seen)
        wanted = [v for v in left if self._focus and self._focus in (v.name, str(v.number))]
        return (wanted or self._first(left))[:1]

    def _first(self, views: list[View]) -> list[View]:
        """Return the process for a single-process client: the one that was stopped when it connected."""
        if self.waiting is not None:
            self._focus = str(self.waiting[0])
        return [view for view in views if str(view.number) == self._focus] or views

    def thread(self, kind: str = "g") -> tuple[View, ThreadView] | None:
        """Return the thread that the client has chosen, else the stopped one, else any."""
        living = self.living()
        for number, thread_number in filter(None, (self.chosen.get(kind), self.waiting)):
            for view in living:
                if number in (view.number, 0):
                    for thread in view.threads:
                        if thread_number in (thread.number, 0):
                            return view, thread
        for view in living:
            for thread in view.threads:
                return view, thread
        return None

    def in_sight(self, found: tuple[View, ThreadView] | None) -> tuple[View, ThreadView] | None:
        """Return the thread, or for a client that sees another process only, a thread of that."""
        seen = [] if self.several else [view for view in self.living() if view.threads]
        if found is None or not seen or found[0].number in [view.number for view in seen]:
            return found
        return seen[0], seen[0].threads[0]

    def parse(self, text: bytes) -> tuple[int, int]:
        """Parse a thread in a packet: process and thread, 0 for any, −1 for all. Raises ValueError."""
        if not text.startswith(b"p"):
            number = int(text, 16)
            for view in self.living():
                if any(thread.number == number for thread in view.threads):
                    return view.number, number
            return (0, 0) if number <= 0 else (-2, number)
        process, _, thread = text[1:].partition(b".")
        return int(process, 16), int(thread, 16) if thread else -1

    def named(self, whom: bytes, current: Context) -> tuple[View, ThreadView] | None:
        """Return the thread that an action names: `current`, which has the hart, if it matches."""
        if not whom:
            return self.thread("c")
        process, number = self.parse(whom)
        found = self._views.of(current)
        if found is not None and process in (-1, 0, found[0].number) and number in (-1, 0, found[1].number):
            return found
        for view in self.living():
            for thread in view.threads:
                if process == view.number and number in (-1, 0, thread.number):
                    return view, thread
        return None

    def with_suffix(self, rest: bytes) -> tuple[bytes, tuple[View, ThreadView] | None]:
        """Split off the thread that lldb adds to a packet."""
        if not self._suffix or b";thread:" not in rest:
            return rest, self.thread()
        rest, _, name = rest.partition(b";thread:")
        process, number = self.parse(name.rstrip(b";"))
        for view in self.living():
            for thread in view.threads:
                if (view.number, thread.number) == (process, number):
                    return rest, (view, thread)
        return rest, None

    def identity(self, view: View, thread: ThreadView) -> str:
        """Return the name of a thread in packets."""
        return f"p{view.number:x}.{thread.number:x}" if self.several else f"{thread.number:x}"

    def of_process(self, number: int) -> bytes:
        """Return the name of a process in the reply for its end."""
        return b";process:%x" % number if self.several else b""

    # -- packets -----------------------------------------------------------------------------------------

    def _choose(self, rest: bytes) -> bytes:
        process, thread = self.parse(rest[1:])
        if process > 0:
            self.chosen[chr(rest[0])] = process, max(thread, 0)
        else:  # any
            self.chosen.pop(chr(rest[0]), None)
        return OK

    def _is_alive(self, rest: bytes) -> bytes:
        process, number = self.parse(rest)
        alive = any(
            view.number == process and thread.number == number
            for view in self.living()
            for thread in view.threads
        )
        return OK if alive else b"E01"

    def _current(self, _rest: bytes) -> bytes:
        found = self.thread()
        return b"QC" + self.identity(*found).encode() if found else b"E01"

    def _thread_list(self, _rest: bytes) -> bytes:
        living = self.living()
        self.shown |= {view.number for view in living}
        found = [self.identity(view, one) for view in living for one in view.threads]
        return b"m" + ",".join(found).encode() if found else b"l"

    def _extra(self, rest: bytes) -> bytes:
        process, number = self.parse(rest)
        names = [
            one.name
            for view in self.living()
            for one in view.threads
            if (view.number, one.number) == (process, number)
        ]
        return names[0].encode().hex().encode() if names else BAD

    def _use_suffix(self, _rest: bytes) -> bytes:
        self._suffix = True
        return OK

    def packets(self) -> Table:
        """Return the packets that it answers."""
        return {
            b"H": self._choose, b"T": self._is_alive, b"qC": self._current,
            b"qfThreadInfo": self._thread_list, b"qsThreadInfo": lambda _rest: b"l",
            b"qThreadExtraInfo,": self._extra,
            b"QThreadSuffixSupported": self._use_suffix,
        }  # fmt: skip
