"""run and demo: what they print where, and exit statuses."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.build.host import build_host
from pltvm.cli.app import app
from pltvm.host.elf_kind import Decision, decide
from tests.cli.command import COMMAND, ELVES, HOST, KERNEL, pltvm
from tests.limits import long_enough

CHAIN = """\
[caller] shared memory starts with 11111
[caller] relay page starts with 22222
[server1] req sum 0x19961000
[server] req sum 0x19962000
[server] resp sum 0x19962000
[server1] value 0x2
[server1] resp sum 0x19962000
[caller] value 0x3
[caller] req sum 0x2000
[caller] resp sum 0x2000
"""


def test_demo_runs_the_chain() -> None:
    result = pltvm("demo")
    assert (result.returncode, result.stdout, result.stderr) == (0, CHAIN, "caller returned 0\n")


def test_run_with_servers_and_memory(tmp_path: Path) -> None:
    (tmp_path / "shm").write_bytes((11111).to_bytes(4, "little"))
    (tmp_path / "relay").write_bytes((22222).to_bytes(4, "little"))
    result = pltvm(
        "run", ELVES["caller"], "--server", f"test-server={ELVES['server']}",
        "--server", f"test-server1={ELVES['server1']}", "--shm", "shm", "--relay", "relay", "--ram", "64M",
        cwd=tmp_path,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, CHAIN)


def test_the_value_an_enclave_returns_is_not_the_exit_status() -> None:
    result = pltvm("run", ELVES["caller"], "--shm", "text")
    assert result.returncode == 0
    assert "there is no test-server1" in result.stdout
    assert result.stderr == "caller.elf returned 1\n" or result.stderr.endswith("returned 1\n")


VALUE = """
#include "eapp.h"
#include "print.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    char how = *(char *)args[10];
    if (how == 'f') *(volatile int *)8 = 1;
    if (how == 's') eapp_print("spins\\n");
    while (how == 's') __asm__ volatile("");
    EAPP_RETURN(how == 'l' ? 0x1234567 : how - '0');
}
"""


@pytest.fixture(scope="module")
def value(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("value")
    (folder / "value.c").write_text(VALUE)
    return str(build_enclave([folder / "value.c"], folder / "value.elf"))


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("0", 0, "returned 0"),
        ("7", 7, "returned 7"),
        ("/", 255, "returned 18446744073709551615"),
        ("l", 0x67, "returned 19088743"),
        ("f", 139, "value.elf (eid 0) at main"),
        ("s", 124, "still running after 0.1 s (--timeout), stopped"),
    ],
)
def test_the_value_as_exit_status(how: str, status: int, said: str, value: str) -> None:
    words = ["run", value, "--shm", f"text:{how}", "--timeout", "0.1" if how == "s" else "60"]
    result = pltvm(*words, "--exit-code")
    assert result.returncode == status
    assert said in result.stderr
    as_json = pltvm(*words, "--exit-code", "--json")
    assert as_json.returncode == status
    about = json.loads(as_json.stdout)
    assert (about["status"] == "exited") == ("returned" in said)
    assert pltvm(*words).returncode == ("returned" not in said)


def test_exit_status_of_others() -> None:
    """Of a kernel program it is its code, of a host program always its own; errors stay as they are."""
    assert pltvm("run", KERNEL, "--exit-code").returncode == 0
    result = pltvm("run", "--exit-code", HOST)
    assert result.returncode == 2
    assert result.stderr.startswith("pltvm: --exit-code is for others")
    assert pltvm("run", "missing.elf", "--exit-code").returncode == 1
    assert pltvm("demo", "--exit-code").returncode == 0


def test_a_file_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with arguments, for which the command line is read twice."""
    from pltvm.cli import run as command

    looked = []

    def counting(file: str) -> Decision:
        looked.append(file)
        return decide(file)

    monkeypatch.setattr(command, "decide", counting)
    for words in ([ELVES["hello-world"]], [ELVES["hello-world"], "argument"], [HOST, "a", "b"]):
        looked.clear()
        CliRunner().invoke(app, ["run", "--no-confine", *words])
        assert looked == [words[0]]


def test_ctrl_c_with_exit_code(value: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", value, "--shm", "text:s", "--exit-code"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "spins\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped by Ctrl-C" in errors


def test_json() -> None:
    result = json.loads(pltvm("demo", "--json").stdout)
    assert result["status"] == "exited"
    assert result["retval"] == 0
    assert result["output"] == CHAIN
    assert result["stats"]["traps"] == 19


def test_disk_keeps_files_between_runs(tmp_path: Path) -> None:
    arguments = ["run", ELVES["fs-client"], "--server", f"filesystem={ELVES['fs-server']}", "--disk", "disk"]
    first, second = (pltvm(*arguments, cwd=tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert "[filesystem] made a file system on the disk" in first.stdout
    assert "files on the disk" in second.stdout


def test_fault_report(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text(
        '#include "eapp.h"\nint EAPP_ENTRY main()\n{\n    *(int *)0x123456780 = 3;\n    EAPP_RETURN(0);\n}\n'
    )
    build_enclave([tmp_path / "bad.c"], tmp_path / "bad.elf")
    result = pltvm("run", "bad.elf", cwd=tmp_path)
    assert result.returncode == 1
    assert re.search(r"fault: bad.elf \(eid 0\) at main\+?\w* \(bad.c:4\): store to a page", result.stderr)
    assert "touched 4 bytes at 0x123456780: nothing is mapped there" in result.stderr
    assert (
        json.loads(pltvm("run", "bad.elf", "--json", cwd=tmp_path).stdout)["fault"]["address"]
        == 0x1_2345_6780
    )


def test_time_limit(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "spin.elf").write_bytes(build_guest("spin"))
    result, limit = long_enough(
        lambda limit: pltvm("run", "spin.elf", "--timeout", str(limit), cwd=tmp_path),
        lambda result: "acquire" in result.stderr and "spin.c:8" in result.stderr,
    )
    assert result.returncode == 1
    name, line, *place = result.stderr.splitlines()
    assert name.startswith("pltvm: spin.elf: acquire of 'spin' failed: no server has that name")
    assert line == f"pltvm: spin.elf: still running after {limit} s (--timeout), stopped"
    assert re.fullmatch(r"  in spin.elf \(eid 0\) at main\+0x\w+ \(spin.c:8\)", place[0])
    assert place[1] == "  called from"
    assert re.fullmatch(r"    _start\+0x\w+ \(start.S:25\)", place[2])


def test_ctrl_c(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "spin.elf").write_bytes(build_guest("spinning"))
    process = subprocess.Popen(
        [*COMMAND, "run", "spin.elf"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "spinning\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    name, first, where, *_ = errors.splitlines()
    assert "acquire of 'spin' failed" in name
    assert first == "pltvm: spin.elf: stopped by Ctrl-C"
    assert where.startswith("  in spin.elf (eid 0) at main+0x")


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_the_tutorial(tmp_path: Path, libc: str) -> None:
    host = guest.guest_dir() / "elf" / "host" / libc / "test-caller"
    (tmp_path / "test-caller").write_bytes(host.read_bytes())
    for name in ("caller", "server", "server1"):
        (tmp_path / name).write_bytes(Path(ELVES[name]).read_bytes())
    result = pltvm("run", "./test-caller", "caller", "server", "server1", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert CHAIN in result.stdout
    assert "the enclave returned 0" in result.stdout
    as_json = json.loads(
        pltvm("run", "--json", "test-caller", "caller", "server", "server1", cwd=tmp_path).stdout
    )
    assert as_json["output"] == result.stdout


def test_what_follows_a_host_program_is_its_own(tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "guest" / "arguments.c"
    program = build_host([source], tmp_path / "arguments", "musl")
    own = ["-l", "--json", "--help", "--", "-v", "--ram", "x", "a b"]
    result = pltvm("run", "--ram", "64M", str(program), *own, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [str(program), *own]
    result = pltvm("run", "--", str(program), "--", "-x", cwd=tmp_path)
    assert result.stdout.splitlines() == [str(program), "--", "-x"]


def test_host_program_options(tmp_path: Path) -> None:
    host = str(guest.guest_dir() / "elf" / "host" / "musl" / "host")
    result = pltvm(
        "run", "--root", str(guest.guest_dir() / "elf"), "-v", host, "hello-world.elf", cwd=tmp_path
    )
    assert result.returncode == 0
    assert "hello world" in result.stdout
    assert "takes" not in result.stderr
    for status, arguments in (1, ["--root", "missing"]), (2, ["--server", "a=b"]), (2, ["--shm", "x"]):
        result = pltvm("run", *arguments, host, cwd=tmp_path)
        assert result.returncode == status
        assert len(result.stderr.splitlines()) == 1


def test_an_enclave_that_returns_its_relay_pages(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "user.elf").write_bytes(build_guest("relay_user"))
    (tmp_path / "page").write_bytes((3).to_bytes(8, "little"))
    result = pltvm("run", "user.elf", "--relay", "page", "--timeout", "50", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "pltvm: user.elf: has returned its relay pages and waits for new ones: stopped\n"


def test_sectors_that_are_not_kept() -> None:
    lost = "pltvm: sectors were written and are not kept: name a file for them (--disk)\n"
    result = pltvm("run", ELVES["sectors"], "--shm", "x")
    assert result.returncode == 0
    assert result.stderr.endswith(lost)
    assert lost not in pltvm("run", ELVES["hello-world"], "--shm", "x").stderr


@pytest.mark.parametrize("command", ["run", "call", "fuzz", "info"])
def test_a_file_that_is_nearly_called_so(command: str, tmp_path: Path) -> None:
    """Also where the process has shut itself off from the folder by then."""
    shutil.copy(ELVES["hello-world"], tmp_path / "calc.elf")
    result = pltvm(command, "Calc.elf", cwd=tmp_path)
    assert result.returncode == 1
    said = result.stderr.splitlines()[-1].replace(f"{tmp_path}/", "")
    assert said == "pltvm: Calc.elf: no such file; there is calc.elf"
