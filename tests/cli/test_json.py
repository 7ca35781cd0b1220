"""The output of every command with --json, held against its schema in docs/schemas."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.cli import main
from pltvm.cli.app import _FILES
from tests.cli.command import ELVES, HOST, KERNEL
from tests.cli.command import pltvm as in_a_process

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
PAGE = (SCHEMAS.parent / "json.md").read_text()
OTHERS = ("debug", "replay", "view")  # which run what `run` does, or write a page
CONFINED = ("run", "call", "profile", "fuzz", "explore", "cov", "triage", "cmin", "tmin", "showmap")
FAULT = 6  # what makes tests/guest/callee.c fault
BUGGY = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    unsigned char *memory = (unsigned char *)args[11];
    if (memory && memory[0] == 'a' && memory[1] > 7) *(volatile int *)16 = 1;
    SERVER_RETURN(&ret);
}
"""


def strict(schema: Any) -> Any:
    """The same schema, which does not allow what it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if "properties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


ALL = {path.name: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json"))}
REGISTRY = Registry().with_resources((name, Resource.from_contents(strict(one))) for name, one in ALL.items())


def check(name: str, content: Any) -> Any:
    """The content, if it is as this schema says."""
    validator = Draft202012Validator(strict(ALL[f"{name}.schema.json"]), registry=REGISTRY)
    problems = [
        f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in validator.iter_errors(content)
    ]
    assert not problems, problems
    return content


Command = Callable[..., Any]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command with --json in this process, which therefore must not be confined; what it prints."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(*arguments: object, status: int = 0, lines: bool = False) -> Any:
        first, *rest = map(str, arguments)
        words = [first, "--json", *(["--no-confine"] if first in CONFINED else []), *rest]
        monkeypatch.setattr(sys, "argv", ["pltvm", *words])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capsys.readouterr()
        assert code == status, err
        return [json.loads(line) for line in out.splitlines()] if lines else json.loads(out)

    return run


@pytest.fixture(scope="module")
def buggy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("buggy")
    (folder / "buggy.c").write_text(BUGGY)
    return build_enclave([folder / "buggy.c"], folder / "buggy.elf")


def test_the_schemas_are_schemas_and_the_page_names_each() -> None:
    for name, schema in ALL.items():
        Draft202012Validator.check_schema(schema)
        assert f"(schemas/{name})" in PAGE
    named = set(re.findall(r"\(schemas/([\w.-]+)\)", PAGE))
    assert named == set(ALL)


def test_every_command_has_it() -> None:
    for name in _FILES:
        result = in_a_process(name, "--help")
        assert ("--json" in result.stdout) != (name in OTHERS), name
        assert name in PAGE


def test_run(printed: Command, tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    assert check("run", printed("demo"))["retval"] == 0
    assert check("run", printed("run", ELVES["caller"], "--shm", "x"))["notes"]
    elf = tmp_path / "wrong.elf"
    elf.write_bytes(build_guest("wrong"))
    fault = check("run", printed("run", elf, "--shm", "text:o", status=1))["fault"]
    assert fault["address"] == 0x123456780
    assert fault["backtrace"][0]["frames"]
    assert check("run", printed("run", elf, "--shm", "text:i", "--timeout", "0.2", status=1))["place"]
    assert check("run", printed("run", elf, "--shm", "text:l", status=1))["fault"]["address"] is None
    assert check("run-kernel", printed("run", KERNEL))["code"] == 0
    several = check("run-several", printed("run", ELVES["hello-world"], "--callers", 2, "--quantum", 50))
    assert [chain["status"] for chain in several["chains"]] == ["exited"] * 2
    check("run-several", printed("run", ELVES["hello-world"], "--callers", 2, "--races"))
    assert check("explore", printed("explore", ELVES["hello-world"], "--callers", 2, "--schedules", 3))


def test_call(printed: Command, tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    (called,) = check("call", printed("call", ELVES["server"], "--data", "hello"))["calls"]
    assert called["value"] == 2
    assert called["output"].startswith("[server] req sum")
    elf = tmp_path / "callee.elf"
    elf.write_bytes(build_guest("callee"))
    failed = check("call", printed("call", elf, "--arg", FAULT, status=1))
    assert failed["status"] == "faulted"
    assert failed["report"]


def test_profile(printed: Command) -> None:
    server = f"kv-store={ELVES['kv-server']}"
    profile = check("profile", printed("profile", ELVES["kv-client"], "--server", server))
    assert profile["instructions"] == sum(row["own"] for row in profile["enclaves"])
    (edge,) = profile["edges"]
    assert edge["calls"] == 10


def test_run_of_a_host_program(tmp_path: Path) -> None:
    root = str(guest.guest_dir() / "elf")
    result = in_a_process("run", "--json", "--root", root, HOST, "hello-world.elf")
    assert check("run-host", json.loads(result.stdout))["exit_code"] == result.returncode == 0
    failed = json.loads(in_a_process("run", "--json", "--root", root, HOST, "nothing.elf").stdout)
    assert check("run-host", failed)["exit_code"]


def test_about_files(printed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for elf in (ELVES["caller"], ELVES["server"], KERNEL):
        check("info", printed("info", elf))
    check("info-host", printed("info", HOST))
    listed = check("examples", printed("examples"))["examples"]
    assert {one["name"] for one in listed} == set(ELVES)
    copied = check("examples", printed("examples", "src"))["copied"]
    assert all(Path(one).is_file() for one in copied)
    made = check("build", printed("build", "src/hello-world.c", "-o", "hello.elf"))["made"]
    assert made == ["hello.elf"]
    assert Path("hello.elf").is_file()
    assert check("build", printed("build", "--check", "-c", "src/hello-world.c"))["made"] == ["hello-world.o"]
    assert Path(check("sdk", printed("build", "--print-sdk"))["sdk"]).is_dir()
    assert all(Path(one).is_file() for one in check("new", printed("new", "mine"))["made"])


def test_attestation(printed: Command, tmp_path: Path) -> None:
    hello = ELVES["hello-world"]
    measured = check("measure", printed("measure", hello))
    about = check("attest", printed("attest", hello, "--nonce", 5, "-o", tmp_path / "report"))
    assert about["measurement"] == measured["measurement"]
    expected = ("--expect", measured["measurement"])
    assert check("verify", printed("verify", tmp_path / "report", *expected))["ok"]
    assert not check("verify", printed("verify", tmp_path / "report", "--expect", "00" * 32, status=1))["ok"]


def test_selftest(printed: Command) -> None:
    assert check("selftest", printed("selftest", "s-wish"))["stopped"] == 1


def test_fuzzing(printed: Command, buggy: Path, tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(bytes(8) + b"a\x07")
    out = tmp_path / "out"
    lines = printed(
        "fuzz",
        buggy,
        "-i",
        tmp_path / "seed",
        "-o",
        out,
        "--findings",
        1,
        "--execs",
        50_000,
        status=3,
        lines=True,
    )
    for line in lines:
        check("fuzz", line)
    assert {line["event"] for line in lines} >= {"status", "finding"}
    (crash,) = (out / "default" / "crashes").glob("id:*")
    queue = sorted((out / "default" / "queue").glob("id:*"))
    found = check("replay", printed("fuzz", "--replay", crash, status=3))["finding"]
    assert found["kind"] == "fault"
    assert check("replay", printed("fuzz", "--replay", queue[0]))["finding"] is None
    assert check("cov", printed("cov", out))["inputs"] == len(queue)
    (group,) = check("triage", printed("triage", out, status=3))["groups"]
    assert group["signature"] == found["signature"]
    assert check("cmin", printed("cmin", "-i", out, "-o", tmp_path / "small"))["kept"]
    assert (
        check("tmin", printed("tmin", "-i", crash, "-o", tmp_path / "short"))["bytes"] <= crash.stat().st_size
    )
    assert check("tmin", printed("tmin", "-i", queue[0], "-o", tmp_path / "short"))["finding"] is None
    maps = check("showmap", printed("showmap", "-i", out))
    assert len(maps["maps"]) == len(queue)
    assert check("showmap", printed("showmap", "-i", crash, status=3))["maps"][0]["kind"] == "fault"


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (1, ["run", "missing.elf"]),
        (2, ["run", ELVES["caller"], "x"]),
        (1, ["build", "missing.c"]),
        (2, ["build"]),
    ],
)
def test_errors_are_lines_on_stderr(status: int, arguments: list[str]) -> None:
    result = in_a_process(*arguments, "--json")
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith("pltvm: ")
