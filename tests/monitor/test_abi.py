"""Numbers and structures in C headers are those of `abi`, and nowhere else in the package do they stand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, calcsize
from typing import Final

import pytest

import pltvm
from pltvm.build import guest
from pltvm.build.enclave import FLAGS, TARGET
from pltvm.engine import memory
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType, HostCall, Ioctl, Ocall, SetPte, Status
from tests.monitor import headers
from tests.monitor.headers import Header, Member

# Where the SDK has another name.
SDK_NAMES: Final = {
    "SPLIT": "SPLIT_RELAY",
    "ASYNC_CALL": "ASYNCHRONOUS",
    "RETURN": "SERVER_RETURN",
    "CALL": "CALL_ENCLAVE",
    "ACQUIRE": "ACQUIRE_SERVER",
    "CALL_WAITING": "CALL_ENCLAVE_WAIT",
}
SDK_VALUES: Final = {
    "ENCLAVE_CALL": abi.ENCLAVE_CALL,
    "PAGE_SIZE": abi.PAGE,
    "EAPP_STACK_TOP": abi.STACK_TOP,
    "BOARD_ADDRESS": abi.SHM_BASE,
    "RELAY_ADDRESS": abi.RELAY_BASE,
    "KBUFFER_ADDRESS": abi.KBUFFER,
}
HOST_VALUES: Final = {
    "PENGLAI_ENCLAVE_IOC_MAGIC": abi.IOCTL_TYPE,
    "NAME_LEN": abi.NAME_SIZE,
    "DEFAULT_STACK_SIZE": abi.DEFAULT_STACK,
    "RELAY_PAGE": abi.RELAY_PAGE,
}
REQUESTS: Final = {
    Ioctl.CREATE: ("PENGLAI_ENCLAVE_IOC_CREATE_ENCLAVE", abi.USER_PARAM.size),
    Ioctl.RUN: ("PENGLAI_ENCLAVE_IOC_RUN_ENCLAVE", abi.USER_PARAM.size),
    Ioctl.ATTEST: ("PENGLAI_ENCLAVE_IOC_ATTEST_ENCLAVE", abi.ATTEST_HEAD.size + abi.REPORT.size),
    Ioctl.STOP: ("PENGLAI_ENCLAVE_IOC_STOP_ENCLAVE", abi.USER_PARAM.size),
    Ioctl.RESUME: ("PENGLAI_ENCLAVE_IOC_RESUME_ENCLAVE", abi.USER_PARAM.size),
    Ioctl.DESTROY: ("PENGLAI_ENCLAVE_IOC_DESTROY_ENCLAVE", abi.USER_PARAM.size),
    Ioctl.SHM_GET: ("PENGLAI_IOC_GET(PENGLAI_SHM)", abi.SHM_GET.size),
    Ioctl.SHM_ATTACH: ("PENGLAI_IOC_ATTACH(PENGLAI_SHM)", abi.SHM_ATTACH.size),
    Ioctl.SHM_DETACH: ("PENGLAI_IOC_DETACH(PENGLAI_SHM)", abi.SHM_DETACH.size),
    Ioctl.SHM_REMOVE: ("PENGLAI_IOC_REMOVE(PENGLAI_SHM)", abi.SHM_ID.size),
    Ioctl.RELAY_GET: ("PENGLAI_IOC_GET(PENGLAI_SCHRODINGER)", abi.SHM_GET.size),
    Ioctl.RELAY_ATTACH: ("PENGLAI_IOC_ATTACH(PENGLAI_SCHRODINGER)", abi.SHM_ATTACH.size),
    Ioctl.RELAY_DETACH: ("PENGLAI_IOC_DETACH(PENGLAI_SCHRODINGER)", abi.SHM_DETACH.size),
    Ioctl.RELAY_REMOVE: ("PENGLAI_IOC_REMOVE(PENGLAI_SCHRODINGER)", abi.SHM_ID.size),
    Ioctl.PERSISTENCY: ("PENGLAI_ENCLAVE_IOC_PERSISTENCY_INIT", abi.SHM_ID.size),
}
# Numbers that mean nothing but what `abi` says.
TELLING: Final = {
    *(abi.ENCLAVE_CALL, abi.HOST_CALL, abi.HEAP_BASE, abi.MMAP_TOP, abi.STACK_TOP, abi.SHM_BASE, abi.KBUFFER),
}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """Headers for enclaves."""
    return _bare(["ecall.h", "eapp.h", "board.h"], list(SDK_VALUES), tmp_path_factory.mktemp("sdk"))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """Headers for kernel programs."""
    return _bare(["supervisor.h", "forge.h"], [], tmp_path_factory.mktemp("kernel"))


def _bare(names: list[str], values: list[str], folder: Path) -> Header:
    root = guest.guest_dir()
    places = ("-isystem", str(root / "include"), "-isystem", str(root / "attacks"))
    flags = (*TARGET, *FLAGS, "-nostdlib", "-Wl,--entry=main", *places)
    return headers.read(names, {name: name for name in values}, flags, folder)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """Headers for host programs: they say the same for each CPU of 64 bits, and an object is enough."""
    flags = ("-c", "-target", "x86_64-linux-musl", "-isystem", str(guest.host_dir() / "include"))
    requests = {request.name: text for request, (text, _) in REQUESTS.items()}
    values = {**{name: name for name in HOST_VALUES}, **requests}
    return headers.read(["penglai-enclave.h"], values, flags, tmp_path_factory.mktemp("host"))


def named(header: Header, prefix: str) -> dict[str, int]:
    """The numbers whose names start so, without that."""
    found = header.enumerators.items()
    return {name.removeprefix(prefix): value for name, value in found if name.startswith(prefix)}


def laid_out(*formats: Struct) -> list[tuple[int, int]]:
    """Offset and size of each field."""
    fields, at = [], 0
    for count, kind in re.findall(r"(\d*)([a-zQ])", "".join(one.format.strip("<") for one in formats)):
        repeat, size = (1, int(count)) if kind in "sx" and count else (int(count or 1), calcsize(f"<{kind}"))
        for _ in range(repeat):
            if kind != "x":
                fields.append((at, size))
            at += size
    return fields


def without_padding(members: list[Member]) -> list[Member]:
    return [member for member in members if member.name != "padding"]


def test_calls_of_enclaves(sdk: Header) -> None:
    assert named(sdk, "CALL_") == {SDK_NAMES.get(call.name, call.name): call for call in Call}
    assert named(sdk, "OCALL_") == {ocall.name: ocall for ocall in Ocall}
    assert sdk.values == SDK_VALUES


def test_calls_of_kernels(kernel: Header) -> None:
    assert named(kernel, "CALL_") == {call.name: call for call in HostCall}
    assert named(kernel, "SET_") == {kind.name: kind for kind in SetPte}
    statuses = [Status.TIMER, Status.OCALL, Status.YIELD, Status.WAITING]
    assert named(kernel, "STATUS_") == {status.name: status for status in statuses}
    kinds = ("NORMAL", "SERVER_TYPE", "SHADOW_TYPE", "CONCURRENT_SERVER_TYPE")
    assert [kernel.enumerators[name] for name in kinds] == list(EnclaveType)


def test_requests_of_host_programs(host: Header) -> None:
    assert set(REQUESTS) == set(Ioctl)
    for request, (_, size) in REQUESTS.items():
        code = host.values[request.name]
        parts = (code & 0xFF, code >> 8 & 0xFF, code >> 16 & 0x3FFF)
        assert parts == (request, abi.IOCTL_TYPE, size), request
    assert {name: host.values[name] for name in HOST_VALUES} == HOST_VALUES
    kinds = [host.enumerators[f"{kind.name}_ENCLAVE"] for kind in EnclaveType]
    assert kinds == list(EnclaveType)


@pytest.mark.parametrize(
    ("where", "structure", "names", "formats"),
    [
        ("sdk", "call_enclave_arg_t", abi.CallStruct._fields, [abi.CALL_STRUCT]),
        ("sdk", "report_t", None, [abi.REPORT]),
        ("kernel", "create_params", abi.CreateParams._fields, [abi.CREATE_PARAMS]),
        ("kernel", "run_shadow_params", abi.RunShadowParams._fields, [abi.RUN_SHADOW_PARAMS]),
        ("host", "report_t", None, [abi.REPORT]),
        ("host", "penglai_enclave_user_param", abi.UserParam._fields, [abi.USER_PARAM]),
        ("host", "penglai_enclave_attest_param", None, [abi.ATTEST_HEAD, abi.REPORT]),
        ("host", "penglai_shmget_param", None, [abi.SHM_GET]),
        ("host", "penglai_shmat_param", None, [abi.SHM_ATTACH]),
        ("host", "penglai_shmdt_param", None, [abi.SHM_DETACH]),
        ("host", "penglai_shmctl_param", None, [abi.SHM_ID]),
    ],
)
def test_structures(
    request: pytest.FixtureRequest,
    where: str,
    structure: str,
    names: tuple[str, ...] | None,
    formats: list[Struct],
) -> None:
    header: Header = request.getfixturevalue(where)
    members = without_padding(header.structures[structure])
    assert [(member.offset, member.size) for member in members] == laid_out(*formats)
    assert header.sizes[structure] == sum(one.size for one in formats)
    if names is not None:
        assert tuple(member.name for member in members) == names


def test_pages_of_the_interface_are_pages_of_the_hart() -> None:
    assert abi.PAGE == memory.PAGE


def _numbers(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in TELLING:
            yield file.name, node.value


def test_no_other_file_has_them() -> None:
    package = Path(pltvm.__file__).parent
    others = [file for file in sorted(package.rglob("*.py")) if file != Path(abi.__file__)]
    assert [found for file in others for found in _numbers(file)] == []
