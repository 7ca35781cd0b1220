"""Linux programs run as on Linux: what they and their C library ask for works, and nothing gets out."""

import os
from pathlib import Path

import pytest

from tests.host.linux.conftest import Run


@pytest.mark.parametrize(
    "name", ["files", "threads", "preempt", "clocks", "signals", "memory", "floats", "missing", "pointers"]
)
def test_it_works(run_linux: Run, name: str) -> None:
    result = run_linux("linux", name)
    assert (result.exit_code, result.end) == (0, ""), result.output


def test_signal_handler_gets_the_address(run_linux: Run) -> None:
    assert run_linux("linux", "fault").exit_code == 42


def test_crash_says_where(run_linux: Run) -> None:
    result = run_linux("linux", "crash")
    assert result.exit_code == 128 + 11
    assert result.end.startswith("killed by SIGSEGV at crash")
    assert "linux.c:" in result.end
    assert result.end.endswith("address 0x8")


def test_abort(run_linux: Run) -> None:
    assert run_linux("linux", "aborts").exit_code == 128 + 6


def test_deadlock_ends(run_linux: Run) -> None:
    result = run_linux("linux", "deadlock")
    assert result.exit_code == 1
    assert result.end.startswith(
        "deadlock: every thread waits for another one: thread 100 waits in futex at "
    )


def test_time_limit(run_linux: Run) -> None:
    result = run_linux("linux", "forever", timeout=0.2)
    assert result.timed_out
    assert result.exit_code == 1


def test_floats_are_printed(run_linux: Run) -> None:
    assert run_linux("linux", "floats").output == b"3.375 0.666667\n"


def test_missing_calls_are_counted(run_linux: Run) -> None:
    assert run_linux("linux", "missing").missing == {425: 1, 9999: 1}


def test_time_is_the_same_in_every_run(run_linux: Run) -> None:
    first, second = (run_linux("linux", "clocks").output for _ in range(2))
    assert first == second == b"1700000002\n"


def test_files_outside_the_root_are_refused(run_linux: Run, tmp_path: Path) -> None:
    outside = tmp_path.parent / "secret.txt"
    outside.write_text("secret")
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "folder").symlink_to(tmp_path.parent)
    for path in (
        "/etc/passwd", "folder/secret.txt", "link", str(outside), "/proc/self/mem", "/dev/sda",
        "a/../../secret.txt", "folder/../secret.txt", "",
    ):  # fmt: skip
        result = run_linux("linux", "escape", path)
        assert result.output == f"{path}: refused\n".encode(), path
        assert result.exit_code == 0, path
    assert outside.read_text() == "secret"


def test_above_the_root_is_the_root(run_linux: Run, tmp_path: Path) -> None:
    outside = tmp_path.parent / "secret.txt"
    outside.write_text("secret")
    (tmp_path / "inside.txt").write_text("hello")
    for path in ("../inside.txt", "./../inside.txt", "/../../inside.txt"):
        assert b"read 5 bytes" in run_linux("linux", "escape", path).output
    assert b"read 6 bytes" not in run_linux("linux", "escape", "../secret.txt").output
    assert outside.read_text() == "secret"


def test_files_inside_are_found_by_either_path(run_linux: Run, tmp_path: Path) -> None:
    (tmp_path / "inside.txt").write_text("hello")
    for path in ("inside.txt", "/inside.txt", str(tmp_path / "inside.txt"), "./inside.txt"):
        assert b"read 5 bytes" in run_linux("linux", "escape", path).output


def test_streams_of_programs_that_run_enclaves_show_each_line(run_linux: Run) -> None:
    """What the program and its enclaves print is in order then, also where the output is no terminal."""
    assert run_linux("streams").output == b"device, 80 columns\n"


def test_standard_input_is_what_it_is_outside(run_linux: Run) -> None:
    with open(os.devnull, "rb") as null:
        assert run_linux("stdin_kind", source=null.fileno()).output == b"pipe 0, /dev/null 1, 0 bytes\n"
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        os.write(writer, b"four")
        os.close(writer)
        assert run_linux("stdin_kind", source=pipe.fileno()).output == b"pipe 1, /dev/null 0, 4 bytes\n"


def test_output_that_nobody_reads_ends_a_program_as_a_pipe_does(run_linux: Run) -> None:
    def closed(_text: bytes) -> None:
        raise BrokenPipeError

    result = run_linux("linux", "floats", on_output=closed)
    assert (result.exit_code, result.output) == (128 + 13, b"3.375 0.666667\n")
    assert result.end.startswith("killed by SIGPIPE at ")
