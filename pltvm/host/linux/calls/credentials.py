"""Users, groups and capabilities of a process: the rules are in `credentials`."""

from collections.abc import Callable
from errno import EINVAL, EPERM
from typing import Final

from pltvm.host.linux import credentials
from pltvm.host.linux.arguments import Address, Int
from pltvm.host.linux.calls.processes import process_of
from pltvm.host.linux.credentials import CAP_SETGID, CAP_SETPCAP, CAP_SETUID, KEEP, Credentials, Ids
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import CAPABILITY_HEADER, CapabilityHeader
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

MOST_GROUPS: Final = 65536
_VERSIONS: Final = {0x1998_0330: 1, 0x2007_1026: 2, 0x2008_0522: 2}  # of capget: words in each set
_NEWEST: Final = 0x2008_0522


def _of(thread: Thread) -> Credentials:
    return thread.process.state.credentials


def _change_user(thread: Thread, rule: Callable[..., Ids], *wanted: int) -> int:
    """Change the users by one of the rules `set_…`."""
    state, now = thread.process.state, _of(thread)
    old, user = now.user, rule(now.user, now.may(CAP_SETUID), *map(_id, wanted))
    state.credentials = now.of(user)
    if old != user:
        state.death_signal, state.dumpable = 0, state.dumpable and old[1::2] == user[1::2]
    return 0


def _change_group(thread: Thread, rule: Callable[..., Ids], *wanted: int) -> int:
    """Change the groups by one of the rules `set_…`."""
    now = _of(thread)
    group = rule(now.group, now.may(CAP_SETGID), *map(_id, wanted))
    thread.process.state.credentials = now._replace(group=group)
    return 0


def _id(number: int) -> int:
    """Return a user or a group as an unsigned number, but for KEEP."""
    return number if number == KEEP else number & 0xFFFF_FFFF


def _valid(number: int) -> int:
    if number == KEEP:
        raise LinuxError(EINVAL)
    return number


# -- users ---------------------------------------------------------------------------------------------------


@system_call(174)
def getuid(system: System, thread: Thread) -> int:
    """Return the real user."""
    return _of(thread).user.real


@system_call(175)
def geteuid(system: System, thread: Thread) -> int:
    """Return the effective user."""
    return _of(thread).user.effective


@system_call(148)
def getresuid(system: System, thread: Thread, real: Address, effective: Address, saved: Address) -> int:
    """Return all three."""
    return _tell(thread, _of(thread).user, (real, effective, saved))


def _tell(thread: Thread, ids: Ids, addresses: tuple[int, int, int]) -> int:
    for address, one in zip(addresses, ids, strict=False):
        thread.space.write(address, one.to_bytes(4, "little"))
    return 0


@system_call(146)
def setuid(system: System, thread: Thread, user: Int) -> int:
    """Become another user."""
    return _change_user(thread, credentials.set_one, _valid(user))


@system_call(145)
def setreuid(system: System, thread: Thread, real: Int, effective: Int) -> int:
    """Set the real and the effective user."""
    return _change_user(thread, credentials.set_two, real, effective)


@system_call(147)
def setresuid(system: System, thread: Thread, real: Int, effective: Int, saved: Int) -> int:
    """Set all three."""
    return _change_user(thread, credentials.set_three, real, effective, saved)


@system_call(151)
def setfsuid(system: System, thread: Thread, user: Int) -> int:
    """Set the user for access to files; return the one before."""
    before = _of(thread).user.files
    _change_user(thread, credentials.set_files, user)
    return before


# -- groups --------------------------------------------------------------------------------------------------


@system_call(176)
def getgid(system: System, thread: Thread) -> int:
    """Return the real group."""
    return _of(thread).group.real


@system_call(177)
def getegid(system: System, thread: Thread) -> int:
    """Return the effective group."""
    return _of(thread).group.effective


@system_call(150)
def getresgid(system: System, thread: Thread, real: Address, effective: Address, saved: Address) -> int:
    """Return all three."""
    return _tell(thread, _of(thread).group, (real, effective, saved))


@system_call(144)
def setgid(system: System, thread: Thread, group: Int) -> int:
    """Get another group."""
    return _change_group(thread, credentials.set_one, _valid(group))


@system_call(143)
def setregid(system: System, thread: Thread, real: Int, effective: Int) -> int:
    """Set the real and the effective group."""
    return _change_group(thread, credentials.set_two, real, effective)


@system_call(149)
def setresgid(system: System, thread: Thread, real: Int, effective: Int, saved: Int) -> int:
    """Set all three."""
    return _change_group(thread, credentials.set_three, real, effective, saved)


@system_call(152)
def setfsgid(system: System, thread: Thread, group: Int) -> int:
    """Set the group for access to files; return the one before."""
    before = _of(thread).group.files
    _change_group(thread, credentials.set_files, group)
    return before


@system_call(158)
def getgroups(system: System, thread: Thread, size: Int, result: Address) -> int:
    """Return the supplementary groups, or with a size of 0 their number."""
    groups = _of(thread).extra
    if size < 0 or 0 < size < len(groups):
        raise LinuxError(EINVAL)
    if size:
        thread.space.write(result, b"".join(one.to_bytes(4, "little") for one in groups))
    return len(groups)


@system_call(159)
def setgroups(system: System, thread: Thread, size: Int, groups: Address) -> int:
    """Set the supplementary groups."""
    if not _of(thread).may(CAP_SETGID):
        raise LinuxError(EPERM)
    if not 0 <= size <= MOST_GROUPS:
        raise LinuxError(EINVAL)
    raw = memoryview(thread.space.read(groups, 4 * size)).cast("I") if size else ()
    thread.process.state.credentials = _of(thread)._replace(extra=tuple(sorted(raw)))
    return 0


# -- capabilities --------------------------------------------------------------------------------------------


def _header(thread: Thread, address: int) -> tuple[CapabilityHeader, int]:
    """Return the header, and the words in each set; 0 for an unknown version, after telling the newest."""
    header = CAPABILITY_HEADER.unpack(thread.space.read(address, CAPABILITY_HEADER.size))
    words = _VERSIONS.get(header.version, 0)
    if not words:
        thread.space.write(address, _NEWEST.to_bytes(4, "little"))
    return header, words


@system_call(90)
def capget(system: System, thread: Thread, header: Address, data: Address) -> int:
    """Return the capabilities of a process."""
    asked, words = _header(thread, header)
    if not words and data:
        raise LinuxError(EINVAL)
    if not data:
        return 0
    if asked.pid < 0:
        raise LinuxError(EINVAL)
    one = process_of(system, thread, asked.pid).state.credentials
    sets = (one.effective, one.permitted, one.inheritable)
    parts = [each >> 32 * word & 0xFFFF_FFFF for word in range(words) for each in sets]
    thread.space.write(data, b"".join(part.to_bytes(4, "little") for part in parts))
    return 0


@system_call(91)
def capset(system: System, thread: Thread, header: Address, data: Address) -> int:
    """Give up capabilities, or make permitted ones effective."""
    asked, words = _header(thread, header)
    if not words:
        raise LinuxError(EINVAL)
    if asked.pid not in (0, thread.process.pid):
        raise LinuxError(EPERM)
    parts = memoryview(thread.space.read(data, 12 * words)).cast("I")
    effective, permitted, inheritable = (
        sum(parts[3 * word + which] << 32 * word for word in range(words)) & credentials.ALL
        for which in range(3)
    )
    now = _of(thread)
    may_inherit = now.inheritable | (credentials.ALL if now.may(CAP_SETPCAP) else now.permitted)
    if permitted & ~now.permitted or effective & ~permitted or inheritable & ~may_inherit:
        raise LinuxError(EPERM)
    thread.process.state.credentials = now._replace(
        permitted=permitted, effective=effective, inheritable=inheritable
    )
    return 0
