"""Dynamically linked programs, with the libc of Debian's cross compiler as their root."""

import struct
import subprocess
from collections.abc import Callable
from errno import ENOENT
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.errors import ElfError
from pltvm.host.linux import program as module
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import Image
from pltvm.host.linux.runner import LinuxResult, run_program
from pltvm.host.linux.start_stack import DEFAULT_ENVIRONMENT
from tests.host import elf_samples as s
from tests.host.elf_samples import LINUX_CODE, Elf, Segment

ROOT = Path("/usr/riscv64-linux-gnu")
GLIBC = "/lib/ld-linux-riscv64-lp64d.so.1"
HELLO = '#include <stdio.h>\nint main(int n, char **v) { printf("%s %d\\n", v[0], n); return 5; }\n'
THREADS = """
#include <math.h>
#include <pthread.h>
#include <stdio.h>
static __thread int mine = 5;
static double results[4];
static void *f(void *p) { long i = (long)p; mine += i; results[i] = sin(i) + mine; return 0; }
int main(void) {
    pthread_t t[4];
    for (long i = 0; i < 4; i++) pthread_create(t + i, 0, f, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    printf("%.3f %.3f %.3f %.3f %d\\n", results[0], results[1], results[2], results[3], mine);
}
"""
EXCEPTIONS = """
#include <iostream>
#include <stdexcept>
#include <string>
struct D { ~D() { std::cout << "gone\\n"; } };
static void g(int n) { D d; if (n > 1) throw std::runtime_error("thrown " + std::to_string(n)); }
int main() {
    try { for (int i = 1; i < 4; i++) g(i); }
    catch (const std::exception &e) { std::cout << e.what() << std::endl; }
}
"""
PLUGIN = """
#include <stdio.h>
__attribute__((constructor)) static void begin(void) { puts("loaded"); }
int twice(int n) { return 2 * n; }
"""
LOADS = """
#include <dlfcn.h>
#include <stdio.h>
int main(int n, char **v) {
    void *library = dlopen(v[1], RTLD_NOW);
    if (!library) return puts(dlerror()), 1;
    int (*twice)(int) = dlsym(library, "twice");
    printf("%d %d\\n", twice(21), dlsym(library, "thrice") == 0);
    dlclose(library);
    puts(dlopen("/none.so", RTLD_NOW) ? "?" : dlerror());
}
"""

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles a text with a cross compiler, to a program outside of every root."""

    def compiled(text: str, *flags: str, name: str = "program", compiler: str = "gcc") -> Path:
        source = tmp_path / ("source.cpp" if compiler == "g++" else "source.c")
        source.write_text(text)
        command = [f"riscv64-linux-gnu-{compiler}", "-O1", str(source), *flags, "-o", str(tmp_path / name)]
        subprocess.run(command, check=True)
        return tmp_path / name

    return compiled


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root, with the C library only."""
    (tmp_path / "root" / "lib").mkdir(parents=True)
    for name in ("ld-linux-riscv64-lp64d.so.1", "libc.so.6"):
        (tmp_path / "root" / "lib" / name).write_bytes((ROOT / "lib" / name).read_bytes())
    return tmp_path / "root"


def run(program: Path, *arguments: str, root: Path = ROOT) -> LinuxResult:
    machine = Machine(256 << 20)
    free = machine.kernel.blocks.free_pages
    result = run_program(machine.driver, program, arguments, root=root, timeout=60)
    assert machine.kernel.blocks.free_pages == free
    return result


@pytest.mark.parametrize("flags", [[], ["-no-pie"], ["-Wl,-z,now"], ["-s"]], ids=" ".join)
def test_a_program_and_its_libc(build: Build, flags: list[str]) -> None:
    program = build(HELLO, *flags)
    result = run(program, "one", "two")
    assert (result.exit_code, result.end) == (5, "")
    assert result.output == f"{program} 3\n".encode()
    assert run(program, "one", "two") == result


def test_libm_and_threads(build: Build) -> None:
    assert run(build(THREADS, "-pthread", "-lm")).output == b"5.000 6.841 7.909 8.141 5\n"


def test_exceptions_of_cpp(build: Build) -> None:
    assert run(build(EXCEPTIONS, compiler="g++")).output == b"gone\ngone\nthrown 2\n"


def test_a_library_that_is_loaded_later(build: Build, root: Path) -> None:
    library = build(PLUGIN, "-shared", "-fPIC", name="plugin.so")
    library.replace(root / "plugin.so")
    result = run(build(LOADS), "/plugin.so", root=root)
    lines = result.output.decode().splitlines()
    assert lines[:2] == ["loaded", "42 1"]
    assert lines[2].startswith("/none.so: cannot open shared object file")


def test_the_interpreter_itself_starts_a_program(build: Build, root: Path) -> None:
    build(HELLO).replace(root / "hello")
    assert run(root / GLIBC[1:], "/hello", root=root).output == b"/hello 1\n"


def test_a_library_that_is_not_there_is_said_by_the_interpreter(build: Build, root: Path) -> None:
    result = run(build(THREADS, "-pthread", "-lm"), root=root)
    assert result.exit_code == 127
    assert b"libm.so.6: cannot open shared object file" in result.errors


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (GLIBC, "--root /usr/riscv64-linux-gnu"),
        ("/lib/ld-musl-riscv64.so.1", "a riscv64 system that has musl"),
        ("/none\n", "link it with -static, or name a riscv64 system that has it"),
    ],
)
def test_an_interpreter_that_is_not_there(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "program").write_bytes(bytes(Elf([TEXT, interpreter(path)], None, entry=0x10000)))
    with pytest.raises(ElfError) as caught:
        run(tmp_path / "program", root=tmp_path)
    text = str(caught.value)
    assert f"program: needs {path.replace(chr(10), '�')}, which its root lacks (No such file" in text
    assert words in text
    assert "\n" not in text


TEXT = Segment(0x10000, LINUX_CODE)


def interpreter(path: str) -> Segment:
    return Segment(0x20000, path.encode() + b"\0", type=s.PT_INTERP)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\n", "is a script for /bin/sh"),
        (bytes(Elf(machine=62)), "is built for x86-64"),
        (bytes(Elf([TEXT], None, entry=0x10000)), "has fixed addresses"),
        (bytes(Elf([Segment(0, LINUX_CODE)], None, entry=99, type=s.ET_DYN)), "entry point 0x63 is outside"),
        (
            bytes(Elf([Segment(0, LINUX_CODE, memory_size=2 << 30)], None, entry=0, type=s.ET_DYN)),
            "outside user memory",
        ),
    ],
)
def test_an_interpreter_that_is_none(data: bytes, words: str) -> None:
    machine = Machine(64 << 20)
    free = machine.kernel.blocks.free_pages
    space = module.Space(machine.kernel)
    program = bytes(Elf([TEXT, interpreter("/ld.so")], None, entry=0x10000))
    with pytest.raises(ElfError, match=f"has an interpreter, /ld.so, that .*{words}"):
        module.load_program(
            space, Image(program), [b"a"], DEFAULT_ENVIRONMENT, bytes(16), lambda _: Image(data)
        )
    space.free()
    assert machine.kernel.blocks.free_pages == free


def test_where_the_interpreter_is_and_what_it_is_told() -> None:
    machine = Machine(64 << 20)
    space = module.Space(machine.kernel)
    text = Segment(0x10000, bytes(64 + 2 * 56) + LINUX_CODE, offset=0)
    program = bytes(Elf([text, interpreter("/ld.so")], None, entry=0x10000 + 176))
    loader = bytes(Elf([Segment(0, bytes(120) + LINUX_CODE, offset=0)], None, entry=120, type=s.ET_DYN))
    asked = []

    def read(path: bytes) -> Image:
        asked.append(path)
        return Image(loader)

    entry, stack = module.load_program(
        space, Image(program), [b"a", b"b"], [b"X=1"], bytes(16), read, b"/bin/name"
    )
    assert asked == [b"/ld.so"]
    assert entry == module.INTERPRETER_BASE + 120
    words = struct.unpack("<60Q", space.read(stack, 480))
    assert (words[0], words[3], words[5]) == (2, 0, 0)  # arguments, and the ends of both lists
    vector = dict(zip(words[6::2], words[7::2], strict=False))
    assert (vector[7], vector[9], vector[3]) == (module.INTERPRETER_BASE, 0x10000 + 176, 0x10040)
    assert (vector[4], vector[5]) == (56, 2)
    assert space.string(vector[31]) == b"/bin/name"
    assert space.state.break_start == 0x11000
    space.free()


@pytest.mark.parametrize(("flags", "executable"), [(s.RW, False), (s.RWX, True)])
def test_a_stack_that_is_to_be_executable(flags: int, executable: bool) -> None:
    space = module.Space(Machine(64 << 20).kernel)
    data = bytes(Elf([TEXT, Segment(0, type=s.PT_GNU_STACK, flags=flags)], None, entry=0x10000))
    _, stack = module.load_program(space, Image(data), [b"a"], [], bytes(16), no_file)
    area = space.area(stack)
    assert area is not None
    assert bool(area.prot & module.EXEC) is executable
    space.free()


def test_a_program_at_address_0(tmp_path: Path) -> None:
    """Where Linux lets root put one."""
    code = bytes.fromhex("13057000 9308d005 73000000")  # li a0, 7; li a7, 93; ecall
    (tmp_path / "program").write_bytes(bytes(Elf([Segment(0, code)], None, entry=0)))
    assert run(tmp_path / "program", root=tmp_path).exit_code == 7


def no_file(_path: bytes) -> Image:
    raise LinuxError(ENOENT)
