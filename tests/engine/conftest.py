import pytest

from tests.engine.harness import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()
