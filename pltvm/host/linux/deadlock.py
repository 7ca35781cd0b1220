"""Describes a deadlock: each thread, what it waits for, and where."""

from pltvm.engine.context import A7
from pltvm.host.linux import life
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import SYSTEM_CALLS
from pltvm.host.text import one_line

MOST_NAMED = 16  # threads


def describe_deadlock(system: System) -> None:
    """End the first process, with a report; if it has ended already, no report is needed."""
    first = system.first
    if not first.alive:
        return
    threads = list(system.scheduler.threads.values())
    parts = [_describe(system, thread) for thread in threads[:MOST_NAMED]]
    if len(threads) > MOST_NAMED:
        parts.append(f"and {len(threads) - MOST_NAMED} more")
    life.end(
        system, first, 1 << 8, one_line("deadlock: every thread waits for another one: " + "; ".join(parts))
    )


def _describe(system: System, thread: Thread) -> str:
    process = thread.process
    who = f"thread {thread.tid}"
    if len(system.processes) > 1:
        who += f" of process {process.pid} ({process.state.name.decode('utf-8', 'replace')})"
    if process.state.stopped:
        return f"{who} is stopped"
    if thread.state.enclave:
        return f"{who} runs an enclave that is stopped, or waits for a server"
    call = SYSTEM_CALLS.get(thread.context.regs[A7])
    keys = thread.state.wait.keys if thread.state.wait is not None else ()
    kinds = sorted({str(key[0]) for key in keys})
    what = call.name if call is not None else "a call"
    waits = f" for {', '.join(kinds)}" if kinds and kinds != [what] else ""
    return f"{who} waits in {what}{waits} at {thread.location()}"
