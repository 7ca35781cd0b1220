"""An outer wall: a process that runs somebody else's program gives up all that it does not need.

    landlock    files and folders, TCP, signals to processes outside
    seccomp     sockets, starting programs, other processes, what Landlock does not look at

Guest programs are kept in by the monitor's tables and by the checks of the host's services. The wall is for
the day when one of these, or Unicorn, has a flaw: then guest code acts as this process, and this process can
do nothing but what is listed here. The commands `pltvm run` and `pltvm fuzz` build it for themselves, before
guest code runs. In the Python API nothing does, as cannot go back: call `confine`, in a process of its
own.
"""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pltvm.confine import landlock, seccomp
from pltvm.confine.landlock import EXECUTE, LINKS, READ, READ_DIR, READ_FILE, WRITE, WRITE_FILE

_Paths = Iterable[str | os.PathLike[str]]

# Of the system: shared libraries, and what they read; locales, time zone, number of processors.
_LIBRARIES: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store",
)  # fmt: skip
_SYSTEM: Final = (
    "/etc/ld.so.cache", "/etc/localtime", "/usr/share/locale", "/usr/share/zoneinfo",
    "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/dev/urandom",
)  # fmt: skip
_NAMES: Final = (  # where hosts of a network are looked up
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/run/systemd/resolve",
)  # fmt: skip
_SEMAPHORES: Final = "/dev/shm"  # of multiprocessing


def confine(
    read: _Paths = (),
    write: _Paths = (),
    *,
    links: _Paths = (),
    network: bool = False,
    spawn: bool = False,
) -> tuple[str, ...]:
    """Confine this process, and all that it starts, for good; gives what could not be had, in words.

    What stays: `read`, files and folders to read; `write`, files and folders to read and write (in folders
    also to make, move and remove files and folders, no devices or links); `links`, folders in which links and
    named pipes may be made, too; what is open; the files of Python and of its packages, to read. What is not
    there when this is called can not be made later, unless its folder is in `write` or `links`. `network`:
    sockets stay. `spawn`: Python may be started, and semaphores made, for
    processes of `multiprocessing`; they are confined too.

    An empty tuple says that the wall stands. It never raises for a kernel that lacks something.
    """
    missing = []
    read = [*read, *(_NAMES if network else ())]
    rules = [*_of_python(spawn), *((path, READ) for path in read), *((path, WRITE) for path in write)]
    rules += [(path, LINKS) for path in links]
    try:
        version = landlock.abi()
        threads = _threads()
        landlock.restrict(rules, network=network)
        missing += landlock.gaps(version, threads)
    except OSError as error:
        missing.append(f"files are not confined: {error.strerror}")
    calls = [*seccomp.ALWAYS, *(() if network else seccomp.NETWORK), *(() if spawn else seccomp.EXEC)]
    try:
        seccomp.refuse(calls)
    except OSError as error:
        reason = "this kernel has no seccomp" if error.errno == errno.EINVAL else error.strerror
        missing.append(f"system calls are not confined: {reason}")
    return tuple(missing)


def _of_python(spawn: bool) -> list[tuple[str | os.PathLike[str], int]]:
    """What the interpreter and its packages need, also for modules that are imported later.

    The current folder is in `sys.path` for some ways to start; that is no reason to read all of it.
    """
    run = EXECUTE if spawn else 0
    package = Path(__file__).parents[1]
    here = os.getcwd()
    folders = {path for path in sys.path if path and os.path.abspath(path) != here}
    rules: list[tuple[str | os.PathLike[str], int]] = [(path, READ) for path in sorted(folders)]
    rules += [(path, READ) for path in (os.path.dirname(os.__file__), package, package.parent / "guest")]
    rules.append((package.parent, READ_DIR))  # where modules are looked for, in a checkout
    rules += [(path, READ | run) for path in (*_LIBRARIES, f"{sys.base_prefix}/lib")]
    rules += [(path, READ) for path in (*_SYSTEM, f"{sys.prefix}/pyvenv.cfg")]
    rules.append((os.devnull, READ_FILE | WRITE_FILE))
    if spawn:
        rules += [(sys.executable, READ | run), (_SEMAPHORES, WRITE)]
    return rules


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
