"""`python -m tests.host.linux.programs [NAME…] [--libc musl|glibc] [--native] [--no-pltvm] [--write]`

Builds and runs programs under pltvm and under qemu-riscv64, and says which line differs first from what
Linux prints. `--native` also asks this machine's own kernel, where it is one. `--write` makes `NAME.out` from
that, or from qemu where programs cannot be built for this machine: look at what changed before you commit it.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from tests.host.linux import programs


def _difference(expected: str, found: str) -> str:
    if expected == found:
        return "ok"
    if found.startswith("skip: "):
        return found.splitlines()[0]
    pairs = itertools.zip_longest(expected.splitlines(), found.splitlines(), fillvalue="")
    number, (right, wrong) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"line {number}: {wrong!r} instead of {right!r}"


def _run(run: Callable[..., str], *arguments: object) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(*arguments, Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.host.linux.programs")
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs, or beginnings of their names")
    parser.add_argument("--libc", choices=programs.LIBCS, help="only this one")
    parser.add_argument("--native", action="store_true", help="also on this machine's own Linux")
    parser.add_argument("--no-pltvm", action="store_true", help="only ask the judges")
    parser.add_argument("--write", action="store_true", help="make NAME.out")
    parser.add_argument("--seconds", type=float, default=programs.SECONDS, help="for a program that hangs")
    parser.add_argument("--show", action="store_true", help="print what each program printed")
    options = parser.parse_args()
    programs.SECONDS = options.seconds
    chosen = [name for name in programs.NAMES if not options.names or name.startswith(tuple(options.names))]
    cache = platformdirs.user_cache_path("pltvm") / "programs"
    failed = 0
    for name in chosen:
        output = programs.HERE / f"{name}.out"
        if options.write:
            if programs.no_compiler("native"):
                output.write_text(_run(programs.under_qemu, name, "glibc", cache))
            else:
                output.write_text(_run(programs.natively, name, cache))
        if not output.exists():
            print(f"{name:24} has no {output.name} (--write makes it)")
            failed += 1
            continue
        runs: list[tuple[str, str, str, str]] = []
        if options.native:
            runs.append(("", "native", programs.expected(name), _run(programs.natively, name, cache)))
        for libc in [options.libc] if options.libc else programs.LIBCS:
            if missing := programs.no_compiler(libc):
                print(f"{name:24} {libc:6} {missing}")
                continue
            if programs.QEMU and name not in programs.WITHOUT_QEMU:
                found = _run(programs.under_qemu, name, libc, cache)
                runs.append((libc, "qemu", programs.of_qemu(name), found))
            if not options.no_pltvm:
                found = _run(programs.under_pltvm, name, libc, cache)
                runs.append((libc, "pltvm", programs.expected(name), found))
        for libc, judge, right, found in runs:
            words = _difference(right, found)
            failed += not words.startswith(("ok", "skip: "))
            print(f"{name:24} {libc:6} {judge:7} {words}", flush=True)
            if options.show:
                print(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
