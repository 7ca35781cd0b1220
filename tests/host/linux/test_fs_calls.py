"""System calls about files, made by guest code: they answer as Linux does, and stay in their folder."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.linux.conftest import Run

ACCES, LOOP, NOENT = 13, 40, 2


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root with links of all kinds, beside a folder with a secret that must stay as it is."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "a/b", root / "folder", outside):
        folder.mkdir(parents=True)
    (outside / "secret.txt").write_text("secret")
    (root / "file").write_text("inside")
    (root / "mine").write_text("mine")
    for name, target in {
        "loop": "loop", "link": "../outside", "absolute": str(outside), "deep": "a/../../outside",
        "to-file": "file", "to-folder": "folder", "to-nothing": "nothing", "to-pipe": "pipe",
        "to-socket": "socket",
        "through": "loop/../link", "root": "/", "magic": "/proc/self/cwd", "secret": "../outside/secret.txt",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        before = _state(outside)
        yield root
    assert _state(outside) == before
    assert {path.name for path in tmp_path.iterdir()} == {"root", "outside"}


def _state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (path.name, path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.iterdir()
    ]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("loop/../link/secret.txt", LOOP), ("through/secret.txt", LOOP), ("loop/x", LOOP),
        ("link/secret.txt", NOENT), ("link/new.txt", NOENT), ("absolute/secret.txt", ACCES),
        ("deep/secret.txt", NOENT), ("../outside/secret.txt", NOENT), ("/../outside/secret.txt", NOENT),
        ("a/b/../../../outside/secret.txt", NOENT), ("to-folder/../../outside/secret.txt", NOENT),
        ("magic/secret.txt", ACCES), ("root/etc/passwd", ACCES), ("../root/file", ACCES),
        ("/etc/passwd", NOENT), ("/proc/self/root/etc/passwd", NOENT), ("none/../link/secret.txt", NOENT),
    ],
)  # fmt: skip
def test_no_call_leaves_the_folder(run_linux: Run, tree: Path, path: str, error: int) -> None:
    result = run_linux("linux_files", "escape", f"{error}:{path}", root=tree)
    assert (result.exit_code, result.output) == (0, b"")
    assert (tree / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["names", "numbers", "kinds", "base", "vectors"])
def test_calls_answer_as_linux_does(run_linux: Run, tree: Path, name: str) -> None:
    if name == "numbers":
        (tree / "link").unlink()
        (tree / "link").symlink_to("file")
    result = run_linux("linux_files", name, root=tree)
    assert (result.exit_code, result.output, result.end) == (0, b"", "")


@pytest.mark.parametrize("name", ["state", "text", "descriptors", "polled"])
def test_what_calls_give_to_the_last_byte(
    run_linux: Run, build_linux: Callable[[str], Path], tree: Path, name: str
) -> None:
    (tree / "file").chmod(0o640)
    with (tree / "big").open("wb") as big:
        big.truncate(5 << 32)
    (tree / "big").chmod(0o600)
    program = f"/{build_linux('linux_files').name}"
    result = run_linux("linux_files", name, program, root=tree)
    assert (result.exit_code, result.output, result.end) == (0, b"", "")


@pytest.mark.parametrize("how", [os.O_WRONLY, os.O_RDONLY])
def test_a_pipe_is_never_opened(run_linux: Run, tree: Path, how: int) -> None:
    """Somebody waits for the pipe's other end to be opened, and waits on."""
    waiting = threading.Thread(target=lambda: os.close(os.open(tree / "pipe", how)), daemon=True)
    waiting.start()
    result = run_linux("linux_files", "kinds", root=tree)
    assert (result.exit_code, result.output) == (0, b"")
    assert waiting.is_alive()
    os.close(os.open(tree / "pipe", os.O_RDWR))  # lets it go
    waiting.join(5)
    assert not waiting.is_alive()


def test_who_opens_a_pipe_waits_for_one_of_ours(run_linux: Run, tmp_path: Path) -> None:
    """Never for somebody outside, who has it open for writing."""
    os.mkfifo(tmp_path / "pipe")
    outside = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(outside, b"secret")
    result = run_linux("linux", "escape", "pipe")
    assert (result.exit_code, result.output) == (1, b"")
    assert "waits in openat for fifo" in result.end
    assert os.read(outside, 100) == b"secret"
    os.close(outside)


MEASURED = """
import resource, sys
from pltvm import Machine
from pltvm.host.linux.runner import run_program

machine = Machine(256 << 20)
run_program(machine.driver, sys.argv[1], ["warm"], root=sys.argv[2])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
result = run_program(machine.driver, sys.argv[1], ["huge"], root=sys.argv[2])
sys.exit(result.output.decode() + result.end or result.exit_code)
"""


def test_one_call_gathers_little(build_linux: Callable[[str], Path], tmp_path: Path) -> None:
    """256 buffers of 16 MiB each, and mappings of a file of 1 TiB, in 100 MiB of further address space."""
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    command = [sys.executable, "-c", MEASURED, str(build_linux("linux_files")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
