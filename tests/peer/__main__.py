"""All variants, or some, as often as wanted: each run on a machine of its own, and all of one case alike.

    python -m tests.peer [--all] [--runs N] [--only NAME] [-j N]

Without --all it is the two variants of the suite. Exit status 1 when anything differs from the document or
from run to run; each difference is told once, with the variants that show it.
"""

import argparse
import itertools
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from tests.peer import build, cases
from tests.peer.build import Enclaves, Host
from tests.peer.cases import Case
from tests.peer.conftest import VARIANTS, Variant


def jobs(variants: Sequence[Variant], only: str) -> Iterator[tuple[Case, Host, Enclaves]]:
    for case, (host, kind) in itertools.product([*cases.rows(), *cases.PROGRAMS], variants):
        if only in str(case):
            yield case, host, kind


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.peer")
    parser.add_argument("--all", action="store_true", help="every C library, optimization, float ABI and ELF")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--only", default="", metavar="NAME", help="cases whose name contains this")
    parser.add_argument("-j", type=int, default=multiprocessing.cpu_count(), metavar="N")
    options = parser.parse_args()

    variants = tuple(itertools.product(build.HOSTS, build.ENCLAVE_SETS)) if options.all else VARIANTS
    variants = tuple(variant for variant in variants if variant[0].available)
    for host, kind in variants:  # here, so that compilers do not compete with time limits
        build.host_program(host)
        build.enclaves(kind)

    todo = list(jobs(variants, options.only))
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    with multiprocessing.get_context("spawn").Pool(options.j, maxtasksperchild=200) as pool:
        for (case, host, kind), wrong in zip(
            todo, pool.imap(partial(cases.check, options.runs), todo), strict=True
        ):
            if wrong:
                found[str(case), wrong].append(f"{host}+{kind}")
    for (name, wrong), where in found.items():
        print(f"{name}: in {len(where)} of {len(variants)} variants, {where[0]} the first\n{wrong}")
    failed = {name for name, _ in found}
    print(f"{len(todo)} cases in {len(variants)} variants, {options.runs} runs of each: {len(failed)} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
