"""What the files of a profile say, read by others: speedscope's schema, and callgrind_annotate."""

import ctypes
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from pltvm import Machine
from pltvm.debug.profile import Profile, profiling, table
from pltvm.debug.profile.callgrind import callgrind
from pltvm.debug.profile.speedscope import speedscope
from tests import native_headers
from tests.cli.command import ELVES, HOST, pltvm
from tests.debug.profile.test_exact import chain
from tests.limits import long_enough

SCHEMA = json.loads(Path(__file__).with_name("speedscope.schema.json").read_text())


@pytest.fixture(scope="module")
def profile() -> Profile:
    machine = Machine(256 << 20)
    with profiling(machine) as collector:
        chain(machine)
    return collector.profile()


def test_the_layout_is_that_of_the_header() -> None:
    header = "debug/native/profile.h"
    before = "struct hart;"
    declared = native_headers.structs(header, before)
    for name, kind in (
        ("block", table.Block), ("node", table.Node), ("frame", table.Frame), ("who", table.Counts),
        ("stack", table.Stack), ("edge", table.Edge), ("page", table.Page), ("seen", table.Seen),
        ("profile", table.Table),
    ):  # fmt: skip
        assert native_headers.fields_of(declared, name) == native_headers.fields_in_python(kind), name
        assert declared.sizeof(f"struct {name}") == ctypes.sizeof(kind)
    numbers = native_headers.numbers(header)
    for name, value in numbers.items():
        if hasattr(table, name):
            assert getattr(table, name) == value, name
    assert {"MOST_BLOCKS", "SEEN", "MOST_FRAMES", "CALLS"} <= numbers.keys()


def test_tables_add_up(profile: Profile) -> None:
    rows = (profile.by_function(), profile.by_line(), profile.by_enclave(), profile.by_inlined())
    assert {sum(row.own for row in one) for one in rows} == {profile.instructions}
    functions = {(row.who, row.name): row for row in profile.by_function()}
    start, main = functions["caller", "_start"], functions["caller", "main"]
    own = {row.who: row.own for row in profile.by_enclave()}
    assert start.total == own["caller"]
    assert start.total == start.own + main.total
    assert (main.calls, functions["caller", "eapp_print"].calls) == (1, 5)


def test_speedscope_reads_it(profile: Profile) -> None:
    found = json.loads(json.dumps(speedscope(profile, "caller.elf")))
    jsonschema.Draft7Validator(SCHEMA).validate(found)
    own = {row.who: row.own for row in profile.by_enclave()}
    assert {one["name"]: one["endValue"] for one in found["profiles"]} == own
    frames = found["shared"]["frames"]
    for one in found["profiles"]:
        assert one["endValue"] == sum(one["weights"])
        assert {frames[stack[0]]["name"] for stack in one["samples"]} == {"_start"}
    stacks = [[frames[at]["name"] for at in stack] for one in found["profiles"] for stack in one["samples"]]
    assert ["_start", "main", "call"] in stacks


@pytest.mark.skipif(shutil.which("callgrind_annotate") is None, reason="needs valgrind")
def test_callgrind_annotate_reads_it(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "callgrind.out.chain"
    file.write_text(callgrind(profile, "caller.elf"))
    annotated = [
        subprocess.run(
            ["callgrind_annotate", "--auto=no", "--threshold=100", *more, str(file)],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        ).stdout
        for more in ((), ("--inclusive=yes",))
    ]  # fmt: skip
    whole = f"{profile.instructions:,}"
    assert f"{whole} (100.0%)  PROGRAM TOTALS" in annotated[0]
    pattern = re.compile(r"^ *([\d,]+) \( *[\d.]+%\) +(\S+):caller:put \[caller\]", re.MULTILINE)
    functions = {(row.who, row.name): row for row in profile.by_function()}
    found = {file: int(number.replace(",", "")) for number, file in pattern.findall(annotated[0])}
    assert found == {"lib/print.c": functions["caller", "put"].own}
    inclusive = re.search(
        r"^ *([\d,]+) \( *[\d.]+%\) +\S+:caller:main \[caller\]", annotated[1], re.MULTILINE
    )
    assert inclusive is not None
    assert int(inclusive[1].replace(",", "")) == functions["caller", "main"].total


# -- the command ---------------------------------------------------------------------------------------------


CHAIN = (
    ELVES["caller"], "--server", f"test-server={ELVES['server']}",
    "--server", f"test-server1={ELVES['server1']}", "--shm", "text:one", "--relay", "text:two",
)  # fmt: skip


def test_the_command_runs_as_run_does(tmp_path: Path) -> None:
    files = "callgrind.out.x", "x.speedscope.json"
    ran = pltvm("profile", "--json", "-o", files[0], "-o", files[1], *CHAIN, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["instructions"] == sum(row["own"] for row in found["enclaves"])
    assert "[caller] shared memory starts with" in ran.stderr
    assert f"summary: {found['instructions']}\n" in (tmp_path / files[0]).read_text()
    jsonschema.Draft7Validator(SCHEMA).validate(json.loads((tmp_path / files[1]).read_text()))


@pytest.mark.parametrize("by", ["function", "line", "enclave", "inlined"])
def test_tables(by: str, tmp_path: Path) -> None:
    ran = pltvm("profile", "--by", by, "--limit", "2", *CHAIN, cwd=tmp_path)
    assert (ran.returncode, "[caller] resp sum" in ran.stdout) == (0, True)
    assert re.search(r"^[\d,]+ instructions$", ran.stdout, re.MULTILINE)
    assert not re.search(r" $", ran.stdout, re.MULTILINE)
    assert "… " in ran.stdout


def test_a_host_program_and_its_enclaves(tmp_path: Path) -> None:
    shutil.copy(HOST, tmp_path / "host")
    shutil.copy(ELVES["hello-world"], tmp_path / "hello.elf")
    ran = pltvm("profile", "--json", "host", "hello.elf", cwd=tmp_path)
    whos = [row["who"] for row in json.loads(ran.stdout)["enclaves"]]
    assert "host" in whos
    assert len(whos) >= 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--by", "nothing", ELVES["hello-world"]], 2, "--by nothing: write one of function, line"),
        (["-o", "x.json", ELVES["hello-world"]], 2, "-o x.json: the name must be X.speedscope.json"),
        (["-o", "none/callgrind.out", ELVES["hello-world"]], 1, "none/callgrind.out: cannot be written"),
        (["--limit", "0", ELVES["hello-world"]], 2, "limit"),
        (["nothing.elf"], 1, "nothing.elf: no such file"),
        (["--as", "kernel", ELVES["hello-world"]], 2, "this command is for enclaves and host programs"),
        (["--as", "server", ELVES["server"]], 2, "a server runs when an enclave calls it"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    ran = pltvm("profile", *arguments, cwd=tmp_path)
    assert (ran.returncode, message in ran.stderr, "Traceback" in ran.stderr) == (status, True, False), (
        ran.stderr
    )


def test_what_is_stopped_is_shown_too(tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    (tmp_path / "ever.elf").write_bytes(build_guest("endless"))
    much = re.compile(r"^[\d,]{7,} instructions$", re.MULTILINE)
    ran, limit = long_enough(
        lambda limit: pltvm("profile", "--timeout", str(limit), "ever.elf", cwd=tmp_path),
        lambda ran: much.search(ran.stdout) is not None,
    )
    assert (ran.returncode, f"still running after {limit} s" in ran.stderr) == (1, True)
    assert much.search(ran.stdout)
