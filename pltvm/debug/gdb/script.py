"""The script that gdb runs (`gdb -x`): makes calls between enclaves look like function calls.

up, down        also go from a server to the enclave that has called it, and back
step, next      step into a call of a server, or over it
chain           shows the stacks of all enclaves of the chain, innermost first
"""

# mypy: ignore-errors
import gdb  # type: ignore[import-not-found]


def _monitor(text):
    return gdb.execute("monitor " + text, to_string=True)


def _thread(process):
    """Return the first thread of a process, given the stub's number of the process."""
    for inferior in gdb.inferiors():
        if inferior.pid == process and inferior.threads():
            return inferior.threads()[-1]
    return None


def _caller():
    """Return the thread of the enclave, or host program, that has called the selected one."""
    words = _monitor("caller").split()
    return _thread(int(words[0])) if words else None


class Describer:
    """Makes gdb request the description of registers for every inferior, as it does so for one only."""

    def __init__(self):
        self.known = set()
        self.begun = False
        gdb.events.stop.connect(lambda _event: self.look())

    def look(self):
        """Handle new inferiors."""
        new = [one for one in gdb.inferiors() if one.pid and (one.num, one.pid) not in self.known]
        if not new:
            return
        thread = gdb.selected_thread()
        for one in new:
            self.known.add((one.num, one.pid))
            if one.threads():
                one.threads()[0].switch()
                gdb.execute("unset tdesc filename", to_string=True)
        if thread is not None:
            thread.switch()

    def begin(self):
        """Prepare for selecting another inferior; otherwise gdb reports nothing at the next stop of the first
        one."""
        if not self.begun and gdb.selected_thread() is not None:
            self.begun = True
            gdb.execute("stepi 0", to_string=True)


class Up(gdb.Command):
    """Select the frame that called this one, also of the enclave that has called the server."""

    def __init__(self):
        super().__init__("up", gdb.COMMAND_STACK)
        self.below = []

    def invoke(self, argument, _from_tty):
        for _ in range(int(gdb.parse_and_eval(argument)) if argument else 1):
            frame = gdb.selected_frame()
            if frame.older() is not None:
                frame.older().select()
                continue
            caller = _caller()
            if caller is None:
                raise gdb.GdbError("Initial frame selected; you can't go up.")
            describer.begin()
            down.below.append(gdb.selected_thread())
            caller.switch()
            gdb.newest_frame().select()
        gdb.execute("frame")


class Down(gdb.Command):
    """Select the frame that was called from this one, also of the server that the enclave has called."""

    def __init__(self):
        super().__init__("down", gdb.COMMAND_STACK)
        self.below = []

    def invoke(self, argument, _from_tty):
        for _ in range(int(gdb.parse_and_eval(argument)) if argument else 1):
            frame = gdb.selected_frame()
            if frame.newer() is not None:
                frame.newer().select()
                continue
            if not self.below or not self.below[-1].is_valid():
                raise gdb.GdbError("Bottom (innermost) frame selected; you can't go down.")
            self.below.pop().switch()
            frame = gdb.newest_frame()
            while frame.older() is not None:
                frame = frame.older()
            frame.select()
        gdb.execute("frame")


class Chain(gdb.Command):
    """Show the stacks of all enclaves of the chain, innermost first, and that of the host program."""

    def __init__(self):
        super().__init__("chain", gdb.COMMAND_STACK)

    def invoke(self, _argument, _from_tty):
        describer.begin()
        thread = here = gdb.selected_thread()
        while here is not None:
            here.switch()
            print(f"{here.inferior.num}.{here.num} {here.name}")
            gdb.execute("backtrace")
            here = _caller()
        if thread is not None:
            thread.switch()


def _before(command, action):
    gdb.execute(f"define hook-{command}\npython {action}\nend")


def _goes_on(_event):
    describer.begun = True
    down.below.clear()


describer, up, down, chain = Describer(), Up(), Down(), Chain()
gdb.execute("set schedule-multiple on")
gdb.events.cont.connect(_goes_on)
_before("inferior", "describer.begin()")
_before("thread", "describer.begin()")
_before("step", "_monitor('step into')")
_before("next", "_monitor('step over')")
