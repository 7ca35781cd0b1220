"""Between a host program and this process: serving it ends in no traceback, a caller gets its own errors."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import Machine, PltvmError
from pltvm.build import guest
from pltvm.host.linux.calls import SYSTEM_CALLS
from pltvm.host.linux.table import SystemCall
from tests.host.linux.conftest import Run
from tests.linux_stress import Stress

GETPID = 172


def failing(error: Exception, number: int = GETPID) -> SystemCall:
    """A system call without arguments that goes wrong."""

    def getpid(_system: object, _thread: object) -> int:
        raise error

    return SystemCall(number, getpid)


def raising(error: Exception) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EXDEV, "moved"), errno.EXDEV),
        (OSError("no number"), errno.EIO),
        (OverflowError(), errno.EINVAL),
        (ValueError("embedded null byte"), errno.EINVAL),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), errno.EINVAL),
        (MemoryError(), errno.ENOMEM),
    ],
)
def test_an_error_with_a_number_is_that_number(
    monkeypatch: pytest.MonkeyPatch, error: Exception, number: int
) -> None:
    results: list[int] = []
    monkeypatch.setitem(SYSTEM_CALLS, GETPID, failing(error))
    stress = Stress("numbers")
    stress.after = lambda call, result: results.append(result) if call == GETPID else None
    while not results:
        stress.run(300)
    stress.close()
    assert stress.wrong == []
    assert set(results) == {-number}


@pytest.mark.parametrize("error", [KeyError("what"), AssertionError("two\nlines"), PltvmError("hm")])
def test_any_other_error_ends_the_program_with_a_line_that_names_the_call(
    run_linux: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setitem(SYSTEM_CALLS, GETPID, failing(error))
    monkeypatch.setitem(SYSTEM_CALLS, 178, failing(error, 178))
    result = run_linux("signals", "blocked")
    assert (result.exit_code, result.bugs) == (1, 1)
    assert result.end.startswith("a bug of pltvm, in serving system call 17")
    assert " (getpid): " in result.end
    assert type(error).__name__ in result.end
    assert "\n" not in result.end
    assert "test_boundary.py:" in result.end


def test_pages_that_an_enclave_kept_are_no_memory_of_the_program(run_linux: Run, tmp_path: Path) -> None:
    (tmp_path / "relay.elf").write_bytes(guest.examples()["relay"].elf.read_bytes())
    result = run_linux("relay_touch", "relay.elf")
    assert b"touch\n" in result.output
    assert (result.exit_code, result.bugs) == (128 + 11, 0)
    assert result.end.startswith("killed by SIGSEGV at main")


@pytest.mark.parametrize(
    "error", [ValueError("mine"), OSError(errno.ENOSPC, "full"), PltvmError("mine"), KeyError()]
)
def test_what_the_callers_functions_raise_is_the_callers(
    build_linux: Callable[[str], Path], build_guest: Callable[[str], bytes], tmp_path: Path, error: Exception
) -> None:
    machine = Machine(256 << 20)
    hello = guest.examples()["hello-world"].elf
    with pytest.raises(type(error)) as raised:
        machine.run_program(build_linux("linux"), "floats", root=tmp_path, on_output=raising(error))
    assert raised.value is error
    with pytest.raises(type(error)) as raised:
        machine.run_program(build_linux("endless_host"), "stdin", root=tmp_path, source=raising(error))
    assert raised.value is error
    with pytest.raises(type(error)) as raised:
        machine.create(hello).run(on_output=raising(error))
    assert raised.value is error
    assert machine.create(hello).run().ok


def test_no_call_with_any_arguments_goes_wrong() -> None:
    runs = []
    for _ in range(2):
        stress = Stress("suite")
        while stress.done < 4000 and not stress.wrong:
            stress.run(2000)
        stress.close()
        assert stress.wrong == []
        runs.append((stress.done, stress.good, stress.ends))
    assert runs[0] == runs[1]
    assert len(runs[0][1]) > 50


def test_the_driver_of_it_notices_what_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEM_CALLS, GETPID, failing(KeyError("what")))
    stress = Stress("suite")
    while not stress.wrong:
        stress.run(2000)
    stress.close()
    assert "a bug of pltvm, in serving system call 172" in stress.wrong[0]


def test_a_thread_ends_also_without_memory_for_telling_who_waits(build_linux: Callable[[str], Path]) -> None:
    result = Machine(32 << 20).run_program(build_linux("corners"), "exit", timeout=20)
    assert (result.exit_code, result.end) == (7, "")


def test_memory_of_the_device_is_not_executed(run_linux: Run) -> None:
    """It may be mapped twice, and stores through one mapping would leave the other's old code running."""
    assert run_linux("corners", "execute").exit_code == 0
