"""Deliberate holes: each takes one check, flush or clearing out, and names the attack that then succeeds.

A hole is an edit of a function's source: the text must be there once, so that a hole can not silently go
stale. The code is swapped inside the function, so tables that refer to it have the hole too. The holes
themselves are in `holes_host`, `holes_enclaves` and `holes_slots`.
"""

import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import pytest


class Edit(NamedTuple):
    """In the source of `function`, `old` becomes `new`."""

    function: Callable[..., Any]
    old: str
    new: str


class Hole(NamedTuple):
    """What is taken out, in words, the attack that succeeds then, and the edits."""

    what: str
    attack: str
    edits: tuple[Edit, ...]


def make(patch: pytest.MonkeyPatch, edit: Edit) -> None:
    """Make one edit, until the test ends."""
    function = edit.function
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(edit.old) == 1, f"{function.__qualname__}: {edit.old!r} is not there once"
    code = compile(source.replace(edit.old, edit.new), f"<hole in {function.__qualname__}>", "exec")
    names: dict[str, Any] = {}
    exec(code, function.__globals__, names)
    patch.setattr(function, "__code__", names[function.__name__].__code__)


def hole(what: str, attack: str, *edits: Any) -> Hole:
    """A hole of edits given one after the other: function, old, new, function, …"""
    triples = zip(edits[::3], edits[1::3], edits[2::3], strict=True)
    return Hole(what, attack, tuple(Edit(*triple) for triple in triples))
