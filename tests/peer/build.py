"""Compiles the host program and the enclaves, once: the results are kept by content in a temporary folder."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from pltvm.build import guest, zig
from pltvm.build.enclave import build_enclave
from pltvm.build.host import toolchain

GUEST: Final = Path(__file__).parent / "guest"
ENCLAVES: Final = GUEST / "enclaves"
CPU_AND_ABI: Final = {"soft": ("+m+a+c", "lp64"), "hard": ("+m+a+f+d+c", "lp64d")}
_ZIG: Final = tuple(zig.command("cc"))
_PLAIN: Final = (
    *("-std=gnu17", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all"),
    # Line tables keep zig's linker from leaving the symbols out; no path of this machine in them.
    *("-g1", "-fdebug-compilation-dir=.", f"-ffile-prefix-map={GUEST}/="),
)
_BARE: Final = (
    *(
        "-target",
        "riscv64-freestanding-none",
        "-mcmodel=medany",
        "-ffreestanding",
        "-fno-builtin",
        "-fno-pic",
    ),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mno-relax", "-nostdlib", "-static"),
)

_toolchain: Final = functools.cache(toolchain)  # its files are read, and its programs asked
Float = Literal["soft", "hard"]
Job = Callable[[], object]


@dataclass(frozen=True)
class Host:
    """How the host program is compiled. Debian's cross compiler has its glibc for hard float only."""

    libc: guest.Libc
    opt: str
    float: Float

    def __str__(self) -> str:
        return f"{self.libc}{self.opt}-{self.float}"

    @property
    def available(self) -> bool:
        return self.libc == "musl" or _toolchain() is not None


@dataclass(frozen=True)
class Enclaves:
    """How the enclaves are compiled; `attributes`: with a PT_RISCV_ATTRIBUTES program header (§1)."""

    opt: str
    float: Float
    attributes: bool

    def __str__(self) -> str:
        return f"enclaves{self.opt}-{self.float}-{'attributes' if self.attributes else 'plain'}"


_OPTS: Final = ("-O0", "-O2")
_FLOATS: Final[tuple[Float, ...]] = ("soft", "hard")
HOSTS: Final = (
    *(Host("glibc", opt, "hard") for opt in _OPTS),
    *(Host("musl", opt, float) for opt in _OPTS for float in _FLOATS),
)
ENCLAVE_SETS: Final = tuple(
    Enclaves(opt, float, attributes) for opt in _OPTS for float in _FLOATS for attributes in (False, True)
)
_EXAMPLES: Final = ("caller", "server", "server1", "relay", "shadow", "fs-server", "fs-client")


@functools.cache
def host_program(host: Host) -> Path:
    """The executable with all host programs in it: `peer NAME ARGUMENTS`."""
    sources = sorted(GUEST.glob("*.c"))
    if host.libc == "glibc":
        compiler = ["riscv64-linux-gnu-gcc", "-march=rv64gc", "-mabi=lp64d"]
        flags = [flag for flag in _PLAIN if not flag.startswith(("-fdebug-c", "-fno-sanitize"))]
        made_by = _toolchain() or ""
    else:
        cpu, abi = CPU_AND_ABI[host.float]
        compiler = [*_ZIG, "-target", "riscv64-linux-musl", f"-mcpu=generic_rv64{cpu}", f"-mabi={abi}"]
        flags, made_by = list(_PLAIN), "zig"
    command = [*compiler, *flags, host.opt]
    # As pltvm.build.host links: with other flags zig would compile the C library anew (see tests/musl.py).
    link = [*compiler, "-Os", "-g1", "-fno-asynchronous-unwind-tables", "-static", "-pthread"]

    def make(folder: Path) -> None:
        objects = [folder / f"{source.stem}.o" for source in sources]
        commands = [
            [*command, "-c", str(source), "-o", str(to)] for source, to in zip(sources, objects, strict=True)
        ]
        _together(partial(_compile, command) for command in commands)
        _compile([*link, *map(str, objects), "-o", str(folder / "peer")])

    return _kept([*command, *link, made_by], [*sources, *GUEST.glob("*.h")], make) / "peer"


@functools.cache
def enclaves(kind: Enclaves) -> Path:
    """The folder with the enclaves, the example ones among them: the root of the host programs."""
    script = "attributes.ld" if kind.attributes else "plain.ld"
    cpu, abi = CPU_AND_ABI[kind.float]
    command = [
        *(*_ZIG, *_BARE, *_PLAIN, kind.opt, f"-mcpu=generic_rv64{cpu}", f"-mabi={abi}"),
        *("-T", str(ENCLAVES / script), str(ENCLAVES / "start.S")),
    ]
    bare = [source for source in sorted(ENCLAVES.glob("*.c")) if source.stem != "vault"]
    examples = [guest.examples()[name].elf for name in _EXAMPLES]

    def make(folder: Path) -> None:
        def elf(name: str) -> Path:
            return folder / f"{name}.elf"

        def one(source: Path, name: str, *defines: str) -> Job:
            return partial(_compile, [*command, *defines, str(source), "-o", str(elf(name))])

        def with_sdk(source: Path, name: str, **defines: None) -> Job:
            return partial(build_enclave, [source], elf(name), opt=kind.opt, defines=defines)

        _together(
            [
                *(one(source, source.stem) for source in bare),
                one(ENCLAVES / "greedy.c", "greedy-heap", "-DHEAP_TOO"),
                with_sdk(ENCLAVES / "vault.c", "vault"),
                with_sdk(ENCLAVES / "vault.c", "vault-thief", THIEF=None),
            ]
        )
        for example in examples:
            shutil.copy(example, folder)

    inputs = [*ENCLAVES.iterdir(), *examples, *(guest.guest_dir() / "lib").glob("*.*")]
    return _kept(command, inputs, make)


def _together(jobs: Iterable[Job]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()


def _compile(command: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="pltvm-peer-") as scratch:
        environment = zig.environment(zig.cache_dir(scratch))
        # From here linker scripts find what they include.
        result = subprocess.run(command, cwd=ENCLAVES, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")


def _kept(command: Sequence[str], inputs: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills: by the first process that wants it, and found there by all others."""
    content = hashlib.sha256("\0".join(command).encode())
    for path in sorted(inputs):
        content.update(f"{path.name}\0".encode() + path.read_bytes())
    kept = Path(tempfile.gettempdir()) / f"pltvm-peer-{os.getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    folder = kept / content.hexdigest()[:24]
    with _locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            unfinished = folder.with_suffix(f".{os.getpid()}")
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
