"""The snapshot of objects: contents go back into the same objects, whatever was done to them."""

from array import array
from types import SimpleNamespace
from typing import Any

import pytest

from pltvm.fuzz.objects import ObjectSnapshot


class Thing:
    """Any object of the package."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def method(self) -> None:
        """Something to hold."""


class Slotted:
    """One without a dictionary."""

    __slots__ = ("left", "right")


Thing.__module__ = Slotted.__module__ = "pltvm.fuzz.example"


def snapshot(*roots: object) -> ObjectSnapshot:
    return ObjectSnapshot(*roots, without=None)


def test_containers_get_their_contents_back() -> None:
    one = Thing(
        numbers=[1, [2, 3]], names={"a": [1], "b": {}}, some={1, 2}, words=array("Q", [1, 2]),
        raw=bytearray(b"ab"),
    )  # fmt: skip
    kept = dict(vars(one))
    inner, row = one.numbers[1], one.names["a"]
    saved = snapshot(one)
    one.numbers.append(4)
    inner.clear()
    row.append(9)
    one.names["c"] = 1
    del one.names["b"]
    one.some.add(3)
    one.words[0] = 7
    one.raw[:] = b"longer"
    saved.restore()
    assert vars(one) == {
        "numbers": [1, [2, 3]], "names": {"a": [1], "b": {}}, "some": {1, 2}, "words": array("Q", [1, 2]),
        "raw": bytearray(b"ab"),
    }  # fmt: skip
    assert all(vars(one)[name] is value for name, value in kept.items())
    assert one.numbers[1] is inner
    assert one.names["a"] is row


def test_attributes_come_back_and_new_ones_go() -> None:
    one = Thing(a=1, b=Thing(c=2))
    inner = one.b
    saved = snapshot(one)
    one.a, one.b, one.d = 5, None, 6
    inner.c = 3
    saved.restore()
    assert vars(one) == {"a": 1, "b": inner}
    assert inner.c == 2


def test_order_of_a_dictionary_comes_back() -> None:
    """Runs repeat exactly only if it does: dictionaries serve as ordered sets."""
    one = Thing(free={1: None, 2: None, 3: None})
    saved = snapshot(one)
    del one.free[1]
    one.free[1] = None
    saved.restore()
    assert list(one.free) == [1, 2, 3]


@pytest.mark.parametrize("where", ["attribute", "item", "element"])
def test_an_equal_object_in_the_place_of_another(where: str) -> None:
    """What was replaced by something equal is the old one again: others refer to that."""
    old: list[int] = []
    one = Thing(attribute=old, items={"item": old}, elements=[old])
    saved = snapshot(one)
    old.append(1)
    new = [1]
    if where == "attribute":
        one.attribute = new
    elif where == "item":
        one.items["item"] = new
    else:
        one.elements[0] = new
    saved.restore()
    assert old == []
    assert {"attribute": one.attribute, "item": one.items["item"], "element": one.elements[0]}[where] is old


def test_slots() -> None:
    one = Slotted()
    one.left, one.right = [1], 2
    saved = snapshot(one)
    one.left.append(2)
    one.left, one.right = 5, 6
    saved.restore()
    assert (one.left, one.right) == ([1], 2)


def test_reached_through_methods_tuples_and_keys() -> None:
    through_method, through_tuple, key = Thing(a=1), Thing(a=1), Thing(a=1)
    root = Thing(call=through_method.method, pair=(0, (through_tuple,)), table={key: 1})
    saved = snapshot(root)
    for one in (through_method, through_tuple, key):
        one.a = 2
    saved.restore()
    assert [one.a for one in (through_method, through_tuple, key)] == [1, 1, 1]


def test_left_alone() -> None:
    """Who uses the snapshot, and what is not of this package."""
    user, foreign = Thing(a=1), SimpleNamespace(a=1)
    root = Thing(user=user, foreign=foreign)
    saved = ObjectSnapshot(root, without=user)
    user.a = foreign.a = 2
    saved.restore()
    assert (user.a, foreign.a) == (2, 2)


def test_objects_in_a_circle() -> None:
    one = Thing(name="one")
    one.other = Thing(name="other", back=one)
    saved = snapshot(one)
    one.other.name = "new"
    saved.restore()
    assert one.other.name == "other"
