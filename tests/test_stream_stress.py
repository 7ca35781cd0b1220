"""The driver of random instruction streams: that it runs, repeats, and finds what it is for."""

import subprocess
import sys

import pytest

from pltvm.monitor import guard, server, supervisor
from tests.holes import Edit, make
from tests.stream_stress import Child
from tests.streams.batches import Step, batch


def test_a_short_run() -> None:
    command = [sys.executable, "-m", "tests.stream_stress", "--count", "120", "--audit-every", "8"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    *ends, total, trace = result.stdout.splitlines()
    assert total.startswith("120 streams, seed 0, 1 batches repeated: nothing broken, ")
    assert {line.split(maxsplit=1)[1].split(",")[0] for line in ends} == {"enclave", "server", "kernel"}
    assert trace.startswith("trace ")


@pytest.mark.parametrize("number", [0, 1], ids=["enclaves", "kernels"])
def test_the_same_seed_gives_the_same_trace(number: int) -> None:
    first, second, other = (list(batch(seed, number, 12, 12)) for seed in (7, 7, 8))
    assert first == second
    assert [step.kind for step in first] == ["done"] * 12 + ["trace"]
    assert first[-1] != other[-1]


HOLES = [
    ("not the host's", Edit(guard.HostTables._read_only_tables, "return pte & ~(W | X) | R", "return pte")),
    ("not the host's", Edit(guard.HostTables._hide, "~V, 0", "~0, 0")),
    ("user mode", Edit(supervisor.trap, "if context.regs[PRIV] != S:", "if False:")),
    ("contained", Edit(server.read_name, "if pa is None:", "if False:")),
    ("not in guest RAM", Edit(guard.HostTables.accepts_satp, " and low <= root < high", "")),
]


@pytest.mark.broken
@pytest.mark.parametrize(("what", "edit"), HOLES, ids=[edit.function.__name__ for _, edit in HOLES])
def test_it_finds(what: str, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, edit)
    first = 0 if edit.function is server.read_name else 1
    steps = (step for at in range(4) for step in batch(1, first + 2 * at, 60))
    assert what in next((step.text for step in steps if step.kind == "broken"), "nothing broken")


@pytest.mark.parametrize(
    ("end", "patience", "said"),  # a busy machine may take a second to start Python
    [
        ("os.abort()", 60, "the process ended with status -6\n"),
        ("sys.exit(0)", 60, "the process ended with status 0\n"),
        ("time.sleep(60)", 3, "hangs: 3 s without an end\n"),
    ],
)
def test_a_child_that_ends_or_hangs_is_told_of(end: str, patience: int, said: str) -> None:
    steps = """["done", "a"]\\n["trace", "x"]\\n["done", "b"]"""
    code = f"import os, sys, time; print('{steps}', flush=True); {end}"
    child = Child([sys.executable, "-c", code], 4, 2)
    assert list(child.steps(patience)) == [
        (4, Step("done", "a")),
        (4, Step("trace", "x")),
        (5, Step("done", "b")),
        (5, Step("broken", said)),
    ]
