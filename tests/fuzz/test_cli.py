"""The commands `pltvm fuzz` and `pltvm cov`: exit statuses, replays, JSON, Ctrl-C, errors in a line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pltvm.cli import main
from tests.cli.command import pltvm
from tests.fuzz.campaigns import CLIMB, content, entries, findings
from tests.fuzz.conftest import Build
from tests.fuzz.test_campaign import FAULT
from tests.fuzz_targets.test_targets import call

QUICK = ["--execs", "3000"]


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, which therefore must not be confined: that has no end."""

    def run(*arguments: object) -> Ended:
        if arguments[0] in ("run", "fuzz", "cov", "triage", "cmin", "tmin", "showmap"):
            arguments = (arguments[0], "--no-confine", *arguments[1:])
        monkeypatch.setattr(sys, "argv", ["pltvm", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        return Ended(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def climb(built: Build) -> Path:
    """The server with steps, and four bugs."""
    return built(CLIMB, name="climb")


@pytest.fixture(scope="module")
def sound(built: Build) -> Path:
    """A server without a bug."""
    text = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.resp_val = args[10] == 77777 ? 1 : 0};
    SERVER_RETURN(&ret);
}
"""
    return built(text, name="sound")


@pytest.fixture(scope="module")
def crashed(climb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a campaign that has found something."""
    seed = tmp_path_factory.mktemp("seeds") / "seed"
    seed.write_bytes(FAULT)
    out = tmp_path_factory.mktemp("out")
    done = pltvm("fuzz", str(climb), "-i", str(seed), "-o", str(out), *QUICK)
    assert done.returncode == 3, done.stderr
    return out


def crash_of(out: Path) -> Path:
    return next(file for file in sorted((out / "default" / "crashes").glob("id:*")))


def test_statuses(command: Command, climb: Path, sound: Path, tmp_path: Path) -> None:
    """0 nothing found, 3 found, 1 something is wrong, 2 a command line that makes no sense."""
    done = command("fuzz", sound, "-o", tmp_path / "a", *QUICK)
    assert done.status == 0
    assert "0 findings" in done.out
    (tmp_path / "seed").write_bytes(FAULT)
    done = command("fuzz", climb, "-i", tmp_path / "seed", "-o", tmp_path / "b", "--findings", 1)
    assert done.status == 3
    assert done.out == f"1 finding, 0 inputs in {tmp_path / 'b' / 'default'}\n"
    assert "found fault: store to a page" in done.err
    done = command("fuzz", climb, "-o", tmp_path / "b", "--findings", 1)  # known already
    assert done.status == 3
    assert command("fuzz").status == 2
    assert command("fuzz", sound, "--no-such-option").status == 2
    assert command("fuzz", sound, "--server", "name-without-file").status == 2


@pytest.mark.parametrize(
    ("status", "arguments", "words"),
    [
        (1, ["nowhere.elf"], "nowhere.elf"),
        (2, ["SOUND", "--as", "client"], "--as client: write server or enclave"),
        (2, ["SOUND", "--calls", "0"], "--calls 0: it must be 1 to 64"),
        (2, ["SOUND", "--clients", "2"], "give --calls too"),
        (2, ["SOUND", "--as", "enclave", "--channel", "mail"], "--channel mail"),
        (2, ["SOUND", "--oracle", "delphi"], "--oracle delphi"),
        (2, ["SOUND", "--memory", "100"], "--memory 100: it must be 1 to 16 whole pages of 4096 bytes"),
        (1, ["SOUND", "--secret", "nothing"], "no such symbol"),
        (1, ["SOUND", "-i", "nowhere"], "nowhere: cannot be read"),
        (1, ["SOUND", "-x", "nowhere"], "nowhere: cannot be read"),
        (1, ["SOUND", "-x", "PIPE"], "PIPE: is not a plain file"),
        (2, ["SOUND", "-j", "999"], "-j 999: it must be 1 to 256"),
        (2, ["SOUND", "-j", "0"], "-j 0: it must be 1 to 256"),
        (2, ["SOUND", "--blocks", "0"], "--blocks 0"),
        (2, ["SOUND", "--blocks", "99999999999999999999"], "--blocks 99999999999999999999"),
        (2, ["SOUND", "--ram", "1K"], "1024 bytes of RAM"),
        (2, ["SOUND", "--name", "17 bytes of name."], "--name '17 bytes of name.': the name has 17 bytes"),
        (
            2,
            ["SOUND", "--server", "17 bytes of name.=x"],
            "--server '17 bytes of name.': the name has 17 bytes",
        ),
        (1, ["SOUND", "--harness", "nowhere.py"], "nowhere.py"),
        (1, ["SOUND", "-o", "FILE"], "is a file"),
        (1, ["--replay", "nowhere"], "nowhere: cannot be read"),
        (1, ["--replay", "FILE"], "is in no campaign's folder"),
        # Options that would do nothing.
        (2, ["SOUND", "--channel", "shm"], "--channel is for enclaves that a host runs"),
        (2, ["SOUND", "--as", "enclave", "--oracle", "stale"], "--oracle is for servers"),
        (2, ["SOUND", "--as", "enclave", "--calls", "1"], "--calls is for servers"),
        (2, ["--replay", "FILE", "--execs", "1"], "--execs is for campaigns"),
        (2, ["--replay", "FILE", "-o", "out"], "-o is for campaigns"),
        (2, ["--replay", "FILE", "--memory", "8K"], "--memory needs TARGET.elf"),
    ],
)
def test_one_line_for_what_is_wrong(
    status: int, arguments: list[str], words: str, command: Command, sound: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_bytes(b"text")
    os.mkfifo(tmp_path / "PIPE")
    done = command("fuzz", *(str(sound) if word == "SOUND" else word for word in arguments))
    assert done.status == status
    assert words in done.err
    assert done.err.startswith("pltvm: ")
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_two_campaigns_in_one_folder(command: Command, sound: Path, crashed: Path) -> None:
    done = command("fuzz", sound, "-o", crashed, *QUICK)
    assert done.status == 1
    assert "was started with other options" in done.err
    assert done.err.count("\n") == 1


def test_replay(command: Command, climb: Path, crashed: Path) -> None:
    """It finds the options by itself, and gives the same report every time."""
    crash = crash_of(crashed)
    first = command("fuzz", "--replay", crash)
    assert first.status == 3
    assert first.err == ""
    assert first.out.startswith("fault: store to a page that is not mapped")
    assert "climb.c:" in first.out
    assert command("fuzz", "--replay", crash) == first
    assert command("fuzz", climb, "--replay", crash) == first
    assert (crashed / "default" / "reports" / "id:000000.txt").read_text().rstrip() == first.out.rstrip()
    queue = next(iter(sorted((crashed / "default" / "queue").glob("id:*"))))
    done = command("fuzz", "--replay", queue)
    assert done.status == 0
    assert done.out == f"{queue.name}: runs to its end, and nothing is wrong\n"


def test_json_lines(command: Command, climb: Path, tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(FAULT)
    done = command("fuzz", climb, "-i", tmp_path / "seed", "-o", tmp_path / "out", "--json", *QUICK)
    assert done.status == 3
    assert done.err == ""
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {event["event"] for event in events} <= {"status", "finding", "note"}
    found = [event for event in events if event["event"] == "finding"]
    assert found[0]["kind"] == "fault"
    assert Path(found[0]["file"]).read_bytes() == FAULT
    last = [event for event in events if event["event"] == "status"][-1]
    assert last["executions"] > 100
    assert last["queue"] == len(entries(tmp_path / "out"))
    assert len(found) == len(findings(tmp_path / "out"))


def test_processes_share_a_corpus(command: Command, climb: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert command("fuzz", climb, "-o", tmp_path / name, "-j", 2, *QUICK).status in (0, 3)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert entries(tmp_path / "a")


def test_cov(command: Command, crashed: Path, tmp_path: Path) -> None:
    lcov, drcov = tmp_path / "x.info", tmp_path / "x.drcov"
    done = command("cov", crashed, "--lcov", lcov, "--drcov", drcov)
    assert done.status == 0
    assert "climb.elf: " in done.out
    assert "blocks reached by" in done.out
    assert "SF:" in lcov.read_text()
    assert "DA:" in lcov.read_text()
    assert drcov.read_bytes().startswith(b"DRCOV VERSION: 2")
    assert command("cov", crashed / "default" / "queue", "--lcov", tmp_path / "y.info").status == 0
    assert (tmp_path / "y.info").read_text() == lcov.read_text()
    odd = crashed / "default" / "queue" / "id:999999,a-folder"
    odd.mkdir()
    try:
        assert command("cov", crashed).status == 0
    finally:
        odd.rmdir()
    done = command("cov", tmp_path)
    assert done.status == 1
    assert "is in no campaign's folder" in done.err
    assert command("cov", tmp_path / "nowhere").err.endswith("there are no inputs in it\n")


def test_help(command: Command) -> None:
    """Every option says what it is."""
    done = command("fuzz", "--help")
    assert done.status == 0
    for option in ("--as", "--calls", "--channel", "--secret", "-i", "-o", "-j", "--scheduler", "--replay"):
        assert option in done.out
    assert "inputs that make an enclave fault, hang or leak" in " ".join(done.out.split())
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert "as one JSON object" not in done.out  # it is many


def start(elf: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    """A campaign in a process of its own, which takes Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "pltvm.cli", "fuzz", elf, "-o", out, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_stops_and_the_same_command_goes_on(
    processes: str, command: Command, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = start(sound, out, "-j", processes, "--time", "100")
    try:
        stats = out / "default" / "fuzzer_stats"
        end = time.monotonic() + 90
        while not stats.exists() and running.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0, said
    assert f"stopped by Ctrl-C; to go on, run the same command with -o {out}" in said[1]
    assert "Traceback" not in said[1]
    assert "0 findings" in said[0]
    before = entries(out)
    assert before
    done = command("fuzz", sound, "-o", out, *QUICK)
    assert done.status == 0
    assert f"goes on with {len(before)} inputs" in done.err
    assert entries(out)[: len(before)] == before


WITHOUT = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
missing = {"numpy", "distributed", "dask", "ziglang"}

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in missing else find(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec
from pltvm.cli import main
main()
"""


def test_a_plain_installation_is_enough(sound: Path, tmp_path: Path) -> None:
    """None of the packages of the extras is needed."""
    out = tmp_path / "out"
    for arguments in (["fuzz", sound, "-o", out, *QUICK], ["cov", out]):
        command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_server_that_the_target_calls(command: Command, built: Build, tmp_path: Path) -> None:
    """It can be named, and its blocks are covered too."""
    text = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0}, call = {.req_arg = args[10]};
    long handle = acquire_enclave("inner");
    if (handle >= 0)
        call_enclave((unsigned long)handle, &call);
    ret.resp_val = call.resp_val;
    SERVER_RETURN(&ret);
}
"""
    inner = built(CLIMB, name="inner")
    out = tmp_path / "out"
    (tmp_path / "seed").write_bytes(call(3, b""))
    done = command(
        "fuzz",
        built(text, name="outer"),
        "--server",
        f"inner={inner}",
        "-i",
        tmp_path / "seed",
        "-o",
        out,
        *QUICK,
    )
    assert done.status == 0
    done = command("cov", out, "--drcov", tmp_path / "x")
    counts = {line.split(":")[0]: int(line.split()[1]) for line in done.out.splitlines() if "blocks" in line}
    assert counts.keys() == {"outer.elf", "inner.elf"}
    assert all(counts.values())
    assert os.path.getsize(tmp_path / "x")
