"""Records seeds from a run: the data that enclaves and the host send each other, as files for the fuzzer.

    DIR/kv-store/000000         a call of the server with that name, in the layout `call`
    DIR/kv-store.calls/000000   all its calls in order, in the layout `calls`
    DIR/caller.elf.relay/000000 the relay pages that an enclave starts with, `relay`
    DIR/caller.elf.shm/000000   the memory that it shares with the host, `shm` (the header says: no race)

Recording replaces, on one machine, the monitor's handler of ecalls and its entry for the host. Other machines
have no cost for it.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from pltvm.engine.context import A0, A1, A2, A3, A4, A6, A7, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.errors import PltvmError
from pltvm.fuzz import beneath, layout
from pltvm.fuzz.layout import CALLS, RELAY, SHM, Message
from pltvm.fuzz.options import MOST_BYTES, MOST_CALLS
from pltvm.fuzz.paths import read_input
from pltvm.machine import Machine
from pltvm.monitor import abi, chain
from pltvm.monitor.abi import Call, HostCall
from pltvm.monitor.enclave import Enclave

MOST_FILES: Final = 1000  # of one folder
MOST_FOLDERS: Final = 256  # of one run: programs choose the names of their enclaves
MOST_KEPT: Final = 256 << 20  # bytes of one run
_MOST_MEMORY: Final = 16 * PAGE - 1  # bytes of one call: the size in `calls` is a u16
_MOST_CLIENTS: Final = 256
_LONGEST_NAME: Final = 200
_STARTS: Final = (HostCall.RUN, HostCall.RUN_SHADOW)
_CALLS: Final = (Call.CALL, Call.CALL_WAITING)


class _Sequence:
    """The calls of one server so far, with their callers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.size = 0
        self.clients: dict[int, int] = {}  # eid → number in the file

    def add(self, caller: int, argument: int, memory: bytes) -> bytes | None:
        """Add a call; return the sequence before it as a file when that is full."""
        size = layout.MESSAGE.size + len(memory)
        full = None
        if self.messages and (self.size + size > MOST_BYTES or len(self.messages) == MOST_CALLS):
            full = layout.join_calls(self.messages)
            self.messages, self.size = [], 0
        client = self.clients.setdefault(caller, len(self.clients)) % _MOST_CLIENTS
        self.messages.append(Message(argument, memory, client))
        self.size += size
        return full


class Recorder:
    """Records data sent on a machine from now on, until `write`."""

    def __init__(self, machine: Machine) -> None:
        self._state, self._driver = machine.monitor.state, machine.driver
        self._inputs: dict[str, dict[bytes, None]] = {}  # by folder, in order, each once
        self._left = MOST_KEPT
        self._sequences: dict[str, _Sequence] = {}
        handlers, monitor = machine.hart.handlers, cast(Any, machine.monitor)
        self._ecall, self._host_call = handlers[Cause.ECALL_U], machine.monitor.call
        handlers[Cause.ECALL_U] = self._on_ecall
        monitor.call = self._on_host_call

    def _on_ecall(self, context: Context) -> None:
        regs = context.regs
        if regs[A7] not in _CALLS or regs[A6] != abi.ENCLAVE_CALL:
            self._ecall(context)
            return
        caller = self._state.running
        self._ecall(context)
        callee = self._state.running
        if caller is not None and callee is not None and callee.caller == caller.at:
            self._note_call(caller, callee)  # else the host has let another chain go on

    def _note_call(self, caller: Enclave, callee: Enclave) -> None:
        """Record what a server gets, from its registers at its first instruction."""
        regs = callee.context.regs
        argument, memory = regs[A0], _content(callee, regs[A1], regs[A2])
        name = callee.name.decode("latin-1")
        self._note(name, "", layout.CALL_HEADER.pack(argument) + memory)
        sequence = self._sequences.get(name)
        if sequence is None:
            if len(self._sequences) >= MOST_FOLDERS:
                return
            sequence = self._sequences[name] = _Sequence()
        full = sequence.add(caller.eid, argument, memory)
        if full is not None:
            self._note(name, CALLS, full)

    def _on_host_call(self, function: int, *arguments: int) -> int | None:
        waiting = chain.waits_for_turn(self._state, function, arguments)
        status = self._host_call(function, *arguments)
        enclave = self._state.running
        if status is None and function in _STARTS and enclave is not None:
            self._note_start(enclave)
        elif waiting is not None and enclave is not None and enclave.caller == waiting.at:
            self._note_call(waiting, enclave)  # which was made when it had waited
        return status

    def _note_start(self, enclave: Enclave) -> None:
        """Record what an enclave gets when the host runs it, from its registers."""
        known = self._driver.running
        label = Path(known.label if known else "").name or "enclave"
        regs = enclave.context.regs
        if regs[A4]:
            self._note(label, RELAY, _content(enclave, regs[A3], regs[A4]))
        if regs[A1]:
            shared = _content(enclave, regs[A0], regs[A1])
            self._note(label, SHM, bytes(layout.RACE.size) + shared)

    def _note(self, name: str, what: str, data: bytes) -> None:
        folder = ".".join(filter(None, (_file_name(name), what)))
        inputs = self._inputs.get(folder, {})
        room = len(inputs) < MOST_FILES and (folder in self._inputs or len(self._inputs) < MOST_FOLDERS)
        if room and data not in inputs and len(data) <= self._left:
            self._left -= len(data)
            self._inputs.setdefault(folder, inputs)[data] = None

    def write(self, folder: Path) -> int:
        """Write everything beneath a folder, and return the number of new files.

        Existing files stay, and equal ones are not written again. Raises PltvmError.
        """
        for name, sequence in self._sequences.items():
            self._note(name, CALLS, layout.join_calls(sequence.messages))
        count = 0
        try:
            for name, inputs in self._inputs.items():
                folder.mkdir(parents=True, exist_ok=True)
                place = folder / name
                beneath.make_folder(folder, place)
                there = beneath.plain_files(folder, place)
                known = {hashlib.sha256(read_input(folder, place / file)).digest() for file in there}
                numbers = (int(file) for file in there if re.fullmatch(r"[0-9]{1,18}", file))
                number = max(numbers, default=-1) + 1
                new = [data for data in inputs if hashlib.sha256(data).digest() not in known]
                with beneath.opened(folder, place) as descriptor:
                    for data in new[: max(MOST_FILES - len(there), 0)]:
                        beneath.create(descriptor, f"{number:06}", data)
                        number, count = number + 1, count + 1
        except OSError as error:
            raise PltvmError(f"{folder}: cannot be written: {error.strerror}") from None
        return count


@contextmanager
def recording(machine: Machine, folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Record in this context, and report the result, also when it ends with an error."""
    recorder, there = Recorder(machine), _identity(folder)
    try:
        yield
    finally:
        if (
            _identity(folder) != there
        ):  # it may be in a host program's folder, which could rename a link there
            raise PltvmError(f"{folder}: has been replaced: nothing is recorded")
        count = recorder.write(folder)
        say(f"recorded {count} new input{'s' * (count != 1)} in {folder}")


def _identity(folder: Path) -> tuple[int, int]:
    """Return the identity of the folder; make it if necessary. Raises PltvmError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        info = os.stat(folder)
    except OSError as error:
        raise PltvmError(f"{folder}: cannot be written: {error.strerror}") from None
    return info.st_dev, info.st_ino


def _content(enclave: Enclave, va: int, size: int) -> bytes:
    """Return memory of an enclave without trailing zeros; at least one byte if there is any."""
    if not size:
        return b""
    content = enclave.space.table.read(va, min(size, _MOST_MEMORY)) or b""
    return content.rstrip(b"\0") or b"\0"


def _file_name(name: str) -> str:
    """Return an enclave's name as a safe folder name."""
    return re.sub(r"[^\w.+-]|^\.+", "_", name, flags=re.ASCII)[:_LONGEST_NAME] or "_"
