"""The open enclave device: copies requests in, serves them, and copies results back (§8)."""

import stat
from errno import EFAULT, EPERM
from typing import Any, NamedTuple

from pltvm.host.kept import Kind
from pltvm.host.linux.device import EnclaveDevice
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import DEVICES, File, Status
from pltvm.host.linux.process import Thread
from pltvm.host.linux.requests import (
    MOST_BYTES,
    PATH,
    REQUESTS,
    AttachParam,
    DetachParam,
    GetParam,
    IdParam,
    Refused,
)
from pltvm.host.linux.shared_ids import SharedIds
from pltvm.monitor import abi
from pltvm.monitor.abi import Ioctl


class Ready(NamedTuple):
    """Memory prepared by `attach`: an entry of `SharedIds`."""

    kind: Kind
    id: int
    serial: int


class EnclaveFile(File):
    """The open device. Memory prepared by `attach` is mapped by the next mmaps of this descriptor."""

    kind = PATH
    mode = stat.S_IFCHR | 0o600

    def __init__(self, device: EnclaveDevice, ready: Ready | None, flags: int) -> None:
        super().__init__(flags)
        self._device = device
        self.ready = ready

    def status(self) -> Status:
        return Status(self.mode, inode=10, device=DEVICES, kind_of_device=10 << 8 | 60)  # a misc device

    def name(self) -> bytes:
        return PATH.encode()

    def save(self) -> Any:
        return self.ready

    def pages_to_map(self, size: int) -> int:
        """Return the physical address of the memory attached last; raises LinuxError if it is smaller."""
        if self.ready is None:
            raise LinuxError(EPERM)
        entry = self._ids(self.ready.kind).of_serial(self.ready.id, self.ready.serial)
        if entry is None or size > entry.size:
            raise LinuxError(EPERM)
        return entry.pa

    def _ids(self, kind: Kind) -> SharedIds:
        return self._device.shm if kind is Kind.SHARED else self._device.relays

    def ioctl(self, thread: Thread, request: int, address: int) -> int | None:
        """Do a request; return the result, or None when the thread waits for an enclave. Raises
        LinuxError."""
        device, space = self._device, thread.space
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        layout = REQUESTS.get(number) if request >> 8 & 0xFF == abi.IOCTL_TYPE else None
        name = layout.name if layout is not None else f"{request:#x}"
        param = None
        try:
            if size > MOST_BYTES:
                raise Refused(EFAULT, f"a struct of {size} bytes")
            try:
                raw = space.read(address, max(size, layout.struct.size if layout is not None else 0))
            except LinuxError as error:
                raise Refused(error.number, f"the struct at {address:#x} can not be read") from None
            if layout is None:
                raise Refused(EFAULT, "there is no such request")
            param = layout.unpack(raw)
            if number == Ioctl.RUN:
                device.run(thread, address, param)
                return None
            result, param = self._serve(thread, number, param)
        except LinuxError as error:
            refused = error if isinstance(error, Refused) else Refused(EFAULT, "user memory can not be read")
            device.failures.note(name, param, refused)
            result = -refused.number
        if layout is not None and param is not None:
            space.write(address, layout.struct.pack(*param))
        return result

    def _serve(self, thread: Thread, number: int, param: Any) -> tuple[int, Any]:
        """Return the result of a request, and its struct to be copied back."""
        device = self._device
        if number == Ioctl.CREATE:
            return 0, device.create(thread.process, param)
        if number == Ioctl.STOP:
            return 0, device.stop(param)
        if number == Ioctl.RESUME:
            return 0, device.resume(param)
        if number == Ioctl.DESTROY:
            return 0, device.destroy(param)
        if number == Ioctl.ATTEST:
            return 0, device.attest(param)
        if number == Ioctl.PERSISTENCY:
            device.name_persistent(param.id)
            return 0, param
        kind = Kind.SHARED if number <= Ioctl.SHM_REMOVE else Kind.RELAY
        return self._shared(self._ids(kind), param)

    def _shared(
        self, ids: SharedIds, param: GetParam | AttachParam | DetachParam | IdParam
    ) -> tuple[int, GetParam | AttachParam | DetachParam | IdParam]:
        """Do get, attach, detach or remove of shared memory or relay pages."""
        match param:
            case GetParam():
                return ids.get(param.key, param.size), param
            case AttachParam():
                entry = ids.attach(param.id)
                self.ready = Ready(ids.kind, entry.id, entry.serial)
                return 0, param._replace(size=entry.size)
            case DetachParam():
                size = ids.detach(param.id)
                self.ready = None
                return 0, param._replace(size=size)
        ids.remove(param.id)
        return 0, param
