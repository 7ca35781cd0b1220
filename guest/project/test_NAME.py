"""NAME does what it should, also in the eyes of the memory checker. The sources are built as they are now."""

import errno

import pytest

from pltvm import Enclave, Machine
from pltvm.testing.building import Builder

COUNT = 1  # of NAME.h
CLIENTS = 16  # of server.c


@pytest.fixture(params=["plain", "checked"])
def server(request: pytest.FixtureRequest, pltvm_machine: Machine, pltvm_build: Builder) -> Enclave:
    elf = pltvm_build("server.c", check=request.param == "checked")
    return pltvm_machine.create(elf, name="NAME", type="server")


def test_calls_are_counted_for_each_client(server: Enclave) -> None:
    assert [server.call(COUNT).value for _ in range(3)] == [1, 2, 3]
    assert server.call(COUNT, client=1).value == 1


def test_there_is_room_for_so_many_clients(server: Enclave) -> None:
    values = [server.call(COUNT, client=client).signed for client in range(CLIENTS + 1)]
    assert values == [1] * CLIENTS + [-errno.ENOSPC]


def test_pages_come_back_and_other_operations_are_refused(server: Enclave) -> None:
    answer = server.call(99, b"some data")
    assert (answer.signed, answer.data) == (-errno.ENOSYS, b"some data")


@pytest.mark.usefixtures("server")
def test_the_client_calls_three_times(pltvm_machine: Machine, pltvm_build: Builder) -> None:
    result = pltvm_machine.create(pltvm_build("client.c")).run(timeout=60)
    assert result.fault is None
    assert (result.retval, result.output) == (0, "called 3 times\n")
