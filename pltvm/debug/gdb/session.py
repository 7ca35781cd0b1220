"""The loop of a session: the run stops, packets are answered until one lets it go on, and at last it ends.

Registers, memory and breakpoints belong to the process, an enclave or a process of the host, of the thread
that the client has chosen. Most packets are handled in whom.py, contents.py, going.py and transfers.py; here
are those for the beginning and end of a session.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pltvm.debug.gdb import replies
from pltvm.debug.gdb.answers import BAD, NOT_KNOWN, OK, Table, merged
from pltvm.debug.gdb.contents import Contents
from pltvm.debug.gdb.going import Going
from pltvm.debug.gdb.link import Closed, Link
from pltvm.debug.gdb.telling import Telling
from pltvm.debug.gdb.transfers import Transfers
from pltvm.debug.gdb.whom import Whom
from pltvm.debug.stops import Go, Killed, Reason, Stop, Stops
from pltvm.debug.viewing import Views
from pltvm.errors import Interrupted

if TYPE_CHECKING:
    from pltvm.debug.history import Partner

_AGAIN: Final = 0.01  # seconds between requests to stop


class Session:
    """One client of one machine. `focus` is the name or number of the process for single-process clients.

    `kills`: the run ends when the client disconnects; otherwise it goes on without a client. `say` gets lines
    for the user. `history` is the size in bytes of the history, 0 for none; `partner` goes back with the
    machine.
    """

    def __init__(
        self,
        views: Views,
        link: Link,
        say: Callable[[str], None],
        *,
        kills: bool = True,
        focus: str = "",
        history: int = 0,
        partner: "Partner | None" = None,
    ) -> None:
        self.views = views
        self.link = link
        self.stops = Stops(views.machine, self.on_stop)
        self._kills = kills
        self._whom = Whom(views, focus)
        self._contents = Contents(views, self._whom, say)
        self._going = Going(self.stops, views, self._whom, say)
        self._telling = Telling(self.stops, views, self._whom, say)
        self._told = b""
        self._running = False
        self._stretch = 0  # number of the time that it runs, from one stop to the next
        self._room_of_history, self._partner = history, partner
        self._seen: Stop | None = None  # a stop just before an access to watched memory
        self._killed = False
        self._left = False  # whether the client has left
        transfers = Transfers(views, self._whom, self._going.resuming)
        parts = self._whom, self._contents, self._going, transfers
        self._table = merged(self._packets(), *(part.packets() for part in parts))
        link.on_interrupt = self._interrupt
        link.on_close = self._interrupt

    # -- the run -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Stop the run before anything has run, and later whenever the client wants it."""
        self.stops.begin()
        if self._room_of_history:
            self._going.remember(self._room_of_history, self._partner)

    def on_stop(self, stop: Stop) -> Go:
        """Serve the client, as the run has stopped, until the client lets it go on."""
        current = self.stops.hart.current
        if not self._whom.several and stop.reason is Reason.WATCH:
            self._seen = stop  # such a client assumes that the access is done
            return Go(step=True)
        if self._seen is not None and stop.reason is not Reason.FAULT:
            stop, self._seen = self._seen, None
        at_place = self.stops.is_place(current) and self._going.is_told(stop)
        again = self._going.resuming.again(stop, at_place)
        if again is not None:
            return again
        if stop.reason is Reason.NEW:
            return self._show_new()
        elsewhere = self._going.resuming.over()
        self._running = False
        first = stop.reason is Reason.BEGIN
        self._whom.chosen.clear()
        self._contents.begin()
        self._told = self._telling.reply_to(stop, elsewhere and stop.reason is Reason.STEP)
        if first:
            # it requests the existing ones itself
            self._whom.shown |= {view.number for view in self.views.all()}
        else:
            waiting, told = self._whom.waiting, self._told
            self._show_new()  # otherwise gdb finds them by itself, and takes one of them for the stopped one
            self._whom.waiting, self._told = waiting, told
            self._whom.chosen.clear()
            self.link.send(self._told)
        return self._until_it_goes()

    def _until_it_goes(self) -> Go:
        self._running = False
        try:
            go = self._serve()
        except Closed:
            go = self._client_is_gone()
        except Interrupted:  # not by this client: time limits do not count here, but Ctrl-C does
            self._leave()
            go = Go()
        if self._killed:
            raise Killed
        self._stretch += 1
        self._running = True
        return go

    def _show_new(self) -> Go:
        """Report new enclaves to the client before they run, so that it can set breakpoints there."""
        for view in self._whom.living() if self._whom.several else ():
            if view.number not in self._whom.shown:
                self._whom.shown.add(view.number)
                self._whom.chosen.clear()
                self._told = self._telling.of_new(view)
                self.link.send(self._told)
                self._until_it_goes()
        return Go()

    def _client_is_gone(self) -> Go:
        if self._kills:
            self._killed = True
        self._leave()
        return Go()

    def _leave(self) -> None:
        """Remove all effects of the session on the run."""
        self._left = True
        self.stops.end()

    def ended(self, status: int) -> None:
        """Report the end of the run to the client, and serve it until it leaves, as it may look at what
        remains."""
        if self._detached_all or self.link.closed or self._killed:
            self.link.close()
            return
        self._going.over, self._running = True, False
        left = [view.number for view in self.views.all() if view.number not in self._whom.detached]
        last = self._whom.first_seen or (left[0] if left else 1)
        left = [number for number in left if number != last] if self._whom.several else []
        self._whom.gone.add(last)
        self._told = b"W%02x" % (status & 0xFF) + self._whom.of_process(last)
        self.link.send(self._told)
        with suppress(Closed, Interrupted):
            while left and not self._killed:
                self._serve()
                self._whom.gone.add(left[0])
                self.link.send(b"W00" + self._whom.of_process(left.pop(0)))
        self.link.close()

    @property
    def _detached_all(self) -> bool:
        return bool(self._whom.detached) and not self._whom.living()

    def _interrupt(self) -> None:
        """Ask the run to stop; in the reading thread."""
        if self._running and not self._left:
            threading.Thread(target=self._insist, args=(self._stretch,), daemon=True).start()

    def _insist(self, stretch: int) -> None:
        """Ask until the run has stopped, in this stretch of it: it may have stopped and gone on meanwhile."""
        pause = threading.Event()
        while self._running and self._stretch == stretch and not self._going.over and not self._left:
            self.stops.request()
            pause.wait(_AGAIN)

    # -- packets -----------------------------------------------------------------------------------------

    def _serve(self) -> Go:
        """Answer packets until one lets the run go on."""
        while True:
            packet = self.link.packet(None if self._going.over else self.stops.hart.halt)
            try:
                answer = self._answer(packet)
            except (ValueError, IndexError, UnicodeError, OverflowError):
                answer = BAD
            if isinstance(answer, Go):
                changed, self._contents.changed = self._contents.changed, False
                return self._going.with_history(answer, changed)
            if answer is not None:
                self.link.send(answer)
            if packet == b"QStartNoAckMode":
                self.link.acknowledges = False

    def _answer(self, packet: bytes) -> bytes | Go | None:
        for start, answer in self._table.items():
            if packet.startswith(start):
                return answer(packet[len(start) :])
        return NOT_KNOWN

    def _supported(self, rest: bytes) -> bytes:
        several = b"swbreak+" in rest or b"vContSupported+" in rest  # sent by gdb but not by lldb
        answer = replies.supported(rest, several, self._going.can_go_back)
        self._whom.several = b"multiprocess+" in answer
        return answer

    def _ask_why(self, _rest: bytes) -> bytes:
        if self._going.over:
            return self._told
        return self._telling.again(self._told)

    def _detach(self, rest: bytes) -> bytes | Go:
        """Detach from one process, or from all."""
        living = [view.number for view in self._whom.living()]
        for number in [int(rest[1:], 16)] if rest.startswith(b";") else living:
            self._whom.detached.add(number)
            self._going.forget(number)
        if self._going.over or self._whom.living():
            return OK
        self.link.send(OK)
        self._leave()
        return Go()

    def _kill(self, _rest: bytes) -> Go:
        self._killed = True
        return Go()

    def _kill_one(self, _rest: bytes) -> Go:
        self.link.send(OK)
        return self._kill(b"")

    def _packets(self) -> Table:
        return {
            b"qSupported": self._supported, b"QStartNoAckMode": lambda _rest: OK,
            b"vMustReplyEmpty": lambda _rest: NOT_KNOWN, b"qSymbol": lambda _rest: OK,
            b"qAttached": lambda _rest: b"0" if self._kills else b"1", b"?": self._ask_why,
            b"vCtrlC": lambda _rest: OK,  # it is stopped already
            b"D": self._detach, b"k": self._kill, b"vKill": self._kill_one,
        }  # fmt: skip
