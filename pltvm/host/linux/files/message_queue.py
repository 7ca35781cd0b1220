"""POSIX message queues (mq_overview(7)): messages with priorities, in a queue with a name.

A queue exists while it has a name or is open. Whoever waits has its key: ("mqueue", number, "message") or
"room"; receivers wait for "receiver", too, as a message that one of them gets notifies nobody.
"""

from dataclasses import dataclass, field
from errno import ETIMEDOUT
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import READABLE, WRITABLE, File, Status
from pltvm.host.linux.waits import Key, Waker
from pltvm.host.plain import Part

_ROW: Final = 56  # bytes that Linux counts for a message, beside its content


@dataclass(slots=True)
class Queue:
    """A queue for at most `most` messages of `largest` bytes; messages are sorted by priority.

    `told` is the process to be notified of the next message, by a signal with a value; number 0 is none.
    """

    mode: int
    owner: tuple[int, int]
    most: int
    largest: int
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    users: int = 0
    has_name: bool = True
    told: int = 0
    signal: int = 0
    value: int = 0

    def cost(self) -> int:
        """Return the bytes that count for RLIMIT_MSGQUEUE."""
        return self.most * (self.largest + _ROW)


@dataclass(slots=True)
class QueuesState:
    """The queues by number, and the numbers by name."""

    queues: dict[int, Queue] = field(default_factory=dict)
    names: dict[bytes, int] = field(default_factory=dict)
    made: int = 0


class MessageQueues(Part[QueuesState]):
    """All queues."""

    def __init__(self, waker: Waker) -> None:
        self.waker = waker
        self.state = QueuesState()

    def add(self, name: bytes, queue: Queue) -> int:
        """Add a queue with this name; return its number."""
        self.state.made += 1
        self.state.queues[self.state.made] = queue
        self.state.names[name] = self.state.made
        return self.state.made

    def remove(self, name: bytes) -> None:
        """Remove a name, and the queue unless it is open."""
        number = self.state.names.pop(name)
        self.state.queues[number].has_name = False
        self.tidy(number)

    def tidy(self, number: int) -> None:
        """Forget a queue that has neither a name nor users."""
        queue = self.state.queues[number]
        if not (queue.has_name or queue.users):
            del self.state.queues[number]

    def cost(self) -> int:
        """Return the bytes of all queues for RLIMIT_MSGQUEUE."""
        return sum(queue.cost() for queue in self.state.queues.values())

    def ended(self, pid: int) -> None:
        """Notify a process no more, as it has ended."""
        for queue in self.state.queues.values():
            if queue.told == pid:
                queue.told = 0


class QueueFile(File):
    """An open queue; `counted` says whether it is among the queue's users already."""

    kind = "mqueue"
    mode = 0o600

    def __init__(self, queues: MessageQueues, number: int, flags: int, counted: bool = False) -> None:
        super().__init__(flags)
        self._queues = queues
        self._number = number
        if not counted:
            self.queue.users += 1

    @property
    def queue(self) -> Queue:
        """The queue."""
        return self._queues.state.queues[self._number]

    def send(self, priority: int, data: bytes) -> bool:
        """Add a message, and wake who waits for one; return whether the queue was empty."""
        messages = self.queue.messages
        at = next((at for at, one in enumerate(messages) if one[0] < priority), len(messages))
        messages.insert(at, (priority, data))
        self._queues.waker.wake(self._key("message"))
        return len(messages) == 1

    def receive(self) -> tuple[int, bytes]:
        """Take the first message of the highest priority."""
        message = self.queue.messages.pop(0)
        self._queues.waker.wake(self._key("room"))
        return message

    def block(self, what: str, deadline: int | None, is_late: bool) -> None:
        """Wait for a "message" or for "room"; LinuxError with O_NONBLOCK, or if it is too late."""
        if is_late:
            raise LinuxError(ETIMEDOUT)
        keys = [self._key(what)] + ([self.receivers] if what == "message" else [])
        self.wait(*keys, deadline=deadline)

    def _key(self, what: str) -> Key:
        return ("mqueue", self._number, what)

    @property
    def receivers(self) -> Key:
        """The key of those who receive."""
        return self._key("receiver")

    def events(self) -> int:
        queue = self.queue
        return (READABLE if queue.messages else 0) | (WRITABLE if len(queue.messages) < queue.most else 0)

    def keys(self) -> tuple[Key, ...]:
        return self._key("message"), self._key("room")

    def status(self) -> Status:
        return super().status()._replace(mode=0o100000 | self.queue.mode, owner=self.queue.owner, size=80)

    def close(self) -> None:
        queue = self._queues.state.queues.get(self._number)
        if queue is not None:
            queue.users -= 1
            self._queues.tidy(self._number)

    def save(self) -> Any:
        return self._number
