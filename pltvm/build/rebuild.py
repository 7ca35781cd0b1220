"""Makes the committed ELFs again. The same tools give the same bytes, and tests compare them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.build.guest import LIBCS, Group, Libc
from pltvm.build.host import build_host, toolchain

_ATTACKS = ("-Wno-infinite-recursion",)  # one of them overflows its stack on purpose


def rebuild_examples(into: Path) -> list[Path]:
    """Build all examples, and the proxy, into a directory."""
    made = [*guest.examples().values(), guest.proxy()]
    return [build_enclave([one.source], into / one.elf.name) for one in made]


def rebuild_attacks(into: Path) -> list[Path]:
    """Build the attack programs into a directory; kernel programs are linked with the start code in their
    folder, which is compiled once."""
    folder = guest.guest_dir() / "attacks"
    with tempfile.TemporaryDirectory(prefix="pltvm-build-") as objects:
        kernel_code = [
            _attack([folder / name], Path(objects) / f"{name}.o", "-c")
            for name in ("supervisor.S", "forge.c", "puppet.S")
        ]
        programs = [
            [source, *kernel_code] if group is Group.KERNEL else [source] for source, group in guest.attacks()
        ]
        return [
            _attack(sources, into / f"{sources[0].stem}.elf")
            for sources in [*programs, [folder / "victim.c"]]
        ]


def _attack(sources: Sequence[Path], output: Path, *flags: str) -> Path:
    return build_enclave(sources, output, opt="-Oz", debug=False, flags=(*_ATTACKS, *flags))


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
