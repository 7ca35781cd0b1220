"""call: what is shown of a server's answer, and where."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, ELVES, HOST, pltvm
from tests.host.test_proxy import Do, of
from tests.limits import long_enough


@pytest.fixture
def callee(tmp_path: Path, build_guest: Callable[[str], bytes]) -> str:
    (tmp_path / "callee.elf").write_bytes(build_guest("callee"))
    return str(tmp_path / "callee.elf")


def call(elf: str, what: int, *arguments: str) -> tuple[int, str, str]:
    result = pltvm("call", elf, "--arg", str(int(what)), *arguments)
    return result.returncode, result.stdout, result.stderr


def test_a_text_and_a_value(callee: str, tmp_path: Path) -> None:
    assert call(callee, Do.SHOUT, "--data", "hello") == (0, f"{callee} returned 0\nHELLO\n", "")
    (tmp_path / "data").write_bytes(b"from a\nfile\n")
    shown = call(callee, Do.SHOUT, "--data", f"@{tmp_path / 'data'}")
    assert shown == (0, f"{callee} returned 0\nFROM A\nFILE\n", "")
    assert call(callee, Do.NEGATIVE) == (0, f"{callee} returned 18446744073709551578 (-38)\n", "")
    assert pltvm("call", callee, "--arg", "0x1").stdout == f"{callee} returned 1\n"


def test_other_bytes_in_hexadecimal_and_into_a_file(callee: str, tmp_path: Path) -> None:
    lines = call(callee, of(Do.GIVE, 2))[1].splitlines()
    assert lines[1].split()[:3] == ["0000", "01", "01"]
    assert [line.split()[0] for line in lines[1:]] == ["0000", "*", "1000", "*", "1ff0"]
    out = tmp_path / "out"
    assert call(callee, of(Do.GIVE, 2), "-o", str(out)) == (0, f"{callee} returned 0\n", "")
    assert out.read_bytes() == b"\1" * 4096 + b"\2" * 4096


def test_the_same_call_many_times(callee: str) -> None:
    assert call(callee, Do.COUNT, "--repeat", "2")[1] == f"{callee} returned 1\n{callee} returned 2\n"
    assert call(callee, Do.NEGATIVE, "--repeat", "100")[1].endswith(" (-38), 100 times\n")


def test_what_servers_print_and_servers_that_it_calls(callee: str) -> None:
    assert call(callee, Do.SAY, "--data", "x", "-o", "/dev/null")[1] == f"said x\n{callee} returned 0\n"
    code, _, err = call(callee, Do.UNKNOWN)
    assert (code, err) == (
        0,
        f"pltvm: {callee}: acquire of 'nxt' failed: no server has that name; there is 'callee' "
        "(--server NAME=ELF)\n",
    )
    assert call(callee, of(Do.NEXT, Do.COUNT), "--server", f"next={callee}")[1] == f"{callee} returned 1\n"
    shown = pltvm(
        "call", ELVES["server1"], "--name", "test-server1", "--server", f"test-server={ELVES['server']}"
    )
    assert f"{ELVES['server1']} returned 3\n" in shown.stdout


def test_the_name_of_a_file_is_not_utf_8(callee: str, tmp_path: Path) -> None:
    for name in (b"ok\xff.elf", b"\xff.elf"):
        elf = os.fsencode(tmp_path) + b"/" + name
        os.link(callee, elf)
        assert call(os.fsdecode(elf), Do.COUNT)[1].endswith(" returned 1\n")


def test_a_concurrent_server(tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    elf = tmp_path / "deep.elf"
    elf.write_bytes(build_guest("deep"))
    assert pltvm("call", str(elf)).stdout == f"{elf} returned 0\n"
    assert pltvm("call", str(elf), "--concurrent", "5").stdout == f"{elf} returned 4\n"
    assert pltvm("call", str(elf), "--concurrent", "65").returncode == 2


def test_no_answer(callee: str) -> None:
    code, out, err = call(callee, Do.FAULT)
    assert (code, out) == (1, "")
    assert err.startswith("fault: callee (eid 0) at main+")
    assert "called by caller" in err
    (code, out, err), limit = long_enough(
        lambda limit: call(callee, Do.SPIN, "--timeout", str(limit)), lambda said: "in callee " in said[2]
    )
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"pltvm: callee: still running after {limit} s in callee (eid 0) at main+")


def test_json(callee: str) -> None:
    found = json.loads(call(callee, Do.SAY, "--data", "x", "--json", "--repeat", "2")[1])
    one = {"value": 0, "data": "78", "output": "said x\n", "notes": []}
    assert found == {"version": 1, "status": "returned", "calls": [one, one], "error": None, "report": None}
    code, out, err = call(callee, Do.FAULT, "--json")
    found = json.loads(out)
    assert (code, err, found["status"], found["calls"]) == (1, "", "faulted", [])
    assert found["report"]["address"] == 0x123456780
    assert found["error"]["message"].startswith("callee (eid 0) at main+")


def test_what_makes_no_sense_is_refused(callee: str, tmp_path: Path) -> None:
    for arguments, code, message in (
        ((HOST,), 1, "is a host program, not an enclave"),
        (("/nowhere",), 1, "/nowhere: no such file"),
        ((callee, "--arg", "five"), 2, "'five' is not a number"),
        ((callee, "--arg", str(1 << 64)), 2, "more than 64 bits"),
        ((callee, "--server", f"callee={callee}"), 2, "has this name too"),
        ((callee, "--repeat", "0"), 2, "repeat"),
        ((callee, "--name", "x" * 17), 2, "17 bytes"),
        ((callee, "--data", "@/nowhere"), 1, "/nowhere: cannot be read"),
        ((callee, "-o", str(tmp_path / "no" / "file")), 1, "cannot be written: No such file"),
    ):
        result = pltvm("call", *arguments)
        assert (result.returncode, result.stdout) == (code, ""), arguments
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_an_enclave_that_is_no_server() -> None:
    result = pltvm("call", ELVES["hello-world"], "--timeout", "5")
    assert result.returncode == 1
    assert "is probably no server: it ends as an enclave does (call 99)" in result.stderr


def test_ctrl_c(callee: str) -> None:
    running = subprocess.Popen(
        [*COMMAND, "call", callee, "--arg", str(int(Do.SPIN)), "--data", "x"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "spins\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    said, place, *_ = err.splitlines()
    assert said == f"pltvm: {callee}: stopped by Ctrl-C"
    assert place.startswith("  in callee (eid 0) at ")


def test_sectors_go_to_the_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    result = pltvm("call", ELVES["fs-server"], "--disk", str(disk), "--timeout", "20")
    assert "returned" in result.stdout
    assert disk.exists()
