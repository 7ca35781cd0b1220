"""Every example runs and prints what it should; the servers among them survive whatever clients send."""

import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pltvm import Enclave, EnclaveType, Machine, Result, SharedMemory
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.engine.memory import PAGE
from pltvm.monitor.abi import Status
from pltvm.monitor.audit import audit

EXAMPLES = guest.examples()
RAM = 64 << 20
SLOT = 5 * PAGE  # tests/guest/send.c

OPEN, CLOSE, READ, WRITE, SIZE, REMOVE, RENAME, FS_LIST = range(1, 9)  # fs_protocol.h
CAN_READ, CAN_WRITE, CREATE, EXCLUSIVE, TRUNCATE, APPEND = (1 << bit for bit in range(6))
PUT, GET, DELETE, KV_LIST = range(1, 5)  # kv_protocol.h
OK, NOT_FOUND, BAD_OPERATION, NO_PAGES, BAD_KEY, BAD_SIZE, FULL, TOO_SMALL = range(8)

Request = tuple[int, bytes | None]  # operation, content of the pages


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine(RAM)
    yield machine
    assert audit(machine.monitor.state) == []


def run(machine: Machine, elf: Path | bytes, **options: bytes) -> Result:
    """Run a client to its end, which has to come."""
    return machine.create(elf, **options).run(timeout=60)  # type: ignore[arg-type]


def fs_server(machine: Machine, shm: SharedMemory | None = None) -> Enclave:
    elf = EXAMPLES["fs-server"].elf
    return machine.create(elf, name="filesystem", type=EnclaveType.SERVER, shm=shm)


def kv_server(machine: Machine) -> Enclave:
    return machine.create(EXAMPLES["kv-server"].elf, name="kv-store", type=EnclaveType.SERVER)


@dataclass
class Answer:
    """What came back of a request."""

    value: int
    pages: bytes


@dataclass
class Sender:
    """Sends requests as one client, each time a new one."""

    machine: Machine
    elf: bytes
    server: bytes

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        shm = bytearray(struct.pack("<16sQ", self.server, len(requests)).ljust(PAGE, b"\0"))
        for operation, content in requests:
            pages = -(-len(content) // PAGE) if content is not None else 0
            shm += struct.pack("<2Q", operation, pages).ljust(PAGE, b"\0")
            shm += (content or b"").ljust(SLOT - PAGE, b"\0")
        result = run(self.machine, self.elf, shm=bytes(shm))
        assert (result.status, result.fault, result.retval) == ("exited", None, 0)
        assert result.shm is not None
        answers = []
        for at, (_, content) in zip(range(PAGE, len(shm), SLOT), requests, strict=True):
            _, pages, failed, value, came_back = struct.unpack_from("<3QqQ", result.shm, at)
            assert not failed
            assert came_back == (content is not None), "pages come back, whatever was wrong with the request"
            answers.append(Answer(value, result.shm[at + PAGE : at + PAGE * (1 + pages)]))
        return answers

    def values(self, requests: Sequence[Request]) -> list[int]:
        return [answer.value for answer in self(requests)]


@pytest.fixture
def fs(machine: Machine, build_guest: Callable[[str], bytes]) -> Sender:
    fs_server(machine)
    return Sender(machine, build_guest("send"), b"filesystem")


@pytest.fixture
def kv(machine: Machine, build_guest: Callable[[str], bytes]) -> Sender:
    kv_server(machine)
    return Sender(machine, build_guest("send"), b"kv-store")


def fs_request(
    operation: int,
    name: bytes = b"",
    *,
    handle: int = 0,
    flags: int = 0,
    offset: int = 0,
    size: int | None = None,
    new_name: bytes = b"",
    data: bytes = b"",
    room: int = 2,
) -> Request:
    """One page for the request and `room` for the data; `size` is that of the data unless given."""
    size = len(data) if size is None else size
    head = struct.pack("<4Q64s64s", handle, flags, offset, size, name, new_name)
    return operation, head.ljust(PAGE, b"\0") + data.ljust(room * PAGE, b"\0")


def kv_request(
    operation: int, key: bytes = b"", value: bytes = b"", *, size: int | None = None, room: int = 1
) -> Request:
    size = len(value) if size is None else size
    return operation, struct.pack("<Q32s", size, key).ljust(PAGE, b"\0") + value.ljust(room * PAGE, b"\0")


def content(fs: Sender, name: bytes) -> bytes:
    """The start of a file, read by a client of its own. Handles of earlier clients that are open stay so."""
    reads = [fs_request(READ, handle=handle, size=2 * PAGE) for handle in range(64)]
    opened, *answers = fs([fs_request(OPEN, name, flags=CAN_READ), *reads])
    answer = answers[opened.value]
    return answer.pages[PAGE : PAGE + answer.value]


NEW = CAN_READ | CAN_WRITE | CREATE
LARGEST_FILE = 92 * PAGE


# -- examples ------------------------------------------------------------------------------------------------


def test_every_example_says_what_it_does() -> None:
    for example in EXAMPLES.values():
        assert 20 < len(example.summary) < 170
        assert example.summary.endswith(".")


def test_hello_world(machine: Machine) -> None:
    assert run(machine, EXAMPLES["hello-world"].elf).output == "hello world\n"


def test_memory(machine: Machine) -> None:
    assert run(machine, EXAMPLES["memory"].elf).output == "memory: ok\n"


def test_caller_and_chain(machine: Machine) -> None:
    caller = EXAMPLES["caller"].elf
    result = run(machine, caller)
    assert (result.retval, "create one first" in result.output) == (1, True)

    machine.create(EXAMPLES["server"].elf, name="test-server", type=EnclaveType.SERVER)
    result = run(machine, caller)
    assert result.retval == 0
    assert "[caller] req sum 0x1000\n[caller] resp sum 0x2000\n" in result.output

    machine.create(EXAMPLES["server1"].elf, name="test-server1", type=EnclaveType.SERVER)
    result = run(machine, caller)
    assert result.retval == 0
    assert "[server1] value 0x2\n" in result.output
    assert "[caller] req sum 0x2000\n[caller] resp sum 0x2000\n" in result.output


def test_wordcount_without_files(machine: Machine) -> None:
    result = run(machine, EXAMPLES["wordcount"].elf)
    assert result.retval == 0
    assert result.output == (
        "wordcount: no files (No such server), counting a text of my own\n"
        "10 different words\n     4 a\n     4 wood\n     4 woodchuck\n     3 chuck\n     3 could\n"
    )


def test_wordcount_with_files(machine: Machine) -> None:
    fs_server(machine)
    result = run(machine, EXAMPLES["wordcount"].elf)
    assert result.output.startswith("wordcount: 4 lines in rhyme.txt\n10 different words\n     4 a\n")


FS_OUTPUT = """\
[fs] run {runs}
[fs] notes: first line
[fs] notes: line number 2
[fs] notes: appended
[fs] notes: 34 bytes
[fs] notes: first LINE
[fs] notes: line number 2
[fs] notes: appended
[fs] large: 40000 bytes, 0 wrong
[fs]      2 runs
[fs]     34 notes
[fs]  40000 squares
[fs] notes: No such file
"""


def test_files_outlive_their_client(machine: Machine) -> None:
    client = EXAMPLES["fs-client"].elf
    assert run(machine, client).output == "[fs] runs: No such server\n"
    server = fs_server(machine)
    for runs in (1, 2, 3):
        result = run(machine, client)
        assert (result.retval, result.output) == (0, FS_OUTPUT.format(runs=runs))
    server.destroy()
    fs_server(machine)
    assert run(machine, client).output == FS_OUTPUT.format(runs=1)


KV_OUTPUT = """\
[kv] 0 keys:
[kv] put colour: result 0
[kv] put shape: result 0
[kv] get colour: "green"
[kv] put colour: result 0
[kv] get colour: "blue"
[kv] get taste: result 1
[kv] 2 keys: colour shape
[kv] delete shape: result 0
[kv] get shape: result 1
[kv] ok
"""


def test_each_client_has_its_own_keys(machine: Machine) -> None:
    client = EXAMPLES["kv-client"].elf
    assert run(machine, client).output == "[kv] there is no kv-store: create it first\n"
    kv_server(machine)
    for _ in range(3):
        result = run(machine, client)
        assert (result.retval, result.output) == (0, KV_OUTPUT)


# -- the C library's files -----------------------------------------------------------------------------------


def test_stdio(machine: Machine, build_guest: Callable[[str], bytes], fs: Sender) -> None:
    result = run(machine, build_guest("stdio"))
    assert (result.output, result.retval) == ("stdio: ok\n", 0)
    assert content(fs, b"left open") == b"written at exit 1"


def test_a_server_that_lies(machine: Machine, build_guest: Callable[[str], bytes]) -> None:
    """Any enclave can call itself "filesystem". This one says that it did more than it was asked for."""
    machine.create(build_guest("liar"), name="filesystem", type=EnclaveType.SERVER)
    result = run(machine, EXAMPLES["wordcount"].elf)
    assert (result.status, result.retval) == ("exited", 0)
    assert "rhyme.txt: Input/output error\nwordcount: 0 lines in rhyme.txt\n" in result.output


def test_failed_assertion(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(
        '#include <assert.h>\n#include "eapp.h"\nint EAPP_ENTRY main() { assert(1 > 2); return 7; }\n'
    )
    result = run(machine, build_enclave([source], tmp_path / "checked.elf"))
    assert (result.status, result.output) == ("faulted", "program.c:3: main: assertion failed: 1 > 2\n")
    result = run(machine, build_enclave([source], tmp_path / "unchecked.elf", defines={"NDEBUG": None}))
    assert (result.status, result.retval) == ("exited", 7)


# -- the file system on a disk -------------------------------------------------------------------------------


def with_disk(path: Path) -> Machine:
    machine = Machine(RAM, disk=path)
    shm = machine.shm(PAGE)
    machine.use_for_persistency(shm)
    fs_server(machine, shm)
    return machine


def test_files_outlive_the_machine(tmp_path: Path) -> None:
    client, disk = EXAMPLES["fs-client"].elf, tmp_path / "disk"
    result = run(with_disk(disk), client)
    assert result.output == "[filesystem] made a file system on the disk\n" + FS_OUTPUT.format(runs=1)
    for runs in (2, 3):
        result = run(with_disk(disk), client)
        assert result.output == "[filesystem] 1 files on the disk\n" + FS_OUTPUT.format(runs=runs)
    assert disk.stat().st_size == 4 << 20  # as it is made


def test_blocks_of_removed_files_are_free_on_the_disk(
    tmp_path: Path, build_guest: Callable[[str], bytes]
) -> None:
    """Many machines, each of which fills half the disk: nothing gets lost."""
    data = bytes(range(256)) * 32
    for _ in range(4):
        send = Sender(with_disk(tmp_path / "disk"), build_guest("send"), b"filesystem")
        writes = [fs_request(WRITE, offset=i * len(data), data=data) for i in range(45)]
        values = send.values([fs_request(OPEN, b"f", flags=NEW | TRUNCATE), *writes])
        assert values == [0, *[len(data)] * 45]
        assert send.values([fs_request(RENAME, b"f", new_name=b"g"), fs_request(REMOVE, b"g")]) == [0, 0]
    assert run(with_disk(tmp_path / "disk"), build_guest("stdio")).output.endswith("stdio: ok\n")


def test_a_disk_of_something_else_is_left_alone(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"precious" * 1024)
    result = run(with_disk(disk), EXAMPLES["fs-client"].elf)
    assert result.output == (
        "[filesystem] the disk is not usable: files are kept in memory\n" + FS_OUTPUT.format(runs=1)
    )
    assert disk.read_bytes() == b"precious" * 1024


def test_shared_memory_that_is_not_named_for_persistency(tmp_path: Path) -> None:
    machine = Machine(RAM, disk=tmp_path / "disk")
    fs_server(machine, machine.shm(PAGE))
    assert run(machine, EXAMPLES["fs-client"].elf).output == FS_OUTPUT.format(runs=1)
    assert not (tmp_path / "disk").exists()


INODES, INODE, SIZE_AT, BLOCKS_AT = 2 * PAGE, 256, 64, 72  # fs-image.h


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (SIZE_AT, LARGEST_FILE + 1),
        (SIZE_AT, 0xFFFF_FFFF),
        (BLOCKS_AT, 1),
        (BLOCKS_AT, 255),
        (BLOCKS_AT, 0xFFFF),
        (BLOCKS_AT, 7 << 16 | 7),
        (60, 0x41414141),
        (0, 0x0A0A0A0A),
    ],
)
def test_damaged_inodes_are_dropped(
    tmp_path: Path, build_guest: Callable[[str], bytes], at: int, value: int
) -> None:
    disk = tmp_path / "disk"
    send = Sender(with_disk(disk), build_guest("send"), b"filesystem")
    name = b"n" * 63
    for handle, each in enumerate((name, b"good")):
        data = b"data of " + each[:4]
        send([fs_request(OPEN, each, flags=NEW), fs_request(WRITE, handle=handle, data=data)])
    image = bytearray(disk.read_bytes())
    struct.pack_into("<I", image, INODES + at, value)
    disk.write_bytes(image)

    send = Sender(with_disk(disk), build_guest("send"), b"filesystem")
    assert send.values([fs_request(OPEN, name, flags=CAN_READ)]) == [-errno.ENOENT]
    assert content(send, b"good") == b"data of good"
    send([fs_request(OPEN, name, flags=NEW), fs_request(WRITE, handle=1, data=b"new")])
    assert content(send, name) == b"new"
    assert content(send, b"good") == b"data of good"


def test_two_inodes_with_one_block_or_one_name(tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    disk = tmp_path / "disk"
    send = Sender(with_disk(disk), build_guest("send"), b"filesystem")
    for handle, name in enumerate((b"a", b"b")):
        send([fs_request(OPEN, name, flags=NEW), fs_request(WRITE, handle=handle, data=name)])
    for at, length in ((BLOCKS_AT, 2), (0, 64)):
        image = bytearray(disk.read_bytes())
        first, second = INODES + at, INODES + INODE + at
        image[second : second + length] = image[first : first + length]
        damaged = tmp_path / f"damaged-{at}"
        damaged.write_bytes(image)
        send = Sender(with_disk(damaged), build_guest("send"), b"filesystem")
        answers = send([fs_request(FS_LIST, size=PAGE), fs_request(OPEN, b"a", flags=CAN_READ)])
        assert [answer.value for answer in answers] == [1, 0]


# -- requests to the file system -----------------------------------------------------------------------------


def test_file_operations(fs: Sender) -> None:
    answers = fs(
        [
            fs_request(OPEN, b"f", flags=NEW),
            fs_request(WRITE, data=b"hello"),
            fs_request(READ, offset=1, size=100),
            fs_request(SIZE),
            fs_request(READ, offset=5, size=100),
            fs_request(OPEN, b"f", flags=CAN_WRITE | APPEND),
            fs_request(WRITE, handle=1, offset=2**64 - 1, data=b"!!"),
            fs_request(CLOSE, handle=1),
            fs_request(CLOSE, handle=1),
            fs_request(OPEN, b"f", flags=NEW | EXCLUSIVE),
            fs_request(RENAME, b"f", new_name=b"g"),
            fs_request(READ, size=7),
            fs_request(FS_LIST, size=PAGE),
            fs_request(REMOVE, b"g"),
            fs_request(SIZE),
        ]
    )
    values = [answer.value for answer in answers]
    assert values == [0, 5, 4, 5, 0, 1, 2, 0, -errno.EBADF, -errno.EEXIST, 0, 7, 1, 0, -errno.EBADF]
    assert answers[2].pages[PAGE : PAGE + 5] == b"ello\0"
    assert struct.unpack_from("<Q", answers[6].pages, 16) == (5,)
    assert answers[11].pages[PAGE : PAGE + 8] == b"hello!!\0"
    assert struct.unpack_from("<Q64s", answers[12].pages, PAGE) == (7, b"g".ljust(64, b"\0"))


BAD_FS_REQUESTS: dict[str, tuple[Request, int]] = {
    "operation 0": (fs_request(0), errno.ENOSYS),
    "operation 9": (fs_request(9), errno.ENOSYS),
    "large operation": (fs_request(2**64 - 1), errno.ENOSYS),
    "operation that is one in its low half": (fs_request(2**32 + OPEN), errno.ENOSYS),
    "no pages": ((OPEN, None), errno.EINVAL),
    "no pages, bad operation": ((99, None), errno.EINVAL),
    "name without NUL": (fs_request(OPEN, b"x" * 64, flags=NEW), errno.EINVAL),
    "empty name": (fs_request(OPEN, b"", flags=NEW), errno.EINVAL),
    "control character": (fs_request(OPEN, b"a\x1b", flags=NEW), errno.EINVAL),
    "remove without NUL": (fs_request(REMOVE, b"x" * 64), errno.EINVAL),
    "rename without NUL": (fs_request(RENAME, b"x" * 64, new_name=b"y"), errno.EINVAL),
    "rename to no NUL": (fs_request(RENAME, b"f", new_name=b"y" * 64), errno.EINVAL),
    "rename to nothing": (fs_request(RENAME, b"f", new_name=b""), errno.EINVAL),
    "rename what is not": (fs_request(RENAME, b"none", new_name=b"y"), errno.ENOENT),
    "unknown flag": (fs_request(OPEN, b"f", flags=64 | CAN_READ), errno.EINVAL),
    "high flag": (fs_request(OPEN, b"f", flags=1 << 63 | CAN_READ), errno.EINVAL),
    "neither read nor write": (fs_request(OPEN, b"f", flags=CREATE), errno.EINVAL),
    "truncate to read": (fs_request(OPEN, b"f", flags=CAN_READ | TRUNCATE), errno.EINVAL),
    "handle of nobody": (fs_request(READ, handle=5, size=1), errno.EBADF),
    "handle behind the table": (fs_request(READ, handle=64, size=1), errno.EBADF),
    "handle far away": (fs_request(CLOSE, handle=2**63), errno.EBADF),
    "handle -1": (fs_request(SIZE, handle=2**64 - 1), errno.EBADF),
    "read more than the pages hold": (fs_request(READ, size=2 * PAGE + 1), errno.EINVAL),
    "read without data pages": (fs_request(READ, size=1, room=0), errno.EINVAL),
    "read 2^64 - 1 bytes": (fs_request(READ, size=2**64 - 1), errno.EINVAL),
    "write more than the pages hold": (fs_request(WRITE, size=2 * PAGE + 1), errno.EINVAL),
    "write 2^63 bytes": (fs_request(WRITE, size=2**63), errno.EINVAL),
    "write behind the largest file": (fs_request(WRITE, offset=LARGEST_FILE, data=b"x"), errno.EFBIG),
    "write at 2^64 - 1": (fs_request(WRITE, offset=2**64 - 1, data=b"xx"), errno.EFBIG),
    "list more than the pages hold": (fs_request(FS_LIST, size=2 * PAGE + 1), errno.EINVAL),
}


@pytest.mark.parametrize("what", BAD_FS_REQUESTS)
def test_bad_requests_to_the_file_system(fs: Sender, what: str) -> None:
    bad, error = BAD_FS_REQUESTS[what]
    setup = [fs_request(OPEN, b"f", flags=NEW), fs_request(WRITE, data=b"kept")]
    answers = fs([*setup, bad, fs_request(READ, size=9)])
    assert [answer.value for answer in answers] == [0, 4, -error, 4]
    assert answers[3].pages[PAGE : PAGE + 4] == b"kept"
    assert fs.values([fs_request(FS_LIST, size=PAGE)]) == [1]


def test_requests_that_look_bad_but_are_not(fs: Sender) -> None:
    values = fs.values(
        [
            fs_request(OPEN, b"f", flags=NEW),
            fs_request(READ, offset=2**64 - 1, size=PAGE),
            fs_request(WRITE, offset=LARGEST_FILE - 1, data=b"xyz"),
            fs_request(READ, offset=0, size=2 * PAGE),
            fs_request(FS_LIST, offset=2**64 - 1, size=PAGE),
            fs_request(FS_LIST, size=71),
            fs_request(WRITE, offset=2**64 - 1),
        ]
    )
    assert values == [0, 0, 1, 2 * PAGE, 0, 0, 0]


def test_handles_are_of_the_client_that_opened_them(fs: Sender) -> None:
    assert fs.values([fs_request(OPEN, b"f", flags=NEW), fs_request(WRITE, data=b"x")]) == [0, 1]
    wrong = [fs_request(operation, handle=0, size=1) for operation in (READ, WRITE, SIZE, CLOSE)]
    assert fs.values(wrong) == [-errno.EBADF] * 4


def test_handles_of_clients_that_ended_are_taken_back(fs: Sender) -> None:
    for client in range(8):
        requests = [fs_request(OPEN, b"f", flags=NEW)] * 17
        values = fs.values(requests)
        first = client * 16 % 64
        assert values == [*range(first, first + 16), -errno.EMFILE]


def test_table_of_files_is_full(fs: Sender) -> None:
    requests: list[Request] = []
    for number in range(65):
        requests += [fs_request(OPEN, b"%d" % number, flags=NEW, room=0), fs_request(CLOSE, room=0)]
    values = fs.values(requests)
    assert values == [0, 0] * 64 + [-errno.ENFILE, -errno.EBADF]
    answers = fs([fs_request(FS_LIST, size=2 * PAGE), fs_request(FS_LIST, offset=60, size=2 * PAGE)])
    assert [answer.value for answer in answers] == [64, 4]


def test_new_blocks_hold_nothing_of_removed_files(fs: Sender) -> None:
    secret = b"secret" * 1000
    fs([fs_request(OPEN, b"a", flags=NEW), fs_request(WRITE, data=secret), fs_request(REMOVE, b"a")])
    answers = fs(
        [
            fs_request(OPEN, b"b", flags=NEW),
            fs_request(WRITE, offset=PAGE - 1, data=b"x"),
            fs_request(READ, size=2 * PAGE),
        ]
    )
    assert answers[2].value == PAGE
    assert answers[2].pages[PAGE : 2 * PAGE] == bytes(PAGE - 1) + b"x"


# -- requests to the key-value server ------------------------------------------------------------------------


BAD_KV_REQUESTS: dict[str, tuple[Request, int]] = {
    "operation 0": (kv_request(0, b"k"), BAD_OPERATION),
    "operation 5": (kv_request(5, b"k"), BAD_OPERATION),
    "operation that is one in its low half": (kv_request(2**32 + GET, b"k"), BAD_OPERATION),
    "no pages": ((PUT, None), NO_PAGES),
    "put without NUL": (kv_request(PUT, b"k" * 32, b"v"), BAD_KEY),
    "put an empty key": (kv_request(PUT, b"", b"v"), BAD_KEY),
    "get without NUL": (kv_request(GET, b"k" * 32), BAD_KEY),
    "delete without NUL": (kv_request(DELETE, b"k" * 32), BAD_KEY),
    "delete what is not": (kv_request(DELETE, b"none"), NOT_FOUND),
    "get what is not": (kv_request(GET, b"none"), NOT_FOUND),
    "put more than the pages hold": (kv_request(PUT, b"k", size=PAGE + 1), BAD_SIZE),
    "put 2^64 - 1 bytes": (kv_request(PUT, b"k", size=2**64 - 1), BAD_SIZE),
    "put one byte without a page": (kv_request(PUT, b"k", size=1, room=0), BAD_SIZE),
    "get without a page for the value": (kv_request(GET, b"k", room=0), TOO_SMALL),
    "list without a page": (kv_request(KV_LIST, room=0), TOO_SMALL),
}


@pytest.mark.parametrize("what", BAD_KV_REQUESTS)
def test_bad_requests_to_the_key_value_server(kv: Sender, what: str) -> None:
    bad, result = BAD_KV_REQUESTS[what]
    answers = kv([kv_request(PUT, b"k", b"kept"), bad, kv_request(GET, b"k")])
    assert [answer.value for answer in answers] == [OK, result, OK]
    assert struct.unpack_from("<Q", answers[2].pages) == (4,)
    assert answers[2].pages[PAGE : PAGE + 5] == b"kept\0"
    assert kv.values([kv_request(GET, b"k")]) == [NOT_FOUND]


def test_values_of_every_size(kv: Sender) -> None:
    values = [bytes([size % 251 + 1]) * size for size in (0, 1, PAGE, 3 * PAGE, PAGE + 1, 7)]
    requests: list[Request] = []
    for value in values:
        requests += [kv_request(PUT, b"k" * 31, value, room=3), kv_request(GET, b"k" * 31, room=3)]
    for value, answer in zip(values, kv(requests)[1::2], strict=True):
        assert answer.value == OK
        assert struct.unpack_from("<Q", answer.pages) == (len(value),)
        assert answer.pages[PAGE:] == value.ljust(3 * PAGE, b"\0")


def test_a_client_has_so_many_keys_and_no_more(kv: Sender) -> None:
    puts = [kv_request(PUT, b"key%d" % number, b"v") for number in range(65)]
    rest = [kv_request(PUT, b"key0", b"w"), kv_request(DELETE, b"key1"), puts[64], kv_request(KV_LIST)]
    answers = kv([*puts, *rest])
    assert [answer.value for answer in answers] == [OK] * 64 + [FULL] + [OK] * 4
    assert struct.unpack_from("<Q", answers[-1].pages) == (64,)
    keys = {answers[-1].pages[at : at + 32].rstrip(b"\0") for at in range(PAGE, PAGE + 64 * 32, 32)}
    assert keys == {b"key%d" % number for number in range(65) if number != 1}


def test_memory_is_used_up_but_the_server_lives(kv: Sender) -> None:
    puts = [kv_request(PUT, b"key%d" % number, b"v" * 3 * PAGE, room=3) for number in range(64)]
    results = [kv.values(puts) for _ in range(7)]
    assert results[0] == [OK] * 64
    assert results[-1] == [FULL] * 64
    assert sum(result.count(OK) for result in results) == (4 << 20) // (3 * PAGE)
    assert kv.values([kv_request(PUT, b"small", b"v"), kv_request(GET, b"small")]) == [OK, OK]


# -- servers that are called concurrently --------------------------------------------------------------------

ADD, ADD_LOCKED = 0, 1  # counter.h


def counted(machine: Machine, operation: int, clients: int, times: int) -> list[int]:
    """Clients that add to the counter in turns, as they and it yield; what each got last."""
    order = struct.pack("<QQ", operation, times)
    ready = [machine.create(EXAMPLES["count-client"].elf, shm=order) for _ in range(clients)]
    for client in ready:
        client.inner.gives_way = True
    driver, values = machine.driver, []
    started: set[int] = set()
    while ready:
        client = ready.pop(0)
        inner = client.inner
        status = driver.resume(inner) if inner.id in started else driver.run(inner)
        started.add(inner.id)
        if status == Status.OK:
            values.append(inner.value)
        else:
            assert status in (Status.YIELD, Status.WAITING)
            ready.append(client)
    return values


def concurrent(machine: Machine, name: str, elf: str, slots: int = 8) -> Enclave:
    return machine.create(EXAMPLES[elf].elf, name=name, type=EnclaveType.CONCURRENT_SERVER, slots=slots)


def test_a_counter_without_a_lock_loses_what_others_count(machine: Machine) -> None:
    concurrent(machine, "counter", "counter")
    assert max(counted(machine, ADD, clients=4, times=10)) < 40
    assert run(machine, EXAMPLES["count-client"].elf, shm=struct.pack("<QQ", 2, 1)).retval < 40


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_counter_with_a_lock_counts_all(machine: Machine, slots: int) -> None:
    concurrent(machine, "counter", "counter", slots)
    assert max(counted(machine, ADD_LOCKED, clients=4, times=10)) == 40


def test_a_chain_of_two_concurrent_servers(machine: Machine) -> None:
    """The second has less room than the first lets in: its callers wait for it in order."""
    concurrent(machine, "counter", "counter", slots=2)
    concurrent(machine, "front", "counter-front", slots=3)
    assert max(counted(machine, ADD_LOCKED, clients=5, times=6)) == 30


def test_a_key_value_server_for_several_clients_at_once(machine: Machine) -> None:
    alone = Machine(RAM)
    kv_server(alone)
    server = concurrent(machine, "kv-store", "kv-threads", slots=2)
    assert run(machine, EXAMPLES["kv-client"].elf).output == run(alone, EXAMPLES["kv-client"].elf).output
    assert server.alive


@pytest.mark.parametrize("schedule", ["1", "2", "3"])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_clients_that_run_together_are_preempted_anywhere(
    machine: Machine, schedule: str, slots: int
) -> None:
    """Ten additions of each of four clients, by a chain of two servers, in slices of few instructions."""
    concurrent(machine, "counter", "counter", slots)
    concurrent(machine, "front", "counter-front", slots=3)
    order = struct.pack("<QQ", ADD_LOCKED, 10)
    clients = [machine.create(EXAMPLES["count-client"].elf, shm=order) for _ in range(4)]
    results = machine.run_together(clients, quantum=50, schedule=schedule, timeout=60)
    assert [one.status for one in results] == ["exited"] * 4
    assert max(one.retval or 0 for one in results) == 40


def test_clients_that_run_together_lose_what_has_no_lock(machine: Machine) -> None:
    concurrent(machine, "counter", "counter")
    order = struct.pack("<QQ", ADD, 10)
    clients = [machine.create(EXAMPLES["count-client"].elf, shm=order) for _ in range(4)]
    results = machine.run_together(clients, quantum=50, timeout=60)
    assert max(one.retval or 0 for one in results) < 40


def test_a_client_that_ends_in_the_middle_of_printing_leaves_the_server_usable(
    machine: Machine, tmp_path: Path
) -> None:
    """It has the SDK's lock then. The next call in its slot has it, and others wait for that."""
    source = tmp_path / "says.c"
    source.write_text(
        '#include <stdio.h>\n#include "threads.h"\n'
        "int EAPP_ENTRY main() { struct call_enclave_arg_t ret = {0};"
        ' printf("slot %lu\\n", slot_id()); SERVER_RETURN(&ret); }\n'
    )
    elf = tmp_path / "says.elf"
    build_enclave([source], elf)
    for kind in ("server", "concurrent"):
        server = machine.create(elf, name=kind, type=kind)

        def broken(_text: bytes) -> None:
            raise RuntimeError("mine")

        for _ in range(2):
            with pytest.raises(RuntimeError, match="mine"):
                server.call(on_output=broken)
        assert server.call(timeout=60).output.endswith("slot 0\n")  # behind what was broken off
