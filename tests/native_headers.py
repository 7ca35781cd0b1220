"""What the headers of the native core declare, read by cffi's parser: to compare with what Python has."""

import ctypes
import re
from pathlib import Path
from typing import Any

from cffi import FFI

import pltvm

PACKAGE = Path(pltvm.__file__).parent
_STRUCT = re.compile(r"^struct \w+ \{.*?^\};", re.MULTILINE | re.DOTALL)
_ENUM = re.compile(r"^enum(?: \w+)? \{.*?\};", re.MULTILINE | re.DOTALL)
_DEFINE = re.compile(r"^#define (\w+) (?:\()?U?INT(?:64|32)_C\((\w+)\)(?: << (\d+)\))?", re.MULTILINE)


def structs(header: str, before: str = "") -> FFI:
    """The structures of a header; `before` declares what they need."""
    declared = FFI()
    declared.cdef(before + "\n".join(_STRUCT.findall((PACKAGE / header).read_text("utf-8"))))
    return declared


def numbers(header: str) -> dict[str, int]:
    """The numbers of its enums, and of its plain definitions."""
    text = (PACKAGE / header).read_text("utf-8")
    declared = FFI()
    enums = _ENUM.findall(text)
    declared.cdef("\n".join(re.sub(r"^enum(?: \w+)?", f"enum e{at}", one) for at, one in enumerate(enums)))
    found: dict[str, int] = {}
    for at in range(len(enums)):
        found |= declared.typeof(f"enum e{at}").relements
    for name, value, shift in _DEFINE.findall(text):
        found[name] = int(value, 0) << int(shift or 0)
    return found


def fields_of(declared: FFI, struct: str) -> list[tuple[str, int, int]]:
    """Name, offset and bytes of each field."""
    rows = declared.typeof(f"struct {struct}").fields
    return [(name, field.offset, declared.sizeof(field.type)) for name, field in rows]


def fields_in_python(kind: type[ctypes.Structure]) -> list[tuple[str, int, int]]:
    """The same of a class."""
    rows: list[Any] = [row[0] for row in kind._fields_]
    return [(name, getattr(kind, name).offset, getattr(kind, name).size) for name in rows]
