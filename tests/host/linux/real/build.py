"""Where the programs come from, and how each is made: into a folder of its own in the cache."""

import functools
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from tests.host.linux import programs

HERE = Path(__file__).parent
CROSS = "riscv64-linux-gnu-"
SECONDS = 900.0  # of one step
_NOT_OF_LUA = ("luac", "ltests", "onelua")  # its compiler, tests, and all of it in one file

_NOT_OF_PYTHON = ("_crypt ", "spwd ")  # these modules need libraries that are not there
_NOT_IN_LIBRARY = ("test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "distutils", "turtle*")


class CannotBuildError(Exception):
    """Why a program cannot be made here."""


def cache() -> Path:
    """$PLTVM_PROGRAMS, or a folder below the user's cache."""
    named = os.environ.get("PLTVM_PROGRAMS")
    return Path(named) if named else platformdirs.user_cache_path("pltvm") / "real"


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    """One step; raises CannotBuildError with the last that it printed."""
    if shutil.which(str(command[0])) is None:
        raise CannotBuildError(f"needs {command[0]}")
    print(f"  {' '.join(str(one) for one in command)[:150]}", flush=True)
    try:
        done = subprocess.run(
            [str(one) for one in command],
            cwd=cwd,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuildError(f"{command[0]} took more than {SECONDS:g} s") from None
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise CannotBuildError(f"{command[0]} failed: {lines[-1] if lines else done.returncode}")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise CannotBuildError(f"no {pattern} came")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def from_npm(name: str, folder: Path) -> Path:
    """A package of npm's registry, unpacked."""
    run("npm", "pack", "--silent", name, cwd=folder)
    _unpack(_only(folder, "*.tgz"), folder)
    return folder / "package"


def from_pypi(name: str, folder: Path) -> Path:
    """The sources of a package of PyPI."""
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    run(*fetch, "--no-deps", "--no-binary", name.split("=")[0], name, cwd=folder)
    _unpack(_only(folder, "*.tar.gz"), folder)
    return _only(folder, f"{name.split('=')[0]}-*/")


def from_debian(name: str, folder: Path) -> Path:
    """The sources of a Debian package; apt needs a line `deb-src` for that."""
    run("apt-get", "source", "-qq", name, cwd=folder)
    return _only(folder, "*/")


def compile_c(sources: list[Path], program: Path, *flags: str) -> None:
    """A static program, by Debian's cross compiler, or else for musl."""
    libc = "glibc" if not programs.no_compiler("glibc") else "musl"
    if missing := programs.no_compiler(libc):
        raise CannotBuildError(missing)
    command = [*programs.compiler(libc), *flags, *map(str, sources), "-o", str(program), "-lm"]
    run(*command, cwd=program.parent)


# -- the programs ----------------------------------------------------------------------------------------


def lua(folder: Path, made: Path) -> None:
    """Lua 5.4, from Debian's sources; or else PyPI's lupa brings them."""
    try:
        source = from_debian("lua5.4", folder) / "src"
        (source / "lua5.4-deb-multiarch.h").write_text('#define DEB_HOST_MULTIARCH "riscv64-linux-gnu"\n')
    except CannotBuildError as error:
        print(f"  {error}", flush=True)
        source = from_pypi("lupa==2.8", folder) / "third-party" / "lua54"
    sources = [one for one in sorted(source.glob("*.c")) if one.stem not in _NOT_OF_LUA]
    compile_c(sources, made / "lua", "-DLUA_USE_POSIX")


def sqlite(folder: Path, made: Path) -> None:
    """SQLite: npm's better-sqlite3 brings it in one file. `sqlite.c` runs SQL, also in several processes."""
    source = from_npm("better-sqlite3@12.11.1", folder) / "deps" / "sqlite3"
    flags = [f"-I{source}", "-DSQLITE_OMIT_LOAD_EXTENSION"]
    compile_c([HERE / "sqlite.c", source / "sqlite3.c"], made / "sqlite", *flags)


def esbuild(folder: Path, made: Path) -> None:
    """esbuild, a large program in Go: npm has it built for riscv64."""
    package = from_npm("@esbuild/linux-riscv64@0.28.2", folder)
    shutil.copy(package / "bin" / "esbuild", made / "esbuild")


def busybox(folder: Path, made: Path) -> None:
    """Busybox, all of it, from Debian's sources, which need Debian's cross compiler."""
    source = from_debian("busybox", folder)
    make = ["make", "-s", f"-j{os.cpu_count()}", "ARCH=riscv", f"CROSS_COMPILE={CROSS}"]
    run(f"{CROSS}gcc", "--version", cwd=source)
    run(*make, "defconfig", cwd=source)
    config = source / ".config"
    text = config.read_text().replace("# CONFIG_STATIC is not set", "CONFIG_STATIC=y")
    config.write_text(
        text.replace("CONFIG_TC=y", "# CONFIG_TC is not set")
    )  # newer headers lack what it needs
    run(*make, "oldconfig", cwd=source)
    run(*make, "busybox", "busybox.links", cwd=source)
    shutil.copy(source / "busybox", made / "busybox")
    shutil.copy(source / "busybox.links", made / "busybox.links")


def go(folder: Path, made: Path) -> None:
    """`go.go`, by the Go compiler (Debian: golang-go)."""
    shutil.copy(HERE / "go.go", folder / "main.go")
    variables = {"GO111MODULE": "off", "GOARCH": "riscv64", "GOOS": "linux", "CGO_ENABLED": "0"}
    run("go", "build", "-o", made / "go", "main.go", cwd=folder, **variables)


def cxx(folder: Path, made: Path) -> None:
    """`cxx.cpp`, by Debian's cross compiler (g++-riscv64-linux-gnu)."""
    flags = ["-std=c++17", "-O1", "-static", "-pthread"]
    run(f"{CROSS}g++", *flags, HERE / "cxx.cpp", "-o", made / "cxx", cwd=folder)


def musl(folder: Path, made: Path) -> None:
    """`musl.c` and its libraries, dynamic, with the ld.so of musl, from Debian's sources."""
    source = from_debian("musl", folder)
    run("sh", "./configure", "--target=riscv64-linux-gnu", f"CC={CROSS}gcc", cwd=source)
    run(
        "make",
        "-s",
        f"-j{os.cpu_count()}",
        "lib/libc.so",
        "lib/Scrt1.o",
        "lib/crti.o",
        "lib/crtn.o",
        cwd=source,
    )
    run("make", "-s", "install-headers", f"DESTDIR={folder}", "prefix=/musl", cwd=source)
    (made / "lib").mkdir()
    shutil.copy(source / "lib" / "libc.so", made / "lib" / "ld-musl-riscv64.so.1")
    headers = ["-nostdinc", "-isystem", folder / "musl" / "include"]
    compiler = [f"{CROSS}gcc", "-O1", *headers, "-nostdlib", f"-L{made / 'lib'}", f"-L{source / 'lib'}"]
    library = [*compiler, "-shared", "-fPIC", HERE / "musl_shared.c"]
    run(*library, "-lc", "-o", made / "lib" / "libshared.so", cwd=folder)
    run(*library, "-DPLUGIN", "-lshared", "-lc", "-o", made / "lib" / "libplugin.so", cwd=folder)
    start = [source / "lib" / name for name in ("Scrt1.o", "crti.o", "crtn.o")]
    found = "-Wl,-dynamic-linker,/lib/ld-musl-riscv64.so.1"
    line = [*compiler, "-pie", found, *start, HERE / "musl.c", "-lshared", "-lc", "-lgcc"]
    run(*line, "-o", made / "musl", cwd=folder)


def python(folder: Path, made: Path) -> None:
    """CPython 3.11, static, with its library, from Debian's sources, by Debian's cross compiler."""
    if sys.version_info[:2] != (3, 11):
        raise CannotBuildError("needs a Python 3.11 to build it with")
    run("apt-get", "source", "-qq", "--tar-only", "python3.11", cwd=folder)
    _unpack(_only(folder, "*.tar.*"), folder)
    source = _only(folder, "Python-*/")
    machine = [
        "--host=riscv64-linux-gnu",
        "--build=x86_64-linux-gnu",
        f"--with-build-python={sys.executable}",
    ]
    without = ["--disable-ipv6", "--disable-test-modules", "--without-ensurepip", "--disable-shared"]
    cannot_look = ["ac_cv_file__dev_ptmx=yes", "ac_cv_file__dev_ptc=no", "PKG_CONFIG=false"]
    static = ["CFLAGS=-O1", "LDFLAGS=-static", "LINKFORSHARED= ", "MODULE_BUILDTYPE=static"]
    run("sh", "./configure", "-q", *machine, *without, *cannot_look, *static, cwd=source)
    lines = (source / "Modules" / "Setup.stdlib").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(_NOT_OF_PYTHON)]
    (source / "Modules" / "Setup.local").write_text("\n".join(kept) + "\n")
    for _ in range(2):  # the first time it makes the Makefile anew
        run("make", "-s", f"-j{os.cpu_count()}", "python", cwd=source)
    run(f"{CROSS}strip", "-o", made / "python", source / "python", cwd=folder)
    library = made / "lib" / "python3.11"
    shutil.copytree(source / "Lib", library, ignore=shutil.ignore_patterns(*_NOT_IN_LIBRARY))
    (library / "lib-dynload").mkdir()  # it looks for that
    # By its hash, as pltvm shows the same times for files wherever they are.
    run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", library, cwd=folder)


BUILDERS: dict[str, Callable[[Path, Path], None]] = {
    "lua": lua,
    "sqlite": sqlite,
    "esbuild": esbuild,
    "cxx": cxx,
    "go": go,
    "musl": musl,
    "busybox": busybox,
    "python": python,
}
QUICK = ["sqlite", "esbuild", "cxx", "lua"]  # a minute in all


@functools.cache
def program(name: str) -> Path | None:
    """Where a program is, if it was built."""
    path = cache() / name / name
    return path if path.exists() else None
