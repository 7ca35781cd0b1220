"""Enclaves that only the native core has run: a way back finds what they have written."""

import pickle
from collections.abc import Callable

import pytest

from pltvm import EnclaveType, Machine

RAM = 64 << 20


@pytest.mark.parametrize("native", [True, False])
def test_in_another_machine(build_guest: Callable[[str], bytes], native: bool) -> None:
    """Nobody has looked at the server there."""
    machine = Machine(RAM, native=native)
    machine.create(build_guest("keeps_count"), name="count", type=EnclaveType.SERVER)
    machine.create(build_guest("asks_count"), name="second")
    saved = pickle.loads(pickle.dumps(machine.snapshot()))
    other = Machine(RAM, native=native)
    for _ in range(3):
        other.restore(saved)
        assert other.create(build_guest("asks_count")).run().retval == 1


@pytest.mark.parametrize("native", [True, False])
def test_where_another_enclave_had_its_record(build_guest: Callable[[str], bytes], native: bool) -> None:
    machine = Machine(RAM, native=native)
    server = machine.create(build_guest("keeps_count"), name="count", type=EnclaveType.SERVER)
    machine.create(build_guest("asks_count"), name="second")
    saved = machine.snapshot()
    server.destroy()
    machine.create(build_guest("asks_count"), name="other")
    for _ in range(3):
        machine.restore(saved)
        assert machine.create(build_guest("asks_count")).run().retval == 1
