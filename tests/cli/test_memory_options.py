"""--shm and --relay: a file by @, a text, and what is neither; and names that no server has."""

from pathlib import Path

import pytest

from pltvm.cli.options import file_or_text
from pltvm.errors import ArgumentError, PltvmError
from tests.cli.command import ELVES, pltvm


def test_what_a_value_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data.bin", "word"):
        (tmp_path / name).write_bytes(b"content of " + name.encode())
    assert file_or_text("--shm", None) is None
    assert file_or_text("--shm", "@data.bin") == file_or_text("--shm", "data.bin") == b"content of data.bin"
    assert file_or_text("--shm", "@word") == file_or_text("--shm", "word") == b"content of word"
    for text in ("", "hello", "hello, world.", "1.5 and a / b", "{}"):
        assert file_or_text("--shm", text) == text.encode()
    assert file_or_text("--shm", "text:data.bin") == b"data.bin"
    assert file_or_text("--shm", "text:@x") == b"@x"
    for path in ("data.bim", "a/b", "/", "./word2", "."[:1] + "/"):
        with pytest.raises(
            ArgumentError, match=r"--shm .*: (no such|not a plain) file; write --shm @FILE for a"
        ):
            file_or_text("--shm", path)
    for path in ("@", "@nothing", "@.", "@a\0b"):
        with pytest.raises(PltvmError, match=r"cannot be read|is not a plain file"):
            file_or_text("--shm", path)


def test_a_name_that_no_server_has() -> None:
    """It is said, with the names that are like it; what the enclave prints and returns is as it was."""
    result = pltvm("run", ELVES["caller"], "--shm", "x", "--server", f"Test-Server1={ELVES['server1']}")
    assert result.returncode == 0
    first, second, last = result.stderr.splitlines()
    assert "acquire of 'test-server1' failed: no server has that name; there is 'Test-Server1'" in first
    assert "--server NAME=ELF" in first
    assert "acquire of 'test-server' failed" in second
    assert last.endswith("returned 1")
    alone = pltvm("run", ELVES["caller"], "--shm", "x").stderr
    assert "acquire of 'test-server1' failed: no server has that name: there are no servers (" in alone
    assert '"notes": [\n    "acquire of' in pltvm("run", ELVES["caller"], "--shm", "x", "--json").stdout
    assert "acquire" not in pltvm("demo").stderr
