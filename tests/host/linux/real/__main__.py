"""`python -m tests.host.linux.real build [NAME… | --quick]`: programs for `test_real_programs.py`.

They go below the user's cache, or to $PLTVM_PROGRAMS, and are built once. What cannot be built here is
skipped with the reason, as are its tests. `python -m tests.host.linux.real run CASE…` shows what a case
prints.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.host.linux import real
from tests.host.linux.real.build import BUILDERS, QUICK, CannotBuildError, cache


def _build(names: list[str], again: bool) -> int:
    failed = 0
    for name in names:
        made = cache() / name
        if (made / name).exists() and not again:
            print(f"{name}: is there: {made}")
            continue
        print(f"{name}: {(BUILDERS[name].__doc__ or '').splitlines()[0]}", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as fresh:
            try:
                BUILDERS[name](Path(folder), Path(fresh))
            except (CannotBuildError, OSError) as error:
                print(f"{name}: not built: {error}", flush=True)
                failed += 1
                continue
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(fresh, made)
        print(f"{name}: built in {time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


def _run(names: list[str], write: bool) -> int:
    for name in names:
        case = real.CASES[name]
        for runner in (real.under_pltvm, real.under_qemu):
            if runner is real.under_qemu and not real.QEMU:
                continue
            with tempfile.TemporaryDirectory() as folder:
                start = time.monotonic()
                text, errors = runner(case, Path(folder))
                print(f"== {name}, {runner.__name__}, {time.monotonic() - start:.1f} s\n{text}", end="")
                print(errors, end="", file=sys.stderr)
        if write:
            (real.HERE / f"{name}.out").write_text(text)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.host.linux.real")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build programs")
    build.add_argument("names", nargs="*", choices=[*BUILDERS, []], metavar="NAME")
    build.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    build.add_argument("--again", action="store_true", help="also those that are there")
    run = actions.add_parser("run", help="run cases, and show what they print")
    run.add_argument("names", nargs="+", choices=list(real.CASES), metavar="CASE")
    run.add_argument("--write", action="store_true", help="make NAME.out of what qemu prints: look at it")
    options = parser.parse_args()
    if options.action == "run":
        return _run(options.names, options.write)
    return _build(options.names or (QUICK if options.quick else list(BUILDERS)), options.again)


if __name__ == "__main__":
    sys.exit(main())
