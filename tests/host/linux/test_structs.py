"""The structs of system calls are those of the header, in size and fields."""

import pytest

from pltvm.host.linux import structs
from pltvm.host.linux.structs import Layout

LAYOUTS = {name: one for name, one in vars(structs).items() if isinstance(one, Layout)}
# As `sizeof` says on riscv64.
SIZES = {
    "STAT": 128, "STATX": 256, "SIGACTION": 24, "STACK": 24, "SENT": 128, "OF_CHILD": 128, "OF_FAULT": 128,
    "OF_TIMER": 128, "RUSAGE": 144, "SYSINFO": 112, "UTSNAME": 390, "EPOLL_EVENT": 16, "SIGEVENT": 64,
    "MSGHDR": 56,
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_has_the_fields_of_the_header(name: str) -> None:
    layout = LAYOUTS[name]
    assert len(layout.unpack(bytes(layout.size))) == len(layout.kind._fields)


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    assert LAYOUTS[name].size == SIZES[name]
