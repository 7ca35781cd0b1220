"""The pages of RAM that Linux processes have: taken from the kernel in large blocks, counted, given back.

    block of 2ⁿ pages, from `Blocks`   │ in use │ in use │ spare │ in use │ …    goes back when none is in use

A page has one user, or else `users` says how many: processes that were forked, until one of them writes. All
processes of a machine's Linux share one `Frames`, and it names all their blocks for the audit.
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

    blocks: dict[int, int] = field(default_factory=dict)  # block → how many of its pages are in use
    spare: dict[int, None] = field(default_factory=dict)  # pages of these blocks that are not, all clear
    users: dict[int, int] = field(default_factory=dict)  # pages with more than one user → how many
    scratch: int = 0  # for rows of page-table entries; 0 when there is no space
    spaces: int = 0  # how many address spaces there are


class Frames(Part[FramesState]):
    """The pages of all processes: new ones, or `saved`.

    With `for_spaces` they are no part of the host any more when the last address space is gone.
    """

    def __init__(self, kernel: Kernel, saved: FramesState | None = None, for_spaces: bool = False) -> None:
        self._for_spaces = for_spaces
        self.blocks, self.memory = kernel.blocks, kernel.memory
        self._holders = kernel.holders
        self.give_spare: Callable[[], bool] = lambda: (
            False
        )  # called when there are no pages: whether any came
        self.state = copied(saved) if saved is not None else FramesState()
        kernel.holders.append(self._held)

    def _held(self) -> Iterable[int]:
        return self.state.blocks

    def let_go(self) -> None:
        """The pages are somebody else's affair from now on."""
        self._holders.remove(self._held)

    def enter(self) -> None:
        """There is one more address space; raises OutOfMemory."""
        if not self.state.scratch:
            self.state.scratch = self.take()
        self.state.spaces += 1

    def leave(self) -> None:
        """There is one less."""
        state = self.state
        state.spaces = max(state.spaces - 1, 0)  # 0 after the machine was put back to before there was one
        if not state.spaces:
            if state.scratch:
                self.give((state.scratch,))
                state.scratch = 0
            if self._for_spaces:
                self.let_go()

    def is_last(self) -> bool:
        """Whether there is no more than one."""
        return self.state.spaces <= 1

    def scratch(self) -> int:
        """The page for rows of page-table entries."""
        return self.state.scratch

    # -- taking ------------------------------------------------------------------------------------------

    def take(self) -> int:
        """A clear page, with one user; raises OutOfMemory."""
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
        """Clear pages in one piece, at most so many, and one at least; raises OutOfMemory."""
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
        """The pages that are `there` for up to `count` page addresses from `key` on, or else new ones.

        There will be one at least. Raises OutOfMemory.
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
        """Each of these pages has one user more."""
        users = self.state.users
        if users.keys().isdisjoint(pages):
            users.update(dict.fromkeys(pages, 2))
            return
        for page in pages:
            users[page] = users.get(page, 1) + 1

    # -- giving back -------------------------------------------------------------------------------------

    def give(self, pages: Iterable[int]) -> None:
        """Each of these pages has one user less; those without any are free. Neighbours go together."""
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
        """The pages that nobody uses any more now. One at a time only where more than two processes meet."""
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
        """Nobody uses the pages up to `end`: whole blocks go back to the kernel."""
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
