"""Who a process is: its users, groups and capabilities, and how it may change them (credentials(7)).

They are those of a process, not of a thread: C libraries make each change in all threads. User 0 may do what
it wants, by its capabilities (capabilities(7)); of these, calls here ask for a few. Permissions of files
refuse nobody.
"""

from errno import EPERM
from typing import Final, NamedTuple

from pltvm.host.linux.errors import LinuxError

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 0, 1, 5, 6, 7, 8
CAP_IPC_OWNER, CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 15, 21, 24
LAST_CAPABILITY: Final = 40
ALL: Final = (1 << LAST_CAPABILITY + 1) - 1  # a set with all capabilities
KEEP: Final = -1  # in place of an id that stays


class Ids(NamedTuple):
    """The users of a process, or its groups; `files` is the one for access to files."""

    real: int = 0
    effective: int = 0
    saved: int = 0
    files: int = 0


class Credentials(NamedTuple):
    """`extra` are the supplementary groups; `permitted` … are sets of capabilities, `keeps` tells whether
    those that are permitted stay when no user is 0 any more (PR_SET_KEEPCAPS)."""

    user: Ids = Ids()
    group: Ids = Ids()
    extra: tuple[int, ...] = ()
    permitted: int = ALL
    effective: int = ALL
    inheritable: int = 0
    keeps: bool = False

    @property
    def acting(self) -> tuple[int, int]:
        """The effective user and group."""
        return self.user.effective, self.group.effective

    @property
    def for_files(self) -> tuple[int, int]:
        """User and group for access to files, which own the files that the process makes."""
        return self.user.files, self.group.files

    def may(self, capability: int) -> bool:
        """Whether the process has this capability."""
        return bool(self.effective >> capability & 1)

    def may_signal(self, other: "Credentials") -> bool:
        """Whether the process may send a signal to another one."""
        return self.may(CAP_KILL) or not {*self.user[:2]}.isdisjoint((other.user.real, other.user.saved))

    def of(self, user: Ids) -> "Credentials":
        """Return the credentials after a change of users, which costs user 0 its capabilities."""
        old, permitted, effective = self.user, self.permitted, self.effective
        if 0 in old[:3] and 0 not in user[:3] and not self.keeps:
            permitted = effective = 0
        if not old.effective and user.effective:
            effective = 0
        elif old.effective and not user.effective:
            effective = permitted
        return self._replace(user=user, permitted=permitted, effective=effective)

    def executed(self) -> "Credentials":
        """Return the credentials of a program that the process executes."""
        user, group = (one._replace(saved=one.effective, files=one.effective) for one in self[:2])
        permitted = 0 if user.real and user.effective else ALL
        effective = 0 if user.effective else permitted
        return self._replace(user=user, group=group, permitted=permitted, effective=effective, keeps=False)


ROOT: Final = Credentials()


def allowed(mode: int, owns: bool, in_group: bool) -> int:
    """Return the permissions in `mode`: those of the owner, of its group, or of others."""
    return mode >> (6 if owns else 3 if in_group else 0) & 7


# -- changes of users or groups, as `is_free` says whether all are allowed: LinuxError(EPERM) ------


def set_one(ids: Ids, is_free: bool, wanted: int) -> Ids:
    """`setuid`, `setgid`: all of them, or the effective one."""
    if is_free:
        return Ids(wanted, wanted, wanted, wanted)
    _must_be_one_of((ids.real, ids.saved), wanted)
    return ids._replace(effective=wanted, files=wanted)


def set_two(ids: Ids, is_free: bool, real: int, effective: int) -> Ids:
    """`setreuid`, `setregid`."""
    if not is_free:
        _must_be_one_of((ids.real, ids.effective), real)
        _must_be_one_of(ids[:3], effective)
    new_real, new = _or(real, ids.real), _or(effective, ids.effective)
    saves = real != KEEP or effective not in (KEEP, ids.real)
    return Ids(new_real, new, new if saves else ids.saved, new)


def set_three(ids: Ids, is_free: bool, real: int, effective: int, saved: int) -> Ids:
    """`setresuid`, `setresgid`."""
    if not is_free:
        for one in (real, effective, saved):
            _must_be_one_of(ids[:3], one)
    new = _or(effective, ids.effective)
    return Ids(_or(real, ids.real), new, _or(saved, ids.saved), new)


def set_files(ids: Ids, is_free: bool, wanted: int) -> Ids:
    """`setfsuid`, `setfsgid`: what is not allowed changes nothing."""
    return ids._replace(files=wanted) if wanted != KEEP and (is_free or wanted in ids) else ids


def _or(wanted: int, present: int) -> int:
    return present if wanted == KEEP else wanted


def _must_be_one_of(allowed: tuple[int, ...], wanted: int) -> None:
    if wanted not in (*allowed, KEEP):
        raise LinuxError(EPERM)
