"""info, build and examples."""

import json
import re
from pathlib import Path

from tests.cli.command import ELVES, pltvm


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
    assert (tmp_path / "sources" / "host-programs" / "test-caller.c").is_file()


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


def test_an_option_that_is_nearly_one(tmp_path: Path) -> None:
    (tmp_path / "good.c").write_text("int main() { return 0; }\n")
    result = pltvm("build", "--chek", "good.c", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "did you mean --check (--chek)?" in result.stderr
    result = pltvm("build", "--prnt-sdk")
    assert (result.returncode, "did you mean --print-sdk (--prnt-sdk)?" in result.stderr) == (2, True)
    result = pltvm("build", "--help-hidden", "bad.c", cwd=tmp_path)
    assert "did you mean" not in result.stderr


def test_without_a_file_it_says_what_to_type() -> None:
    for words in ([], ["--check"], ["-O2"], ["-lm"]):
        result = pltvm("build", *words)
        assert result.returncode == 2
        assert result.stderr == (
            "pltvm: name a file to compile or to link: pltvm build FILE.c makes FILE.elf\n"
        )
