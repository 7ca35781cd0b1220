"""A trace as a story, and its page as a file."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.debug.trace.collect import tracing
from pltvm.debug.trace.jsonl import read
from pltvm.debug.trace.plain import of_owner
from pltvm.debug.view import Page, page_of_trace, sources
from pltvm.debug.view.story import Story
from pltvm.errors import PltvmError
from tests.cli.command import ELVES, HOST, pltvm

CHAIN = (
    ELVES["caller"], "--server", f"test-server={ELVES['server']}",
    "--server", f"test-server1={ELVES['server1']}", "--shm", "text:one",
)  # fmt: skip


def traced(path: Path, run: Callable[[Machine], object]) -> Machine:
    machine = Machine(256 << 20)
    with tracing(machine, path):
        run(machine)
    return machine


def chain(machine: Machine) -> None:
    for name, file in (("test-server", "server"), ("test-server1", "server1")):
        machine.create(ELVES[file], name=name, type=EnclaveType.SERVER)
    assert machine.create(ELVES["caller"], name="caller", shm=b"one", relay=b"two").run().ok


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "chain.jsonl"
    traced(path, chain)
    return path


def page_of(trace: Path, *folders: Path) -> Page:
    with trace.open(encoding="utf-8") as lines:
        return page_of_trace(lines, "a run", folders)


def test_steps_are_causes_with_what_came_of_them(trace: Path) -> None:
    steps = page_of(trace).data["steps"]
    kinds = [step["kind"] for step in steps]
    assert (kinds.count("call"), kinds.count("return")) == (2, 2)
    call = steps[kinds.index("call")]
    assert call["say"].startswith(
        "caller calls the server test-server1, with the argument 0x19960000, and hands it 4 pages"
    )
    texts = [text for _, text in call["effects"]]
    moved = r"8 pages at 0x\w+: from caller to test-server1, as the call hands them over"
    assert re.fullmatch(moved, texts[0])
    assert any(re.fullmatch(r"page table of caller: 7 pages at 0x\w+ unmapped", text) for text in texts)
    assert texts[-1] == "the hart goes from caller to test-server1: registers saved, others loaded"


def test_owners_after_each_step_are_the_machines(tmp_path: Path) -> None:
    """The pieces, with all moves made, are what the machine says at the end; each is named once."""
    path = tmp_path / "run.jsonl"
    machine = traced(path, chain)
    data = page_of(path).data
    owners = dict(data["start"]["owners"])
    for step in data["steps"]:
        owners.update(step["moves"])
    names = [name for name, _ in data["owners"]]
    found = [(start, pages, names[owners[at]]) for at, (start, pages, _) in enumerate(data["pieces"])]
    assert sum(pages for _, pages, _ in found) == machine.memory.size >> 12
    for row in machine.owners:
        kind = of_owner(row.owner)
        inside = [one for one in found if row.start <= one[0] < row.start + row.pages * 4096]
        assert {owner for _, _, owner in inside} == {kind}


def test_a_way_back_begins_anew(tmp_path: Path) -> None:
    def run(machine: Machine) -> None:
        before = machine.snapshot()
        chain(machine)
        machine.restore(before)
        chain(machine)

    path = tmp_path / "twice.jsonl"
    traced(path, run)
    steps = page_of(path).data["steps"]
    again = [step for step in steps if "again" in step]
    assert [step["kind"] for step in again] == ["restore"]
    assert again[0]["again"]["enclaves"] == []
    assert [step["kind"] for step in steps].count("call") == 4


def test_the_page_asks_for_nothing(trace: Path) -> None:
    text = str(page_of(trace))
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)\s*=\s*["']?\w+:""", text)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", text)


def test_what_a_guest_prints_cannot_leave_its_place(trace: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)><!--<script>"
    rows = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    for row in rows:
        if row["kind"] == "ocall" and row["name"] == "write":
            row["printed"] = hostile
    page = page_of_trace((json.dumps(row) + "\n" for row in rows), hostile)
    text = str(page)
    assert "<img" not in text
    inside = re.search(r'<script type="application/json" id="data">\n(.*?)\n</script>', text, re.DOTALL)
    assert inside is not None
    found = json.loads(inside[1])
    assert found["title"] == hostile
    assert any(hostile in step["say"] for step in found["steps"])


@pytest.mark.parametrize(
    "text",
    ["", "no json\n", '{"kind":"trace","version":9}\n',
     '{"kind":"trace","version":2,"ram":["0x0","0x1000"]}\n',
     '{"kind":"trace","version":2,"ram":["0x0","0x1000"]}\n{"kind":"snapshot"}\n',
     '{"kind":"trace","version":2,"ram":7}\n'],
)  # fmt: skip
def test_what_is_no_trace(text: str) -> None:
    with pytest.raises(PltvmError):
        page_of_trace(text.splitlines(keepends=True), "nothing")


def test_damaged_traces_are_said_to_be(trace: Path) -> None:
    """A field less, for each kind of row: it is shown, or refused, and raises nothing else."""
    rows = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    for kind in {row["kind"] for row in rows} - {"end"}:
        for name in next(row for row in rows if row["kind"] == kind):
            damaged = [
                {key: value for key, value in row.items() if row["kind"] != kind or key != name}
                for row in rows
            ]
            with suppress(PltvmError):
                str(page_of_trace((json.dumps(row) + "\n" for row in damaged), "damaged"))


def test_a_long_trace_is_cut(trace: Path) -> None:
    with trace.open(encoding="utf-8") as lines:
        story = Story(read(lines), most=10)
    assert (len(story.steps), story.cut, story.plain()["cut"]) == (10, True, True)


def test_sources_are_those_of_the_functions(tmp_path: Path) -> None:
    for folder, text in (
        ("a", "int other;\n\n\n"),
        ("b", "int main()\n{\n}\n"),
        ("c", "int main()\n{\n}\n// c\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.c").write_text(text)
    found = sources.find(["main+0x2 (one.c:3)", "main (one.c:2)", "no place"], [tmp_path])
    assert found == {"one.c": ["int main()", "{", "}"]}
    assert sources.find(["other_function (one.c:3)"], [tmp_path]) == {}
    assert sources.find(["main (one.c:3)"], [tmp_path / "nothing"]) == {}


def test_a_notebook_shows_it(trace: Path) -> None:
    shown = page_of(trace)._repr_html_()
    assert shown.startswith('<iframe title="a run"')
    assert "<script" not in shown  # all of it is in the attribute


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_runs_and_makes_the_page(tmp_path: Path) -> None:
    ran = pltvm("view", "-o", "page.html", "--source", str(guest.guest_dir()), *CHAIN, cwd=tmp_path)
    assert (ran.returncode, "[caller] resp sum" in ran.stdout) == (0, True), ran.stderr
    assert re.search(r"^wrote page\.html: \d+ steps$", ran.stderr, re.MULTILINE)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<title>caller.elf – pltvm</title>" in text
    assert '"enclave.c":["' in text


def test_of_a_trace_it_is_the_same(tmp_path: Path) -> None:
    assert pltvm("run", "--trace", "t.jsonl", *CHAIN, cwd=tmp_path).returncode == 0
    made = [
        pltvm("view", "-o", "one.html", "--title", "x", "t.jsonl", cwd=tmp_path),
        pltvm("view", "-o", "two.html", "--title", "x", *CHAIN, cwd=tmp_path),
    ]
    assert [one.returncode for one in made] == [0, 0]
    one, two = ((tmp_path / name).read_text("utf-8") for name in ("one.html", "two.html"))
    steps = [re.search(r'"steps":(\[.*\]),"owners"', text) for text in (one, two)]
    assert steps[0] is not None
    assert steps[1] is not None
    assert steps[0][1] == steps[1][1]


def test_of_a_recording_it_is_the_same(tmp_path: Path) -> None:
    """It is replayed: what it prints and its status are those of the run."""
    assert pltvm("run", "--record-run", "bug.pltvm", *CHAIN, cwd=tmp_path).returncode == 0
    made = [
        pltvm("view", "-o", "one.html", "--title", "x", "bug.pltvm", cwd=tmp_path),
        pltvm("view", "-o", "two.html", "--title", "x", *CHAIN, cwd=tmp_path),
    ]
    assert [one.returncode for one in made] == [0, 0], made[0].stderr
    assert made[0].stdout == made[1].stdout
    one, two = ((tmp_path / name).read_text("utf-8") for name in ("one.html", "two.html"))
    steps = [re.search(r'"steps":(\[.*\]),"owners"', text) for text in (one, two)]
    assert steps[0] is not None
    assert steps[1] is not None
    assert steps[0][1] == steps[1][1]
    for behind in (["--shm", "x"], ["other.elf"]):
        refused = pltvm("view", "-o", "three.html", "bug.pltvm", *behind, cwd=tmp_path)
        said = f"pltvm: {behind[0]} is for a program to run, and this is a recording of a run\n"
        assert (refused.returncode, refused.stderr) == (2, said)


def test_of_a_recorded_finding(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"A" * 40)
    line = ["fuzz", ELVES["kv-server"], "--replay", "input", "--record-run", "bug.pltvm"]
    assert pltvm(*line, cwd=tmp_path).returncode == 0
    ran = pltvm("view", "-o", "page.html", "bug.pltvm", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "input: runs to its end, and nothing is wrong\n"), ran.stderr
    assert re.search(r"^wrote page\.html: \d+ steps?$", ran.stderr, re.MULTILINE)


def test_a_kernel_program(tmp_path: Path) -> None:
    kernel = str(guest.guest_dir() / "elf" / "attacks" / "s-satp.elf")
    ran = pltvm("view", "-o", "page.html", "--as", "kernel", kernel, cwd=tmp_path)
    assert re.search(r"^wrote page\.html: \d+ steps$", ran.stderr, re.MULTILINE), ran.stderr


def test_a_host_program(tmp_path: Path) -> None:
    (tmp_path / "hello.elf").write_bytes(Path(ELVES["hello-world"]).read_bytes())
    (tmp_path / "host").write_bytes(Path(HOST).read_bytes())
    ran = pltvm("view", "-o", "page.html", "host", "hello.elf", cwd=tmp_path)
    assert (ran.returncode, (tmp_path / "page.html").exists()) == (0, True), ran.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-o", "page.html", "nothing.elf"], 1, "nothing.elf: no such file"),
        (["-o", "none/page.html", ELVES["hello-world"]], 1, "none/page.html: cannot be written"),
        ([ELVES["hello-world"]], 2, "-o"),
        (["-o", "none/page.html", "nothing.elf"], 1, "none/page.html: cannot be written"),
        (["-o", "page.html", "--ram", "64M", "broken.jsonl"], 2, "--ram is for a program to run"),
        (["-o", "page.html", "broken.jsonl"], 1, "broken.jsonl: "),
    ],
)
def test_what_makes_no_sense(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"kind":"trace","version":2,"ram":["0x0","0x1"]}\n')
    ran = pltvm("view", *arguments, cwd=tmp_path)
    assert (ran.returncode, message in ran.stderr, "Traceback" in ran.stderr) == (status, True, False), (
        ran.stderr
    )
    assert not (tmp_path / "page.html").exists()
