"""The commands: what they print where, exit statuses, and one clear line for whatever is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import sdk, sdk_host

ELVES = {name: str(example.elf) for name, example in sdk.examples().items()}
HOST = str(sdk.guest_dir() / "elf" / "host" / "musl" / "host")
COMMAND = [sys.executable, "-m", "pltvm.cli"]
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


def pltvm(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=100
    )


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


def test_json() -> None:
    result = json.loads(pltvm("demo", "--json").stdout)
    assert result["status"] == "exited"
    assert result["retval"] == 0
    assert result["output"] == CHAIN
    assert result["stats"]["traps"] == 19


def test_info() -> None:
    text = pltvm("info", ELVES["caller"]).stdout
    assert "512 pages, 2 MiB" in text
    assert re.search(r"entry\s+0x1000\s+_start", text)
    assert json.loads(pltvm("info", ELVES["caller"], "--json").stdout)["entry"] == 0x1000


def test_examples_are_listed_and_copied(tmp_path: Path) -> None:
    listed = pltvm("examples").stdout
    assert all(name in listed for name in ("hello-world", "caller", "server", "server1", "memory"))
    assert pltvm("examples", "sources", cwd=tmp_path).returncode == 0
    assert (tmp_path / "sources" / "hello-world.c").is_file()


def test_disk_keeps_files_between_runs(tmp_path: Path) -> None:
    arguments = ["run", ELVES["fs-client"], "--server", f"filesystem={ELVES['fs-server']}", "--disk", "disk"]
    first, second = (pltvm(*arguments, cwd=tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert "[filesystem] made a file system on the disk" in first.stdout
    assert "files on the disk" in second.stdout


def test_build_and_run(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text(
        '#include "eapp.h"\n#include "print.h"\n'
        'int EAPP_ENTRY main() { unsigned long *args; EAPP_RESERVE_REG; eapp_print("%s\\n", (char *)'
        "args[10]); EAPP_RETURN(7); }\n"
    )
    built = pltvm("build", "mine.c", cwd=tmp_path)
    assert (built.returncode, built.stderr) == (0, "built mine.elf\n")
    result = pltvm("run", "mine.elf", "--shm", "hello", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "hello\n", "mine.elf returned 7\n")


def test_compile_error_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int main() {\n  return x;\n}\n")
    result = pltvm("build", "bad.c", cwd=tmp_path)
    assert result.returncode == 1
    assert "bad.c:2" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.elf"], "missing.elf: no such file"),
        (["run", "."], "is a directory"),
        (["run", "text"], "text: is not an ELF file"),
        (["run", "rv32"], "rv32: is 32-bit"),
        (["run", "x86"], "x86-64"),
        (["run", "truncated"], "truncated"),
        (["run", "zero-entry"], "entry"),
        (["run", "./missing", "arg"], "./missing: no such file"),
        (["run", "./missing", "-l"], "./missing: no such file"),
        (["run", "text", "-l"], "text: is not an ELF file"),
        (["run", ELVES["hello-world"], "argument"], "takes no arguments"),
        (["run", ELVES["hello-world"], "--ram", "64M", "--", "-l"], "takes no arguments ('-l')"),
        (["measure", HOST], "is a host program, no enclave"),
        (["attest", HOST, "--nonce", "1", "-o", "report"], "is a host program, no enclave"),
        (["fuzz", HOST], "is a host program, no enclave"),
        (["run", ELVES["hello-world"], "--name", "\udcff" * 17], "has 17 bytes"),
        (["run", "--", "a\nb\x1b[2J\udcff"], r"'a\nb\x1b[2J\udcff': no such file"),
        (["run", ELVES["hello-world"], "--ram", "1M"], "RAM"),
        (["run", ELVES["hello-world"], "--stack-size", "0"], "stack"),
        (["run", ELVES["hello-world"], "--stack-size", "1G"], "stack"),
        (["run", ELVES["hello-world"], "--name", "a name that is too long"], "at most 16"),
        (["run", ELVES["hello-world"], "--server", "s=missing.elf"], "missing.elf: no such file"),
        (["run", ELVES["caller"], "--server", f"a={ELVES['server']}", "--server", f"a={ELVES['server']}"],
         "a server of that name"),
        (["info", "missing.elf"], "no such file"),
        (["build", "missing.c"], "missing.c"),
        (["run", ELVES["hello-world"], "--ram", "8M", "--stack-size", "32M"], "--ram"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    hello = Path(ELVES["hello-world"]).read_bytes()
    (tmp_path / "text").write_text(
        "hello, I am no program at all, but a line of text that is long enough\n" * 9
    )
    (tmp_path / "truncated").write_bytes(hello[:300])
    (tmp_path / "rv32").write_bytes(hello[:4] + b"\x01" + hello[5:])
    (tmp_path / "x86").write_bytes(hello[:18] + b"\x3e\0" + hello[20:])
    (tmp_path / "zero-entry").write_bytes(hello[:24] + bytes(8) + hello[32:])
    result = pltvm(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--ram", "lots", "x.elf"],
        ["run", "--timeout", "-1", "x.elf"],
        ["run", ELVES["hello-world"], "--ram", "lots"],
        ["run", ELVES["hello-world"], "--timeout", "-1"],
        ["run", ELVES["hello-world"], "--server", "no-equals-sign"],
        ["nonsense"],
        ["build", "x.c", "-O", "fast"],
    ],
)
def test_command_lines_that_make_no_sense(arguments: list[str]) -> None:
    result = pltvm(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_fault_report(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text(
        '#include "eapp.h"\nint EAPP_ENTRY main()\n{\n    *(int *)0x123456780 = 3;\n    EAPP_RETURN(0);\n}\n'
    )
    sdk.build([tmp_path / "bad.c"], tmp_path / "bad.elf")
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
    result = pltvm("run", "spin.elf", "--timeout", "0.2", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "pltvm: spin.elf: still running after 0.2 s (--timeout), stopped\n"


def test_ctrl_c(build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    (tmp_path / "spin.elf").write_bytes(build_guest("spin"))
    process = subprocess.Popen(
        [*COMMAND, "run", "spin.elf"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "pltvm: spin.elf: stopped by Ctrl-C\n")


def test_closed_pipe_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*COMMAND, "demo"], stdout=writing, stderr=subprocess.PIPE, timeout=100, check=False
    )
    os.close(writing)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr


HELLO = ELVES["hello-world"]
FULL, CLOSED = (">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")
HOST_RUN = ["run", "--root", str(sdk.guest_dir() / "elf"), HOST, "hello-world.elf"]


@pytest.mark.parametrize(
    ("arguments", "redirect", "why"),
    [
        (["run", HELLO], *FULL),
        (["run", HELLO], *CLOSED),
        (["run", "--json", HELLO], *FULL),
        (HOST_RUN, *FULL),
        (["info", HELLO], *CLOSED),
        (["measure", HELLO], *FULL),
        (["--help"], *FULL),
        (["fuzz", HELLO, "--as", "enclave", "--execs", "1", "--json"], *FULL),
    ],
)
def test_a_stdout_that_takes_nothing(arguments: list[str], redirect: str, why: str) -> None:
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *COMMAND, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("pltvm:")]
    assert [line for line in lines if why in line] == lines != []
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_a_stderr_that_takes_nothing(redirect: str) -> None:
    for arguments in (["run", HELLO], ["run", "missing"], ["run", HOST], ["nonsense"]):
        command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *COMMAND, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert result.returncode != 0 or "hello" in arguments[-1], arguments
        assert result.stderr == ""


def test_a_closed_stdin_has_nothing_to_read(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "run", HELLO]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (result.returncode, result.stdout) == (0, "hello world\n")


def test_any_bytes_are_a_name_or_a_text(build_guest: Callable[[str], bytes]) -> None:
    arguments = ["--name", "\udcff\udcfe", "--shm", "\udcff", "--relay", "\udc80"]
    result = pltvm("run", HELLO, *arguments)
    assert (result.returncode, result.stderr) == (0, "\ufffd\ufffd returned 0\n")


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    path = tmp_path / "é\udcff.elf"
    path.write_bytes(Path(HELLO).read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    attest = [str(path), "--nonce", "1", "-o", f"{path}r", "--keys", "k"]
    for arguments in (["info", str(path)], ["attest", *attest]):
        result = subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, capture_output=True, env=environment, timeout=100
        )
        assert (result.returncode, result.stderr) == (0, b"")
        assert b"\\xe9" in result.stdout


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_the_tutorial(tmp_path: Path, libc: str) -> None:
    host = sdk.guest_dir() / "elf" / "host" / libc / "test-caller"
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
    source = Path(__file__).parent / "guest" / "arguments.c"
    program = sdk_host.build_host([source], tmp_path / "arguments", "musl")
    own = ["-l", "--json", "--help", "--", "-v", "--ram", "x", "a b"]
    result = pltvm("run", "--ram", "64M", str(program), *own, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [str(program), *own]
    result = pltvm("run", "--", str(program), "--", "-x", cwd=tmp_path)
    assert result.stdout.splitlines() == [str(program), "--", "-x"]


def test_host_program_options(tmp_path: Path) -> None:
    host = str(sdk.guest_dir() / "elf" / "host" / "musl" / "host")
    result = pltvm("run", "--root", str(sdk.guest_dir() / "elf"), "-v", host, "hello-world.elf", cwd=tmp_path)
    assert result.returncode == 0
    assert "hello world" in result.stdout
    assert "takes" not in result.stderr
    for arguments in (["--root", "missing"], ["--server", "a=b"], ["--shm", "x"]):
        result = pltvm("run", *arguments, host, cwd=tmp_path)
        assert result.returncode == 1
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
