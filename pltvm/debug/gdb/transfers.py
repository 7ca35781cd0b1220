"""Packets for objects of qXfer, files, the commands of `monitor`, and queries of lldb."""

from pltvm.debug import words
from pltvm.debug.gdb import replies
from pltvm.debug.gdb.answers import BAD, NOT_KNOWN, OK, Table
from pltvm.debug.gdb.files import Files
from pltvm.debug.gdb.resuming import Resuming
from pltvm.debug.gdb.whom import Whom
from pltvm.debug.viewing import Views
from pltvm.errors import PltvmError


class Transfers:
    """Answers them. `monitor step` sets how steps treat calls."""

    def __init__(self, views: Views, whom: Whom, resuming: Resuming) -> None:
        self._views = views
        self._whom = whom
        self._resuming = resuming
        self._files = Files(views)

    def _transfer(self, rest: bytes) -> bytes:
        what, mode, annex, span = rest.split(b":")
        found = self._whom.thread()
        view = found[0] if found is not None else None
        if mode != b"read":
            return NOT_KNOWN
        if what == b"features":
            self._whom.described |= {view.number} if view is not None else set()
            return replies.part(replies.description(view), span) if annex == b"target.xml" else b"E00"
        if what == b"threads":
            living = self._whom.living()
            self._whom.shown |= {view.number for view in living}
            return replies.part(replies.threads(living, self._whom.identity), span)
        if what == b"exec-file":
            if annex:
                view = next((one for one in self._whom.living() if one.number == int(annex, 16)), None)
            return replies.part(replies.exec_file(self._files, view), span)
        if what == b"auxv":
            return replies.part(replies.auxiliary(view), span)
        return NOT_KNOWN

    def _command(self, rest: bytes) -> bytes:
        text = bytes.fromhex(rest.decode("ascii")).decode("utf-8", "replace")
        found = self._whom.thread()
        if text.split()[:1] == ["step"]:
            self._resuming.calls_are_steps = text.split()[1:] == ["into"]
            return OK
        try:
            shown = words.answer(self._views, found[0] if found else None, text)
        except PltvmError as error:
            shown = f"{error}\n"
        return shown.encode().hex().encode() if shown else OK

    def _region(self, rest: bytes) -> bytes:
        found = self._whom.thread()
        return replies.region(found[0], int(rest, 16)) if found else BAD

    def _process_info(self, _rest: bytes) -> bytes:
        found = self._whom.thread()
        return replies.process_info(found[0]) if found else BAD

    def packets(self) -> Table:
        """Return the packets that it answers."""
        return {
            b"qXfer:": self._transfer, b"vFile:": self._files.answer, b"qRcmd,": self._command,
            b"qMemoryRegionInfo:": self._region, b"qProcessInfo": self._process_info,
            b"qHostInfo": lambda _rest: replies.HOST_INFO,
        }  # fmt: skip
