"""S-mode programs: they run under the rules of §8, and end clearly."""

from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.host import output
from pltvm.host.supervisor import Victim

ATTACKS = guest.guest_dir() / "attacks"
RAM = 64 << 20
FLOATING = '__asm__ volatile(".option push\\n.option arch, +f, +d\\n%s\\n.option pop" '


def build(tmp_path: Path, body: str) -> bytes:
    """An S-mode program with this in its main, where `info` says where things are."""
    source = tmp_path / "program.c"
    source.write_text(
        '#include "supervisor.h"\nint EAPP_ENTRY main()\n{\n    unsigned long *args;\n    EAPP_RESERVE_REG;\n'
        "    struct sv_info *info = (struct sv_info *)args[10];\n    uint64_t value = 0;\n    (void)value;\n"
        f"{body}\n    sv_exit(0);\n}}\n"
    )
    (tmp_path / "supervisor.h").write_text((ATTACKS / "supervisor.h").read_text())
    return build_enclave([source, ATTACKS / "supervisor.S"], tmp_path / "program.elf").read_bytes()


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
    enclave = machine.create(guest.examples()["hello-world"].elf)
    block = enclave._inner.block
    result = machine.supervise(
        build(tmp_path, f"    sv_exit({attempt});"), [Victim(block, 2 << 20, enclave.eid)]
    )
    assert (result.code, result.end) == (cause, "")


def test_it_runs_an_enclave_and_gets_the_result(tmp_path: Path) -> None:
    machine = Machine(RAM)
    enclave = machine.create(guest.examples()["memory"].elf)
    elf = build(
        tmp_path,
        "    struct sv_result r = sv_call(97, info->victim[0].eid, info->free, 0, 0, 0);\n"
        "    sv_exit(r.error == 0 ? 100 + r.value : 1);",
    )
    assert machine.supervise(elf, [Victim(0, 0, enclave.eid)]).code == 100 + 2, "2: it waits for an ocall"


LAST_PAGE = """
    uint32_t *code = (uint32_t *)info->free;
    for (int i = 0; i < 1024; i++)
        code[i] = 0x13;              /* nop */
    code[1022] = 0x8067;             /* ret */
    code[1023] = LAST;
    value |= sv_call(101, 1, info->root + 511 * 8, info->free_middle[0] >> 12 << 10 | 1, 0, 0).error;
    value |= sv_call(101, 1, info->free_middle[0] + 511 * 8, info->free_leaf[0] >> 12 << 10 | 1, 0, 0).error;
    value |= sv_call(101, 1, info->free_leaf[0] + 511 * 8, pte_of(info->free, 15), 0, 0).error;
    sv_fence();
    if (value)
        sv_exit(100);
"""


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        (0x12000073, 12),  # sfence.vma, which is done; then there is nothing at 0
        (0x180022F3, 12),  # csrr t0, satp
        (0xC01022F3, 12),  # rdtime
        (0x00000013, 12),  # nop
        (0x30200073, 2),  # mret
        (0x00100073, 3),  # ebreak
        (0x00000000, 2),
        (0x00002003, 13),  # lw zero, 0(zero)
    ],
)
def test_the_last_instruction_of_the_address_space(tmp_path: Path, last: int, cause: int) -> None:
    body = LAST_PAGE.replace("LAST", hex(last)) + "    sv_exit(sv_fetch(-4UL));"
    result = Machine(RAM).supervise(build(tmp_path, body))
    assert (result.code, result.end) == (cause, "")


def test_a_call_of_the_firmware_there(tmp_path: Path) -> None:
    """pc wraps around behind it."""
    body = LAST_PAGE.replace("LAST", "0x73") + "    sv_put('a'); sv_exit(sv_fetch(-8UL));"
    result = Machine(RAM).supervise(build(tmp_path, body.replace("0x8067", "0x13")))
    assert result.output[:1] == b"a"
    assert result.code in (12, None)


def test_code_that_it_stores_is_the_new_code_each_time(tmp_path: Path) -> None:
    """By the mapping of all of RAM, while it runs by another one."""
    body = """
    volatile uint32_t *code = (uint32_t *)info->free;
    long sum = 0;
    sv_call(101, 1, info->root + 40, info->free_middle[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 2 + 8), 0, 0);
    code[1] = 0x8067;                /* ret */
    for (long i = 1; i <= 20; i++) {
        code[0] = 0x00000513 | i << 20; /* li a0, i */
        __asm__ volatile("fence.i" ::: "memory");
        sum += ((long (*)(void))(5UL << 30))();
    }
    sv_exit(sum);"""
    assert Machine(RAM).supervise(build(tmp_path, body)).code == 210


def test_an_instruction_is_found_through_a_leaf_table_put_in_the_place_of_another(tmp_path: Path) -> None:
    """What a trapping instruction is, the monitor looks up itself, in the tables as they are now."""
    body = """
    uint32_t *code = (uint32_t *)info->free;
    code[0] = 0xffffffff;
    code[1024] = 0x180022F3;         /* csrr t0, satp */
    code[1025] = 0x8067;             /* ret */
    sv_call(101, 1, info->root + 40, info->free_middle[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 2 + 8), 0, 0);
    sv_call(101, 1, info->free_leaf[1], pte_of(info->free + 4096, 2 + 8), 0, 0);
    sv_call(101, 1, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | 1, 0, 0);
    if (sv_fetch(5UL << 30) != 2)
        sv_exit(1);
    sv_call(101, 1, info->free_middle[0], info->free_leaf[1] >> 12 << 10 | 1, 0, 0);
    sv_exit(sv_fetch(5UL << 30));"""
    result = Machine(RAM).supervise(build(tmp_path, body))
    assert (result.code, result.end) == (0, "")


def test_user_mode_does_not_end_the_program_by_waiting(tmp_path: Path) -> None:
    """`wfi` is the kernel's instruction: an illegal one for its programs."""
    body = """
    ((uint32_t *)info->free)[0] = 0x10500073;
    sv_call(101, 1, info->root + 40, info->free_middle[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 2 + 8 + 16), 0, 0);
    struct sv_result end = sv_user(5UL << 30, 0, 0, 0, 0);
    sv_exit(end.error == 2 && end.value == 5L << 30 ? 0 : 1);"""
    result = Machine(RAM).supervise(build(tmp_path, body))
    assert (result.code, result.end) == (0, "")


def test_user_mode_of_the_program_traps_to_it(tmp_path: Path) -> None:
    """And has none of its privileges: not even the firmware's calls. Its mstatus stays its own."""
    body = """
    uint32_t *code = (uint32_t *)info->free;
    code[0] = 0x00800893;            /* li a7, 8: shut down */
    code[1] = 0x73;
    sv_call(101, 1, info->root + 40, info->free_middle[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | 1, 0, 0);
    sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 4 + 2 + 8 + 16), 0, 0);
    sv_call(101, 1, info->free_leaf[0], pte_of(info->free, 2 + 8 + 16), 0, 0);
    struct sv_result end = sv_user(5UL << 30, 0, 0, 0, 0);
    if (end.error != 8 || end.value != (5L << 30) + 4)
        sv_exit(1);
    __asm__ volatile("csrs sstatus, %0" ::"r"(1UL << 18)); /* SUM */
    sv_fence();
    __asm__ volatile("csrr %0, sstatus" : "=r"(value));
    sv_exit(value >> 18 & 1 ? 0 : 2);"""
    result = Machine(RAM).supervise(build(tmp_path, body))
    assert (result.code, result.end) == (0, "")


def test_it_finds_no_fcsr_of_an_enclave(tmp_path: Path) -> None:
    """Also with floating point off, when fcsr can not be written."""
    source = tmp_path / "enclave.c"
    source.write_text(
        '#include "eapp.h"\n#include "ecall.h"\nint EAPP_ENTRY main()\n{\n    unsigned long *args;\n'
        f'    EAPP_RESERVE_REG;\n    {FLOATING % "fscsr %0"}: : "r"(0x75));\n'
        "    enclave_call(CALL_YIELD, 0, 0, 0, 0);\n    EAPP_RETURN(0);\n}\n"
    )
    machine = Machine(RAM)
    enclave = machine.create(build_enclave([source], tmp_path / "enclave.elf"))
    body = f"""
    {FLOATING % "fscsr %0"}: : "r"(0x21));
    __asm__ volatile("csrc sstatus, %0" : : "r"(0x6000)); /* FS */
    struct sv_result r = sv_call(97, info->victim[0].eid, info->free, 0, 0, 0);
    __asm__ volatile("csrs sstatus, %0" : : "r"(0x6000));
    {FLOATING % "frcsr %0"} : "=r"(value));
    sv_exit(r.error == 0 && r.value == 3 ? value : 1);"""
    result = machine.supervise(build(tmp_path, body), [Victim(0, 0, enclave.eid)])
    assert (result.code, result.end) == (0x21, "")


def test_it_finds_nothing_of_the_program_before_it(tmp_path: Path) -> None:
    """Its trap vector above all: a fault of the next one would run on there."""
    registers = ("stvec", "sepc", "sscratch", "scounteren", "scause", "stval")
    sets = "".join(f'__asm__ volatile("csrw {name}, %0" : : "r"(0x10));' for name in registers)
    looks = "".join(f'__asm__ volatile("csrr %0, {name}" : "=r"(v)); value |= v;' for name in registers)
    machine = Machine(4 * RAM)
    assert machine.supervise(build(tmp_path, sets)).code == 0
    assert machine.supervise(build(tmp_path, f"uint64_t v; {looks} sv_exit(value);")).code == 0


def test_of_its_output_the_first_part_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "KEPT", 100)
    body = "    for (int i = 0; i < 1000; i++) sv_put('x');"
    seen: list[bytes] = []
    result = Machine(RAM).supervise(build(tmp_path, body), on_output=seen.append)
    assert (len(result.output), len(seen)) == (100, 1000)
