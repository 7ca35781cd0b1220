"""Orphaned groups: no process in them has a parent that could let them go on after a stop.

Such a parent is in another group of the same session, as a shell with job control is. So the stop signals of
terminals do nothing in an orphaned group, and one that becomes orphaned with a stopped process is hung up.
"""

from pltvm.host.linux import signals
from pltvm.host.linux.process import Process, SignalInfo
from pltvm.host.linux.system import System


def watches(system: System, process: Process) -> bool:
    """Whether the parent of a process is in another group of its session, as that of the first one is."""
    parent = system.processes.get(process.state.parent)
    if parent is None:
        return process.pid == system.state.first
    return parent.state.group != process.state.group and parent.state.session == process.state.session


def is_orphaned(system: System, group: int) -> bool:
    """Whether a group is orphaned."""
    return not any(watches(system, one) for one in _members(system, group))


def _members(system: System, group: int) -> list[Process]:
    return [one for one in system.processes.values() if one.alive and one.state.group == group]


def leave_groups(system: System, groups: set[int]) -> None:
    """Hang up those of `groups` that are orphaned and have a stopped process, as a process has ended whose
    groups, or whose children's groups, they are."""
    for group in sorted(groups):
        members = _members(system, group)
        if any(one.state.stopped for one in members) and is_orphaned(system, group):
            for number in (signals.SIGHUP, signals.SIGCONT):
                for one in members:
                    signals.send(system, one, SignalInfo(number, signals.SI_KERNEL))
