"""An enclave from start to end: entry, exit, yield, interruption; and the same input giving the same run."""

import pytest

from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.monitor import abi
from pltvm.monitor.abi import Call
from tests.monitor.rig import (
    DATA,
    FILL,
    NOWHERE,
    RAW,
    SHM_PAGES,
    STRUCT,
    SUM,
    Memory,
    Rig,
    Script,
    end_loop,
    stopped_in_loop,
)

TEXT = 0x1000  # where the enclave's code begins


@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFFF_FFFF_FFFF, 2**63, 2**64 - 1])
def test_exit_value_is_a_u64(rig: Rig, value: int) -> None:
    script = Script()
    script.exit(value)
    script.print(b"never")
    outcome = rig.run(script)
    assert outcome.result.retval == value
    assert outcome.output == ""


def test_registers_at_entry(rig: Rig) -> None:
    """a2 counts the enclaves started so far; what is not listed in §2 is zero."""
    for number, relay in enumerate((None, b"x", bytes(3 * PAGE))):
        outcome = rig.run(Script(), relay=relay)
        size = 0 if relay is None else -(-len(relay) // PAGE) * PAGE
        expected = [0] * 32
        expected[2] = abi.STACK_TOP
        expected[10:15] = [abi.SHM_BASE, SHM_PAGES * PAGE, number, abi.RELAY_BASE if size else 0, size]
        assert outcome.entry == expected


@pytest.mark.parametrize("function", [Call.YIELD, Call.ENCLAVE_ID, Call.CALLER_ID, Call.ACQUIRE])
def test_calls_change_a0_alone(rig: Rig, function: Call) -> None:
    script = Script()
    script.step(RAW, abi.ENCLAVE_CALL, function, 0, 11, 12)
    outcome = rig.run(script)
    assert outcome.result.ok
    regs = outcome.regs
    assert regs[2] == regs[0]
    assert regs[11:13] == [11, 12]
    assert regs[16:18] == [abi.ENCLAVE_CALL, function]
    for number in [1, *range(3, 10), 13, 14, 15, *range(18, 32)]:
        assert regs[number] == 0x0101010101010101 * (number + 1) % 2**64, f"x{number}"


def test_ocalls_change_a0_alone(rig: Rig) -> None:
    script = Script()
    area = script.step(RAW, abi.ENCLAVE_CALL, Call.OCALL, 1, 0, PAGE)
    outcome = rig.run(script)
    assert outcome[area] == abi.MMAP_TOP - PAGE
    assert outcome.regs[12] == PAGE
    for number in [1, *range(3, 10), 13, 14, 15, *range(18, 32)]:
        assert outcome.regs[number] == 0x0101010101010101 * (number + 1) % 2**64, f"x{number}"


def test_yield_returns_0(rig: Rig) -> None:
    script = Script()
    results = [script.yield_() for _ in range(5)]
    script.print(b"done")
    outcome = rig.run(script)
    assert [outcome[result] for result in results] == [0] * 5
    assert outcome.output == "done\n"


def test_ids_count_up_from_0_and_are_not_used_twice(rig: Rig) -> None:
    ids = []
    for _ in range(5):
        script = Script()
        own = script.enclave_id()
        ids.append(rig.run(script)[own])
    assert ids == [0, 1, 2, 3, 4]


def test_text_is_not_writable(rig: Rig) -> None:
    script = Script()
    value = script.peek(TEXT)
    script.poke(TEXT, 0)
    outcome = rig.run(script)
    assert outcome[value]
    assert (outcome.fault.address, outcome.fault.size) == (TEXT, 8)


@pytest.mark.parametrize("in_server", [False, True])
def test_interrupted_run_goes_on(rig: Rig, in_server: bool) -> None:
    """The limit may end the run in a server: the host resumes the top caller, and the server goes on."""
    loop = Script()
    loop.print(b"a")
    loop.loop()
    loop.print(b"b")
    if in_server:
        loop.give(resp_val=8)
        server = rig.server(loop)
        script = Script()
        script.call(server.eid)
        script.exit(script.peek(STRUCT + 8))
    else:
        script = loop
        script.exit(8)
    enclave = rig.enclave(script)
    result = stopped_in_loop(enclave)
    assert result.status == "interrupted"
    assert (result.output, result.retval) == ("a\n", None)
    rig.check()
    with pytest.raises(EnclaveError, match="has run already"):
        enclave.run()
    assert enclave.resume(timeout=0.02).status == "interrupted"
    end_loop(server.enclave if in_server else enclave)
    again = enclave.resume(timeout=20)
    assert (again.status, again.retval, again.output) == ("exited", 8, "b\n")


def test_destroying_a_server_ends_the_interrupted_caller_and_frees_its_shared_memory(rig: Rig) -> None:
    loop = Script()
    loop.loop()
    server = rig.server(loop)
    script = Script()
    script.call(server.eid)
    enclave = rig.enclave(script)
    assert stopped_in_loop(enclave).status == "interrupted"
    server.enclave.destroy()
    rig.check()
    assert not enclave.alive
    assert rig.free_pages == rig.pages_at_start


def scenario(rig: Rig) -> tuple[object, ...]:
    """Calls, memory, output, a fault: everything that could bring in something from outside."""
    inner = Script()
    at = inner.entry(11)
    inner.step(FILL, at, 0x1234, 16)
    inner.print(b"inner\n")
    inner.give(req_vaddr=at, req_size=PAGE, resp_val=inner.caller_id())
    server = rig.server(inner)
    script = Script()
    area = script.mmap(4 * PAGE)
    script.sbrk(3 * PAGE)
    script.call(server.eid, req_vaddr=area, req_size=PAGE)
    script.results()
    script.step(SUM, area, 512)
    script.step(RAW, abi.ENCLAVE_CALL, Call.ENCLAVE_ID)
    script.print(b"outer\n")
    script.poke(NOWHERE, 1)
    outcome = rig.run(script)
    return outcome.output, outcome.result.stats, outcome.raw, server.pages.read(), str(outcome.result.fault)


def test_same_scenario_twice_is_the_same_run(rig: Rig) -> None:
    others = [Rig(rig.elf), Rig(rig.elf)]
    results = [scenario(other) for other in others]
    assert results[0] == results[1]
    first, second = (other.machine.memory for other in others)
    assert first.bytes[: 16 << 20] == second.bytes[: 16 << 20]
    for other in others:
        other.finish()


def test_shared_memory_is_seen_by_both_sides(rig: Rig) -> None:
    script = Script()
    script.print(b"go")
    seen = script.peek(DATA + PAGE)
    script.poke(DATA + PAGE + 8, 77)
    enclave = rig.enclave(script)
    shm = enclave.inner.shm
    memory = rig.machine.memory

    def on_output(_text: bytes) -> None:
        memory.store(shm.pa + DATA + PAGE - abi.SHM_BASE, 4711)

    result = enclave.run(on_output=on_output)
    assert result.shm is not None
    assert Memory(result.shm)[seen] == 4711
    assert result.shm[DATA + PAGE + 8 - abi.SHM_BASE] == 77


def test_host_that_fails_in_an_ocall_leaves_an_enclave_that_can_be_destroyed(rig: Rig) -> None:
    script = Script()
    script.print(b"x")
    enclave = rig.enclave(script)

    def fail(_text: bytes) -> None:
        raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        enclave.run(on_output=fail)
    assert enclave.alive
    rig.check()
    enclave.destroy()
    assert rig.run(Script()).result.ok


def test_registers_that_are_gone_are_not_loaded(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    """Those of a server that ends with its caller lay in its block. What Unicorn can not load it says."""
    script = Script()
    script.ecall(0x7777)
    server = rig.server(script)
    caller = Script()
    caller.call(server.eid)
    assert rig.enclave(caller).run(timeout=20).fault is not None
    assert capfd.readouterr().err == ""
