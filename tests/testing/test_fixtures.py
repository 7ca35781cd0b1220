"""The fixtures: machines that are as they should be, and enclaves that are built once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.build import enclave as compiler
from pltvm.build.arguments import parse
from pltvm.errors import BuildError
from pltvm.testing import building
from pltvm.testing.building import Builder
from tests.testing.conftest import ROOT

Run = Callable[..., pytest.RunResult]
pytest_plugins = "pytester"


def write(folder: Path, text: str, name: str = "test_it.py") -> None:
    (folder / name).write_text(
        "import pytest\nfrom pltvm import *\n\nCOUNT, FAULT, WHO, SAY = 1, 6, 12, 13\n\n" + text
    )


def test_a_machine_for_each_test(project: Path, run: Run) -> None:
    write(
        project,
        """
seen = []

@pytest.mark.parametrize("turn", [1, 2])
def test_new(pltvm_machine, pltvm_build, turn):
    server = pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")
    assert server.eid == 0
    assert server.call(COUNT).value == 1
    assert pltvm_machine not in seen
    seen.append(pltvm_machine)

@pytest.mark.pltvm_machine(ram=32 << 20)
def test_options(pltvm_machine):
    assert pltvm_machine.memory.size == 32 << 20
""",
    )
    run("--strict-markers").assert_outcomes(passed=3)


def test_a_server_that_was_warmed_up_once_and_is_put_back(project: Path, run: Run) -> None:
    write(
        project,
        """
pytestmark = pytest.mark.pltvm_machine(ram=64 << 20)
made = []

@pytest.fixture(scope="module")
def server(pltvm_module_machine, pltvm_build):
    server = pltvm_module_machine.create(pltvm_build("callee.c"), name="callee", type="server")
    made.append(server.call(COUNT).value)
    return server

@pytest.fixture(scope="module")
def late(pltvm_module_machine, pltvm_build, server):
    server.call(COUNT)
    return pltvm_module_machine.create(pltvm_build("callee.c"), name="late", type="server")

@pytest.fixture(autouse=True)
def each(request):
    if "server" in request.fixturenames:
        calls = 3 if "late" in request.fixturenames else 2
        assert request.getfixturevalue("server").call(COUNT).value == calls

@pytest.mark.parametrize("turn", [1, 2, 3])
def test_state(server, turn):
    assert server.call(COUNT).value == 3
    assert made == [1]
    assert server._driver.memory.size == 64 << 20

def test_end(server, pltvm_module_machine):
    with pytest.raises(CallError):
        server.call(FAULT)
    assert not server.alive

def test_alive_again(server):
    assert server.alive
    assert server.call(COUNT).value == 3

class TestLater:
    @pytest.mark.parametrize("turn", [1, 2])
    def test_what_is_made_later_is_kept(self, server, late, turn):
        assert late.call(COUNT).value == 1
        assert server.call(COUNT).value == 4

def test_without():
    pass
""",
    )
    run().assert_outcomes(passed=8)


def test_classes_of_unittest(project: Path, run: Run) -> None:
    write(
        project,
        """
import unittest

class TestServer(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server_of_each(self, pltvm_machine, pltvm_build):
        self.server = pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")

    def test_one(self):
        self.assertEqual(self.server.call(COUNT), (1, b""))

    def test_two(self):
        self.server.call(SAY, b"unittest")
        self.assertEqual(self.server.call(FAULT), (1, b""))

    def test_three(self):
        self.server.call(SAY, b"three")
        self.fail("mine")
""",
    )
    result = run()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines([
        "*mine*", "*Captured enclave output call*", "servers, called from Python:", "said three",
        "*store to a page that is not mapped writable*",
        "*Captured enclave output call*", "servers, called from Python:", "said unittest",
    ])  # fmt: skip


def test_wrong_use_is_one_line(project: Path, run: Run) -> None:
    write(
        project,
        """
@pytest.mark.pltvm_machine(64 << 20)
def test_mark(pltvm_machine): pass

def test_source(pltvm_build):
    pltvm_build("nowhere.c")

def test_flags(pltvm_build):
    pltvm_build("callee.c", flags="-O0")

def test_number(pltvm_build):
    pltvm_build("callee.c", flags=["-DN", 5])

def test_list(pltvm_build):
    pltvm_build(["callee.c"])

def test_compile(pltvm_build, tmp_path):
    (tmp_path / "x.c").write_text("int main( {}")
    pltvm_build(tmp_path / "x.c")
""",
    )
    result = run()
    result.assert_outcomes(failed=5, errors=1)
    result.stdout.fnmatch_lines([
        "*has options of Machine by name*", "*BuildError: no such source file: *nowhere.c",
        "*BuildError: flags is '-O0': give a list*", "*BuildError: flags is [[]'-DN', 5]: give a list*",
        "*TypeError: a source is [[]'callee.c'], of type list: give the path*",
        "*x.elf was not built*", "*x.c:1:*error: *",
    ])  # fmt: skip


# -- building ------------------------------------------------------------------------------------------------


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names of ELFs that are really built, in a cache of this test's own."""
    cache = tmp_path / "cache"
    cache.mkdir()
    made: list[str] = []
    real = building._build
    monkeypatch.setattr(building, "_cache", lambda: cache)
    monkeypatch.setattr(
        building, "_build", lambda asked, checked, elf: (made.append(elf.name), real(asked, checked, elf))
    )
    return made


def test_an_elf_is_built_once_for_the_same_content(builds: list[str], tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text('#include "its own.h"\nint EAPP_ENTRY main() { return VALUE; }\n')
    (tmp_path / "its own.h").write_text('#include "eapp.h"\n#define VALUE 5\n')
    build = Builder(tmp_path)
    first = build("one.c")
    assert (build("one.c"), builds) == (first, ["one.elf"])
    (tmp_path / "its own.h").write_text('#include "eapp.h"\n#include "more.h"\n')
    (tmp_path / "more.h").write_text("#define VALUE 6\n")
    second = build("one.c")
    assert second != first
    (tmp_path / "more.h").write_text("#define VALUE 7\n")
    third = build("one.c")
    assert len({first, second, third}) == 3
    assert build("one.c", flags=["-DX"]) not in (first, second, third)
    assert len(builds) == 4
    from pltvm import Machine

    assert [Machine(32 << 20).create(elf).run().retval for elf in (first, second, third)] == [5, 6, 7]
    assert building.folders[first] == [tmp_path]


def test_a_copy_of_a_project_has_its_own_headers(builds: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.c").write_text(
            '#include "eapp.h"\n#include "v.h"\nint EAPP_ENTRY main() { return V; }\n'
        )
        (tmp_path / name / "v.h").write_text("#define V 1\n")
    first = Builder(tmp_path / "a")("one.c")
    assert Builder(tmp_path / "b")("one.c") == first
    assert building.folders[first] == [tmp_path / "b"]
    (tmp_path / "b" / "v.h").write_text("#define V 2\n")
    assert Builder(tmp_path / "b")("one.c") != first
    assert Builder(tmp_path / "a")("one.c") == first
    assert len(builds) == 2


def test_flags_and_the_checker(builds: list[str], tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "size.h").write_text("#define SIZE 4\n")
    (tmp_path / "over.c").write_text(
        '#include "eapp.h"\n#include <size.h>\nint EAPP_ENTRY main()\n'
        "{ volatile char a[SIZE]; volatile int at = SIZE; a[at] = 1; return FROM_INI + a[at] * 0; }\n"
    )
    from pltvm import Machine

    def run(elf: Path) -> object:
        result = Machine(64 << 20).create(elf).run()
        return result.retval if result.ok else result.fault

    flags = ["-Iinc"]
    plain = Builder(tmp_path, ["-DFROM_INI=3"])
    assert run(plain("over.c", flags=flags)) == 3
    assert "undefined_behaviour" in str(run(plain("over.c", flags=flags, check=True)))
    assert "undefined_behaviour" in str(run(plain("over.c", flags=[*flags, "--check"])))
    assert len(builds) == 2  # the last two are one
    assert (
        run(Builder(tmp_path, ["-DFROM_INI=3"], check=True)("over.c", flags=["-I", "inc"], check=False)) == 3
    )
    with pytest.raises(BuildError, match="do not make an enclave"):
        plain("over.c", flags=["-S"])
    with pytest.raises(BuildError, match="is not one of"):
        building.built(parse(["-L/x", "y"]), False)


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main() { return 5; }\n')
    program = """
import sys
from pathlib import Path
from pltvm.testing import building
building._cache = lambda: Path(sys.argv[1], "cache")
real = building._build
building._build = lambda *words: (print("built"), real(*words))
print(building.Builder(Path(sys.argv[1]))("one.c"))
"""
    (tmp_path / "cache").mkdir()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    lines = "".join(one.communicate()[0] for one in running).splitlines()
    assert lines.count("built") == 1
    assert len({line for line in lines if line != "built"}) == 1


def test_what_nobody_asked_for_is_forgotten(
    builds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main() { return 5; }\n')
    build = Builder(tmp_path)
    first = build("one.c")
    (tmp_path / "one.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main() { return 6; }\n')
    assert build("one.c").exists()
    assert first.exists()
    later = building.time.time() + 31 * 24 * 3600
    monkeypatch.setattr(building.time, "time", lambda: later)
    (tmp_path / "one.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main() { return 7; }\n')
    assert build("one.c").exists()
    assert not first.exists()


def test_a_damaged_list_of_headers_is_made_anew(builds: list[str], tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main() { return 5; }\n')
    elf = Builder(tmp_path)("one.c")
    for damage in ("{", "5", "null"):
        (elf.parents[1] / "headers").write_text(damage)
        assert Builder(tmp_path)("one.c") == elf
        assert json.loads((elf.parents[1] / "headers").read_text()) == []
    assert builds == ["one.elf"]
    assert compiler.drive is building.drive
