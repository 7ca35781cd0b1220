"""An enclave, fed by a hostile host: relay pages, shared memory, false answers to ocalls."""

from array import array
from typing import Any, Final

from pltvm.engine.context import A0, Context
from pltvm.engine.memory import PAGE
from pltvm.errors import PltvmError
from pltvm.fuzz import layout
from pltvm.fuzz.execution import Problem
from pltvm.fuzz.layout import OCALLS, RELAY, SHM, Race
from pltvm.fuzz.target import Target
from pltvm.host.api import Enclave
from pltvm.host.enclave import DriverEnclave
from pltvm.host.ocalls import Serve
from pltvm.host.shared import RelayMemory, SharedMemory
from pltvm.host.spans import NO_PAGES
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType, Ocall

_REFUSED, _ODD, _HOSTILE = 1, 2, 3
_MEMORY_OCALLS: Final = (Ocall.MMAP, Ocall.SBRK, Ocall.SHM_GET)
_SECTOR_OCALLS: Final = (Ocall.READ_SECTOR, Ocall.WRITE_SECTOR)
_MOST_RANDOM: Final = 1 << 16


class Hosted(Target):
    """The layouts `relay`, `shm`, `ocalls`: the snapshot is at the first instruction of the enclave."""

    last_call = Call.EXIT

    def create(self, kind: EnclaveType) -> Enclave:
        options, machine = self.options, self.machine
        channels = options.channels
        self.relay = RelayMemory(machine.driver, bytes(options.memory)) if RELAY in channels else None
        self.shared = SharedMemory(machine.driver, bytes(options.memory)) if SHM in channels else None
        if self.shared is not None:
            machine.use_for_persistency(self.shared)
        return machine.create(options.elf, name=options.name, type=kind, shm=self.shared, relay=self.relay)

    def prepare(self) -> None:
        driver, inner = self.machine.driver, self.created.inner
        driver.clients[inner.client].output = self.printed
        if not driver.start(inner, self.relay.span if self.relay else NO_PAGES):
            raise PltvmError(f"{self.created.name}: the monitor refused to run it")
        self.entry = memoryview(array("Q", self.enclave.context.regs))
        self._race: Race | None = None
        self._returned = 0  # the enclave's return value
        self._answers = b""
        self._said = [0]  # used bytes of the answers
        if OCALLS in self.options.channels:
            for number, serve in list(driver.serving.items()):
                if number in (*_MEMORY_OCALLS, *_SECTOR_OCALLS, Ocall.GET_RANDOM):
                    driver.serving[number] = self._lying(number, serve)
        only = self.options.channels[0] if len(self.options.channels) == 1 else ""
        pages = {RELAY: self.relay, SHM: self.shared}.get(only)
        if pages is not None:
            self.state.place = pages.pa - self.machine.memory.base
            self.state.room = self.options.memory
            self.state.skip = layout.RACE.size if only == SHM else 0
        self._by_parts = pages is None

    def save(self) -> object:
        return self._race, self._said[0], self._returned

    def load(self, saved: Any) -> None:
        self._race, self._said[0], self._returned = saved

    def begin(self) -> None:
        regs = self.enclave.context.regs
        regs[:] = self.entry
        self._race, self._said[0] = None, 0
        if self._by_parts:
            self._place_parts()
        elif self.shared is not None and self.state.argument & 0xFFFF_FFFF:
            self._expect_race(layout.split_race(self.arena.input())[0])

    def _place_parts(self) -> None:
        """Put the parts of the input into their channels."""
        parts = layout.split_channels(self.arena.input(), self.options.channels)
        self.batch.changed = True
        room, memory = self.options.memory, self.machine.memory
        if self.relay is not None:
            memory.write(self.relay.pa, parts[RELAY][:room])
        if self.shared is not None:
            race, content = layout.split_race(parts[SHM])
            memory.write(self.shared.pa, content[:room])
            if race.when:
                self._expect_race(race)
        self._answers = parts.get(OCALLS, b"")

    # -- memory that changes while it is read ----------------------------------------------------------------

    def _expect_race(self, race: Race) -> None:
        if race.when < self.options.blocks:
            self._race = race
            self.state.budget = race.when

    def out_of_blocks(self, context: Context) -> None:
        race, self._race = self._race, None
        if race is None:
            super().out_of_blocks(context)
            return
        assert self.shared is not None
        self.batch.changed = True
        at = race.at % (self.options.memory - 7)
        self.machine.memory.write(self.shared.pa + at, race.value.to_bytes(8, "little"))
        self.state.budget = self.options.blocks - race.when

    def end(self, problem: Problem | None) -> None:
        if self._race is not None:  # the execution ended before: only the blocks that ran count
            self.state.budget += self.options.blocks - self._race.when
            self._race = None
        if problem is None and self.secrets:
            problem = self._look_for_secret()
        self._returned = 0
        super().end(problem)

    # -- false answers ---------------------------------------------------------------------------------------

    def _next(self, count: int) -> bytes:
        """Return the next bytes of the answers."""
        at = self._said[0]
        self._said[0] = at + count
        return self._answers[at : at + count]

    def _lying(self, number: int, serve: Serve) -> Serve:
        """Return a function that gives the driver's answer to an ocall, or a false one."""
        driver = self.machine.driver

        def answer(enclave: DriverEnclave, arg0: int, arg1: int) -> tuple[int, int]:
            how = (self._next(1) or b"\0")[0] & 3
            if number == Ocall.SBRK and not arg0:
                return serve(enclave, arg0, arg1)  # gives back memory
            if how == _REFUSED:
                return (abi.MASK64, 0) if number in _SECTOR_OCALLS else (0, 0)
            if how == _ODD:
                if number == Ocall.GET_RANDOM:
                    return serve(enclave, arg0 // 2, arg1)
                return serve(enclave, arg0 * 2 if number in _MEMORY_OCALLS else arg0, arg1)
            if how == _HOSTILE and number == Ocall.GET_RANDOM and 0 < arg0 <= _MOST_RANDOM:
                buffer = driver.lend(enclave, arg0)
                driver.memory.write(buffer, self._next(arg0))
                return buffer, arg0
            if how == _HOSTILE and number == Ocall.READ_SECTOR and self.shared is not None:
                driver.memory.write(self.shared.pa, self._next(min(PAGE, self.options.memory)))
                return 0, 0
            return serve(enclave, arg0, arg1)

        return answer

    def over(self, context: Context) -> bool:
        self._returned = context.regs[A0]
        self.end(None)
        return True

    def _look_for_secret(self) -> Problem | None:
        """Look for the secret in memory that the host can read however the enclave ends."""
        texts = [self._returned.to_bytes(8, "little")]
        texts += [
            self.memory.read(pages.pa, self.options.memory)
            for pages in (self.shared, self.relay)
            if pages is not None
        ]
        return self.find_secret(texts, self.arena.input(), "memory that the host reads")
