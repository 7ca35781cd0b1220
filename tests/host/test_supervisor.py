"""S-mode programs: they run under the rules of §8, and end clearly."""

from pathlib import Path

import pytest

from pltvm import Machine, sdk
from pltvm.host.supervisor import Victim

ATTACKS = sdk.guest_dir() / "attacks"
RAM = 64 << 20


def build(tmp_path: Path, body: str) -> bytes:
    """An S-mode program with this in its main, where `info` says where things are."""
    source = tmp_path / "program.c"
    source.write_text(
        '#include "supervisor.h"\nint EAPP_ENTRY main()\n{\n    unsigned long *args;\n    EAPP_RESERVE_REG;\n'
        "    struct sv_info *info = (struct sv_info *)args[10];\n    uint64_t value = 0;\n    (void)value;\n"
        f"{body}\n    sv_exit(0);\n}}\n"
    )
    (tmp_path / "supervisor.h").write_text((ATTACKS / "supervisor.h").read_text())
    return sdk.build([source, ATTACKS / "supervisor.S"], tmp_path / "program.elf").read_bytes()


def test_it_prints_and_ends_with_its_code(tmp_path: Path) -> None:
    elf = build(tmp_path, "    sv_put('h'); sv_put('i'); sv_exit(7);")
    seen: list[bytes] = []
    result = Machine(RAM).supervise(elf, on_output=seen.append)
    assert (result.code, result.end, result.output, seen) == (7, "", b"hi", [b"h", b"i"])


def test_a_trap_without_a_vector_ends_it(tmp_path: Path) -> None:
    result = Machine(RAM).supervise(build(tmp_path, "    *(volatile int *)8 = 1;"))
    assert result.code is None
    assert "store to a page that is not mapped writable at main" in result.end


@pytest.mark.parametrize(
    ("attempt", "cause"),
    [
        ("sv_load(info->monitor, &value)", 5),
        ("sv_store(info->bitmap, 0)", 7),
        ("sv_store(info->pt_area, 0)", 15),
        ("sv_load(info->pt_area, &value)", 0),
        ("sv_load(info->free, &value)", 0),
        ("sv_store(info->free, 1)", 0),
        ("sv_fetch(info->free)", 12),
        ("sv_load(info->victim[0].block + 8192, &value)", 13),
        ("sv_store(info->victim[0].block + 8192, 1)", 15),
        ("sv_write_satp(0)", 2),
        ("sv_write_satp(8UL << 60 | info->free >> 12)", 2),
        ("sv_write_satp(8UL << 60 | info->free_leaf[0] >> 12)", 2),
        ("sv_write_satp(sv_read_satp())", 0),
        ("sv_write_satp(8UL << 60 | info->root >> 12 | 5UL << 44)", 0),
        ("sv_fence()", 0),
        ("sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 6), 0, 0).error", 0),
        ("-sv_call(101, 1, info->free_leaf[0], pte_of(info->victim[0].block, 6), 0, 0).error", 1),
        ("-sv_call(12345, 0, 0, 0, 0, 0).error", 1),
        ("-sv_call(97, 99, info->free, 0, 0, 0).error", 1),
    ],
)
def test_rules(tmp_path: Path, attempt: str, cause: int) -> None:
    machine = Machine(RAM)
    enclave = machine.create(sdk.examples()["hello-world"].elf)
    block = enclave._inner.block
    result = machine.supervise(
        build(tmp_path, f"    sv_exit({attempt});"), [Victim(block, 2 << 20, enclave.eid)]
    )
    assert (result.code, result.end) == (cause, "")


def test_it_runs_an_enclave_and_gets_the_result(tmp_path: Path) -> None:
    machine = Machine(RAM)
    enclave = machine.create(sdk.examples()["memory"].elf)
    elf = build(
        tmp_path,
        "    struct sv_result r = sv_call(97, info->victim[0].eid, info->free, 0, 0, 0);\n"
        "    sv_exit(r.error == 0 ? 100 + r.value : 1);",
    )
    assert machine.supervise(elf, [Victim(0, 0, enclave.eid)]).code == 100 + 2, "2: it waits for an ocall"
