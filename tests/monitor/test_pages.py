"""The page bitmap: one owner a page, and a refusal changes nothing."""

import pytest

from pltvm.engine.memory import PAGE, Memory
from pltvm.monitor.pages import MONITOR, PRIVATE, PageOwners, enclave_owner

BASE = 0x8000_0000
PAGES = 64


@pytest.fixture
def owners() -> PageOwners:
    """A bitmap over 64 pages, in the first of them."""
    return PageOwners(Memory(BASE, PAGES * PAGE), BASE)


def page(number: int) -> int:
    return BASE + number * PAGE


def test_bitmap_lies_in_guest_memory(owners: PageOwners) -> None:
    assert PageOwners.bitmap_bytes(owners.memory) == PAGE
    assert owners.claim(page(5), 2, enclave_owner(3))
    words = memoryview(owners.memory.read(BASE, 4 * PAGES)).cast("I")
    assert list(words[4:8]) == [0, PRIVATE | 4, PRIVATE | 4, 0]


def test_claim_needs_every_page_free(owners: PageOwners) -> None:
    assert owners.claim(page(8), 4, 1)
    assert owners.hold(page(20), 1)
    before = owners.entries.tolist()
    for first, count in ((8, 1), (7, 2), (11, 2), (4, 8), (20, 1), (19, 2)):
        assert not owners.claim(page(first), count, 2)
        assert not owners.is_free(page(first), count)
    assert owners.entries.tolist() == before
    assert owners.claim(page(12), 8, 2)
    assert [owners.owner(page(n)) for n in (11, 12, 19, 20)] == [1, 2, 2, None]


@pytest.mark.parametrize(
    ("pa", "count"),
    [
        (BASE - PAGE, 1), (BASE - PAGE, 2), (page(PAGES), 1), (page(PAGES - 1), 2), (page(3) + 8, 1),
        (page(3), 0), (page(3), -1), (0, 1), (2**64 - PAGE, 1), (page(3), 1 << 60),
    ],
)  # fmt: skip
def test_ranges_that_are_none(owners: PageOwners, pa: int, count: int) -> None:
    assert not owners.is_free(pa, count)
    assert not owners.claim(pa, count, 1)
    assert not owners.hold(pa, count)
    assert not any(owners.entries)


def test_public_ranges_are_in_bytes(owners: PageOwners) -> None:
    assert owners.claim(page(8), 1, MONITOR)
    assert owners.is_public(page(7), PAGE)
    assert owners.is_public(page(8) - 8, 8)
    assert not owners.is_public(page(8) - 8, 9)
    assert not owners.is_public(page(9) - 1, 1)
    assert owners.is_public(page(9), 1)
    assert owners.is_public(page(PAGES) - 1, 1)
    for pa, size in ((page(PAGES) - 1, 2), (BASE - 1, 2), (page(3), 0), (page(3), -4), (2**64 - 1, 1)):
        assert not owners.is_public(pa, size)


def test_owner_of_the_monitor_is_not_the_host(owners: PageOwners) -> None:
    assert owners.claim(page(1), 1, MONITOR)
    assert owners.owner(page(1)) == MONITOR
    assert owners.owner(page(2)) is None
    assert not owners.is_public(page(1), 8)


def test_release(owners: PageOwners) -> None:
    owners.claim(page(8), 4, 1)
    owners.release(page(9), 2)
    assert [owners.owner(page(n)) for n in range(8, 12)] == [1, None, None, 1]
    assert owners.who(7, 3) == [0, PRIVATE | 1, 0]
    assert owners.who(60) == [0] * 4
    owners.want_both(page(11))
    assert owners.who() == [0] * 8 + [PRIVATE | 1, 0, 0, PRIVATE | 1] + [0] * 52
    assert [owners.wants_both(page(n)) for n in range(8, 13)] == [False, False, False, True, False]
    assert owners.owner(page(11)) == 1
    owners.release(page(11), 1)
    assert owners.claim(page(11), 1, 2)
    assert not owners.wants_both(page(11)), "it was another's wish"
    assert owners.claim(page(9), 2, 5)


def test_holds_count(owners: PageOwners) -> None:
    assert owners.hold(page(8), 2)
    assert owners.hold(page(9), 1)
    assert [owners.holds(page(n)) for n in range(7, 11)] == [0, 1, 2, 0]
    assert owners.is_public(page(8), 2 * PAGE)
    assert not owners.claim(page(9), 1, 1)
    owners.let_go(page(9), 1)
    assert not owners.claim(page(9), 1, 1)
    owners.let_go(page(8), 2)
    assert owners.claim(page(8), 2, 1)
    assert not owners.hold(page(8), 1)
    assert owners.holds(page(8)) == 0
