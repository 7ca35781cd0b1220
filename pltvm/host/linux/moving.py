"""mremap: grows, shrinks or moves a mapping. Its pages move with it, and nothing is copied.

An old size of 0 maps the same memory a second time, if it is shared; with MREMAP_DONTUNMAP an empty mapping
stays behind.
"""

from collections.abc import Callable
from dataclasses import replace
from errno import EFAULT, EINVAL, ENOMEM
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.linux.areas import USER_END, Area
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.space import Space, within

MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4
_MORE_AREAS: Final = 2  # areas that a move can add


def mremap(
    space: Space,
    start: int,
    old_size: int,
    new_size: int,
    flags: int,
    target: int,
    may_grow: Callable[[Area, int], None] = lambda _area, _size: None,
) -> int:
    """Change the size or the address of the mapping at `start`; return its address. Raises LinuxError.

    `may_grow` raises it too, for an area that must not grow by so many bytes.
    """
    old, new, fixed = pages_for(old_size) * PAGE, pages_for(new_size) * PAGE, bool(flags & FIXED)
    stays = bool(flags & DONTUNMAP)
    if flags & ~(MAYMOVE | FIXED | DONTUNMAP) or start % PAGE or not new:
        raise LinuxError(EINVAL)
    if ((fixed or stays) and not flags & MAYMOVE) or (stays and old != new):
        raise LinuxError(EINVAL)
    if fixed and (
        target % PAGE
        or not PAGE <= target <= USER_END - new
        or (start < target + new and target < start + old)
    ):
        raise LinuxError(EINVAL)
    area = space.area(start)
    if area is None:
        raise LinuxError(EFAULT)
    if not old and area.is_private:
        raise LinuxError(EINVAL)
    in_place = bool(old) and not (fixed or stays)
    if new <= old and in_place:
        if new < old:
            space.unmap(start + new, old - new)
        return start
    if start + min(old, new) > area.end or (new > old and start + old > area.end):
        raise LinuxError(EFAULT)
    if new > old or stays:
        _must_grow(area)
        may_grow(area, new if stays else new - old)
        end = start + new
        free = end <= USER_END and not space.overlaps(area.end, end)
        if in_place and start + old == area.end and free:
            _lengthen(space, area, end)
            return start
    if not flags & MAYMOVE:
        raise LinuxError(ENOMEM)
    space.must_have_room(_MORE_AREAS)
    if fixed:
        space.unmap(target, new)
    else:
        target = space.place(new)
    if new < old:
        space.unmap(start + new, old - new)
    if old:
        _move(space, start, min(old, new), target, new, stays)
    else:
        space.insert(replace(area.cut(start, area.end).at(target), end=target + new))
    return target


def _must_grow(area: Area) -> None:
    """Raise LinuxError for device memory, which cannot grow."""
    if area.shared is not None:
        raise LinuxError(EFAULT)


def _lengthen(space: Space, area: Area, end: int) -> None:
    offset = area.offset + area.end - area.start if area.object else area.offset
    space.must_have_room()
    space.insert(replace(area, start=area.end, end=end, offset=offset))  # merges the two areas


def _move(space: Space, start: int, size: int, target: int, new_size: int, stays: bool) -> None:
    """Move an area, or a part of one, with its pages; entries are made when the pages are accessed. An empty
    one `stays`."""
    area = space.area(start)
    assert area is not None
    with space.objects.kept(area.object):
        (part,) = space.take_out(start, start + size)
        own = space.state.own
        for va in within(own, start, start + size):
            own[va - start + target] = own.pop(va)
        moved = part.at(target)
        space.insert(replace(moved, end=target + new_size))
        if stays:
            space.insert(part)
