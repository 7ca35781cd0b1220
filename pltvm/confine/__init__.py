"""An outer wall: a process that runs an untrusted program gives up all rights that it does not need.

    landlock    files and folders, TCP, signals to processes outside
    seccomp     sockets, starting programs, other processes, and what Landlock does not check

The monitor's tables and the checks of the host's services confine guest programs. The wall is for the case
that one of these, or Unicorn, has a flaw: then guest code acts as this process, and this process can do only
what is listed here. The commands `pltvm run` and `pltvm fuzz` build it for themselves, before guest code
runs. The Python API does not, as it cannot be undone: call `confine` in a separate process.
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

# System files: shared libraries, and the files that they read; locales, time zone, number of processors.
_LIBRARIES: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store",
)  # fmt: skip
_SYSTEM: Final = (
    "/etc/ld.so.cache", "/etc/localtime", "/usr/share/locale", "/usr/share/zoneinfo",
    "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/dev/urandom",
)  # fmt: skip
_NAMES: Final = (  # files for looking up hosts of a network
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/run/systemd/resolve",
)  # fmt: skip
_SEMAPHORES: Final = "/dev/shm"  # for multiprocessing


def confine(
    read: _Paths = (),
    write: _Paths = (),
    *,
    links: _Paths = (),
    network: bool = False,
    spawn: bool = False,
) -> tuple[str, ...]:
    """Confine this process, and all that it starts, permanently; return the gaps, in words.

    Still allowed are: reading the files and folders in `read`; reading and writing those in `write` (in
    folders also making, moving and removing files and folders, but no devices or links); making links and
    named pipes in the folders in `links`; open files; reading the files of Python and its packages. A file
    that does not exist when this is called cannot be made later, unless its folder is in `write` or `links`.
    With `network` sockets are allowed. With `spawn` Python may be started, and semaphores made, for processes
    of `multiprocessing`, which are confined too.

    An empty tuple means that there are no gaps. It never raises if the kernel lacks a feature.
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
    """Return rules for the files of the interpreter and its packages, also for later imports.

    The current folder is in `sys.path` in some cases; that is no reason to allow reading all of it.
    """
    run = EXECUTE if spawn else 0
    package = Path(__file__).parents[1]
    here = os.getcwd()
    folders = {path for path in sys.path if path and os.path.abspath(path) != here}
    rules: list[tuple[str | os.PathLike[str], int]] = [(path, READ) for path in sorted(folders)]
    rules += [(path, READ) for path in (os.path.dirname(os.__file__), package, package.parent / "guest")]
    rules.append((package.parent, READ_DIR))  # the folder searched for modules, in a checkout
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
