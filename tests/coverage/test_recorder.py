"""What the enclaves of machines ran: counted right, by whomever, and told apart."""

import gc
import re
import subprocess
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pltvm import CallError, Machine, native
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.coverage import lcov
from pltvm.coverage.blocks import BlockCounts, Counts
from pltvm.coverage.recorder import Recorder, _one_for_each_pc
from tests.cli.command import ELVES, pltvm
from tests.host.test_proxy import Do, of

GUEST = Path(__file__).parents[1] / "guest"
SOURCE = GUEST / "covered.c"
NATIVE = pytest.mark.skipif(native.core is None, reason="there is no native core to compare with")


@pytest.fixture(scope="module")
def elf(build_guest: Callable[[str], bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elf") / "covered.elf"
    path.write_bytes(build_guest("covered"))
    return path


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(lambda _elf: [GUEST])


def expected(times: int) -> Iterator[tuple[int, int]]:
    """Line → how often it runs in so many runs, as its comment says."""
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        if found := re.search(r"/\* (\d) \*/", line):
            yield number, int(found[1]) * times


def counted(recorder: Recorder, times: int = 1, source: Path = SOURCE) -> dict[int, int]:
    lines = recorder.found().files[str(source)].lines
    return {number: lines.get(number, -1) for number, _ in expected(times)}


@pytest.mark.parametrize("native", [True, False])
def test_lines_count_as_often_as_they_run(recorder: Recorder, elf: Path, native: bool) -> None:
    for _ in range(2):
        machine = Machine(64 << 20, native=native)
        recorder.watch(machine)
        assert machine.create(elf).run().ok
        assert machine.create(elf).run().ok
    assert counted(recorder) == dict(expected(4))
    functions = recorder.found().files[str(SOURCE)].functions
    assert {name: count for name, (_, count) in functions.items()} == {"main": 4, "thrice": 12, "never": 0}


def test_only_what_users_wrote(recorder: Recorder, elf: Path, tmp_path: Path) -> None:
    machine = Machine(64 << 20)
    recorder.watch(machine)
    machine.create(elf).run()
    server = machine.create(guest.examples()["kv-server"].elf, name="kv", type="server")
    server.call(99)  # by the proxy, which is ours
    (tmp_path / "float.c").write_text(
        '#include <math.h>\n#include <stdio.h>\n#include "eapp.h"\n'
        'int EAPP_ENTRY main() { volatile double x = 2; printf("%f\\n", sqrt(x) * x / 3); return 0; }\n'
    )
    assert machine.create(build_enclave([tmp_path / "float.c"], tmp_path / "float.elf")).run().ok
    files, missing = recorder.found()
    example = guest.guest_dir() / "examples" / "kv-server.c"
    assert sorted(files) == sorted([str(SOURCE), str(example), str(tmp_path / "float.c")])
    assert missing == ()


def test_a_source_that_is_not_there_is_named(elf: Path, tmp_path: Path) -> None:
    recorder, machine = Recorder(), Machine(64 << 20)
    recorder.watch(machine)
    assert machine.create(elf.read_bytes()).run().ok
    assert recorder.found() == ({}, ("covered.c",))


def test_ended_and_put_back(recorder: Recorder, elf: Path, build_guest: Callable[[str], bytes]) -> None:
    """An eid is another enclave's after the machine was put back."""
    machine = Machine(64 << 20)
    recorder.watch(machine)
    callee = build_guest("callee")
    fresh = machine.snapshot()
    for turn in range(3):
        machine.create(elf).run()
        machine.restore(fresh)
        server = machine.create(callee, name="callee", type="server")
        server.call(Do.COUNT)
        assert server.eid == 0
        if turn == 1:
            with pytest.raises(CallError):
                server.call(Do.FAULT)
        machine.restore(fresh)
    assert counted(recorder) == dict(expected(3))
    lines = (GUEST / "callee.c").read_text().splitlines()
    number = 1 + next(at for at, line in enumerate(lines) if "calls++;" in line)
    assert recorder.found().files[str(GUEST / "callee.c")].lines[number] == 4


def test_a_chain_of_servers(recorder: Recorder, build_guest: Callable[[str], bytes], tmp_path: Path) -> None:
    machine = Machine(64 << 20)
    recorder.watch(machine)
    server = machine.create(build_guest("callee"), name="callee", type="server")
    machine.create(build_guest("callee"), name="next", type="server")
    server.call(of(Do.NEXT, Do.SUM), bytes(16))
    lines = (GUEST / "callee.c").read_text().splitlines()
    number = 1 + next(at for at, line in enumerate(lines) if "total += bytes" in line)
    assert recorder.found().files[str(GUEST / "callee.c")].lines[number] == 0  # next got no memory
    server.call(Do.SUM, bytes(16))
    assert recorder.found().files[str(GUEST / "callee.c")].lines[number] > 0


def test_instances_of_a_template(recorder: Recorder, elf: Path) -> None:
    machine = Machine(64 << 20)
    recorder.watch(machine)
    template = machine.create(elf, type="shadow")
    for _ in range(2):
        assert template.fork().run().ok
    assert counted(recorder) == dict(expected(2))


def test_a_machine_is_not_kept_alive(recorder: Recorder, elf: Path) -> None:
    machine = Machine.__new__(Machine)
    Machine.__init__.__wrapped__(machine, 64 << 20)  # type: ignore[attr-defined]  # without a fixture that keeps it
    recorder.watch(machine)
    machine.create(elf).run()
    alive = weakref.ref(machine)
    del machine
    gc.collect()
    assert alive() is None
    assert counted(recorder) == dict(expected(1))


def test_two_elves_of_one_name(recorder: Recorder, tmp_path: Path) -> None:
    machine = Machine(64 << 20)
    recorder.watch(machine)
    for opt in ("-O0", "-O2"):
        assert machine.create(build_enclave([SOURCE], tmp_path / "x.elf", opt=opt)).run().ok
    assert len(recorder.modules()) == 2
    assert recorder.found().files[str(SOURCE)].functions["thrice"][1] == 6


# -- counts --------------------------------------------------------------------------------------------------


def counts_of(machine: Machine, rows: int = 1 << 14) -> Counts:
    counts = BlockCounts(machine, rows)
    machine.create(guest.examples()["wordcount"].elf, shm=b"one two two three").run()
    machine.create(guest.examples()["memory"].elf).run()
    return counts.take()


@NATIVE
def test_the_core_counts_what_python_counts() -> None:
    with_core, without = counts_of(Machine(64 << 20)), counts_of(Machine(64 << 20, native=False))
    assert with_core == without
    assert sum(map(len, with_core.values())) > 400


@NATIVE
@pytest.mark.parametrize("rows", [4, 64])
def test_a_full_table_is_added_up(rows: int) -> None:
    assert counts_of(Machine(64 << 20), rows) == counts_of(Machine(64 << 20))


def test_blocks_of_several_lengths_at_one_place() -> None:
    assert _one_for_each_pc({(8, 4): 5, (8, 10): 3}) == {8: (4, 8), 12: (6, 3)}  # type: ignore[arg-type]
    assert _one_for_each_pc({(8, 4): 5, (8, 10): 3, (12, 2): 1}) == {  # type: ignore[arg-type]
        8: (4, 8), 12: (2, 4), 14: (4, 3),
    }  # fmt: skip
    assert _one_for_each_pc({(8, 4): 5, (12, 4): 3}) == {8: (4, 5), 12: (4, 3)}  # type: ignore[arg-type]


# -- the command ---------------------------------------------------------------------------------------------


def test_run_writes_what_others_read(tmp_path: Path) -> None:
    servers = ("--server", f"kv-store={ELVES['kv-server']}")
    result = pltvm("run", ELVES["kv-client"], *servers, "--cov", "kv.info", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^ +\d+ of \d+ lines of kv-client.c$", result.stderr, re.MULTILINE)
    assert re.search(r"^ +\d+ of \d+ lines of kv-server.c$", result.stderr, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["kv.info"]
    xml = tmp_path / "kv.xml"
    lcov_cobertura = pytest.importorskip("lcov_cobertura")  # of an environment that is older than this test
    xml.write_text(lcov_cobertura.LcovCobertura((tmp_path / "kv.info").read_text(), "/").convert())
    found = re.findall(r'filename="([^"]*)" .*?line-rate="([\d.]+)"', xml.read_text())
    assert sorted(name.rpartition("/")[2] for name, _ in found) == ["kv-client.c", "kv-server.c"]


def test_call_writes_it_too_and_a_kernel_program_has_none(tmp_path: Path) -> None:
    result = pltvm("call", ELVES["kv-server"], "--arg", "99", "--cov", "kv.info", cwd=tmp_path)
    assert result.returncode == 0
    assert "DA:" in (tmp_path / "kv.info").read_text()
    attack = guest.attack_elf("s-satp")
    refused = pltvm("run", str(attack), "--supervisor", "--cov", "x.info", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--cov does nothing for a kernel program" in refused.stderr
    missing = pltvm("run", ELVES["hello-world"], "--cov", "no/x.info", cwd=tmp_path)
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


@pytest.mark.parametrize("tool", ["lcov", "genhtml"])
def test_lcov_and_genhtml_take_it(recorder: Recorder, elf: Path, tmp_path: Path, tool: str) -> None:
    machine = Machine(64 << 20)
    recorder.watch(machine)
    machine.create(elf).run()
    files = recorder.found().files
    (tmp_path / "out.info").write_text(lcov.text(files))
    words = {"lcov": ["--summary", "out.info"], "genhtml": ["-q", "-o", "html", "out.info"]}[tool]
    try:
        done = subprocess.run([tool, *words], cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"there is no {tool}")
    assert done.returncode == 0, done.stderr
    if tool == "genhtml":
        pages = [path.read_text() for path in (tmp_path / "html").rglob("covered.c.gcov.html")]
        assert len(pages) == 1
        assert "never" in pages[0]
    else:
        reached, lines = files[str(SOURCE)].reached
        assert f"({reached} of {lines} lines)" in done.stdout + done.stderr
