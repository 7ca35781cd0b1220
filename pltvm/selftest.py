"""Runs the attack programs of `guest/attacks`: each must be stopped, and by the mechanism that it names.

An attack is one C file. Its head comment says what it tries (`attack:`) and what must stop that (`stopped
by:`). How it is run depends on its group:

    KERNEL    in S-mode, in the place of the host kernel, with victims (victim.c) around it
    ENCLAVE   once for each of its rounds, as its first fault ends it (board.h)
    SERVERS   the same with two servers, "server" and "other", made of the same ELF
    SLOTS     likewise; "server" is a concurrent one, of two slots

A program reports each attempt and the mechanism that stopped it. Here the faults are compared with what the
program announced, and after each run the monitor's audit must find nothing, and victims must be unharmed.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple

from pltvm.build import guest
from pltvm.build.guest import AttackSource, Group
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.api import FAULTED, INTERRUPTED, RELAY_RETURNED, STOPPED, WAITING, Enclave, Result
from pltvm.host.elf import load_image
from pltvm.host.shared import SharedMemory
from pltvm.host.supervisor import Supervisor, Victim
from pltvm.host.symbols import Symbols
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType
from pltvm.monitor.audit import audit
from pltvm.monitor.secure_shm import attached

RAM: Final = 64 << 20
_RELAY: Final = 4 * PAGE  # RELAY_SIZE of board.h
_SUPERVISOR_SLICE: Final = 500_000_000  # instructions before a program counts as hanging
_ENCLAVE_SLICE: Final = 4_000_000
_MOST_ROUNDS: Final = 100
_MOST_TURNS: Final = 10  # of two chains that wait for servers

MECHANISMS: Final = {
    "P": "PMP",
    "T": "page table",
    "V": "TVM trap",
    "I": "privilege",
    "M": "monitor check",
    "C": "timer",
}
_WORKS: Final = "-"  # no attempt: something that must work
_LETTERS: Final[dict[int, str]] = {
    **dict.fromkeys((Cause.FETCH_ACCESS, Cause.LOAD_ACCESS, Cause.STORE_ACCESS), "P"),
    **dict.fromkeys((Cause.FETCH_PAGE, Cause.LOAD_PAGE, Cause.STORE_PAGE), "T"),
    Cause.ILLEGAL: "I",
}
_TIMER: Final = 99  # as the cause that a program announces: it will never come to its end
_UNKNOWN_CALL: Final = 98  # the monitor will end it for its number
_ANYWHERE: Final = 1

# board.h: round, rounds, attempts, cause, address, failed, finished; addresses, eid, kbuffer; words; text.
_BOARD: Final = Struct("<7Q7Q16Q512s")
_BOARD_PAGES: Final = 2


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack program, as its head comment describes it."""

    name: str
    group: Group
    tries: str
    mechanisms: tuple[str, ...]
    elf: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attack went: `stopped` if every attempt was, by the mechanism named; else `detail` says more."""

    name: str
    tries: str
    mechanism: str
    stopped: bool
    attempts: int
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return asdict(self)


class _GotThrough(Exception):
    """An attack was not stopped as it should be; the text says how."""


def attacks() -> list[Attack]:
    """All attack programs, by name."""
    return [_described(attack) for attack in guest.attacks()]


def _described(attack: AttackSource) -> Attack:
    source = attack.source
    text = source.read_text(encoding="utf-8").removeprefix("/*").partition("*/")[0]
    match = re.match(r" attack: (.+?)\n \* stopped by: (.+?)\n", text, re.DOTALL)
    if match is None:
        raise PltvmError(f"{source}: its head comment does not say what it tries and what stops it")
    tries = " ".join(re.sub(r"\n \*", " ", match[1]).split())
    mechanisms = tuple(match[2].split(", "))
    return Attack(source.stem, attack.group, tries, mechanisms, guest.attack_elf(source.stem))


def run_all(on_result: Callable[[Outcome], None], names: Iterable[str] = ()) -> list[Outcome]:
    """Run the attacks of these names, or all, each in a machine of its own; `on_result` gets each outcome.

    Raises ArgumentError for a name that there is not.
    """
    check_names(names := list(names))
    known = {attack.name: attack for attack in attacks()}
    chosen = names or list(known)
    outcomes = []
    for name in chosen:
        outcomes.append(run_attack(known[name]))
        on_result(outcomes[-1])
    return outcomes


def check_names(names: Iterable[str]) -> None:
    """Raises ArgumentError for a name that no attack has."""
    known = {attack.name for attack in attacks()}
    for name in names:
        if name not in known:
            raise ArgumentError(f"there is no attack {name!r}: see pltvm selftest")


def run_attack(attack: Attack) -> Outcome:
    """Run one attack in a fresh machine."""
    run = _supervisor if attack.group is Group.KERNEL else _enclave
    letters: list[str] = []
    detail = ""
    try:
        run(attack, letters)
    except (_GotThrough, PltvmError) as error:
        detail = str(error)
    except Exception as error:  # whatever an attack breaks, it was not stopped
        detail = f"it broke the monitor: {error!r}"
    tried = [letter for letter in letters if letter != _WORKS]
    seen = {MECHANISMS.get(letter, f"unknown mechanism {letter!r}") for letter in tried}
    if not detail and seen != set(attack.mechanisms):
        detail = f"stopped, but by: {', '.join(sorted(seen))}"
    return Outcome(attack.name, attack.tries, ", ".join(attack.mechanisms), not detail, len(tried), detail)


def _check(machine: Machine) -> None:
    wrong = audit(machine.monitor.state)
    if wrong:
        raise _GotThrough(f"the audit finds: {wrong[0]}")


# -- kernel programs -----------------------------------------------------------------------------------------


def _supervisor(attack: Attack, letters: list[str]) -> None:
    machine = Machine(RAM)
    elf = attack.elf.read_bytes()
    # It maps all of RAM before the victims exist: then they take pages that it has mapped.
    program = Supervisor(machine.driver, load_image(elf), Symbols(elf))
    enclave, victims = _victims(machine)
    private = [victim for victim in victims if machine.monitor.state.owners.owner(victim.block) is not None]
    before = [machine.memory.read(victim.block, victim.size) for victim in private]
    machine.hart.set_time_slice(_SUPERVISOR_SLICE)
    result = program.run(victims)
    letters += result.output.decode("latin-1")
    if result.code is None:
        raise _GotThrough(f"it was stopped by something else: {result.end}")
    if result.code:
        raise _GotThrough(f"attempt {result.code} got through")
    if before != [machine.memory.read(victim.block, victim.size) for victim in private]:
        raise _GotThrough("a victim's memory has changed")
    _check(machine)
    if enclave.resume().retval != 0:
        raise _GotThrough("the enclave that was attacked finds its memory changed")
    _check(machine)


def _victims(machine: Machine, server_name: str = "server") -> tuple[Enclave, list[Victim]]:
    """A paused enclave with all kinds of memory, a server and a shadow template; as in supervisor.h."""
    elf = guest.attack_elf("victim")
    enclave = machine.create(elf, name="victim", relay=bytes(PAGE))
    enclave.run(on_output=lambda _text: enclave.stop())
    server = machine.create(elf, name=server_name, type=EnclaveType.SERVER)
    template = machine.create(elf, name="template", type=EnclaveType.SHADOW)
    enclaves = machine.monitor.state.enclaves
    own = enclaves[enclave.eid]
    shared = [segment for _, segment in attached(machine.monitor.state, own)]
    blocks: list[Any] = [own, *own.space.mmaps.values(), *own.space.relays, *shared]
    victims = [Victim(one.block, one.block_pages * PAGE, enclave.eid) for one in blocks]
    victims += [
        Victim(enclaves[one.eid].block, enclaves[one.eid].block_pages * PAGE, one.eid)
        for one in (server, template)
    ]
    mailbox = own.retval & ~(PAGE - 1)
    victims += [Victim(page, PAGE, enclave.eid) for page in (own.kbuffer, mailbox)]
    return enclave, victims


# -- enclaves ------------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    """What a program says in its round: see board.h."""

    rounds: int
    cause: int
    address: int
    failed: int
    finished: int
    letters: str


class _Board:
    """The memory in which an enclave says what it tries."""

    def __init__(self, machine: Machine, other: Enclave) -> None:
        kernel = machine.kernel
        self.pages: SharedMemory = machine.shm(_BOARD_PAGES * PAGE)
        self._host = (kernel.memory.base, kernel.bitmap, kernel.pt_area, self.pages.pa)
        own = machine.monitor.state.enclaves[other.eid]
        self._other = (own.block, other.eid, own.kbuffer)
        self._memory = machine.memory
        self._words: tuple[int, ...] = (0,) * 16

    def start(self, round_: int) -> None:
        """Ready for the next round; the program's own words stay."""
        numbers = (round_, 0, 0, 0, 0, 0, 0, *self._host, *self._other, *self._words)
        self._memory.write(self.pages.pa, _BOARD.pack(*numbers, b""))

    def read(self) -> "_Said":
        """What it says now."""
        _, rounds, _, cause, address, failed, finished, *rest = _BOARD.unpack_from(self.pages.read())
        self._words = tuple(rest[7:23])
        return _Said(rounds, cause, address, failed, finished, rest[23].decode("latin-1").rstrip("\0"))


def _enclave(attack: Attack, letters: list[str]) -> None:
    machine = Machine(RAM)
    machine.hart.set_time_slice(_ENCLAVE_SLICE)
    board = _Board(machine, _victims(machine, "bystander")[0])
    servers: list[Enclave] = []
    round_, rounds = 0, 1
    while round_ < min(rounds, _MOST_ROUNDS):
        round_ += 1
        board.start(round_)
        if attack.group in (Group.SERVERS, Group.SLOTS):
            servers = _servers(machine, attack, board, servers)
        enclave = _attacker(machine, attack, board, "attack")
        try:
            endings = _round(machine, attack, board, enclave)
        except _GotThrough as error:
            raise _GotThrough(f"round {round_}: {error}") from None
        finally:
            said = board.read()
            letters += said.letters
        letters += endings
        rounds = said.rounds
        if enclave.alive:
            enclave.destroy()
        _check(machine)


def _attacker(machine: Machine, attack: Attack, board: _Board, name: str) -> Enclave:
    return machine.create(attack.elf, name=name, stack_size=16 << 10, shm=board.pages, relay=bytes(_RELAY))


def _round(machine: Machine, attack: Attack, board: _Board, enclave: Enclave) -> str:
    """Run it to its end, or until it prints: there it is stopped, and runs a second time. How it ended."""
    result = enclave.run(on_output=lambda _text: enclave.stop())
    if result.status == STOPPED:
        _check(machine)
        return _with_another(machine, attack, board, enclave)
    if result.status == RELAY_RETURNED:  # it gets no new ones
        result = enclave.resume()
    return _ending(result, board.read())


def _with_another(machine: Machine, attack: Attack, board: _Board, first: Enclave) -> str:
    """Run the program once more, while the first of its round is paused in the middle of a call; then that.

    Where they wait for servers both go on in turns, the second one first.
    """
    second, endings = _attacker(machine, attack, board, "second"), ""
    turns: list[tuple[Enclave, Callable[[], Result]]] = [(second, second.run), (first, first.resume)]
    for _ in range(_MOST_TURNS):
        waiting: list[tuple[Enclave, Callable[[], Result]]] = []
        for chain, go_on in turns:
            result = go_on()
            _check(machine)
            if result.status == WAITING:
                waiting.append((chain, chain.resume))
            else:
                endings += _ending(result, board.read())
        if not waiting:
            return endings
        turns = waiting
    raise _GotThrough("chains wait for servers without end")


def _servers(machine: Machine, attack: Attack, board: _Board, old: list[Enclave]) -> list[Enclave]:
    """The two servers, made anew where the round before has ended one."""
    living = {server.name: server for server in old if server.alive}
    plain: dict[str, Any] = {"type": EnclaveType.SERVER}
    slots = {"type": EnclaveType.CONCURRENT_SERVER, "slots": 2} if attack.group is Group.SLOTS else plain
    return [
        living.get(name) or machine.create(attack.elf, name=name, shm=board.pages, **how)
        for name, how in (("server", slots), ("other", plain))
    ]


def _ending(result: Result, said: _Said) -> str:
    """The letter of the fault that was announced and came; "" for a plain end when none was announced."""
    if said.failed:
        raise _GotThrough(f"attempt {said.failed} got through")
    if result.status == INTERRUPTED and said.cause == _TIMER:
        return "C"
    if result.status == FAULTED and result.fault is not None:
        fault = result.fault.fault
        if said.cause == _UNKNOWN_CALL and fault.reason.startswith("unknown enclave call"):
            return "M"
        announced = said.cause in _LETTERS and fault.reason == Cause(said.cause).text
        if announced and said.address in (_ANYWHERE, fault.address or 0):
            return _LETTERS[said.cause]
        where = "" if fault.address is None else f" at {fault.address:#x}"
        raise _GotThrough(f"it was stopped by something else: {fault.reason}{where}")
    if result.retval == 0 and said.finished and not said.cause:
        return ""
    if result.ok and said.cause:
        raise _GotThrough(f"the access to {said.address:#x} got through")
    told = f"returned {result.retval}" if result.ok else f"is {result.status}"
    raise _GotThrough(f"it did not come to its end, it {told}")
