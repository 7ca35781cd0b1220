"""Sending and receiving through sockets: bytes, messages, passed files."""

from collections.abc import Iterator
from contextlib import suppress
from errno import EAGAIN, EINVAL, EMSGSIZE, EOPNOTSUPP, EPERM, ESRCH
from typing import Annotated, Final

from pltvm.host.linux.arguments import Address, At, Buffer, Bytes, Flags, Int, Size, Unsigned, signed32
from pltvm.host.linux.calls.files import LARGEST_IO, gather, scatter, send, vectors_at
from pltvm.host.linux.calls.poll import TimeoutAt
from pltvm.host.linux.calls.sockets import NameAt, SocketFd, node_of, read_address, write_address
from pltvm.host.linux.credentials import CAP_SETUID
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets import names
from pltvm.host.linux.files.sockets.file import SocketFile
from pltvm.host.linux.files.sockets.names import AF_UNIX, Name
from pltvm.host.linux.files.sockets.socket import (
    SO_PASSCRED,
    SOL_SOCKET,
    Credentials,
    Outgoing,
    Received,
)
from pltvm.host.linux.files.sockets.unix import UnixDatagrams
from pltvm.host.linux.open_flags import O_NONBLOCK
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import (
    CMSGHDR,
    MMSGHDR,
    MSGHDR,
    TIMESPEC,
    UCRED,
    CmsgHdr,
    MsgHdr,
    UCred,
)
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds
from pltvm.host.linux.waits import Blocked

SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
MSG_OOB, MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT = 1, 2, 8, 0x20, 0x40
MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_WAITFORONE = 0x100, 0x2000, 0x4000, 0x10000
MSG_CMSG_CLOEXEC: Final = 0x4000_0000
MOST_FILES: Final = 253  # in one message
MOST_MESSAGES: Final = 1024  # of one call
LARGEST_CONTROL: Final = 1 << 17  # bytes
_NAMES: Final = {
    "MSG_OOB": 1, "MSG_PEEK": 2, "MSG_DONTROUTE": 4, "MSG_CTRUNC": 8, "MSG_TRUNC": 0x20, "MSG_DONTWAIT": 0x40,
    "MSG_EOR": 0x80, "MSG_WAITALL": 0x100, "MSG_CONFIRM": 0x800, "MSG_ERRQUEUE": 0x2000,
    "MSG_NOSIGNAL": 0x4000, "MSG_MORE": 0x8000, "MSG_WAITFORONE": 0x10000, "MSG_FASTOPEN": 0x2000_0000,
    "MSG_CMSG_CLOEXEC": MSG_CMSG_CLOEXEC,
}  # fmt: skip
MessageFlags = Annotated[int, Flags(_NAMES, others=0xFFFF_FFFF)]
MessageAt = Annotated[int, At(MSGHDR)]


def _at_once(file: SocketFile, flags: int) -> bool:
    return bool(file.flags & O_NONBLOCK or flags & MSG_DONTWAIT)


# -- sending -------------------------------------------------------------------------------------------------


def _send(
    system: System,
    thread: Thread,
    file: SocketFile,
    data: bytes,
    flags: int,
    to: Name | None = None,
    control: tuple[tuple[int, ...], Credentials | None] = ((), None),
) -> int:
    """Send all of the data; in a stream, files go with the first part."""
    if flags & MSG_OOB:
        raise LinuxError(EOPNOTSUPP)
    transport, at_once, stream = file.transport, _at_once(file, flags), file.contents.is_stream
    node = node_of(system, thread, to) if to is not None and isinstance(transport, UnixDatagrams) else 0
    total = len(data)

    def part(rest: bytes) -> int:
        files = control[0] if len(rest) == total else ()
        message = Outgoing(rest, to, files, control[1])
        if isinstance(transport, UnixDatagrams):
            return transport.send(file.socket, message, at_once, node)
        return transport.send(file.socket, message, at_once)

    if not stream:
        return part(data)
    return send(system, thread, file, data, part, quiet=bool(flags & MSG_NOSIGNAL))


def _destination(thread: Thread, file: SocketFile, address: int, size: int) -> Name | None:
    """Return the destination of a message, None if it is missing or ignored; raises LinuxError."""
    if not address or not size:
        return None
    raw = read_address(thread, address, size)
    socket = file.contents
    if socket.family != AF_UNIX and socket.is_stream:
        return None
    return file.transport.parse(socket, raw)


@system_call(206)
def sendto(
    system: System,
    thread: Thread,
    file: SocketFd,
    buffer: Bytes,
    size: Size,
    flags: MessageFlags,
    address: NameAt,
    address_size: Int,
) -> int:
    """Send bytes; a datagram may go to an address."""
    if not file.contents.is_stream and size > LARGEST_IO:
        raise LinuxError(EMSGSIZE)
    to = _destination(thread, file, address, address_size)
    return _send(system, thread, file, thread.space.read(buffer, min(size, LARGEST_IO)), flags, to)


def _controls(thread: Thread, header: MsgHdr) -> Iterator[tuple[CmsgHdr, bytes]]:
    """Yield the control messages of a message; raises LinuxError(EINVAL) for invalid ones."""
    if header.control_size > LARGEST_CONTROL:
        raise LinuxError(EINVAL)
    if not header.control:
        return
    raw, at = thread.space.read(header.control, header.control_size), 0
    while at + CMSGHDR.size <= len(raw):
        one = CMSGHDR.unpack(raw[at:])
        if not CMSGHDR.size <= one.size <= len(raw) - at:
            raise LinuxError(EINVAL)
        yield one, raw[at + CMSGHDR.size : at + one.size]
        at += (one.size + 7) & ~7


def _attached(
    system: System, thread: Thread, file: SocketFile, header: MsgHdr
) -> tuple[tuple[int, ...], Credentials | None]:
    """Return the files and credentials passed with a message; raises LinuxError."""
    files: list[int] = []
    sender: Credentials | None = None
    for one, data in _controls(thread, header):
        if one.level != SOL_SOCKET or file.contents.family != AF_UNIX:
            continue
        if one.type == SCM_RIGHTS:
            for at in range(0, len(data) - len(data) % 4, 4):
                sent = thread.process.file(int.from_bytes(data[at : at + 4], "little", signed=True))
                files.append(sent.number)
            if len(files) > MOST_FILES:
                raise LinuxError(EINVAL)
        elif one.type == SCM_CREDENTIALS:
            if len(data) != UCRED.size:
                raise LinuxError(EINVAL)
            given = UCRED.unpack(data)
            sender = (given.pid, given.uid, given.gid)
            if given.pid not in system.processes:
                raise LinuxError(ESRCH)
            own = thread.process.state.credentials
            if not own.may(CAP_SETUID) and (given.uid not in own.user or given.gid not in own.group):
                raise LinuxError(EPERM)
        else:
            raise LinuxError(EINVAL)
    return tuple(files), sender


def _send_message(system: System, thread: Thread, file: SocketFile, header: MsgHdr, flags: int) -> int:
    to = _destination(thread, file, header.name, signed32(header.name_size))
    buffers = vectors_at(thread, header.vectors, min(header.buffers, 1 << 30))
    data = gather(thread, buffers) if buffers else b""
    return _send(system, thread, file, data, flags, to, _attached(system, thread, file, header))


def _header(thread: Thread, address: int) -> MsgHdr:
    return MSGHDR.unpack(thread.space.read(address, MSGHDR.size))


@system_call(211)
def sendmsg(system: System, thread: Thread, file: SocketFd, message: MessageAt, flags: MessageFlags) -> int:
    """Send a message, of several buffers, with files."""
    return _send_message(system, thread, file, _header(thread, message), flags)


@system_call(269)
def sendmmsg(
    system: System, thread: Thread, file: SocketFd, messages: Address, count: Unsigned, flags: MessageFlags
) -> int:
    """Send several messages; only the first one waits."""
    done = 0
    for at in range(messages, messages + MMSGHDR.size * min(count, MOST_MESSAGES), MMSGHDR.size):
        try:
            size = _send_message(
                system, thread, file, _header(thread, at), flags | (MSG_DONTWAIT if done else 0)
            )
            thread.space.write(at + MSGHDR.size, size.to_bytes(4, "little"))
        except LinuxError:
            if not done:
                raise
            break
        done += 1
    return done


# -- receiving -----------------------------------------------------------------------------------------------


def _receive(file: SocketFile, size: int, flags: int) -> Received:
    if flags & MSG_ERRQUEUE:
        raise LinuxError(EAGAIN)
    if flags & MSG_OOB:
        raise LinuxError(EOPNOTSUPP if file.contents.family == AF_UNIX else EINVAL)
    return file.transport.receive(file.socket, size, _at_once(file, flags), bool(flags & MSG_PEEK))


def _receive_all(thread: Thread, file: SocketFile, buffers: list[tuple[int, int]], flags: int) -> Received:
    """Fill buffers from a stream: received bytes are stored before waiting for the rest."""
    size = sum(size for _, size in buffers)
    received, state = Received(b""), thread.state
    while state.done < size:
        try:
            received = _receive(file, size - state.done, flags)
        except LinuxError:
            if not state.done:
                raise
            break
        if not received.data:
            break
        scatter(thread, _behind(buffers, state.done), received.data)
        state.done += len(received.data)
        if received.files:
            break
    done, state.done = state.done, 0
    return received._replace(length=done)


def _behind(buffers: list[tuple[int, int]], done: int) -> list[tuple[int, int]]:
    """Return the rest of buffers whose first bytes are filled."""
    rest = []
    for buffer, size in buffers:
        used = min(size, done)
        done -= used
        if used < size:
            rest.append((buffer + used, size - used))
    return rest


def _into(
    thread: Thread, file: SocketFile, buffers: list[tuple[int, int]], flags: int
) -> tuple[Received, int, int]:
    """Receive into buffers; return the message, the result of the call, and whether it was cut
    (MSG_TRUNC)."""
    stream = file.contents.is_stream
    if stream and flags & MSG_WAITALL and not flags & (MSG_PEEK | MSG_DONTWAIT):
        received = _receive_all(thread, file, buffers, flags)
        return received, received.length, 0
    received = _receive(file, sum(size for _, size in buffers), flags)
    if not (stream and flags & MSG_TRUNC and file.contents.family != AF_UNIX):  # TCP discards it
        try:
            scatter(thread, buffers, received.data)
        except LinuxError:
            if received.files and not flags & MSG_PEEK:
                file.sockets.landed(received.files)
            raise
    cut = MSG_TRUNC if received.length > len(received.data) else 0
    return received, received.length if flags & MSG_TRUNC and not stream else len(received.data), cut


@system_call(207)
def recvfrom(
    system: System,
    thread: Thread,
    file: SocketFd,
    buffer: Buffer,
    size: Size,
    flags: MessageFlags,
    address: Address,
    address_size: Address,
) -> int:
    """Receive bytes, and the sender of a datagram."""
    received, result, _ = _into(thread, file, [(buffer, min(size, LARGEST_IO))], flags)
    if received.files and not flags & MSG_PEEK:
        file.sockets.landed(received.files)
    if address:
        write_address(thread, address, address_size, _source(file, received))
    return result


def _source(file: SocketFile, received: Received) -> bytes:
    """Return the sender's address; empty for a stream."""
    socket = file.contents
    if socket.is_stream and socket.family != AF_UNIX:
        return b""
    if socket.family == AF_UNIX and received.source is None:
        if socket.is_stream and socket.remote is not None:
            return names.packed(socket.remote, AF_UNIX)
        return b""
    return names.packed(received.source, socket.family)


class _Control:
    """A buffer that control messages are written to."""

    def __init__(self, room: int) -> None:
        self.data = b""
        self.room = room
        self.cut = False

    def left(self) -> int:
        """Bytes of content that still fit."""
        return self.room - len(self.data) - CMSGHDR.size

    def put(self, kind: int, content: bytes) -> None:
        """Add a control message, as far as there is room."""
        left = self.left()
        if left < 0:
            self.cut = True
            return
        self.cut |= left < len(content)
        content = content[:left]
        header = CMSGHDR.pack(CmsgHdr(CMSGHDR.size + len(content), SOL_SOCKET, kind))
        one = header + content
        self.data += one.ljust(min((len(one) + 7) & ~7, self.room - len(self.data)), b"\0")


def _put_files(
    system: System, thread: Thread, control: _Control, files: tuple[int, ...], closes: bool
) -> None:
    """Add descriptors for received files, as many as there is room for."""
    numbers: list[int] = []
    most = max(control.left(), 0) // 4
    for number in files[:most]:
        try:
            numbers.append(thread.process.add(system.open_files[number], closes))
        except LinuxError:
            break
    if numbers:
        control.put(SCM_RIGHTS, b"".join(one.to_bytes(4, "little") for one in numbers))
    control.cut |= len(numbers) < len(files)


def _receive_message(system: System, thread: Thread, file: SocketFile, at: int, flags: int) -> int:
    header = _header(thread, at)
    buffers = vectors_at(thread, header.vectors, min(header.buffers, 1 << 30))
    if header.name and signed32(header.name_size) < 0:
        raise LinuxError(EINVAL)
    received, result, told = _into(thread, file, buffers, flags)
    room = min(header.control_size, LARGEST_CONTROL) if header.control else 0
    control = _Control(room)
    if file.contents.option(SO_PASSCRED) and file.contents.family == AF_UNIX:
        control.put(SCM_CREDENTIALS, UCRED.pack(UCred(*received.sender)))
    try:
        if received.files:
            _put_files(system, thread, control, received.files, bool(flags & MSG_CMSG_CLOEXEC))
    finally:
        if received.files and not flags & MSG_PEEK:
            file.sockets.landed(received.files)
    told |= (MSG_CTRUNC if control.cut else 0) | flags & MSG_CMSG_CLOEXEC
    source = _source(file, received)
    if header.name:
        thread.space.write(header.name, source[: header.name_size])
    thread.space.write(header.control, control.data)
    size = len(source) if header.name else header.name_size
    new = header._replace(name_size=size, control_size=len(control.data), flags=told)
    thread.space.write(at, MSGHDR.pack(new))
    return result


@system_call(212)
def recvmsg(system: System, thread: Thread, file: SocketFd, message: MessageAt, flags: MessageFlags) -> int:
    """Receive a message, into several buffers, with files."""
    return _receive_message(system, thread, file, message, flags)


@system_call(243)
def recvmmsg(
    system: System,
    thread: Thread,
    file: SocketFd,
    messages: Address,
    count: Unsigned,
    flags: MessageFlags,
    timeout: TimeoutAt,
) -> int:
    """Receive several messages: all, or until a timeout, which is checked after each message."""
    deadline, state = None, thread.state
    if timeout:
        time = nanoseconds(TIMESPEC.unpack(thread.space.read(timeout, TIMESPEC.size)))
        deadline = thread.deadline(system.clock, time)
    done, state.done = state.done, 0
    count = min(count, MOST_MESSAGES)
    while done < count:
        at = messages + MMSGHDR.size * done
        now = flags | (MSG_DONTWAIT if done and flags & MSG_WAITFORONE else 0)
        try:
            size = _receive_message(system, thread, file, at, now & ~MSG_WAITALL)
        except Blocked:
            state.done = done
            raise
        except LinuxError:
            if not done:
                raise
            break
        with suppress(LinuxError):
            thread.space.write(at + MSGHDR.size, size.to_bytes(4, "little"))
        done += 1
        if deadline is not None and system.clock.monotonic() >= deadline:
            break
    return done
