"""What a futex is named by: its memory, so that all who see the same word wait for the same thing."""

from errno import EFAULT

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.space import Space
from pltvm.host.linux.waits import Key


def key_of(space: Space, address: int, private: bool = False) -> Key:
    """The key of the word at `address`; `private` promises that no other process sees it.

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
    """The key of those who wait for the lock with priority inheritance there: nobody else wakes them."""
    return ("pi", *key_of(space, address))
