"""The layout of records that the package's build writes down is what cffi's parser finds in the header."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import cffi
import pytest

from pltvm.build import layout
from pltvm.monitor import records


@pytest.fixture
def built(tmp_path: Path) -> ModuleType:
    spec = spec_from_file_location("_records", layout.build(tmp_path / "_records.py", records.HEADER))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_says_what_the_parser_says(built: ModuleType) -> None:
    parsed = layout.parse(records.HEADER)
    enum = parsed.typeof("enum layout")
    assert built.ffi.typeof("enum layout").relements == enum.relements
    structs = [name for name in parsed.list_types()[1] if name != "registers"]
    assert "enclave" in structs
    for name in structs:
        ours, theirs = built.ffi.typeof(f"struct {name}"), parsed.typeof(f"struct {name}")
        assert [
            (field, place.offset, place.type.kind, built.ffi.sizeof(place.type))
            for field, place in ours.fields
        ] == [
            (field, place.offset, place.type.kind, parsed.sizeof(place.type))
            for field, place in theirs.fields
        ]


def test_that_of_another_header_is_not_used(built: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pltvm.monitor._records", built)
    assert records.header.__wrapped__() is built.ffi
    built.CHECKSUM ^= 1
    assert isinstance(records.header.__wrapped__(), cffi.FFI)
    monkeypatch.setitem(sys.modules, "pltvm.monitor._records", None)  # as if there were no such file
    assert isinstance(records.header.__wrapped__(), cffi.FFI)
