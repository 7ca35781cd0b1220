"""Fixtures: enclaves for the fuzzer, each built once for all workers of pytest-xdist."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.build.enclave import build_enclave
from pltvm.fuzz.options import Options
from tests.fuzz_targets import FOLDER, targets

GUEST = Path(__file__).parent / "guest"
TARGETS = {target.name: target for target in targets()}

Build = Callable[..., Path]
Plant = Callable[..., Options]


@pytest.fixture(scope="session")
def built(shared: Path) -> Build:
    """Gives the ELF of a C file, or of the text of one, built with these definitions."""

    def build(source: Path | str, *defines: str, name: str = "") -> Path:
        text = source if isinstance(source, str) else source.read_text()
        mark = hashlib.sha256(f"{text}{defines}".encode()).hexdigest()[:16]
        folder = shared / f"elf-{mark}"
        elf = folder / f"{name or (source.stem if isinstance(source, Path) else 'text')}.elf"
        if not elf.exists():
            folder.mkdir(exist_ok=True)
            if isinstance(source, str):
                path = folder / str(os.getpid()) / f"{elf.stem}.c"
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            else:
                path = source
            mine = build_enclave([path], elf.with_suffix(f".{os.getpid()}"), defines=dict.fromkeys(defines))
            mine.replace(elf)  # atomic: another worker sees all of it or nothing
        return elf

    return build


@pytest.fixture(scope="session")
def anything(built: Build) -> Path:
    """The server that does what its input says."""
    return built(GUEST / "anything.c")


@pytest.fixture(scope="session")
def anything_enclave(built: Build) -> Path:
    """The same as an enclave."""
    return built(GUEST / "anything.c", "ENCLAVE")


@pytest.fixture(scope="session")
def planted(built: Build) -> Plant:
    """Gives the options with which an enclave of tests/fuzz_targets is fuzzed; with its bug, or without."""

    def options(name: str, fixed: bool = False, **more: object) -> Options:
        target = TARGETS[name]
        servers = [(server, str(built(FOLDER / Path(file).name))) for server, file in target.servers.items()]
        return Options(
            **{
                "elf": str(built(target.source, *(["FIXED"] if fixed else []))),
                "kind": target.value("--as", "server"),
                "servers": tuple(servers),
                "calls": int(target.value("--calls", "1")),
                "clients": int(target.value("--clients", "1")),
                "channels": tuple(target.values("--channel")) or ("relay",),
                "secret": target.value("--secret", ""),
                "oracles": tuple(target.values("--oracle")),
                **more,
            }
        )

    return options
