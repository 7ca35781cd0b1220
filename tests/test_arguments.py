"""What a Python program may give to the API, and the one line that it gets for anything else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.errors import ArgumentError, PltvmError
from pltvm.monitor.digest import Digest

ELF = guest.examples()["hello-world"].elf
SERVER = guest.examples()["server"].elf


@pytest.fixture(scope="module")
def machine() -> Machine:
    machine = Machine(64 << 20)
    machine.create(ELF).destroy()  # which has the monitor get its memory for records, for good
    return machine


def test_the_obvious_is_taken(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"from a file")
    for given, content in (
        ("text é", "text é".encode()), (b"bytes", b"bytes"), (bytearray(b"array"), b"array"),
        (tmp_path / "data", b"from a file"),
    ):  # fmt: skip
        result = machine.create(ELF, shm=given, relay=given).run()  # type: ignore[arg-type]
        assert result.ok
        assert result.shm is not None
        assert result.shm.rstrip(b"\0") == content
        assert machine.shm(given).read().rstrip(b"\0") == content  # type: ignore[arg-type]
        assert machine.relay(given).read().rstrip(b"\0") == content  # type: ignore[arg-type]
    assert machine.shm(5000).size == 8192
    for elf in (str(ELF), ELF, ELF.read_bytes(), bytearray(ELF.read_bytes())):
        assert machine.create(elf).run(timeout=60).ok  # type: ignore[arg-type]
    for kind in ("server", "SERVER", EnclaveType.SERVER):
        server = machine.create(SERVER, name="one", type=kind)
        assert server.type is EnclaveType.SERVER
        server.destroy()
    assert Machine(8 << 20, digest="sm3").monitor.state.digest is Digest.SM3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.create(5), TypeError, "elf is 5, of type int: give the path of an ELF, or its bytes"),
        (lambda m: m.create(ELF, shm=5), TypeError, "shm is 5, of type int: give bytes"),
        (lambda m: m.create(ELF, relay=[b"x"]), TypeError, r"relay is \[b'x'\], of type list"),
        (lambda m: m.create(ELF, type="sever"), ArgumentError, "type is 'sever': it is one of 'normal'"),
        (lambda m: m.create(ELF, type=1), TypeError, "type is 1, of type int: give EnclaveType"),
        (lambda m: m.create(ELF, name=b"x"), TypeError, "name is b'x', of type bytes: give a text"),
        (lambda m: m.create(ELF, name=None), TypeError, "name is None"),
        (lambda m: m.create(ELF, stack_size="64K"), TypeError, "stack_size is '64K'"),
        (lambda m: m.create(ELF, stack_size=4096.0), TypeError, "stack_size is 4096.0"),
        (lambda m: m.create(ELF, shm=Path("/nowhere")), PltvmError, "/nowhere: cannot be read: No such file"),
        (lambda m: m.create(ELF).run("5"), TypeError, "timeout is .5., of type str"),
        (lambda m: m.create(ELF).run(-1), ArgumentError, "timeout is -1: it must be more than 0 seconds"),
        (lambda m: m.create(ELF).run(float("nan")), ArgumentError, "timeout is nan"),
        (lambda m: m.create(ELF).run(on_output="x"), TypeError, "on_output is .x., of type str"),
        (lambda m: m.create(ELF).attest("x"), TypeError, "nonce is 'x'"),
        (lambda m: m.shm(None), TypeError, "content is None"),
        (lambda m: m.shm(-1), ArgumentError, "content is -1"),
        (lambda m: m.shm(True), TypeError, "content is True"),
        (lambda m: m.use_for_persistency(5), TypeError, "shm is 5, of type int: give what"),
        (lambda m: m.restore(None), TypeError, "snapshot is None, of type NoneType"),
        (lambda m: m.run_program(5), TypeError, "an argument is 5"),
        (lambda m: m.supervise(5), TypeError, "elf is 5"),
        (lambda _: Machine("1G"), TypeError, "ram is '1G', of type str: give its bytes"),
        (lambda _: Machine(5), ArgumentError, "5 bytes of RAM"),
        (lambda _: Machine(8 << 20, seed="x"), TypeError, "seed is 'x'"),
        (lambda _: Machine(8 << 20, disk=5), TypeError, "disk is 5"),
        (lambda _: Machine(8 << 20, keys="x"), TypeError, "keys is 'x'"),
        (lambda _: Machine(8 << 20, digest="md5"), ArgumentError, "digest is .md5.: it is one of"),
    ],
)  # fmt: skip
def test_one_line_for_anything_else(
    machine: Machine, call: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    before = machine.kernel.blocks.free_pages
    alive = len(machine.driver.enclaves)
    with pytest.raises(error, match=message) as raised:
        call(machine)
    assert "\n" not in str(raised.value)
    for enclave in list(machine.driver.enclaves.values())[alive:]:
        machine.driver.destroy(enclave)
    assert machine.kernel.blocks.free_pages == before


@pytest.mark.parametrize("limit", [float("inf"), 1e300, 10**12])
def test_a_limit_longer_than_a_thread_can_wait(machine: Machine, limit: float) -> None:
    assert machine.create(guest.examples()["hello-world"].elf).run(limit).ok


def test_an_argument_error_is_caught_as_both() -> None:
    assert issubclass(ArgumentError, ValueError)
    assert issubclass(ArgumentError, PltvmError)


def test_a_type_has_several_names() -> None:
    machine = Machine(32 << 20)
    elf = guest.examples()["counter"].elf
    for number, one in enumerate(
        ("concurrent", "Concurrent server", "CONCURRENT_SERVER", EnclaveType.CONCURRENT)
    ):
        made = machine.create(elf, name=f"name{number}", type=one, slots=2)
        assert made.type is EnclaveType.CONCURRENT_SERVER
