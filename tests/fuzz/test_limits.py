"""What a guest, a folder or an option must not do to a campaign."""

from pathlib import Path

import pytest

from pltvm.build.enclave import build_enclave
from pltvm.errors import PltvmError
from pltvm.fuzz.options import DERIVED_KEY, Options
from pltvm.fuzz.results import HANG, SECRET
from pltvm.fuzz.worker import Worker, open_target
from tests.cli.command import pltvm

HEAD = """#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
"""
TAIL = """
    SERVER_RETURN(&ret);
}
"""


def built(folder: Path, body: str) -> Path:
    """A server that does this."""
    source = folder / "server.c"
    source.write_text(HEAD + body + TAIL)
    return build_enclave([source], folder / "server.elf")


def test_a_loop_of_calls_is_a_hang_in_time(tmp_path: Path) -> None:
    elf = built(tmp_path, "for (;;) { void *area = eapp_mmap(0, PAGE_SIZE); eapp_munmap(area, PAGE_SIZE); }")
    worker = Worker(Options(str(elf), blocks=20_000))
    execution = worker.target.execute(b"")
    assert execution.problem is not None
    assert execution.problem.kind == HANG
    assert 20_000 <= execution.blocks < 21_000  # and not up to the next look at the clock


def test_a_derived_key_in_a_response(tmp_path: Path) -> None:
    body = "if (args[11] && args[10] == 7) eapp_derive_key(EAPP_STORAGE_KEY, (void *)args[11], 32);"
    worker = Worker(Options(str(built(tmp_path, body)), secret=DERIVED_KEY))
    finding = worker.explain((7).to_bytes(8, "little") + b"x")
    assert finding is not None
    assert finding.kind == SECRET
    assert worker.explain((6).to_bytes(8, "little") + b"x") is None


def test_a_secret_must_not_be_found_by_chance(tmp_path: Path) -> None:
    with pytest.raises(PltvmError, match="found by chance"):
        open_target(Options(str(built(tmp_path, "")), secret="00"))


def test_a_folder_does_not_choose_the_code_that_runs(tmp_path: Path) -> None:
    elf = built(tmp_path, "")
    harness = tmp_path / "harness.py"
    harness.write_text(
        "from pltvm.fuzz.callers import OneCall\n"
        "print('the harness runs')\n"
        "class Harness(OneCall):\n    pass\n"
    )
    out = tmp_path / "out"
    made = pltvm("fuzz", str(elf), "--harness", str(harness), "-o", str(out), "--execs", "1")
    assert made.returncode == 0, made.stderr
    assert "the harness runs" in made.stdout
    entry = next((out / "default" / "queue").iterdir())
    for command in (("fuzz", "--replay", str(entry)), ("cov", str(out))):
        refused = pltvm(*command)
        assert refused.returncode == 1
        assert "--harness" in refused.stderr
        assert "the harness runs" not in refused.stdout
    replayed = pltvm("fuzz", "--replay", str(entry), "--harness", str(harness))
    assert replayed.returncode == 0
    assert "the harness runs" in replayed.stdout
