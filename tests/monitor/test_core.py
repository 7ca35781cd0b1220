"""What the native core is told, and its numbers: the same as Python's."""

from collections.abc import Callable

import pytest

from pltvm import Machine
from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.monitor import abi, pages, records
from pltvm.monitor.core import CoreCalls
from pltvm.monitor.enclave import EnclaveState
from tests.native_headers import fields_in_python, fields_of, numbers, structs


def test_it_is_laid_out_as_in_the_header() -> None:
    assert fields_of(structs("monitor/native/calls.h"), "calls") == fields_in_python(CoreCalls)


def test_the_call_structure_is_the_interface_s() -> None:
    fields = fields_of(structs("monitor/native/abi.h"), "call_struct")
    assert [name for name, _, _ in fields] == list(abi.CallStruct._fields)
    assert [(at, size) for _, at, size in fields] == [(8 * index, 8) for index in range(6)]


def test_numbers_are_those_of_python() -> None:
    found = numbers("monitor/native/abi.h")
    for name, value in found.items():
        kind, _, rest = name.partition("_")
        if kind == "CALL":
            assert value == abi.Call[rest]
        elif kind == "OCALL":
            assert value == abi.Ocall[rest]
        elif kind == "STATUS":
            assert value == abi.Status[rest]
        elif kind == "TYPE":
            assert value == abi.EnclaveType[rest]
        elif name in ("PRIVATE", "BOTH"):
            assert value == getattr(pages, name)
        elif name in (*EnclaveState.__members__, "WAITING_FOR_HOST"):
            assert value == EnclaveState["WAITING" if name == "WAITING_FOR_HOST" else name]
        else:
            assert value == getattr(abi, name)
    assert {"CALL_CALL", "OCALL_WRITE", "STATUS_YIELD", "PRIVATE", "CALLING", "MMAP_TOP"} <= set(found)


def test_records_are_read_as_c_lays_them_out() -> None:
    """No field is padded, so that cffi, ctypes and every C compiler agree."""
    for struct in ("globals", "enclave", "region", "segment", "attachment", "lent"):
        declared = records.header()
        end = 0
        for _, at, size in fields_of(declared, struct):
            assert at == end
            end = at + size
        assert end == declared.sizeof(f"struct {struct}")


def test_no_record_crosses_the_end_of_a_page() -> None:
    """RAM's log knows pages, and who writes a field of a record tells it of one."""
    declared = records.header()
    assert PAGE % records.NUMBERS["RECORD_BYTES"] == 0  # of an enclave
    for struct in ("region", "attachment", "lent"):
        assert PAGE % declared.sizeof(f"struct {struct}") == 0
    numbers = records.NUMBERS
    assert numbers["MOST_REGIONS"] * declared.sizeof("struct region") <= (
        numbers["ATTACHMENTS_AT"] - numbers["REGIONS_AT"]
    )
    end = numbers["ATTACHMENTS_AT"] + numbers["MOST_ATTACHMENTS"] * declared.sizeof("struct attachment")
    assert end <= numbers["MONITOR_SIZE"]


@pytest.mark.parametrize("native", [True, False])
def test_a_store_does_not_go_round_the_end_of_the_address_space(
    native: bool, build_guest: Callable[[str], bytes]
) -> None:
    """To page 0, which is one that flips here."""
    machine = Machine(64 << 20, native=native)
    created = machine.create(build_guest("wraps"))
    state = machine.monitor.state
    enclave = state.enclaves[created.eid]
    page = enclave.space.take_page()
    state.owners.want_both(page)
    enclave.space.table.map(0, page, 1, sv39.RX)
    result = created.run()
    assert result.status == "faulted"
    assert machine.hart.flips == 0
