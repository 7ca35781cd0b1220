"""The requests of the enclave device (§8): their numbers, names and structs, and a record of failed ones."""

import os
from collections import Counter
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, NamedTuple

from pltvm.host.linux.errors import LinuxError
from pltvm.monitor import abi
from pltvm.monitor.abi import Ioctl, UserParam

PATH: Final = "/dev/penglai_enclave_dev"
MOST_BYTES: Final = 1024  # of a struct
_KEPT: Final = 100  # failed requests


class Refused(LinuxError):
    """The failure of a request, with an error number and a reason."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number)
        self.reason = reason


class AttestParam(NamedTuple):
    """`attest_param` without its report, which follows."""

    eid: int
    is_shadow: int
    nonce: int
    report: bytes


class GetParam(NamedTuple):
    """The struct of shm get and relay get; `size` in bytes."""

    key: int
    size: int
    flags: int


class AttachParam(NamedTuple):
    """The struct of attach; `size` is written."""

    id: int
    addr: int
    size: int
    flags: int


class DetachParam(NamedTuple):
    """The struct of detach; `size` is written."""

    id: int
    addr: int
    size: int


class IdParam(NamedTuple):
    """The struct of remove and of persistency init."""

    id: int


Param = UserParam | AttestParam | GetParam | AttachParam | DetachParam | IdParam


@dataclass(frozen=True, slots=True)
class Layout:
    """The name of a request, and its struct."""

    name: str
    struct: Struct
    kind: type[Any]

    def unpack(self, raw: bytes) -> Any:
        """Return the struct at the start of `raw`."""
        return self.kind(*self.struct.unpack_from(raw))


_ON_ENCLAVES: Final = {
    Ioctl.CREATE: "create", Ioctl.RUN: "run", Ioctl.STOP: "stop", Ioctl.RESUME: "resume",
    Ioctl.DESTROY: "destroy",
}  # fmt: skip
_ON_MEMORY: Final = {Ioctl.SHM_GET: "shm", Ioctl.RELAY_GET: "relay"}
REQUESTS: Final[dict[int, Layout]] = {
    **{number: Layout(name, abi.USER_PARAM, UserParam) for number, name in _ON_ENCLAVES.items()},
    Ioctl.ATTEST: Layout("attest", Struct(f"{abi.ATTEST_HEAD.format}{abi.REPORT.size}s"), AttestParam),
    Ioctl.PERSISTENCY: Layout("persistency init", abi.SHM_ID, IdParam),
}
for _first, _what in _ON_MEMORY.items():
    REQUESTS[_first] = Layout(f"{_what} get", abi.SHM_GET, GetParam)
    REQUESTS[_first + 1] = Layout(f"{_what} attach", abi.SHM_ATTACH, AttachParam)
    REQUESTS[_first + 2] = Layout(f"{_what} detach", abi.SHM_DETACH, DetachParam)
    REQUESTS[_first + 3] = Layout(f"{_what} remove", abi.SHM_ID, IdParam)


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that failed: its name, its struct by field, the error number, and why."""

    name: str
    param: dict[str, Any]
    error: int
    reason: str

    def __str__(self) -> str:
        fields = ", ".join(f"{name} {_shown(value)}" for name, value in self.param.items())
        return f"ioctl {self.name} {{{fields}}} gave {os.strerror(self.error)}: {self.reason}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(abi.clean_name(value).decode("ascii", "backslashreplace"))
    return str(value) if -10 < value < 10 else f"{value:#x}"


@dataclass(slots=True)
class Failures:
    """The failed requests of one program: the first ones, and a count of each kind."""

    kept: list[FailedRequest] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, param: Param | None, refused: Refused) -> None:
        """Add a failed request."""
        self.counts[name] += 1
        if len(self.kept) < _KEPT:
            fields = {} if param is None else {k: v for k, v in param._asdict().items() if k != "report"}
            self.kept.append(FailedRequest(name, fields, refused.number, refused.reason))
