"""The same host programs by the command: what goes to which stream, exit status, and how it is stopped."""

import subprocess
import sys
from pathlib import Path

from tests.cli.command import pltvm
from tests.limits import long_enough
from tests.peer import build, cases
from tests.peer.conftest import Variant


def pltvm_run(variant: Variant, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Status, stdout and stderr of `pltvm run peer ARGUMENTS`."""
    host, kind = variant
    program, root = str(build.host_program(host)), str(build.enclaves(kind))
    result = pltvm("run", "--root", root, *options, program, *arguments)
    return result.returncode, result.stdout, result.stderr


def test_tutorial(variant: Variant) -> None:
    arguments = ("tutorial", "caller.elf", "server.elf", "server1.elf")

    first, second = (pltvm_run(variant, *arguments) for _ in range(2))

    assert first == (0, f"{cases.TUTORIAL}tutorial: ok\n", "")
    assert second == first


def test_streams_and_status(variant: Variant) -> None:
    status, out, err = pltvm_run(variant, "streams", "7")

    assert (status, out) == (7, "this is stdout\n")
    assert err == "this is stderr\n"


def test_disk_is_kept_when_it_has_a_file(musl: Variant, tmp_path: Path) -> None:
    options = ("--disk", str(tmp_path / "disk"))

    assert pltvm_run(musl, "sectors", "1", options=options)[:2] == (0, "sectors: ok\n")
    assert pltvm_run(musl, "sectors", "4", options=options)[:2] == (0, "sectors: ok\n")
    assert pltvm_run(musl, "sectors", "1")[:2] == (0, "sectors: ok\n")


def test_a_difference_is_told_and_is_the_status(musl: Variant) -> None:
    status, out, _ = pltvm_run(musl, "sectors", "5")  # it is the first run, not the fifth

    assert status == 9
    assert out.startswith("peer: programs.c:")
    assert out.endswith("retval gives 0x1, and should give 0x5\n")


def test_time_limit_ends_what_is_in_an_enclave(musl: Variant) -> None:
    (status, out, err), limit = long_enough(
        lambda limit: pltvm_run(musl, "forever", options=("--timeout", str(limit))), lambda ran: bool(ran[1])
    )

    assert (status != 0, out) == (True, "running\n")
    assert f"still running after {limit} s" in err


def test_time_limit_of_a_program(musl: Variant) -> None:
    program, root = build.host_program(musl[0]), build.enclaves(musl[1])
    # In a process of its own: a limit that does not work must not keep the tests from their end.
    code = f"""
import sys; from pltvm import Machine
result = Machine().run_program({str(program)!r}, "forever", root={str(root)!r}, timeout=float(sys.argv[1]))
print(result.timed_out, result.output)
"""

    result, _ = long_enough(
        lambda limit: subprocess.run(
            [sys.executable, "-c", code, str(limit)], capture_output=True, text=True, timeout=60
        ),
        lambda result: "running" in result.stdout,
    )

    assert (result.returncode, result.stdout) == (0, "True b'running\\n'\n"), result.stderr
