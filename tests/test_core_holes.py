"""Holes in the native core: each takes one check, flush or note out, and something has to find that.

What finds it: an attack, which succeeds then; a walk of the model on two machines; or random programs on two
machines. A hole is an edit of the source, of a text that is there once; the library with it is made anew.
"""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from pltvm import native, selftest
from pltvm.build import core
from pltvm.errors import PltvmError
from tests import core_programs, core_stress
from tests.model.pair import Divergence
from tests.model.steps import random_steps

WALK, PROGRAMS = "the walk", "programs"
FLAGS = ("-O0", "-w")
ATTACKS = {attack.name: attack for attack in selftest.attacks()}


class Hole(NamedTuple):
    """In this file, `old` becomes `new`; `found_by` has to find that."""

    what: str
    found_by: str
    file: str
    old: str
    new: str


HOLES = [
    Hole(
        "only servers are called",
        WALK,
        "monitor/native/server.c",
        "if (server->kind == TYPE_SERVER) return",
        "if (server->kind <= TYPE_SERVER) return",
    ),
    Hole(
        "busy",
        "c-server-chain",
        "monitor/native/server.c",
        "server->caller || server->first",
        "server->first",
    ),
    Hole(
        "a struct that is writable",
        "c-caller-ranges",
        "monitor/native/server.c",
        "struct_va, PTE_R | PTE_W)",
        "struct_va, PTE_R)",
    ),
    Hole(
        "the struct outside the request",
        PROGRAMS,
        "monitor/native/server.c",
        "if (request->va < struct_va + sizeof fields && struct_va < request->va + request->size) return 0;",
        "",
    ),
    Hole(
        "which ranges are passed",
        PROGRAMS,
        "monitor/native/space.c",
        "return size <= region->size - (va - region->va) ? region : NULL;",
        "return region;",
    ),
    Hole(
        "what comes back",
        PROGRAMS,
        "monitor/native/server.c",
        "&& results.req_size >= callee->request_size;",
        ";",
    ),
    Hole(
        "registers at entry",
        "c-leftovers",
        "monitor/native/server.c",
        "memcpy(registers->own, registers->entry, sizeof registers->own);",
        "hart_save(hart); memcpy(registers->own, registers->entry, 8 * 20);"
        "memcpy(registers->own + 35, registers->entry + 35, 8 * 34);",
    ),
    Hole(
        "floating-point registers at entry",
        "c-leftovers",
        "monitor/native/server.c",
        "memcpy(registers->own, registers->entry, sizeof registers->own);",
        "hart_save(hart); memcpy(registers->own, registers->entry, 8 * 36);",
    ),
    Hole("the kbuffer of who calls", "c-given-away", "monitor/native/server.c", "*entry = 0;", ""),
    Hole(
        "counters and nothing else",
        "e-privilege",
        "engine/native/quirks.c",
        "&& (word >> 12 & 2) && !(word >> 15 & 31) &&\n"
        "           (csr == CYCLE || csr == TIME || csr == INSTRET);",
        "&& csr != 0;",
    ),
    Hole(
        "who wants both",
        "e-execute",
        "monitor/native/flip.c",
        "if ((calls_of(hart)->owners[page] & (PRIVATE | BOTH)) != (PRIVATE | BOTH)) return 0;",
        "",
    ),
    Hole(
        "flushing what is unmapped",
        "e-stale-tlb",
        "monitor/native/space.c",
        "    wrote(hart, enclave);\n    hart_flush(hart);\n}\n\n/* All entries",
        "    wrote(hart, enclave);\n}\n\n/* All entries",
    ),
    Hole("unmapping", "e-stale-tlb", "monitor/native/space.c", "*where = 0;", ""),
    Hole("clearing what comes", PROGRAMS, "monitor/native/memory.c", "memset(region, 0, pages << 12);", ""),
    Hole("clearing what goes", PROGRAMS, "monitor/native/memory.c", "memset(table, 0, pages << 12);", ""),
    Hole(
        "whose the pages are",
        WALK,
        "monitor/native/space.c",
        "set_owner(hart, region, PRIVATE | (target->eid + 1));",
        "",
    ),
    Hole("the order of regions", WALK, "monitor/native/space.c", "after->va <= region->va", "0"),
    Hole("a name's end", PROGRAMS, "monitor/native/calls.c", " == size && !memcmp", " && !memcmp"),
    Hole("a line has an end", PROGRAMS, "monitor/native/calls.c", "if (text[size - 1] != '\\n')", "if (0)"),
    Hole(
        "the log of what is written",
        WALK,
        "monitor/native/server.c",
        "*kbuffer_entry(hart, callee) = top->kbuffer_entry;\n    wrote(hart, kbuffer_entry(hart, callee));",
        "*kbuffer_entry(hart, callee) = top->kbuffer_entry;",
    ),
    Hole(
        "clearing of a slot that is left",
        "t-slots",
        "monitor/native/server.c",
        "memset(at(hart, pte_address(*entry)), 0, PAGE);",
        "",
    ),
    Hole(
        "what another slot was passed",
        "t-slots",
        "monitor/native/calls.h",
        "if (!region->holder || region->holder == address(hart, enclave)) return 1;",
        "if (hart) return 1;",
    ),
    Hole(
        "which slots are free",
        WALK,
        "monitor/native/server.c",
        "home->busy &= ~(UINT64_C(1) << server->slot);",
        "",
    ),
    Hole(
        "who waits goes first",
        "t-starving",
        "monitor/native/server.c",
        "server->caller || server->first_waiting ? NULL",
        "server->caller ? NULL",
    ),
    Hole(
        "who waits for a slot goes first",
        "t-starving",
        "monitor/native/server.c",
        "!= TYPE_CONCURRENT_SERVER || server->first_waiting) return NULL;",
        "!= TYPE_CONCURRENT_SERVER) return NULL;",
    ),
    Hole(
        "slots that are free",
        "t-starving",
        "monitor/native/server.c",
        "(uint32_t)slot >= server->slots) return NULL;",
        "(uint32_t)slot >= server->slots) slot = 0;",
    ),
    Hole(
        "a slot that is entered is not",
        "t-slots",
        "monitor/native/server.c",
        "server->busy |= UINT64_C(1) << callee->slot;",
        "",
    ),
    Hole("calls are told apart", "t-keeps", "monitor/native/server.c", "callee->calls++;", ""),
    Hole(
        "a slot holds what it was passed",
        "t-slots",
        "monitor/native/server.c",
        "if (server->kind == TYPE_CONCURRENT_SERVER) receive(hart, callee, request);",
        "",
    ),
    Hole(
        "and what has come back",
        "t-slots",
        "monitor/native/server.c",
        "if (region != NULL && caller->kind == TYPE_CONCURRENT_SERVER) receive(hart, caller, region);",
        "",
    ),
    Hole(
        "but nothing else",
        "t-keeps",
        "monitor/native/server.c",
        "if (slot->request != address(hart, region)) return;",
        "",
    ),
    Hole(
        "passing on what another slot was passed",
        "t-slots",
        "monitor/native/server.c",
        " || !may_give(hart, caller, request)",
        "",
    ),
    Hole(
        "returning what another slot was passed",
        "t-slots",
        "monitor/native/server.c",
        " || !may_give(hart, callee, region)",
        "",
    ),
    Hole(
        "unmapping what another slot was passed",
        "t-slots",
        "monitor/native/memory.c",
        "if (!may_give(hart, enclave, region)) return 0;",
        "",
    ),
    Hole(
        "the struct of a slot is looked for again",
        "t-slots",
        "monitor/native/server.c",
        "&& !has_struct(hart, caller, callee->struct_pa)) return 0;",
        "&& hart == NULL) return 0;",
    ),
    Hole(
        "and is where it was",
        "t-slots",
        "monitor/native/server.c",
        "where != NULL && address(hart, where) == pa;",
        "where != NULL;",
    ),
    Hole(
        "clearing of results on the stack of a slot",
        "t-slots",
        "monitor/native/server.c",
        "if (caller->kind == TYPE_CONCURRENT_SERVER) note_stored(hart, caller);",
        "",
    ),
    Hole(
        "what stays in its server",
        "t-slots",
        "monitor/native/server.c",
        "server != NULL && server != from ?",
        "server != NULL ?",
    ),
    Hole(
        "what comes back within it",
        "t-slots",
        "monitor/native/server.c",
        " || from == to) return 0;",
        ") return 0;",
    ),
    Hole(
        "which slot it is",
        "s-wrong-chain",
        "monitor/native/calls.c",
        "hart_set(hart, A0, enclave->slot)",
        "hart_set(hart, A0, 0)",
    ),
    Hole("the log of owners", WALK, "monitor/native/space.c", "wrote(hart, entries + i);", ""),
]


@pytest.fixture(scope="module")
def elf() -> bytes:
    return core_programs.script_elf()


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """The sources of the core, with what each is compiled to: most holes are in one of them."""
    folder, sources = tmp_path_factory.mktemp("objects"), core.sources()
    command = [*core.compiler(), "-c", *core.FLAGS, *FLAGS, f"-I{core.PACKAGE}", *map(str, sources)]
    subprocess.run(command, cwd=folder, check=True)
    made = {source: folder / f"{source.stem}.o" for source in sources}
    assert len(set(made.values())) == len(sources)
    return made


def is_found(by: str, elf: bytes, steps: int = 1500, count: int = 200) -> bool:
    """Whether the core that is there now is found out, by so many steps or programs."""
    if by in ATTACKS:
        return not selftest.run_attack(ATTACKS[by]).stopped
    try:
        if by == WALK:
            twins = core_stress.Twins(check_every=10_000, whole_every=20)
            for step in random_steps(twins.plain, "holes", steps):
                twins.step(step)
        else:
            programs = core_programs.Twins(elf)
            for number in range(count):
                programs.program(f"holes/{number}")
    except (Divergence, PltvmError):
        return True
    return False


@pytest.mark.broken
@pytest.mark.skipif(native.core is None, reason=native.status)
@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole.found_by}: {hole.what}")
def test_a_hole_is_found(
    hole: Hole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elf: bytes, objects: dict[Path, Path]
) -> None:
    changed = core.PACKAGE / hole.file
    text = changed.read_text("utf-8")
    assert text.count(hole.old) == 1, f"{hole.file}: {hole.old!r} is not there once"
    if changed.suffix == ".h":  # every source may include it
        package, files = tmp_path / "pltvm", []
        for source in [*core.sources(), *core.PACKAGE.glob("*/native/*.h"), *core.PACKAGE.glob("*/*.h")]:
            target = package / source.relative_to(core.PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        file = package / hole.file
    else:
        package, file = core.PACKAGE, tmp_path / changed.name
        files = [file, *(made for source, made in objects.items() if source != changed)]
    file.write_text(text.replace(hole.old, hole.new), "utf-8")
    made = core.build(tmp_path / "holes.so", flags=FLAGS, package=package, files=files)
    monkeypatch.setattr(native, "core", ctypes.PyDLL(str(made)))
    assert is_found(hole.found_by, elf)


@pytest.mark.skipif(native.core is None, reason=native.status)
def test_nothing_is_found_where_there_is_no_hole(elf: bytes) -> None:
    for by in (WALK, PROGRAMS):
        assert not is_found(by, elf, steps=500, count=40)
