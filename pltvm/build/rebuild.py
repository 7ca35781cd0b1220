"""The committed ELFs made anew. The same tools give the same bytes, and tests compare."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pltvm.build import guest, zig
from pltvm.build.enclave import FLAGS, TARGET, build_enclave
from pltvm.build.guest import LIBCS, Group, Libc
from pltvm.build.host import build_host, toolchain
from pltvm.errors import BuildError


def rebuild_examples(into: Path) -> list[Path]:
    """Build all examples into a directory."""
    return [build_enclave([one.source], into / one.elf.name) for one in guest.examples().values()]


def rebuild_attacks(into: Path) -> list[Path]:
    """Build the attack programs into a directory; those of the kernel with the code in their folder."""
    folder = guest.guest_dir() / "attacks"
    kernel_code = [folder / "supervisor.S", folder / "forge.c", folder / "puppet.S"]
    programs = [
        [source, *kernel_code] if group is Group.KERNEL else [source] for source, group in guest.attacks()
    ]
    return [
        build_enclave(sources, into / f"{sources[0].stem}.elf", opt="-Oz", debug=False)
        for sources in [*programs, [folder / "victim.c"]]
    ]


def rebuild_monitor(into: Path) -> Path:
    """Build the code that the monitor runs on a hart of its own: one function, as bytes, into a directory."""
    from elftools.elf.elffile import ELFFile

    source, code = guest.guest_dir() / "monitor" / "digest.c", into / "digest.bin"
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as scratch:
        made = Path(scratch) / "digest.o"
        compile_it = zig.command("cc", *TARGET, *FLAGS, "-O3", "-g0", "-c", str(source), "-o", str(made))
        zig.run(compile_it, made, code, made.parent)
        with made.open("rb") as file:
            elf = ELFFile(file)
            parts = {section.name: section for section in elf.iter_sections() if section["sh_flags"] & 2}
            text = parts.pop(".text.compress").data()
            parts.pop(".eh_frame", None)  # the compiler describes the function all the same
            others = [name for name, section in parts.items() if section["sh_size"]]
            if others or elf.get_section_by_name(".rela.text.compress") is not None:
                raise BuildError(f"{source}: must be code alone, without data or references {others}")
    code.write_bytes(text)
    return code


def rebuild_hosts(into: Path, libcs: Sequence[Libc] = LIBCS) -> list[Path]:
    """Build all example host programs, and the enclaves made for them, into a directory."""
    built = [
        build_enclave([source], into / f"{source.stem}.elf")
        for source in sorted((guest.host_dir() / "examples").glob("*-enclave.c"))
    ]
    for libc in libcs:
        built += [
            build_host([example.source], into / libc / name, libc)
            for name, example in guest.host_examples().items()
        ]
        if libc == "glibc":
            (into / libc / "TOOLCHAIN").write_text(toolchain() or "")
    return built
