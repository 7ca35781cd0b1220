"""What one leaves behind, nobody finds: memory and registers are painted, all of RAM is searched (§2, §5).

The marker is not in any list that the host wrote: it is a number there plus an address that the run gives,
so that what is found comes from the enclave. Registers are in two attacks, too: `c-leftovers`, `s-leftovers`.
"""

import re

import pytest

from pltvm.engine.context import F0, FCSR, PC, X0
from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import Call
from tests.monitor.rig import FILL, GET_FP, NOWHERE, RAW, SCRATCH, Outcome, Ref, Rig, Script

MARK = 0x1DEA_0000_0000_0000  # plus an address
WORDS = PAGE // 8
HOST_MARK = 0x5EC2_E75E_C2E7_5EC2
KEY = 9


@pytest.fixture
def rig_ram() -> int:
    """Little, as all of it is searched."""
    return 32 << 20


def found(rig: Rig, marker: int) -> list[int]:
    """The physical pages that have the marker in them."""
    memory = rig.machine.memory
    pattern = re.compile(re.escape(marker.to_bytes(8, "little")))
    return sorted({at.start() // PAGE * PAGE + memory.base for at in pattern.finditer(memory.bytes)})


def paint(script: Script, relay: bool) -> Ref:
    """Fill all kinds of memory of an enclave; gives the address on which the marker depends."""
    mapped = script.mmap(3 * PAGE)
    mark = mapped + MARK
    script.step(FILL, mapped, mark, 3 * WORDS)
    script.step(FILL, script.sbrk(PAGE) - PAGE, mark, WORDS)
    script.step(FILL, script.step(SCRATCH), mark, 2 * WORDS)
    script.step(FILL, script.ocall(abi.Ocall.SHM_GET, KEY, PAGE), mark, WORDS)
    if relay:
        script.step(FILL, abi.RELAY_BASE, mark, WORDS)
    gone = script.mmap(PAGE)
    script.step(FILL, gone, mark, WORDS)
    script.munmap(gone, PAGE)
    return mapped


@pytest.mark.parametrize("ending", ["exit", "fault", "destroy"])
def test_an_enclave_leaves_nothing_in_ram(rig: Rig, ending: str) -> None:
    script = Script()
    mapped = paint(script, relay=ending != "exit")  # at exit relay pages go back as they are
    printed = script.print(b"painted")
    script.ocall(abi.Ocall.SHM_DESTROY, KEY)
    if ending == "fault":
        script.peek(NOWHERE)
    elif ending == "destroy":
        script.loop()
    enclave = rig.enclave(script, relay=bytes(PAGE))
    pages: list[list[int]] = []

    def search(_text: bytes) -> None:
        (base,) = rig.state.enclaves[enclave.eid].space.mmaps
        pages.append([base, *found(rig, base + MARK)])
        if ending == "destroy":
            enclave.destroy()

    result = enclave.run(on_output=search)
    assert result.status == {"exit": "exited", "fault": "faulted", "destroy": "destroyed"}[ending]
    (base, *painted), *_ = pages
    assert len(painted) >= 7, "the search finds it while it is there"
    if result.shm is not None:
        outcome = Outcome(result)
        assert outcome[mapped] == base
        assert outcome.done(printed)
    if ending == "destroy":  # nobody has destroyed that
        assert found(rig, base + MARK)
        assert rig.machine.reclaim() > 0
    assert found(rig, base + MARK) == []


@pytest.mark.long
def test_a_server_leaves_nothing_in_ram(rig: Rig) -> None:
    inner, script = Script(), Script()
    mapped = script.mmap(3 * PAGE)
    script.step(FILL, mapped, mapped + MARK, 3 * WORDS)
    script.call(script.acquire(b"server"), req_vaddr=mapped, req_size=3 * PAGE)
    inner.step(FILL, inner.step(SCRATCH), inner.entry(11) + MARK, 2 * WORDS)
    inner.give()
    server = rig.server(inner)
    base = rig.run(script)[mapped]
    assert len(found(rig, base + MARK)) == 5, "the server keeps three pages and has painted two"
    server.enclave.destroy()
    assert found(rig, base + MARK) == []


def test_memory_from_a_dirty_host_is_clear(rig: Rig) -> None:
    """All free RAM that the host may write is painted; what an enclave gets of it on request is zero."""
    script = Script()
    mapped, top = script.mmap(7 * PAGE), script.sbrk(7 * PAGE)
    shared = script.ocall(abi.Ocall.SHM_GET, KEY, 3 * PAGE)
    words = [script.peek(mapped + at) for at in range(0, 7 * PAGE, 1000)]
    words += [script.peek(top - at - 8) for at in range(0, 7 * PAGE, 1000)]
    words += [script.peek(shared + at) for at in range(0, 3 * PAGE, 1000)]
    script.ocall(abi.Ocall.SHM_DETACH, KEY)
    script.ocall(abi.Ocall.SHM_DESTROY, KEY)
    serve = rig.machine.driver.ocalls._serve_block

    def dirty(*arguments: object) -> tuple[int, int]:
        block, size = serve(*arguments)  # type: ignore[arg-type]
        rig.machine.memory.write(block, HOST_MARK.to_bytes(8, "little") * (size // 8))
        return block, size

    driver = rig.machine.driver
    driver.ocalls._serve_block = dirty  # type: ignore[method-assign, assignment]
    driver.serving[abi.Ocall.MMAP] = dirty
    outcome = rig.run(script)
    assert [outcome[word] for word in words] == [0] * len(words)


def test_registers_of_the_host_and_of_an_enclave_stay_apart(rig: Rig) -> None:
    """The host's are painted; an enclave that paints its own runs, is interrupted by ocalls, and exits."""
    regs = rig.machine.kernel.context.regs
    for slot in (*range(X0 + 1, PC), *range(F0, FCSR)):
        regs[slot] = HOST_MARK
    before = list(regs)
    script = Script()
    floats = script.step(GET_FP)
    for function, first in ((Call.YIELD, 0), (Call.OCALL, abi.Ocall.SHM_DETACH), (Call.ENCLAVE_ID, 0)):
        script.step(RAW, abi.ENCLAVE_CALL, function, first, KEY)
    script.print(b"an ocall")
    enclave = rig.enclave(script, relay=bytes(PAGE))
    result = enclave.run()
    outcome = Outcome(result)
    assert result.output == "an ocall\n"
    assert list(regs) == before
    expected = [0] * 32
    expected[2], expected[10], expected[11] = abi.STACK_TOP, abi.SHM_BASE, 10 * PAGE
    expected[13], expected[14] = abi.RELAY_BASE, PAGE
    assert outcome.entry == expected
    assert outcome[floats] == 0
