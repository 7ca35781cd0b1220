"""Calls of servers from Python: what comes back, what does not, and what stays of it."""

import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import pytest

from pltvm import Answer, CallError, Enclave, Machine, PltvmError
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import ArgumentError, EnclaveError, OutOfMemory
from pltvm.host import clients, proxy
from pltvm.monitor import abi
from tests.limits import long_enough, stopped_in

GCC = "riscv64-linux-gnu-gcc"
SOURCE = Path(__file__).parents[1] / "guest" / "callee.c"
Do = IntEnum(  # type: ignore[misc]
    "Do", re.findall(r"[A-Z]+", SOURCE.read_text().partition("enum {")[2].partition("}")[0]), start=0
)


@pytest.fixture
def machine() -> Machine:
    return Machine(64 << 20)


@pytest.fixture
def elf(build_guest: Callable[[str], bytes]) -> bytes:
    return build_guest("callee")


@pytest.fixture
def server(machine: Machine, elf: bytes) -> Enclave:
    return machine.create(elf, name="callee", type="server")


def of(what: int, number: int) -> int:
    return what | number << 8


def broken_off(server: Enclave, what: int, where: str) -> tuple[CallError, float]:
    """The error of a call that a time limit found there, and the limit."""

    def attempt(limit: float) -> CallError:
        with pytest.raises(CallError) as raised:
            server.call(what, b"x", timeout=limit)
        return raised.value

    return long_enough(attempt, lambda error: where in str(error))


# -- answers -------------------------------------------------------------------------------------------------


def test_an_answer_is_a_value_and_data(server: Enclave) -> None:
    value, data = server.call(Do.SHOUT, b"hello")
    assert (value, data) == (0, b"HELLO")
    assert server.call(Do.SHOUT, "text") == (0, b"TEXT")
    assert server.call(Do.COUNT) == (3, b"")
    answer = server.call(Do.SHOUT, b"hello")
    assert answer.pages == b"HELLO".ljust(PAGE, b"\0")
    assert (answer.text, answer.request, answer.output, answer.notes) == ("HELLO", b"", "", ())
    assert server.call(Do.NEGATIVE).signed == -38
    assert server.call(Do.NEGATIVE).value == 2**64 - 38


def test_data_has_the_size_of_what_was_passed_or_more_if_there_is_more(server: Enclave) -> None:
    assert server.call(Do.ECHO, bytes(8)).data == bytes(8)
    assert server.call(Do.ECHO, b"ab\0\0").data == b"ab\0\0"
    assert server.call(Do.GROW, b"ab").data == b"x" * 100
    assert server.call(Do.ECHO, bytes(PAGE)).data == bytes(PAGE)


@pytest.mark.parametrize("size", [PAGE - 1, PAGE + 1, 64 << 10, (64 << 10) + 1, (128 << 10) + PAGE, 300_001])
def test_more_than_a_page_and_more_than_a_window(server: Enclave, size: int) -> None:
    data = bytes(at * 7 % 251 for at in range(size - 1)) + b"."
    assert server.call(Do.ECHO, data) == (0, data)
    assert server.call(Do.SUM, data) == (sum(data), data)
    assert server.call(Do.KEEP, data) == (sum(data), b"")
    both = server.call(of(Do.BOTH, 40), data)
    assert both.data == b"".join(bytes([page + 1]) * PAGE for page in range(40))
    assert both.request[:size] == data
    assert server.call(of(Do.GIVE, 40), data).request == b""


def test_pages_are_zero_behind_the_data(server: Enclave) -> None:
    server.call(Do.ECHO, b"\xff" * 5 * PAGE)
    assert server.call(Do.SUM, b"\1").value == 1


def test_all_memory_is_given_back(server: Enclave, machine: Machine) -> None:
    server.call()
    before = machine.kernel.blocks.free_pages
    for what in (Do.ECHO, of(Do.BOTH, 40), of(Do.GIVE, 1)):
        server.call(what, b"x" * 100_000)
    assert machine.kernel.blocks.free_pages == before - 32  # GIVE has kept what was passed, of 25 pages
    assert server.call(Do.COUNT).value == 5


def test_state_stays_and_each_client_is_one_caller(server: Enclave) -> None:
    assert [server.call(Do.COUNT).value for _ in range(3)] == [1, 2, 3]
    first, second = server.call(Do.WHO).value, server.call(Do.WHO, client=1).value
    assert first != second
    assert server.call(Do.WHO).value == first
    assert server.call(Do.WHO, client=1).value == second


def test_a_long_answer_is_short_in_a_message() -> None:
    assert repr(Answer(5, b"ab" + bytes(4094))) == r"Answer(value=5, data=b'ab' and 4094 zero bytes)"
    assert repr(Answer(5, b"x" * 1000)).endswith("' and 936 bytes more)")
    assert repr(Answer(5, b"ab")) == "Answer(value=5, data=b'ab')"


def test_the_server_of_the_examples(machine: Machine) -> None:
    examples = guest.examples()
    machine.create(examples["server"].elf, name="test-server", type="server")
    chain = machine.create(examples["server1"].elf, name="test-server1", type="server")
    answer = chain.call(1, (5).to_bytes(4, "little"))
    assert (answer.value, answer.data[:4]) == (3, b"\2\0\0\0")
    assert "[server] resp sum" in answer.output
    assert "[server1] resp sum" in answer.output


BARE = """
    .globl _start
_start:                     /* answers argument + 1, and where it has found what was passed */
    addi sp, sp, -64
    addi a3, a0, 1
    sd zero, 0(sp)
    sd a3, 8(sp)
    sd a1, 16(sp)
    sd a2, 24(sp)
    sd zero, 32(sp)
    sd zero, 40(sp)
    beqz a1, 1f
    sd a1, 0(a1)
1:  mv a0, sp
    li a6, 0x100101
    li a7, 95
    ecall
"""


@pytest.mark.skipif(shutil.which(GCC) is None, reason=f"there is no {GCC}")
def test_a_server_that_knows_nothing_of_this_sdk(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "bare.S").write_text(BARE)
    link = ["-nostdlib", "-static", "-Wl,-Ttext=0x1000", "-Wl,--build-id=none", "-o", "bare.elf", "bare.S"]
    subprocess.run([GCC, *link], cwd=tmp_path, check=True)
    server = machine.create(tmp_path / "bare.elf", name="bare", type="server")
    assert server.call(7) == (8, b"")
    value, data = server.call(7, bytes(2 * PAGE))
    assert value == 8
    assert int.from_bytes(data[:8], "little") == abi.MMAP_TOP - 3 * PAGE  # of four pages, three are mapped


# -- output --------------------------------------------------------------------------------------------------


def test_what_is_printed(server: Enclave) -> None:
    told: list[bytes] = []
    assert server.call(Do.SAY, "so", on_output=told.append).output == "said so\n"
    assert b"".join(told) == b"said so\n"
    assert server.call(Do.COUNT).output == ""


def test_an_error_in_a_callback_is_the_callers(server: Enclave) -> None:
    def fail(_text: bytes) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        server.call(Do.SAY, on_output=fail)
    assert server.call(Do.COUNT).value == 2


# -- no answer -----------------------------------------------------------------------------------------------


def test_a_fault_is_an_exception_with_the_report(server: Enclave, machine: Machine, elf: bytes) -> None:
    with pytest.raises(
        CallError, match=r"^callee \(eid 0\) at main\+\S+ \(callee.c:\d+\): store to"
    ) as raised:
        server.call(Do.FAULT, b"x")
    error = raised.value
    assert (error.status, error.output) == ("faulted", "")
    assert "nothing is mapped there" in str(error.report)
    assert error.__notes__ == [str(error.report)]
    assert not server.alive
    with pytest.raises(EnclaveError, match="callee has ended: create it again"):
        server.call()
    assert machine.create(elf, name="callee", type="server").call(Do.COUNT).value == 1


def test_a_hang_is_broken_off_and_the_server_is_idle_again(server: Enclave) -> None:
    error, limit = broken_off(server, Do.SPIN, "in callee ")
    assert f"still running after {limit:g} s in callee (eid 0) at main" in str(error)
    assert error.status == "interrupted"
    assert "caller (eid 1)" in str(error.report)
    assert server.alive
    assert server.call(Do.SHOUT, b"y") == (0, b"Y")


def test_a_server_that_exits_as_enclaves_do(server: Enclave) -> None:
    with pytest.raises(CallError, match="at leave") as raised:
        server.call(Do.EXIT, timeout=5)
    assert raised.value.status == "faulted"


def test_a_server_may_yield(server: Enclave) -> None:
    assert server.call(Do.YIELD).value == 5


def test_servers_that_it_calls(server: Enclave, machine: Machine, elf: bytes) -> None:
    answer = server.call(Do.UNKNOWN)
    assert answer.signed == -2
    assert answer.notes == ("acquire of 'nxt' failed: no server has that name; there is 'callee'",)
    second = machine.create(elf, name="next", type="server")
    assert server.call(of(Do.NEXT, Do.COUNT)).value == 1
    assert second.call(Do.COUNT).value == 2
    error, _ = broken_off(server, of(Do.NEXT, Do.SPIN), "in next ")
    assert "in next (eid 2)" in str(error)
    assert server.call(of(Do.NEXT, Do.COUNT)).value == 4
    with pytest.raises(CallError, match=r"callee: next \(eid 2\) at main"):
        server.call(of(Do.NEXT, Do.FAULT))
    assert (server.alive, second.alive) == (True, False)


def test_a_server_in_the_call_of_an_interrupted_run_is_busy(
    server: Enclave, machine: Machine, tmp_path: Path
) -> None:
    from pltvm.build.enclave import build_enclave

    (tmp_path / "spins.c").write_text(
        '#include "eapp.h"\nint EAPP_ENTRY main() { struct call_enclave_arg_t call = {.req_arg = SPIN};\n'
        'call_enclave(acquire_enclave("callee"), &call); EAPP_RETURN(0); }\n'.replace(
            "SPIN", str(int(Do.SPIN))
        )
    )
    run = machine.create(build_enclave([tmp_path / "spins.c"], tmp_path / "spins.elf"))
    assert stopped_in(run, "callee ").status == "interrupted"
    with pytest.raises(CallError, match="callee: is busy: a call of it has not come to its end") as raised:
        server.call(Do.COUNT, b"x")
    assert raised.value.status == "busy"
    run.destroy()
    assert server.call(Do.COUNT).value == 2


def test_more_data_than_there_is_memory(server: Enclave) -> None:
    with pytest.raises(OutOfMemory, match="callee: the host has no memory for mmap of 67108864 bytes"):
        server.call(Do.ECHO, bytes(64 << 20))
    assert server.call(Do.ECHO, b"x") == (0, b"x")


def test_a_call_from_a_callback_of_a_run(server: Enclave) -> None:
    said: list[str] = []

    def again(_text: bytes) -> None:
        with pytest.raises(EnclaveError, match="can not be called while an enclave runs") as raised:
            server.call(Do.COUNT)
        said.append(str(raised.value))

    server.call(Do.SAY, on_output=again)
    assert len(said) == 1


def test_a_server_that_is_destroyed_meanwhile(server: Enclave) -> None:
    with pytest.raises(CallError) as raised:
        server.call(Do.SAY, on_output=lambda _text: server.destroy())
    assert raised.value.status == "destroyed"


def test_who_can_be_called_and_with_what(server: Enclave, machine: Machine) -> None:
    normal = machine.create(guest.examples()["hello-world"].elf)
    with pytest.raises(EnclaveError, match="not a server enclave"):
        normal.call()
    for arguments, error, message in (
        (("1",), TypeError, "arg is '1'"),
        ((1 << 64,), PltvmError, "more than 64 bits"),
        ((0, 5), TypeError, "data is 5, of type int"),
        ((0, b"", -1), ArgumentError, "timeout is -1"),
    ):
        with pytest.raises(error, match=message):
            server.call(*arguments)  # type: ignore[arg-type]
    server.call(-1, b"")
    server.call(2**64 - 1, b"")


# -- snapshots -----------------------------------------------------------------------------------------------


def test_calls_after_the_machine_was_put_back(server: Enclave, machine: Machine) -> None:
    fresh = machine.snapshot()  # without a proxy
    assert server.call(Do.COUNT).value == 1
    warm = machine.snapshot()
    assert [server.call(Do.COUNT).value for _ in range(3)] == [2, 3, 4]
    machine.restore(warm)
    assert server.call(Do.COUNT).value == 2
    machine.restore(fresh)
    assert server.call(Do.COUNT).value == 1
    other = Machine(64 << 20)
    other.restore(pickle.loads(pickle.dumps(warm)))
    (inner,) = (one for one in other.driver.enclaves.values() if one.name == b"callee")
    assert proxy.call(other.driver, inner, Do.COUNT, b"", None, None, 0).value == 2
    proxies = [one for one in other.driver.enclaves.values() if one.client == clients.PROXY]
    assert len(proxies) == 1  # that of the snapshot


def test_put_back_into_the_middle_of_a_call(server: Enclave, machine: Machine) -> None:
    server.call(Do.COUNT)
    before, middle = machine.snapshot(), []
    server.call(Do.SAY, on_output=lambda _text: middle.append(machine.snapshot()))
    machine.restore(middle[0])
    assert server.call(Do.COUNT).value == 3  # the call that was in progress is broken off
    with pytest.raises(CallError) as raised:
        server.call(Do.SAY, on_output=lambda _text: machine.restore(before))
    assert raised.value.status == "put back"
    assert server.call(Do.COUNT).value == 2


@pytest.mark.parametrize("native", [True, False])
def test_with_the_core_and_without_the_same(elf: bytes, native: bool) -> None:
    machine = Machine(64 << 20, native=native)
    server = machine.create(elf, name="callee", type="server")
    answers = [server.call(of(what, 2), b"abc") for what in (Do.ECHO, Do.SHOUT, Do.BOTH, Do.YIELD, Do.WHO)]
    values = [answer.value for answer in answers]
    assert values == [0, 0, 0, 5, 1]
    assert machine.monitor.state.globals.started == 1


def test_the_layout_of_the_mailbox() -> None:
    source = guest.proxy().source.read_text()
    layout = source.partition("struct mailbox {")[2].partition("};")[0]
    names = re.findall(r"\w+(?=[,;])", re.sub(r"/\*.*?\*/", "", layout))
    assert 8 * len(names) == proxy._ORDER.size + proxy._RESULTS.size
    assert 8 * names.index("count") == proxy._COUNT_AT
    assert names.index("result") * 8 == proxy._ORDER.size
    steps = dict(re.findall(r"(TAKE|FILL|CALL|FETCH|DROP) = (\d+)", source))
    assert [int(steps[name]) for name in ("TAKE", "FILL", "CALL", "FETCH", "DROP")] == [1, 2, 4, 8, 16]
