"""Whatever is wrong is one clear line and a status: with what is asked for, and with the streams."""

import os
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.build import guest
from tests.cli.command import COMMAND, ELVES, HOST, KERNEL, pltvm

HELLO_ELF = ELVES["hello-world"]
BAD_HARNESS = """\
from pltvm.fuzz.callers import OneCall
class Harness(OneCall):
    def begin(self):
        raise ValueError("no")
"""


@pytest.mark.parametrize(
    ("status", "arguments", "message"),
    [
        (1, ["run", "missing.elf"], "missing.elf: no such file"),
        (1, ["run", "."], "is a directory"),
        (1, ["run", "text"], "text: is not an ELF file"),
        (1, ["run", "rv32"], "rv32: is 32-bit"),
        (1, ["run", "x86"], "x86-64"),
        (1, ["run", "truncated"], "truncated"),
        (1, ["run", "zero-entry"], "entry"),
        (1, ["run", "./missing", "arg"], "./missing: no such file"),
        (1, ["run", "./missing", "-l"], "./missing: no such file"),
        (1, ["run", "text", "-l"], "text: is not an ELF file"),
        (2, ["run", ELVES["hello-world"], "argument"], "takes no arguments"),
        (2, ["run", ELVES["hello-world"], "nosuch.elf"], "nosuch.elf: no such file (it would run beside"),
        (2, ["run", ELVES["hello-world"], "--ram", "64M", "--", "-l"], "takes no arguments ('-l')"),
        (1, ["measure", HOST], "is a host program, not an enclave"),
        (1, ["attest", HOST, "--nonce", "1", "-o", "report"], "is a host program, not an enclave"),
        (2, ["fuzz", HOST], "is a host program, not an enclave"),
        (1, ["run", "recorded"], "recorded: is not an ELF file but an archive; if it is a recording, pltvm"),
        (1, ["explore", "text", "text"], "text: is not an ELF file"),
        (1, ["replay", HELLO_ELF], "is a program and not a recording: pltvm run runs it"),
        (1, ["run", HELLO_ELF, "--cov", "no/x.info"], "no/x.info: cannot be written: No such file"),
        (1, ["build", "hello.c", "-o", "no/x.elf"], "no/x.elf: cannot be written: No such file or directory"),
        (2, ["run", ELVES["hello-world"], "--name", "\udcff" * 17], "has 17 bytes"),
        (1, ["run", "--", "a\nb\x1b[2J\udcff"], r"'a\nb\x1b[2J\udcff': no such file"),
        (2, ["run", ELVES["hello-world"], "--ram", "1M"], "RAM"),
        (2, ["run", ELVES["hello-world"], "--stack-size", "0"], "stack"),
        (2, ["run", ELVES["hello-world"], "--stack-size", "1G"], "stack"),
        (2, ["run", ELVES["hello-world"], "--name", "a name that is too long"], "at most 16"),
        (1, ["run", ELVES["hello-world"], "--server", "s=missing.elf"], "missing.elf: no such file"),
        (2, ["run", ELVES["caller"], "--server", f"a={ELVES['server']}", "--server", f"a={ELVES['server']}"],
         "another server has this name"),
        (1, ["info", "missing.elf"], "no such file"),
        (1, ["build", "missing.c"], "missing.c"),
        (1, ["run", ELVES["hello-world"], "--ram", "8M", "--stack-size", "32M"], "--ram"),
        (1, ["run", "missing.elf", "--root", "."], "missing.elf: no such file"),
        (2, ["run", ELVES["caller"], "--server", f"a={ELVES['server']},concurent=2"], ",concurrent=SLOTS"),
        # Options that would do nothing, and words that are no files.
        (2, ["run", ELVES["hello-world"], "--root", "."], "--root is for host programs"),
        (2, ["run", ELVES["hello-world"], "-v"], "-v is for host programs"),
        (2, ["run", ELVES["hello-world"], "--real-time"], "--real-time is for host programs"),
        (2, ["run", ELVES["hello-world"], "--net"], "--net is for host programs"),
        (2, ["run", "--stack-size", "4K", HOST], "--stack-size is for enclaves"),
        (2, ["run", KERNEL, "--shm", "x"], "--shm is for enclaves"),
        (2, ["run", KERNEL, "--disk", "x"], "--disk does nothing for a kernel program"),
        (2, ["run", KERNEL, "x"], "is a kernel program and takes no arguments"),
        (2, ["run", ELVES["hello-world"], "--shm", "nosuchfile.bin"], "nosuchfile.bin: no such file"),
        (2, ["run", ELVES["hello-world"], "--shm", "no/such"], "--shm no/such: no such file"),
        (2, ["run", ELVES["hello-world"], "--relay", "./x"], "--relay ./x: no such file"),
        (1, ["run", ELVES["hello-world"], "--relay", "@nosuch"], "nosuch: cannot be read: No such file"),
        (1, ["run", ELVES["hello-world"], "--shm", "@pipe"], "pipe: is not a plain file"),
        (2, ["run", ELVES["hello-world"], "--server", "name"], "--server name: write --server NAME=FILE"),
        (2, ["measure", HELLO_ELF, "--shm", "x.bin"], "--shm x.bin: no such file"),
        (2, ["measure", HELLO_ELF, "--type", "server", "--shm", "x"], "--shm is for enclaves"),
        (2, ["measure", HELLO_ELF, "--type", "shadow", "--stack-size", "4K"], "--stack-size does nothing"),
        (2, ["info", HOST, "--stack-size", "4K"], "--stack-size is for enclaves"),
        (2, ["info", HELLO_ELF, "--stack-size", "1G"], "--stack-size"),
        (2, ["selftest", "nothing"], "there is no attack 'nothing'"),
        (2, ["selftest", "--json", "-v"], "-v does nothing with --json"),
        (2, ["build", "x.c", "-O", "9"], "9: is not one of"),
        (1, ["attest", HELLO_ELF, "--nonce", "1", "-o", "r", "--keys", "pipe"], "pipe: is not a plain file"),
        (1, ["attest", HELLO_ELF, "--nonce", "1", "-o", "r", "--keys", "text"], "not a pltvm key file: it"),
        (1, ["run", HELLO_ELF, "--keys", "text"], "text: not a pltvm key file: it is not JSON"),
        (1, ["run", HELLO_ELF, "--disk", "pipe"], "pipe: is not a file"),
        (1, ["build", "hello.c", "-o", "/proc/x.elf"], "/proc/x.elf: cannot be written: "),
        (1, ["fuzz", ELVES["server"], "--harness", "bad.py", "-o", "out"], "in begin: ValueError: no"),
        (1, ["fuzz", ELVES["server"], "--harness", "baad.py", "-o", "out"], "baad.py: no such file; there"),
        (1, ["examples", "text"], "text: is a file; name a folder to copy into"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_one_line(tmp_path: Path, status: int, arguments: list[str], message: str) -> None:
    hello = Path(ELVES["hello-world"]).read_bytes()
    (tmp_path / "text").write_text(
        "hello, I am no program at all, but a line of text that is long enough\n" * 9
    )
    with zipfile.ZipFile(tmp_path / "recorded", "w") as file:
        file.writestr("anything", "")
    (tmp_path / "truncated").write_bytes(hello[:300])
    (tmp_path / "rv32").write_bytes(hello[:4] + b"\x01" + hello[5:])
    (tmp_path / "x86").write_bytes(hello[:18] + b"\x3e\0" + hello[20:])
    (tmp_path / "zero-entry").write_bytes(hello[:24] + bytes(8) + hello[32:])
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bad.py").write_text(BAD_HARNESS)
    (tmp_path / "hello.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main()\n{\n    EAPP_RETURN(0);\n}\n')
    result = pltvm(*arguments, cwd=tmp_path)
    assert result.returncode == status
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
        ["run", ELVES["hello-world"], "--timeout", "nan"],
        ["run", ELVES["hello-world"], "--server", "no-equals-sign"],
        ["nonsense"],
        ["build", "x.c", "-O", "fast"],
    ],
)
def test_command_lines_that_make_no_sense(arguments: list[str]) -> None:
    result = pltvm(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def into_closed_pipe(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, timeout=100, check=False
        )
    finally:
        os.close(writing)


def test_closed_pipe_is_no_traceback() -> None:
    result = into_closed_pipe("demo")
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr


HELLO = ELVES["hello-world"]
FULL, CLOSED = (">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")
HOST_RUN = ["run", "--root", str(guest.guest_dir() / "elf"), HOST, "hello-world.elf"]


def test_a_host_program_gets_sigpipe_for_a_closed_pipe() -> None:
    result = into_closed_pipe(*HOST_RUN)
    assert result.returncode == 128 + signal.SIGPIPE
    assert b"killed by SIGPIPE" in result.stderr
    assert b"Traceback" not in result.stderr


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
