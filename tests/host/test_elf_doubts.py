"""pltvm.host.elf_doubts: what `pltvm info` warns of, and whether a fault report repeats it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.host.elf_info import describe
from pltvm.host.elf_kind import Kind
from pltvm.host.report import FaultReport

GCC = "riscv64-linux-gnu-gcc"
pytestmark = pytest.mark.skipif(shutil.which(GCC) is None, reason=f"{GCC} is not installed")
START = '__asm__(".globl _start\\n_start:\\ncall main\\nli a6, 0x100101\\nli a7, 99\\necall\\n");\n'
LD = """
ENTRY(_start)
PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); tls PT_TLS; }
SECTIONS {
    . = 0x1000;
    .text : { *(.text .text.*) } :text
    . = ALIGN(0x1000);
    .rodata : { *(.rodata .rodata.* .srodata .srodata.*) } :text
    . = ALIGN(0x1000);
    .data : { *(.data .data.* .sdata .sdata.*) } :data
    TDATA
    .init_array : { KEEP(*(.init_array*)) } :data
    . = ALIGN(0x1000);
    .bss (NOLOAD) : { *(.sbss .sbss.* .bss .bss.* COMMON) } :data
    /DISCARD/ : { *(.riscv.attributes .comment .note .note.* .eh_frame) }
}
"""
TLS = "it has variables of each thread, and nothing in it sets tp"
GP = "its code reaches data by gp, and nothing in it sets gp"
CONSTRUCTORS = "it has constructors (.init_array), and nothing in it runs them"


def built(folder: Path, text: str, *, thread: bool = False) -> Path:
    (folder / "x.c").write_text(START + text)
    (folder / "x.ld").write_text(LD.replace("TDATA", ".tdata : { *(.tdata*) } :data :tls" if thread else ""))
    if not thread:
        (folder / "x.ld").write_text((folder / "x.ld").read_text().replace("tls PT_TLS; ", ""))
    flags = ["-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-fno-pic", "-no-pie", "-O2", "-w"]
    flags += ["-ffreestanding", "-nostdlib", "-static", "-Wl,--build-id=none", "-fno-stack-protector"]
    subprocess.run([GCC, *flags, "x.c", "-T", "x.ld", "-o", "x.elf"], cwd=folder, check=True)
    return folder / "x.elf"


def warnings_of(elf: Path) -> str:
    return "\n".join(describe(elf, kind=Kind.ENCLAVE).warnings)


def fault_of(elf: Path) -> FaultReport:
    fault = Machine(64 << 20).create(elf).run().fault
    assert fault is not None
    return fault


def test_thread_variables_without_tp(tmp_path: Path) -> None:
    text = "__thread int t = 3; int main(void) { int *volatile p = &t; return *p; }"
    elf = built(tmp_path, text, thread=True)
    assert TLS in warnings_of(elf)
    assert f"pltvm info warns: {TLS}" in str(fault_of(elf))
    direct = built(tmp_path, "__thread int t = 3; int main(void) { return t; }", thread=True)
    report = str(fault_of(direct))  # the instruction says it: once is enough
    assert "tp is 0: the code uses variables of each thread" in report
    assert TLS not in report
    sets = built(tmp_path, '__thread int t; int main(void) { __asm__("mv tp, sp"); return t; }', thread=True)
    assert TLS not in warnings_of(sets)


def test_gp_that_nobody_sets(tmp_path: Path) -> None:
    load = (
        'int main(void) { long x; __asm__ volatile("addi %0, gp, -80\\nld %0, 0(%0)" : "=r"(x)); return x; }'
    )
    elf = built(tmp_path, load)
    assert GP in warnings_of(elf)
    assert f"pltvm info warns: {GP}" in str(fault_of(elf))
    sets = built(tmp_path, load.replace("addi", "mv gp, sp\\naddi"))
    assert GP not in warnings_of(sets)


def test_constructors_that_nobody_runs(tmp_path: Path) -> None:
    text = """static int value, *volatile place;
    __attribute__((constructor)) static void begin(void) { place = &value; }
    int main(void) { return *place; }"""
    elf = built(tmp_path, text)
    assert CONSTRUCTORS in warnings_of(elf)
    assert f"pltvm info warns: {CONSTRUCTORS}" in str(fault_of(elf))
    elsewhere = built(tmp_path, text.replace("*place;", "*(int *)0x123456780;"))
    assert CONSTRUCTORS in warnings_of(elsewhere)
    assert "pltvm info warns" not in str(fault_of(elsewhere))


def test_what_the_sdk_does_is_no_doubt(tmp_path: Path) -> None:
    (tmp_path / "x.cpp").write_text(
        '#include "eapp.h"\nstruct One { int x; One() { x = 5; } } one;\nthread_local int t = 3;\n'
        'extern "C" int elsewhere() __attribute__((weak));\n'  # brings a table, which must not come between
        "int EAPP_ENTRY main() { if (one.x + t != 8 || elsewhere) return 1; return *(volatile int *)8; }\n"
    )
    elf = build_enclave([tmp_path / "x.cpp"], tmp_path / "x.elf")
    assert describe(elf).warnings == ()
    report = str(fault_of(elf))
    assert "a null pointer" in report
    assert "pltvm info warns" not in report
    for example in guest.examples().values():
        assert describe(example.elf).warnings == ()
