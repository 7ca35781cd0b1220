"""The keys of futexes: their memory, so that all threads that share a word wait for the same key."""

from errno import EFAULT

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.space import Space
from pltvm.host.linux.waits import Key


def key_of(space: Space, address: int, private: bool = False) -> Key:
    """Return the key of the word at `address`; `private` promises that no other process uses it.

    Raises LinuxError(EFAULT).
    """
    area = None if private else space.area(address)
    if area is None:
        if not private:
            raise LinuxError(EFAULT)
    elif area.object and not area.is_private:
        return ("futex", "object", area.object, area.offset + address - area.start)
    elif area.shared is not None:
        return ("futex", "device", area.shared + address - area.start)
    return ("futex", space.table.root, address)


def pi_key(space: Space, address: int) -> Key:
    """Return the key of threads that wait for the priority-inheritance lock there; only its unlock wakes
    them."""
    return ("pi", *key_of(space, address))
