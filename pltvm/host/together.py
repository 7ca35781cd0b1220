"""Several chains of enclaves alive at once: they share the hart, and a schedule says whose turn it is.

    run_together ─▶ start, or go on with, whom the turns choose ─▶ guest code
                        ▲                                            │ slice over, yield, ocall, end
                        ╰────────────── paused, ended ◀── driver ◀───╯

A chain is an enclave that the host runs, and the servers that it is in. It is preempted anywhere, also inside
of a server: the monitor gives the host its hart, and nothing else. What the host does for a chain (an ocall)
is done at once. A chain waits by yielding, or for a server that has no room (`call_enclave_wait`): then it is
not ready until the monitor says that it can go on.

**Deadlock.** When each living chain waits for a server, or does nothing but yield in a circle, with the same
registers and the same memory each time, nobody will ever get further: the run ends and says so.
"""

from collections.abc import Callable, Sequence
from typing import Final

from pltvm.errors import EnclaveError
from pltvm.host import api, clients
from pltvm.host.chains import Chain, Recipe, SavedTogether, TogetherState
from pltvm.host.clients import Client
from pltvm.host.driver import Driver
from pltvm.host.enclave import GONE, NO_EID, PUT_BACK, REFUSED, STUCK, DriverEnclave
from pltvm.host.interrupts import Watch
from pltvm.host.output import KEPT, Output, passed_on
from pltvm.host.plain import copied
from pltvm.host.schedule import NOBODY, Policy, Steps, Why, policy_of, shown
from pltvm.host.turns import Turns, TurnsState
from pltvm.monitor.abi import EnclaveType, Status

DEADLOCK: Final = "deadlock"
LIMIT: Final = "limit"  # of instructions
TIME_LIMIT: Final = "time limit"
_YIELDS: Final = 256  # in a row, after which it is looked at whether a chain gets anywhere
_IN_CIRCLES: Final = _YIELDS + 16  # and it looked the same each time since


class Results(list[api.Result]):
    """A result for each chain, in their order, and how it went.

    `end` is "" if each chain has come to its end, else "deadlock", "time limit", "limit" (of instructions).
    `stuck` says of each chain in a deadlock what it waits for, "" of others. `schedule` is a text that
    repeats the run exactly, as steps; `counts` the instructions of each chain.
    `output` is what all have printed, in the order of time.
    """

    def __init__(
        self, results: Sequence[api.Result], state: TogetherState, turns: TurnsState, output: str
    ) -> None:
        super().__init__(results)
        self.end, self.steps, self.output = state.end, tuple(turns.steps), output
        self.counts = tuple(turns.counts.get(number, 0) for number in range(len(results)))
        # Of all instructions: at each of the steps, and when each chain ended.
        self.stuck = tuple(chain.stuck for chain in state.chains)
        self.totals, self.ends = tuple(turns.totals), tuple(chain.total for chain in state.chains)
        self.total = turns.total

    @property
    def schedule(self) -> str:
        """What was decided otherwise than where a schedule says nothing: see `pltvm.host.schedule`."""
        return shown(self.steps)


class Together(Client):
    """One run of several chains; or, with `saved`, the rest of one that was saved in a callback."""

    def __init__(
        self,
        driver: Driver,
        enclaves: Sequence[DriverEnclave],
        recipe: Recipe,
        on_output: Callable[[bytes], None] | None,
        policy: Policy,
        saved: SavedTogether | None = None,
    ) -> None:
        self._all = Output(on_output)
        super().__init__(self._print)
        self.printed = self._all
        self._driver, self._recipe = driver, recipe
        self._enclaves = list(enclaves)
        self._numbers = {one.id: number for number, one in enumerate(enclaves)}
        self.state = TogetherState([Chain(one.id, one.label) for one in enclaves])
        self.turns = Turns(driver.kernel.hart, policy, self._ready, recipe.most)
        if saved is not None:
            self.load(saved)

    def save(self) -> SavedTogether:
        """A copy of the state; for the driver."""
        return SavedTogether(copied(self.state), self.turns.save(), self._all.save(), self._recipe)

    def load(self, saved: SavedTogether) -> None:
        """Put the state back, after that of the driver."""
        self.state = copied(saved.together)
        self.turns.load(saved.turns)
        self._all.load(saved.printed)

    # -- who can run -------------------------------------------------------------------------------------

    def _ready(self) -> list[int]:
        living = [(number, chain) for number, chain in enumerate(self.state.chains) if chain.status is None]
        if not any(chain.waits for _, chain in living):
            return [number for number, _ in living]
        turns = {one.id for one in self._driver.with_turn()}
        return [
            number
            for number, chain in living
            if not chain.waits or chain.enclave in turns or self._could_go_on(chain)
        ]

    def _could_go_on(self, chain: Chain) -> bool:
        """Whether it is stopped, and has its turn else: to go on undoes that."""
        enclave = self._enclave(chain)
        return enclave is not None and enclave.stopped and self._driver.can_go_on(enclave)

    def _enclave(self, chain: Chain) -> DriverEnclave | None:
        return self._driver.table.find(chain.enclave)

    def _number(self, enclave: DriverEnclave) -> int:
        return self._numbers[enclave.id]

    def _go_on(self, why: Why) -> bool:
        """Give the hart to whom the turns choose; False when that is nobody."""
        while (number := self.turns.choose(why)) != NOBODY:
            chain = self.state.chains[number]
            enclave = self._enclave(chain)
            if enclave is None:
                chain.status = GONE
            else:
                self.turns.run(number)
                chain.waits = False
                driver = self._driver
                if driver.go_on(enclave) if enclave.started else driver.start(enclave, enclave.relay):
                    return True
                chain.status = REFUSED
            why = Why.OVER
        if self.turns.spent:
            self.state.end = self.state.end or LIMIT
        else:
            self._get_stuck()
        return False

    def _get_stuck(self) -> None:
        """Nobody can run any more: who waits, waits for ever."""
        for chain in self.state.chains:
            if chain.status is None:
                chain.status, self.state.end = STUCK, DEADLOCK
                chain.stuck = self._what_for(chain)

    def _what_for(self, chain: Chain) -> str:
        enclave, driver = self._enclave(chain), self._driver
        server = driver.kernel.monitor.waits_for(enclave.eid) if enclave is not None else None
        if server is None:
            return f"{chain.label} yields in a circle, and nothing changes"
        who = driver.table.of_eid(server)
        return f"{chain.label} waits for the server {who.label if who is not None else server}"

    def _enter(self) -> bool:
        """Begin, or go on where the run was interrupted: that is no decision."""
        current = self.turns.state.current
        if current != NOBODY and self.state.chains[current].status is None:
            enclave = self._enclave(self.state.chains[current])
            if enclave is not None and self._driver.go_on(enclave):
                return True
        return self._go_on(Why.START)

    # -- what the driver tells ---------------------------------------------------------------------------

    def _print(self, text: bytes) -> None:
        running = self._driver.running
        if running is not None:
            printed = self.state.chains[self._number(running)].printed
            printed.size += len(text)
            printed.kept += text[: KEPT - len(printed.kept)]
        self._all.write(text)

    def paused(self, enclave: DriverEnclave, status: int) -> bool:
        chain = self.state.chains[self._number(enclave)]
        if self._driver.kernel.hart.halt.asked:
            return False
        if status == Status.TIMER:
            return self.turns.due and self._go_on(Why.SLICE)  # else somebody interrupts the run
        if status == Status.YIELD:
            self._note_yield(chain, enclave)
            if chain.yields >= _IN_CIRCLES and self._is_deadlock():
                self._get_stuck()
                return False
            return self._go_on(Why.YIELD)
        if status == Status.WAITING:
            chain.waits = True
            return self._go_on(Why.OVER)
        chain.status = status
        return self._go_on(Why.OVER)

    def ended(self, enclave: DriverEnclave, status: int) -> bool:
        chain = self.state.chains[self._number(enclave)]
        self.turns.account()
        chain.status, chain.value, chain.total = status, enclave.value, self.turns.state.total
        chain.shm, chain.relay = enclave.shm, enclave.relay
        chain.fault = self._driver.fault if status == Status.ERROR else None
        for one in self.state.chains:
            one.yields = 0  # for what has ended others may have waited
        return False if self._driver.kernel.hart.halt.asked else self._go_on(Why.OVER)

    def gone(self, enclave: DriverEnclave) -> None:
        for chain in self.state.chains:
            if chain.enclave == enclave.id and chain.status is None:
                chain.status = GONE

    # -- deadlock ----------------------------------------------------------------------------------------

    def _note_yield(self, chain: Chain, enclave: DriverEnclave) -> None:
        self.turns.account()
        count = self.turns.state.counts[self._number(enclave)]
        gap, chain.count = count - chain.count, count
        chain.yields = chain.yields + 1 if gap == chain.gap else 0
        chain.gap = gap
        if chain.yields >= _YIELDS:
            look = self._driver.kernel.monitor.look_of_waiting(enclave.eid)
            if look != chain.look:
                chain.yields, chain.look = _YIELDS - 1, look

    def _is_deadlock(self) -> bool:
        chains = self.state.chains
        return all(chains[number].yields >= _IN_CIRCLES for number in self._ready())

    # -- running -----------------------------------------------------------------------------------------

    def run(self, timeout: float | None) -> Results:
        """Run all to their ends, or until `timeout` seconds are over. Raises KeyboardInterrupt on Ctrl-C."""
        driver, hart = self._driver, self._driver.kernel.hart
        living = list(filter(None, map(self._enclave, self.state.chains)))
        for chain in self.state.chains:  # while the run was interrupted, anything can have happened to them
            enclave = self._enclave(chain)
            chain.waits = enclave is not None and enclave.status == Status.WAITING
        before = driver.clients[clients.TOGETHER]
        driver.clients[clients.TOGETHER] = driver.together = self
        for one in living:
            one.client, one.gives_way = clients.TOGETHER, True
        traps, flushes = hart.traps, hart.flushes
        driver.unknown_names.take()
        self.turns.begin()
        try:
            with passed_on(), Watch(hart, timeout) as watch:
                over = driver.run_entered(self._enter)
        finally:
            self.turns.end()
            driver.together = None
            driver.clients[clients.TOGETHER] = before
            for one in living:
                one.client, one.gives_way = clients.PYTHON, False
        if (watch.cancelled or watch.timed_out) and not over:
            driver.state.together = self.save()
        if watch.cancelled:
            raise KeyboardInterrupt
        if watch.timed_out:
            self.state.end = TIME_LIMIT
        notes = tuple(driver.unknown_names.take().values())
        stats = api.Stats(hart.traps - traps, hart.flushes - flushes, self._all.size)
        return self._results(stats, notes, over)

    def _results(self, stats: api.Stats, notes: tuple[str, ...], over: bool) -> Results:
        results = []
        for chain, enclave in zip(self.state.chains, self._enclaves, strict=True):
            status = PUT_BACK if over else Status.TIMER if chain.status is None else chain.status
            own = bytes(chain.printed.kept)
            results.append(api.result_of(self._driver, enclave, status, own, stats, chain.fault, notes))
            notes = ()
        text = self._all.text.decode("utf-8", "replace")
        return Results(results, self.state, self.turns.state, text)


def run_together(
    driver: Driver,
    enclaves: Sequence[DriverEnclave],
    recipe: Recipe,
    timeout: float | None,
    on_output: Callable[[bytes], None] | None,
) -> Results:
    """Run enclaves that have not run; see `Machine.run_together`."""
    if len({one.id for one in enclaves}) < len(enclaves):
        raise EnclaveError("an enclave is there twice: each runs once")
    policy = policy_of(recipe.schedule, recipe.quantum)
    if isinstance(policy, Steps):
        policy.must_be_of(len(enclaves))
    return Together(driver, enclaves, recipe, on_output, policy).run(timeout)


def resume_together(
    driver: Driver, timeout: float | None, on_output: Callable[[bytes], None] | None
) -> Results:
    """Go on with a run that was interrupted, or in whose callback the snapshot was taken."""
    saved = driver.state.together
    if saved is None:
        raise EnclaveError("there is no interrupted run of several enclaves")
    find = driver.table.find
    found = [find(chain.enclave) or _ended(chain) for chain in saved.together.chains]
    driver.state.together = None
    policy = policy_of(saved.recipe.schedule, saved.recipe.quantum)
    return Together(driver, found, saved.recipe, on_output, policy, saved).run(timeout)


def _ended(chain: Chain) -> DriverEnclave:
    """What there is to say of one that had ended by then."""
    return DriverEnclave(
        NO_EID, b"", EnclaveType.NORMAL, 0, 0, 0, chain.shm, relay=chain.relay, label=chain.label,
        alive=False, value=chain.value,
    )  # fmt: skip
