"""Harnesses: Python files that define what an input does, if the built-in layouts do not fit.

    from pltvm.engine.context import A0
    from pltvm.fuzz.callers import OneCall

    class Harness(OneCall):
        def begin(self):                     # before each execution: the input is self.arena.input()
            super().begin()
            self.enclave.context.regs[A0] &= 7

The file defines one class called `Harness`, derived from `OneCall`, `Sequence`, `Hosted` or `Target`.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location

from pltvm.errors import PltvmError
from pltvm.fuzz.target import Target
from pltvm.host.elf_headers import instead


def load_harness(path: str) -> type[Target]:
    """Return the class `Harness` of a file; PltvmError if there is none."""
    spec = spec_from_file_location("pltvm_harness", path)
    if spec is None or spec.loader is None:
        raise PltvmError(f"{path}: is not a Python file")
    if not os.path.lexists(path):
        raise PltvmError(f"{path}: no such file{instead(path)}")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PltvmError(f"{path}: {type(error).__name__}: {error}") from None
    harness = getattr(module, "Harness", None)
    if not isinstance(harness, type) or not issubclass(harness, Target):
        raise PltvmError(f"{path}: defines no class Harness that is a Target of pltvm.fuzz")
    return harness


@contextmanager
def errors_of(path: str) -> Iterator[None]:
    """Turn errors of a harness in this context into a PltvmError that names its line; `path` "" is no
    harness."""
    try:
        yield
    except PltvmError:
        raise
    except Exception as error:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if path and one.filename == path]
        if not frames:
            raise
        where = f"{path}:{frames[-1].lineno}: in {frames[-1].name}"
        raise PltvmError(f"{where}: {type(error).__name__}: {error}") from None
