"""Recordings: what is run again in another process, folder and environment gives the same bytes."""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pltvm
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.debug import packed
from tests.cli import command
from tests.cli.command import COMMAND
from tests.debug.debuggers import gdb, has_all, needs_gdb

EXAMPLES = {name: str(example.elf) for name, example in guest.examples().items()}
HOSTS = guest.guest_dir() / "elf" / "host" / "musl"
ATTACKS = guest.guest_dir() / "elf" / "attacks"
CHAIN = ("--server", f"test-server1={EXAMPLES['server1']}", "--server", f"test-server={EXAMPLES['server']}")
# With another language Python would have to be started for each command, see `tests.cli.forked`.
LANGUAGE = {name: value for name, value in os.environ.items() if name == "LANG" or name.startswith("LC_")}
CLEAN = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(pltvm.__file__).parents[1]), **LANGUAGE}
Ran = tuple[int, bytes, bytes]
Parts = dict[str, bytes]


def run(*arguments: str, cwd: Path, stdin: bytes = b"", **variables: str) -> Ran:
    result = command.run(*arguments, cwd=cwd, stdin=stdin, environment={**CLEAN, **variables})
    return result.returncode, result.stdout, result.stderr


def recorded(*arguments: str, cwd: Path, stdin: bytes = b"") -> tuple[Path, Ran]:
    """A recording, and what its run printed."""
    file = cwd / "bug.pltvm"
    status, out, errors = run("run", "--record-run", str(file), *arguments, cwd=cwd, stdin=stdin)
    lines = errors.splitlines(keepends=True)
    assert lines[-1].startswith(b"recorded "), errors
    return file, (status, out, b"".join(lines[:-1]))


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder where things are recorded."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


LINE = "hello, world\n"
FAULT = '#include "eapp.h"\nint EAPP_ENTRY main() { *(volatile int *)0x123456780 = 1; EAPP_RETURN(0); }\n'


def host_folder(there: Path) -> list[str]:
    """The original's tutorial: a host program with the enclaves that it loads."""
    for name in ("caller", "server", "server1"):
        shutil.copy(EXAMPLES[name], there / name)
    shutil.copy(HOSTS / "test-caller", there)
    return ["./test-caller", "caller", "server", "server1"]


def files_folder(there: Path, program: Path) -> list[str]:
    """Files that are read, listed, linked, written, and that are not there."""
    (there / "sub").mkdir()
    (there / "sub" / "one").write_text("one")
    (there / "two").write_text("two\n")
    (there / "link").symlink_to("two")
    (there / "sub" / "absolute").symlink_to(there / "two")
    (there / "closed").write_text("nobody")
    shutil.copy(program, there / "program")
    return ["./program", "files"]


@pytest.fixture(scope="module")
def recorder_host(build_linux: Callable[[str], Path]) -> Path:
    return build_linux("recorded")


CASES: dict[str, Callable[[Path], list[str]]] = {
    "a chain": lambda _: [EXAMPLES["caller"], *CHAIN, "--shm", "text:shm", "--relay", "text:relay"],
    "json": lambda _: [EXAMPLES["caller"], *CHAIN, "--json"],
    "a name": lambda _: [EXAMPLES["hello-world"], "--name", "somebody", "--ram", "64M"],
    "random": lambda _: [EXAMPLES["random"]],
    "memory": lambda _: [EXAMPLES["memory"]],
    "a server that is missing": lambda _: [EXAMPLES["kv-client"]],
    "files in memory": lambda _: [EXAMPLES["fs-client"], "--server", f"filesystem={EXAMPLES['fs-server']}"],
    "a host program": host_folder,
    "system calls": lambda there: ["-v", *host_folder(there)],
    "a kernel": lambda _: ["--as", "kernel", str(ATTACKS / "s-satp.elf")],
}


@pytest.mark.parametrize("what", CASES)
def test_ten_recordings(what: str, there: Path, elsewhere: Path) -> None:
    """In a process of its own with next to no environment, where nothing of it is left."""
    file, ran = recorded(*CASES[what](there), cwd=there)
    file = file.rename(elsewhere / "bug.pltvm")
    shutil.rmtree(there)
    assert run("replay", "bug.pltvm", cwd=elsewhere) == ran
    assert [one.name for one in elsewhere.iterdir()] == ["bug.pltvm"]


def test_without_the_core_too(there: Path, elsewhere: Path) -> None:
    file, ran = recorded(*CASES["a chain"](there), cwd=there)
    assert run("replay", str(file), cwd=elsewhere, PLTVM_NATIVE="0") == ran


def test_a_fault(there: Path, elsewhere: Path) -> None:
    (there / "bad.c").write_text(FAULT)
    build_enclave([there / "bad.c"], there / "bad.elf")
    file, ran = recorded("bad.elf", cwd=there)
    assert ran[0] == 1
    assert b"fault: bad.elf (eid 0) at main" in ran[2]
    assert run("replay", str(file), cwd=elsewhere) == ran


def test_sectors(there: Path, elsewhere: Path) -> None:
    disk = there / "disk"
    run("run", EXAMPLES["sectors"], "--disk", str(disk), cwd=there)
    before = disk.read_bytes()
    file, ran = recorded(EXAMPLES["sectors"], "--disk", "disk", cwd=there)
    disk.write_bytes(bytes(len(before)))
    assert run("replay", str(file), cwd=elsewhere) == ran


def test_files_and_input(there: Path, elsewhere: Path, recorder_host: Path) -> None:
    """What the program finds again is what it found, though it has changed it since."""
    arguments = files_folder(there, recorder_host)
    file, ran = recorded(*arguments, cwd=there, stdin=LINE.encode() * 3)
    assert ran[0] == 0, ran
    assert (there / "two").read_text() == "changed\n", "the program has"
    assert b"two: two" in ran[1]
    assert run("replay", str(file), cwd=elsewhere) == ran
    assert run("replay", str(file), cwd=elsewhere, stdin=b"other") == ran
    assert not list(Path("/tmp").glob("pltvm-replay-*/root/sub")), "its folder is gone"


def test_a_finding(there: Path, elsewhere: Path) -> None:
    shutil.copy(EXAMPLES["kv-server"], there / "kv.elf")
    (there / "input").write_bytes(b"A" * 40)
    status, out, errors = run("fuzz", "kv.elf", "--replay", "input", "--record-run", "bug.pltvm", cwd=there)
    assert errors == b"recorded it in bug.pltvm\n"
    assert run("replay", str(there / "bug.pltvm"), cwd=elsewhere) == (status, out, b"")


def test_a_time_limit(there: Path, elsewhere: Path) -> None:
    """A run that was stopped from outside is replayed up to there."""
    (there / "loop.c").write_text(
        '#include "eapp.h"\n#include "print.h"\nint EAPP_ENTRY main() { for (unsigned long i = 0;; i++) '
        'eapp_print("%lu\\n", i); }\n'
    )
    build_enclave([there / "loop.c"], there / "loop.elf")
    file, ran = recorded("loop.elf", "--timeout", "0.5", cwd=there)
    status, out, errors = run("replay", str(file), cwd=elsewhere)
    assert status == 1
    assert b"; up to here all is the same" in errors
    if b"the recorded run was stopped here" in errors:
        assert out == ran[1]
    else:  # this machine is slower now
        assert b"still running after 0.5 s" in errors
        assert ran[1].startswith(out)


@needs_gdb
def test_gdb_in_a_replay(build_guest: Callable[[str], bytes], there: Path, elsewhere: Path) -> None:
    """Forward to the last write, back to the one before, and to the one that wrote what was there then."""
    (there / "history.elf").write_bytes(build_guest("history"))
    (there / "rounds").write_bytes((2000).to_bytes(8, "little"))
    file, _ = recorded("history.elf", "--shm", "@rounds", cwd=there)
    look = "print *(long *)&word"
    forward = ["break set", *["continue"] * 4, look]
    back = ["reverse-continue", look, "delete", "reverse-stepi", "watch *(long *)&word", "reverse-continue"]
    target = f"| {' '.join(COMMAND)} replay {file} --gdb - --history 64M"
    shown = gdb(target, *forward, *back, look, cwd=elsewhere)
    has_all(shown, "$1 = 4", "set ()", "$2 = 3", "Old value = 3", "New value = 2", "$3 = 2")


# -- what differs --------------------------------------------------------------------------------------------


def altered(source: Path, change: Callable[[Parts], None], *, checksums: bool = True) -> Path:
    """The recording with other parts; with `checksums` it says that these are what was recorded."""
    with zipfile.ZipFile(source) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    change(parts)
    if checksums:
        manifest = json.loads(parts["manifest.json"])
        manifest["members"] = {name: packed.checksum(part) for name, part in parts.items() if name[0] != "m"}
        parts["manifest.json"] = json.dumps(manifest).encode()
    target = source.with_name("altered.pltvm")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return target


def test_one_changed_byte_is_named(there: Path, elsewhere: Path) -> None:
    file, _ = recorded(*CASES["a chain"](there), cwd=there)

    def change(parts: Parts) -> None:
        parts["shm"] = b"S" + parts["shm"][1:]

    changed = altered(file, change, checksums=False)
    status, out, errors = run("replay", str(changed), cwd=elsewhere)
    lines = errors.decode().splitlines()
    assert (status, out) == (1, b"")
    assert lines[0] == f"pltvm: {changed}: shm is not what was recorded"
    assert lines[1].startswith(f"pltvm: {changed}: differs first at trap 0: recorded: ocall write of ")
    assert "caller.elf at eapp_print+" in lines[1]
    assert lines[1].endswith(
        "now: the same call, with other registers, at another time, or with another text"
    )
    assert len(lines) == 2


def test_a_changed_server_is_named_where_it_differs(there: Path, elsewhere: Path) -> None:
    """The chain with its two servers the other way round: the first calls are the same."""
    file, ran = recorded(*CASES["a chain"](there), cwd=there)

    def change(parts: Parts) -> None:
        parts["elf/1"] = parts["elf/2"]

    status, out, errors = run("replay", str(altered(file, change)), cwd=elsewhere)
    assert status == 1
    assert ran[1].startswith(out)
    assert b"differs first at trap " in errors
    assert b"recorded: " in errors


def test_a_run_that_ends_sooner(there: Path, elsewhere: Path) -> None:
    file, _ = recorded(EXAMPLES["hello-world"], cwd=there)

    def change(parts: Parts) -> None:
        manifest = json.loads(parts["manifest.json"])
        manifest["ending"]["count"] += 1
        parts["manifest.json"] = json.dumps(manifest).encode()

    status, _, errors = run("replay", str(altered(file, change)), cwd=elsewhere)
    assert status == 1
    assert b"the run has ended before it" in errors


# -- files that are none -------------------------------------------------------------------------------------


def one_line_and_status_1(ran: Ran, elsewhere: Path, *files: str) -> str:
    status, out, errors = ran
    text = errors.decode()
    assert (status, out) == (1, b""), text
    assert text.startswith("pltvm: ")
    assert text.count("\n") == 1, text
    assert sorted(one.name for one in elsewhere.iterdir()) == sorted(files)
    return text


def in_manifest(**values: Any) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts["manifest.json"] = json.dumps({**json.loads(parts["manifest.json"]), **values}).encode()

    return change


def tree_of(rows: list[dict[str, Any]]) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts["tree"] = json.dumps(rows).encode()

    return change


HOSTILE: dict[str, tuple[Callable[[Parts], None], str]] = {
    "another format": (in_manifest(format=1), "has format 1"),
    "another kind": (in_manifest(kind="spaceship"), "unknown"),
    "no list": (in_manifest(arguments="abc"), "not a recording"),
    "own keys": (in_manifest(keys="mine"), "other keys"),
    "no RAM": (in_manifest(options={"ram": -5, "terminals": [0, 0, 0]}), "RAM"),
    "a limit": (in_manifest(options={"timeout": "x", "ram": 1 << 26, "terminals": [0, 0, 0]}), "time limit"),
    "a way up": (tree_of([{"path": "../out", "kind": "file", "mode": 420}]), "no path beneath it"),
    "a way out": (tree_of([{"path": "/tmp/out", "kind": "file", "mode": 420}]), "no path beneath it"),
    "through a link": (
        tree_of(
            [{"path": "a", "kind": "link", "to": "/tmp"}, {"path": "a/out", "kind": "file", "mode": 420}]
        ),
        "cannot be made",
    ),
    "no such content": (
        tree_of([{"path": "a", "kind": "file", "mode": 420, "content": 99}]),
        "cannot be made",
    ),
    "no rows": (tree_of([5]), "not a recording"),  # type: ignore[list-item]
}


@pytest.fixture(scope="module")
def host_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    return recorded(*host_folder(folder), cwd=folder)[0]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files(what: str, host_recording: Path, elsewhere: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(host_recording, tmp_path))
    change, said = HOSTILE[what]
    text = one_line_and_status_1(run("replay", str(altered(mine, change)), cwd=elsewhere), elsewhere)
    assert said in text


def sizes(data: bytes, size: int) -> bytes:
    """A zip whose directory says that each part has so many bytes."""
    mine, at = bytearray(data), -1
    while (at := mine.find(b"PK\1\2", at + 1)) >= 0:
        mine[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(mine)


def test_bombs_and_what_is_no_recording(elsewhere: Path) -> None:
    bomb = elsewhere / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", bytes(1 << 24))
        file.writestr("elf/0", bytes(1 << 24))
    data = bomb.read_bytes()
    ran = run("replay", "bomb", cwd=elsewhere)
    assert "recording" in one_line_and_status_1(ran, elsewhere, "bomb")
    for size, said in ((1 << 30, "has more than 1024 MiB"), (100, "recording"), (1 << 24, "recording")):
        bomb.write_bytes(sizes(data, size))
        with pytest.raises(packed.RecordingError, match=said):
            packed.Packed(bomb)
    for content in (b"", b"PK\3\4", b"hello", Path(EXAMPLES["caller"]).read_bytes()):
        bomb.write_bytes(content)
        with pytest.raises(packed.RecordingError, match="not a recording"):
            packed.Packed(bomb)
    text = one_line_and_status_1(run("replay", "nowhere", cwd=elsewhere), elsewhere, "bomb")
    assert "No such file" in text


def test_damaged_files(host_recording: Path, tmp_path: Path) -> None:
    """Random damage is an error of ours, or is seen as another part; never anything else."""
    data, dice, file = host_recording.read_bytes(), random.Random(1), tmp_path / "damaged"
    for _ in range(150):
        mine = bytearray(data)
        for _ in range(dice.choice((1, 1, 3, 20))):
            mine[dice.randrange(len(mine))] = dice.randrange(256)
        if dice.random() < 0.3:
            del mine[dice.randrange(len(mine)) :]
        file.write_bytes(mine)
        with suppress(packed.RecordingError):
            packed.Packed(file)


# -- what is not recorded ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("--net", "./host"), ("--real-time", "./host"), ("--keys", "k", "./host"), ("--record", "d", "./host")],
)
def test_what_is_refused(arguments: tuple[str, ...], there: Path) -> None:
    shutil.copy(HOSTS / "host", there)
    status, _, errors = run("run", "--record-run", "bug.pltvm", *arguments, cwd=there)
    assert status == 2
    assert errors.decode().count("\n") == 1
    assert f"{arguments[0]} does not go with --record-run" in errors.decode()
    assert os.listdir(there) == ["host"]


def test_a_campaign_is_none(there: Path) -> None:
    status, _, errors = run("fuzz", EXAMPLES["kv-server"], "--record-run", "x", "--execs", "1", cwd=there)
    assert status == 2
    assert b"records the run of --replay FILE" in errors


def test_a_plain_run_imports_nothing_of_it(there: Path) -> None:
    code = "import sys; from pltvm.cli import run; print([m for m in sys.modules if 'pltvm.debug' in m])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=CLEAN)
    assert result.stdout == "[]\n", result.stderr
