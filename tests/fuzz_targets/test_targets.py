"""Each target shows its bug, and without the bug does not, for an input made by hand; no fuzzer takes part.

The inputs have the layouts of `pltvm.fuzz.layout`, and real enclaves run: caller.c calls a server once for
each message. What only an oracle of the fuzzer sees is looked for in what a run leaves behind; the table says
where.
"""

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from struct import Struct, pack
from typing import NamedTuple

import pytest

from pltvm.build.enclave import build_enclave
from pltvm.engine.memory import PAGE
from pltvm.fuzz import layout, results
from pltvm.fuzz.layout import Message, join_calls
from pltvm.host.api import EXITED, FAULTED, INTERRUPTED, Result
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Ocall
from pltvm.monitor.audit import audit
from tests.fuzz_targets import CALLER, Target, build, targets

RAM = 64 << 20
TIME = 0.5  # seconds, after which a server has no end
TARGETS = {target.name: target for target in targets()}
SERVERS = [name for name, target in TARGETS.items() if target.value("--as", "server") == "server"]
KINDS = {value for name, value in vars(results).items() if name.isupper() and isinstance(value, str)}

LIST = Struct("<16sQ8x")  # as in caller.c
MESSAGE = Struct("<QQqqQQ")
BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)

NOWHERE = 0x20_0000_0000  # in no mapping
STACK_END = 0x38_0000_0000 - abi.DEFAULT_STACK
TOKEN = b"of-first"  # the fuzzer fills memory of a client with such words
WORD = b"leftover"
DEVICE_KEY = bytes.fromhex("a71c5e923bd068f409c37ae1568d24bf31ea974cd8056fb2831ec9702df65ba4")


class Answer(NamedTuple):
    """What came back from one call."""

    value: int
    returned: int  # size of the memory of the request
    memory: bytes


@dataclass
class Outcome:
    """How the last run ended, and the answers so far."""

    result: Result
    answers: list[Answer]

    @property
    def values(self) -> list[int]:
        """What the calls gave."""
        return [answer.value for answer in self.answers]

    def faulted(self, function: str, at: int | None = None) -> bool:
        """Whether it ended with a fault in this function, touching that address."""
        report = self.result.fault
        if self.result.status != FAULTED or report is None:
            return False
        return re.split("[+ ]", report.location)[0] == function and at in (None, report.fault.address)


class Witness(NamedTuple):
    """An input; whether an outcome has the bug in it; and what calls of the fixed one give."""

    data: bytes
    is_shown: Callable[[Outcome], bool]
    fixed: list[int]


def call(argument: int, memory: bytes) -> bytes:
    """An input of the layout `call`."""
    return layout.CALL_HEADER.pack(argument) + memory


def given_away(outcome: Outcome, function: str) -> bool:
    """A fault at a page that was passed on."""
    return outcome.faulted(function) and "has not come back" in str(outcome.result.fault)


WITNESSES = {
    # 100 bytes into 32: the return address is among them. An odd one, so that it is no address of code.
    "badge": Witness(
        call(0, b"\2" + b"\2\1\x0a" + b"\1\x64" + b"\x5b" * 100),
        lambda o: o.result.status == FAULTED and o.result.fault.fault.pc == 0x5B5B_5B5B_5B5B_5B5A,
        [-22],
    ),
    # A refused call; a plain run has no oracle, but can ask what became of the balance.
    "bank": Witness(
        join_calls([Message(2, bytes(16)), Message(3, pack("<IIQ", 0, 5, 70)), Message(2, bytes(16))]),
        lambda o: o.values == [1000000, -2, 1000000 - 70],
        [1000000, -2, 1000000],
    ),
    "console": Witness(
        call(0, pack("<IIQ16s", 0x8C6F3E51, 0x100000, 0x9D2C5680EFC60A17, b"selftest")),
        lambda o: o.faulted("selftest"),
        [-22],
    ),
    "crypto": Witness(
        call(2, pack("<Q8Q", 1, NOWHERE, 16, 0, 0, 0, 0, 0, 64)),
        lambda o: o.faulted("encrypt", NOWHERE),
        [-13],
    ),
    "directory": Witness(
        call(0, pack("<8I", 0x31524944, 1, 16, 0, 24, 100, 16, 200)),
        lambda o: o.result.status == INTERRUPTED,
        [-22],
    ),
    "escrow": Witness(
        pack("<IHHQ", 0x4C435250, 2, 3, 1),
        lambda o: given_away(o, "pass_on"),
        [],
    ),
    "ledger": Witness(
        call(0, pack("<II2Q", 3, 1 << 28, 1, 50)),
        lambda o: o.faulted("post"),
        [-22],
    ),
    "logger": Witness(
        call(0, b"\2".ljust(8, b"\0") + b"%s" * 24),
        lambda o: o.result.status == FAULTED,
        [1],
    ),
    # Each byte is the answer to one ocall: the fourth is the mapping for the second time.
    "lottery": Witness(
        bytes([3]) + pack("<Q", 1023) + bytes([0, 1]),
        lambda o: o.faulted("memcpy", 0),
        [],
    ),
    "notary": Witness(
        call(0, pack("<II", 2, 513)),
        lambda o: given_away(o, "have_stamped"),
        [-5],
    ),
    # The first client puts, the second one copies and gets.
    "notes": Witness(
        join_calls(
            [Message(1, bytes(8) + TOKEN * 8, 0), Message(3, b"\0\1", 1), Message(2, b"\1" + bytes(7), 1)]
        ),
        lambda o: o.values == [0, 0, 0] and TOKEN * 8 in o.answers[2].memory,
        [0, -13, -2],
    ),
    # Without the marker of the fuzzer: the name that the first call gives is on the stack of the second one.
    "sensors": Witness(
        join_calls([Message(1, bytes(8) + WORD * 3 + b"abcd"), Message(2, pack("<II", 2, 1))]),
        lambda o: WORD in o.answers[1].memory,
        [0, 1],
    ),
    "sessions": Witness(
        join_calls(
            [
                Message(1, bytes(1)),
                Message(2, pack("<II", 0, 100)),
                Message(4, bytes(4)),
                Message(3, pack("<II", 0, 10) + b"ten bytes."),
            ]
        ),
        lambda o: o.faulted("memcpy", 0),
        [0, 0, 0, -9],
    ),
    "settings": Witness(
        call(0, b"a{" * 80),
        lambda o: o.result.status == FAULTED and 0 < STACK_END - o.result.fault.fault.address < PAGE,
        [-7],
    ),
    "signer": Witness(
        call(2, pack("<IIQ", 7, 5, 0) + b"hello"),
        lambda o: DEVICE_KEY in o.answers[0].memory,
        [-38],
    ),
    # When 70 blocks have run the palette is being checked.
    "thumbnail": Witness(
        layout.RACE.pack(70, 0, 4000) + pack("<4I", 4, 0x424D4854, 8, 0),
        lambda o: o.faulted("memcpy"),
        [],
    ),
    "tokens": Witness(
        call(0, pack("<H6x", 24) + b"count sixteen-letters. a"),
        lambda o: o.faulted("next_word"),
        [2],
    ),
}


def test_comments() -> None:
    """Every target can be read by tools, and has a witness."""
    assert len(TARGETS) >= 13
    assert TARGETS.keys() == WITNESSES.keys()
    for target in TARGETS.values():
        assert target.finds
        assert set(target.finds) <= KINDS
        assert target.value("--as", "server") in ("server", "enclave")
    assert {kind for target in TARGETS.values() for kind in target.finds} == KINDS


@pytest.fixture(scope="module")
def caller(folder: Path) -> Path:
    """The enclave that calls servers."""
    return build_enclave([CALLER], folder / f"caller-{os.getpid()}.elf")


@pytest.mark.parametrize("name", TARGETS)
def test_witness(name: str, folder: Path, caller: Path) -> None:
    """The bug is shown, and the twin without the bug ends as it should."""
    data, is_shown, fixed_values = WITNESSES[name]
    buggy = run(build(TARGETS[name], False, folder), data, caller)
    assert is_shown(buggy), str(buggy.result.fault or buggy)
    fixed = run(build(TARGETS[name], True, folder), data, caller)
    assert fixed.result.status == EXITED, str(fixed.result.fault)
    assert not is_shown(fixed)
    assert fixed.values == fixed_values


@pytest.mark.parametrize("name", SERVERS)
def test_server_without_memory(name: str, folder: Path, caller: Path) -> None:
    """A call that passes no memory, and one with nothing in it, are answered by both."""
    for fixed in (False, True):
        target = build(TARGETS[name], fixed, folder)
        messages = [Message(n, memory) for n in (0, 1, 2**64 - 1) for memory in (b"", b"\0")]
        outcome = drive(target, messages, caller)
        assert outcome.result.status == EXITED, str(outcome.result.fault)
        assert [answer.returned for answer in outcome.answers] == [0, PAGE] * 3


def run(target: Target, data: bytes, caller: Path) -> Outcome:
    """Run a target with an input."""
    if target.value("--as", "server") == "enclave":
        return run_enclave(target, data)
    calls = int(target.value("--calls", "1"))
    if calls == 1:
        return drive(target, [layout.split_call(data)], caller)
    return drive(target, layout.split_calls(data, calls, int(target.value("--clients", "1"))), caller)


def drive(target: Target, messages: list[Message], caller: Path) -> Outcome:
    """Call a server with messages; when it is another client's turn a new enclave is that client."""
    machine = Machine(RAM)
    for name, elf in target.servers.items():
        machine.create(elf, name=name, type=EnclaveType.SERVER)
    assert target.elf
    machine.create(target.elf, name=target.name, type=EnclaveType.SERVER)
    answers: list[Answer] = []
    for _, turn in groupby(messages, lambda message: message.client):
        listed = list(turn)
        client = machine.create(caller, shm=list_of(target.name, listed))
        result = client.run(timeout=TIME)
        if result.status != EXITED:
            break
        assert result.retval == 0
        answers += answers_in(result.shm, len(listed))
    assert audit(machine.monitor.state) == []
    return Outcome(result, answers)


def list_of(server: str, messages: list[Message]) -> bytes:
    """What caller.c reads."""
    head = LIST.pack(server.encode(), len(messages)) + b"".join(
        MESSAGE.pack(message.argument, bool(message.memory), 0, 0, 0, 0) for message in messages
    )
    return head.ljust(PAGE, b"\0") + b"".join(message.memory.ljust(2 * PAGE, b"\0") for message in messages)


def answers_in(shared: bytes | None, count: int) -> Iterator[Answer]:
    """What caller.c has written."""
    assert shared
    for i in range(count):
        _, _, status, value, returned, response = MESSAGE.unpack_from(shared, LIST.size + i * MESSAGE.size)
        assert (status, response) == (0, 0)
        at = PAGE + 2 * i * PAGE
        yield Answer(value, returned, shared[at : at + PAGE])


def run_enclave(target: Target, data: bytes) -> Outcome:
    """Run an enclave with what the host gives it: relay pages, shared memory, answers to ocalls."""
    machine = Machine(RAM)
    parts = layout.split_channels(data, tuple(target.values("--channel")))
    race, shared = layout.split_race(parts.get(layout.SHM, b""))
    memory = machine.shm(shared.ljust(PAGE, b"\0"))
    if layout.OCALLS in parts:
        lie(machine, bytearray(parts[layout.OCALLS]))
    left = race.when

    def on_block(_engine: int, pc: int, _size: int, _data: int) -> None:
        nonlocal left
        left -= pc < abi.HEAP_BASE
        if left == 0:
            memory.write(pack("<Q", race.value), race.at)

    hook = BLOCK(on_block)
    if race.when:
        machine.hart.watch_blocks(ctypes.cast(hook, ctypes.c_void_p).value or 0, 0)
    enclave = machine.create(
        target.elf or "",
        shm=memory if layout.SHM in parts else None,
        relay=parts[layout.RELAY].ljust(PAGE, b"\0") if layout.RELAY in parts else None,
    )
    return Outcome(enclave.run(timeout=TIME), [])


def lie(machine: Machine, answers: bytearray) -> None:
    """Answer ocalls as the layout `ocalls` says: honest, refused, and hostile random numbers."""
    serving = machine.driver.serving
    honest = dict(serving)

    def serve(number: int, *arguments: object) -> tuple[int, int]:
        kind = answers.pop(0) if answers else 0
        if kind == 1:
            return 0, 0
        address, size = honest[number](*arguments)
        if kind == 3 and number == Ocall.GET_RANDOM:
            machine.memory.write(address, bytes(answers[:size]).ljust(size, b"\0"))
            del answers[:size]
        return address, size

    for number in honest:
        serving[number] = lambda *arguments, number=number: serve(number, *arguments)
