"""What the native core does for the host: text that waits, and blocks that are given and come back."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltvm import EnclaveType, native
from pltvm.build.enclave import build_enclave
from pltvm.engine.memory import PAGE
from pltvm.host.output import MayBeLate
from tests.monitor.rig import Rig, Script

pytestmark = pytest.mark.skipif(native.core is None, reason=native.status)
LIMIT = 30.0  # seconds


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[Rig]:
    rig = Rig(script_elf)
    yield rig
    rig.finish()


@pytest.fixture(scope="module")
def built_client(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """An enclave that makes one call over and over, and the server that it calls."""
    folder, sources = tmp_path_factory.mktemp("client"), Path(__file__).parents[2] / "bench" / "guest"
    client, server = (
        build_enclave([sources / f"{name}.c"], folder / f"{name}.elf").read_bytes()
        for name in ("client", "server")
    )
    return client, server


def printing(*texts: bytes, spins: bool = False) -> Script:
    script = Script()
    for text in texts:
        script.print(text)
    if spins:
        script.loop()
    script.print(b"the end")
    return script


def test_text_is_put_together(rig: Rig) -> None:
    """Python is entered for none of these prints, and the function is called once for them."""
    seen: list[bytes] = []
    enclave = rig.enclave(printing(b"one", b"", b"two\n", b"x" * 40))
    result = enclave.run(on_output=MayBeLate(seen.append))
    whole = b"one\ntwo\n" + b"x" * 40 + b"\nthe end\n"
    assert (result.output.encode(), b"".join(seen)) == (whole, whole)
    assert len(seen) < 4
    assert rig.machine.hart.core.traps >= 4


def test_another_function_is_called_at_once(rig: Rig) -> None:
    seen: list[tuple[bytes, int]] = []
    enclave = rig.enclave(printing(b"one", b"two"))
    enclave.run(on_output=lambda text: seen.append((text, rig.state.globals.running)))
    assert seen == [(b"one\n", 0), (b"two\n", 0), (b"the end\n", 0)]  # the host has the hart


def test_a_run_after_one_with_a_function(rig: Rig) -> None:
    """What one run may do does not hold for the next."""
    for late in (True, False, True):
        seen: list[bytes] = []
        rig.enclave(printing(b"one", b"two")).run(on_output=MayBeLate(seen.append) if late else seen.append)
        assert b"".join(seen) == b"one\ntwo\nthe end\n"
        assert len(seen) == 3 or late


def test_text_does_not_wait_for_the_next_trap(rig: Rig) -> None:
    """The enclave computes for ever. Whoever hears of it ends that, long before the time limit."""

    def end(_text: bytes) -> None:
        raise RuntimeError("heard")

    enclave = rig.enclave(printing(b"one", spins=True))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="heard"):
        enclave.run(timeout=LIMIT, on_output=MayBeLate(end))
    assert time.monotonic() - start < LIMIT / 2
    result = enclave.resume(timeout=0.2)  # it is in order, and goes on
    assert result.status == "interrupted"


def test_more_text_than_there_is_room_for(rig: Rig) -> None:
    script = Script()
    script.text(b"y" * 500, 0x39_0000_8000)
    for _ in range(120):
        script.step(11, 0x39_0000_8000)
    result = rig.enclave(script).run()
    assert result.output == ("y" * 500 + "\n") * 120


def test_an_error_of_the_host_s_allocator_ends_the_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can not be thrown through the core's frames, and must not be lost."""

    def fail(_size: int) -> int:
        raise RuntimeError("no")

    script = Script()
    for _ in range(3):  # the first makes tables, which the core does not
        script.mmap(PAGE)
    enclave = rig.enclave(script)
    monkeypatch.setattr(rig.machine.driver.core, "offer", fail)
    with pytest.raises(RuntimeError, match="no"):
        enclave.run(timeout=LIMIT)
    monkeypatch.undo()
    assert enclave.resume(timeout=LIMIT).ok


def test_a_machine_that_is_full(rig: Rig) -> None:
    """The core's host has no block: Python says so, as without the core."""
    script = Script()
    pages = [script.mmap(6 * PAGE) for _ in range(12)]
    enclave = rig.enclave(script)
    blocks = rig.machine.kernel.blocks
    taken = []
    while blocks.free_pages > 60:
        taken.append(blocks.take(min(1 << (blocks.free_pages // 3).bit_length() - 1, 1 << 12)))
    result = enclave.run(timeout=LIMIT)
    assert result.status == "faulted"
    assert "the host has no memory for mmap" in str(result.fault)
    for block in taken:
        blocks.give(block)
    assert pages


@pytest.mark.parametrize(
    "operation", range(1, 9), ids=["id", "acquire", "call", "print", "mmap", "trap", "caller", "yield"]
)
def test_an_enclave_that_only_asks_the_core_is_stopped(
    rig: Rig, operation: int, built_client: tuple[bytes, bytes]
) -> None:
    """By the time limit, between two calls; and it goes on, to be stopped again."""
    client, server = built_client
    machine = rig.machine
    served = machine.create(server, name="bench", type=EnclaveType.SERVER)
    enclave = machine.create(client, shm=struct.pack("<4Q", operation, 1 << 40, operation == 3, 0))
    assert enclave.run(timeout=0.1).status == "interrupted"
    before, status = machine.hart.core.traps, "interrupted"
    for _ in range(100):
        if status != "interrupted" or machine.hart.core.traps > before + 100:
            break
        status = enclave.resume(timeout=0.1).status
    assert status == "interrupted"
    assert machine.hart.core.traps > before + 100
    enclave.destroy()
    served.destroy()
