"""The fixtures. Their names begin with `pltvm_`: `machine` or `build` may well be names of the project's own.

pltvm_machine          a new machine for each test
pltvm_module_machine   one for all tests of a file, put back after each test to how it was before
pltvm_build            enclaves from sources beside the test, built once

What a fixture of the module's own (`scope="module"`) makes on the module's machine is made once, and every
test finds it as it was made: a snapshot is taken before what is the test's own, and restored behind it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pltvm import Machine
    from pltvm.testing.building import Builder

MARK = "pltvm_machine"


def _new(request: pytest.FixtureRequest) -> "Machine":
    """A machine with the options of the closest mark."""
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
    """One machine for all tests of the file, put back after each; options as `pytestmark` of the file."""
    return _new(request)


@pytest.fixture(autouse=True)
def _pltvm_put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Behind each test, the module's machine is what it was before it."""
    if "pltvm_module_machine" not in request.fixturenames:
        yield
        return
    machine = request.getfixturevalue("pltvm_module_machine")
    before = machine.snapshot()
    yield
    machine.restore(before)


@pytest.fixture(scope="module")
def pltvm_build(request: pytest.FixtureRequest) -> "Builder":
    """Builds an enclave: `pltvm_build("server.c", flags=["-DX"])` gives the path of its ELF."""
    from pltvm.testing.building import Builder

    config = request.config
    return Builder(request.path.parent, config.getini("pltvm_flags"), config.getoption("pltvm_check"))
