"""The fixtures. Their names begin with `pltvm_`, as a project may have its own `machine` or `build`.

pltvm_machine          a new machine for each test
pltvm_module_machine   one for all tests of a file, restored after each test
pltvm_build            enclaves from sources beside the test, built once

Enclaves that a module fixture (`scope="module"`) makes on the module's machine are made once, and every test
finds them as they were made: a snapshot is taken before each test's own part, and restored after it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pltvm import Machine
    from pltvm.testing.building import Builder

MARK = "pltvm_machine"


def _new(request: pytest.FixtureRequest) -> "Machine":
    """Make a machine with the options of the closest mark."""
    from pltvm import Machine

    mark = request.node.get_closest_marker(MARK)
    if mark is not None and mark.args:
        raise pytest.UsageError(f"pytest.mark.{MARK} has options of Machine by name, such as ram=64 << 20")
    options: dict[str, Any] = mark.kwargs if mark is not None else {}
    return Machine(**options)


@pytest.fixture
def pltvm_machine(request: pytest.FixtureRequest) -> "Machine":
    """A new machine (`pltvm.Machine`); `@pytest.mark.pltvm_machine(ram=…)` has its options."""
    return _new(request)


@pytest.fixture(scope="module")
def pltvm_module_machine(request: pytest.FixtureRequest) -> "Machine":
    """One machine for all tests of the file, restored after each; options by `pytestmark` of the file."""
    return _new(request)


@pytest.fixture(autouse=True)
def _pltvm_put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Restore the module's machine after each test."""
    if "pltvm_module_machine" not in request.fixturenames:
        yield
        return
    machine = request.getfixturevalue("pltvm_module_machine")
    before = machine.snapshot()
    yield
    machine.restore(before)


@pytest.fixture(scope="module")
def pltvm_build(request: pytest.FixtureRequest) -> "Builder":
    """Builds an enclave: `pltvm_build("server.c", flags=["-DX"])` returns the path of its ELF."""
    from pltvm.testing.building import Builder

    config = request.config
    return Builder(request.path.parent, config.getini("pltvm_flags"), config.getoption("pltvm_check"))
