"""The interests of epolls: they are notified when a key is woken, in addition to waiting threads.

An epoll that watches a file has entries here for the file's keys. When one is woken, the epoll notes that
this file may be ready, and its own key is woken in turn, as another epoll may watch it. So no code has to
check all the files that an epoll watches.

    wake(("pipe", 7, "readers")) → by_key → mark(file 12, fd 5) of epoll 30 → wake(("epoll", 30)) → …
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import ENOSPC
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.waits import Key
from pltvm.host.plain import Part

MOST_WATCHES: Final = 1 << 16  # of all epolls together, as /proc/sys/fs/epoll/max_user_watches

Watch = tuple[int, int, int]  # the numbers of epoll and file, and the descriptor
Target = tuple[int, int]  # file and descriptor of an interest


@dataclass(slots=True)
class WatchesState:
    """Watches by key in the order of adding, and by file: its epolls with the descriptor."""

    by_key: dict[Key, dict[Watch, None]] = field(default_factory=dict)
    by_file: dict[int, dict[tuple[int, int], None]] = field(default_factory=dict)
    count: int = 0


class Watches(Part[WatchesState]):
    """All watches. `mark` tells an epoll that a target may be ready and returns whether it has an interest;
    `forget` tells it that a target's file is closed for good; `rouse` wakes threads."""

    def __init__(
        self,
        mark: Callable[[int, Target], bool],
        forget: Callable[[int, Target], None],
        rouse: Callable[[Key], None],
    ) -> None:
        self._mark = mark
        self._forget = forget
        self._rouse = rouse
        self.state = WatchesState()

    def add(self, epoll: int, target: Target, keys: tuple[Key, ...]) -> None:
        """Notify `epoll` of the target from now on; raises LinuxError(ENOSPC)."""
        state = self.state
        if state.count >= MOST_WATCHES:
            raise LinuxError(ENOSPC)
        state.count += 1
        for key in keys:
            state.by_key.setdefault(key, {})[(epoll, *target)] = None
        state.by_file.setdefault(target[0], {})[(epoll, target[1])] = None

    def remove(self, epoll: int, target: Target, keys: tuple[Key, ...]) -> None:
        """Stop notifying it."""
        state = self.state
        state.count -= 1
        for key in keys:
            watches = state.by_key.get(key, {})
            watches.pop((epoll, *target), None)
            if not watches:
                state.by_key.pop(key, None)
        epolls = state.by_file.get(target[0], {})
        epolls.pop((epoll, target[1]), None)
        if not epolls:
            state.by_file.pop(target[0], None)

    def epolls_of(self, file: int) -> list[int]:
        """Return the epolls that watch a file."""
        return [epoll for epoll, _ in self.state.by_file.get(file, ())]

    def wake(self, key: Key) -> None:
        """Notify the epolls that watch this key, the latest first as in Linux, and those that watch them:
        each once."""
        by_key = self.state.by_key
        if key not in by_key:
            return
        todo, told = [key], set[int]()
        while todo:
            for epoll, file, descriptor in reversed(list(by_key.get(todo.pop(), ()))):
                if self._mark(epoll, (file, descriptor)) and epoll not in told:
                    told.add(epoll)
                    own: Key = ("epoll", epoll)
                    self._rouse(own)
                    todo.append(own)

    def closed(self, file: int) -> None:
        """Remove the watches of a file that is closed for good."""
        for epoll, descriptor in list(self.state.by_file.get(file, ())):
            self._forget(epoll, (file, descriptor))
