"""The pages of RAM of Linux processes: taken from the kernel in large blocks, counted, given back.

    block of 2ⁿ pages, from `Blocks`   │ in use │ in use │ spare │ in use │ …    goes back when none is in use

A page has one user, unless `users` has a number for it: forked processes share pages until one of them
writes. All processes of a machine's Linux share one `Frames`, which names all their blocks for the audit.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Block
from pltvm.errors import OutOfMemory
from pltvm.host.kernel import Kernel
from pltvm.host.plain import Part, copied

LARGEST: Final = 512  # pages taken at a time


@dataclass(slots=True)
class FramesState:
    """Pages by their physical address."""

    blocks: dict[int, int] = field(default_factory=dict)  # block → number of its pages in use
    spare: dict[int, None] = field(default_factory=dict)  # unused pages of these blocks, all clear
    users: dict[int, int] = field(default_factory=dict)  # pages with more than one user → number of users
    scratch: int = 0  # page for rows of page-table entries; 0 without address spaces
    spaces: int = 0  # number of address spaces


class Frames(Part[FramesState]):
    """The pages of all processes: new ones, or `saved`.

    With `for_spaces` they leave the host's parts when the last address space is gone.
    """

    def __init__(self, kernel: Kernel, saved: FramesState | None = None, for_spaces: bool = False) -> None:
        self._for_spaces = for_spaces
        self.blocks, self.memory = kernel.blocks, kernel.memory
        self._holders = kernel.holders
        self.give_spare: Callable[[], bool] = lambda: (
            False
        )  # called when no pages are left; returns whether it freed any
        self.state = copied(saved) if saved is not None else FramesState()
        kernel.holders.append(self._held)

    def _held(self) -> Iterable[int]:
        return self.state.blocks

    def let_go(self) -> None:
        """Leave the pages to another owner from now on."""
        self._holders.remove(self._held)

    def enter(self) -> None:
        """Count one more address space; raises OutOfMemory."""
        if not self.state.scratch:
            self.state.scratch = self.take()
        self.state.spaces += 1

    def leave(self) -> None:
        """Count one address space less."""
        state = self.state
        state.spaces = max(state.spaces - 1, 0)  # it may be 0 after a restore to a time before the first one
        if not state.spaces:
            if state.scratch:
                self.give((state.scratch,))
                state.scratch = 0
            if self._for_spaces:
                self.let_go()

    def is_last(self) -> bool:
        """Whether there is at most one address space."""
        return self.state.spaces <= 1

    def scratch(self) -> int:
        """The page for rows of page-table entries."""
        return self.state.scratch

    # -- taking ------------------------------------------------------------------------------------------

    def take(self) -> int:
        """Take a clear page, with one user; raises OutOfMemory."""
        state = self.state
        if state.spare:
            page, _ = state.spare.popitem()
            block = self._block_of(page)
            state.blocks[block] += 1
            return page
        try:
            page = self.blocks.take(1)
        except OutOfMemory:
            if not self.give_spare():
                raise
            return self.take()
        state.blocks[page] = 1
        return page

    def take_run(self, most: int) -> Block:
        """Take contiguous clear pages, at least one and at most `most`; raises OutOfMemory."""
        order = min(most, LARGEST).bit_length() - 1
        while order > 0:
            try:
                block = self.blocks.take(1 << order)
            except OutOfMemory:
                order -= 1
                continue
            self.state.blocks[block] = 1 << order
            return Block(block, 1 << order)
        return Block(self.take(), 1)

    def present(self, there: dict[int, int], key: int, count: int) -> Sequence[int]:
        """Return the pages in `there` for up to `count` page addresses from `key` on, or else new ones.

        Returns at least one. Raises OutOfMemory.
        """
        first = there.get(key)
        if first is not None:
            found = [first]
            while len(found) < count and (pa := there.get(key + len(found) * PAGE)) is not None:
                found.append(pa)
            return found
        if count == 1:
            there[key] = first = self.take()
            return [first]
        keys = range(key, key + count * PAGE, PAGE)
        missing = next((index for index, one in enumerate(keys) if one in there), count)
        run = self.take_run(missing)
        pages = range(run.pa, run.pa + run.pages * PAGE, PAGE)
        there.update(zip(keys, pages, strict=False))
        return pages

    def share(self, pages: Collection[int]) -> None:
        """Count one more user of each of these pages."""
        users = self.state.users
        if users.keys().isdisjoint(pages):
            users.update(dict.fromkeys(pages, 2))
            return
        for page in pages:
            users[page] = users.get(page, 1) + 1

    # -- giving back -------------------------------------------------------------------------------------

    def give(self, pages: Iterable[int]) -> None:
        """Count one user less of each of these pages; free those without users, contiguous ones together."""
        first = end = 0
        for page in self._unused(pages) if self.state.users else pages:
            if page != end:
                if end:
                    self._free(first, end)
                first = page
            end = page + PAGE
        if end:
            self._free(first, end)

    def _unused(self, pages: Iterable[int]) -> list[int]:
        """Return the pages without users now. They are handled one by one only if more than two processes
        share."""
        users, pages = self.state.users, list(pages)
        counts = list(map(users.get, pages))
        kinds = set(counts)
        if kinds <= {None, 2}:
            if 2 in kinds:
                deque(map(users.__delitem__, compress(pages, counts)), maxlen=0)
            return [page for page, count in zip(pages, counts, strict=True) if count is None]
        unused = []
        for page in pages:
            count = users.get(page)
            if count is None:
                unused.append(page)
            elif count > 2:
                users[page] = count - 1
            else:
                del users[page]
        return unused

    def _free(self, page: int, end: int) -> None:
        """Free the pages up to `end`; completely free blocks go back to the kernel."""
        state = self.state
        while page < end:
            block = self._block_of(page)
            size = self.blocks.size(block)
            stop = min(end, block + size)
            left = state.blocks[block] - (stop - page >> PAGE_SHIFT)
            if left:
                state.blocks[block] = left
                self.memory.zero(page, stop - page)
                state.spare.update(dict.fromkeys(range(page, stop, PAGE)))
            else:
                if stop - page < size:
                    for spare in range(block, block + size, PAGE):
                        state.spare.pop(spare, None)
                del state.blocks[block]
                self.blocks.give(block)
            page = stop

    def _block_of(self, page: int) -> int:
        block = self.blocks.holding(page)
        assert block is not None
        return block
