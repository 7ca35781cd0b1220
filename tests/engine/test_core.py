"""What Python and the native core share: laid out the same, and the same in use."""

from pltvm.engine import context, core, sv39
from pltvm.engine.core import CoreHart
from pltvm.engine.trap import Cause
from tests.native_headers import fields_in_python, fields_of, numbers, structs


def test_the_hart_is_laid_out_as_in_the_header() -> None:
    declared = structs("engine/native/hart.h", "typedef int answer_function(void *, uint32_t);")
    assert fields_of(declared, "hart") == fields_in_python(CoreHart)


def test_numbers_are_those_of_python() -> None:
    found = numbers("engine/native/hart.h")
    for name in ("ILLEGAL", "ECALL_U", "FETCH_PAGE", "LOAD_PAGE", "STORE_PAGE"):
        assert found.pop(name) == Cause[name]
    for name in ("SWITCHED", "WAITING"):
        assert found.pop(name) == getattr(core, name)
    assert {name: getattr(context, name) for name in found} == found


def test_bits_of_entries_are_those_of_python() -> None:
    found = numbers("engine/native/sv39.h")
    assert {name: getattr(sv39, name.removeprefix("PTE_")) for name in found if name != "PAGE"} == {
        name: value for name, value in found.items() if name != "PAGE"
    }
    assert found["PAGE"] == sv39.PAGE
