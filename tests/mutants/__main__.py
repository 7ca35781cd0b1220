"""Mutation testing with mutmut: `python -m tests.mutants [MODULE ...] [--sample N] [--seed S] [-j N]`.

For each module of `table.TESTS` (all, or those named) the repository is copied to a temporary folder, mutmut
changes the module there in many small ways, and each change has to fail one of the module's tests. Prints
figures for each module and each change that no test noticed, with its reason where `survivors.toml` has one.
Exit status 1 if there is one without a reason. A module takes minutes to hours: `--sample` takes N changes of
it, chosen by the seed.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants.table import TESTS

ROOT: Final = Path(__file__).parents[2]
REASONS: Final = Path(__file__).with_name("survivors.toml")
# Not changed: the texts of errors, and constants of types. Each line that has a match is left as it is.
LEFT_ALONE: Final = (r'raise \w+\(f?"', r"\bassert\b")
# A server makes the processes: what a run of all tests leaves behind, as a parsed ELF, is not in them.
SETTINGS: Final = """
[tool.mutmut]
source_paths = ["pltvm"]
also_copy = ["guest", "docs", "README.md"]
only_mutate = ["{module}"]
pytest_add_cli_args_test_selection = {tests}
do_not_mutate_patterns = {left_alone}
track_dependencies = false
use_git_change_detection = false
process_isolation = "forkserver"
timeout_multiplier = 5.0
timeout_constant = 10.0
"""


SPINNER: Final = re.compile("[⠀-⣿]")


class Change(NamedTuple):
    """One change of a line: `was` and `now` with single spaces; empty where a line came or went."""

    module: str
    function: str  # `name` or `Class.name`
    was: str
    now: str


def reasons() -> dict[Change, str]:
    """Why nothing can, or need, notice a change."""
    entries = tomllib.loads(REASONS.read_text())["survivor"]
    return {Change(*(entry[key] for key in Change._fields)): entry["why"] for entry in entries}


def one_line(text: str) -> str:
    return " ".join(text.split())


def copy_repository(folder: Path) -> None:
    """The files that git knows or would add."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\0"
    ):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def configure(folder: Path, module: str) -> None:
    settings = SETTINGS.format(
        module=module,
        tests=json.dumps([f"tests/{test}" for test in TESTS[module]]),
        left_alone=json.dumps(LEFT_ALONE),
    )
    with (folder / "pyproject.toml").open("a") as file:
        file.write(settings)


def names(folder: Path, module: str) -> list[str]:
    """All changes of a module as mutmut names them."""
    from mutmut.configuration import reset_config
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    with contextlib.chdir(folder):
        reset_config()
        changed = mutate_file_contents(module, Path(module).read_text())
    return [get_mutant_name(Path(module), name) for name in changed.mutant_names]


def results(folder: Path, module: str, chosen: Sequence[str]) -> dict[str, str]:
    """How each chosen change ended, after a run of mutmut."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    with contextlib.chdir(folder):
        data = SourceFileMutationData(path=module)
        data.load()
    return {name: status_by_exit_code[data.exit_code_by_key[name]] for name in chosen}


def change(folder: Path, module: str, name: str) -> Change:
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    with contextlib.chdir(folder):
        lines = get_diff_for_mutant(name, path=module).splitlines()
    lines = [line for line in lines if not line.startswith(("---", "+++"))]
    was, now = (one_line(" ".join(line[1:] for line in lines if line[:1] == sign)) for sign in "-+")
    function, of = orig_function_and_class_names_from_key(name)
    return Change(module, f"{of}.{function}" if of else function, was, now)


def run(module: str, sample: int | None, seed: int, jobs: int) -> bool:
    """Whether each change of the module is noticed, or has its reason."""
    known = reasons()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder, scratch = Path(temporary, "pltvm"), Path(temporary, "scratch")
        scratch.mkdir()
        copy_repository(folder)
        configure(folder, module)
        every = names(folder, module)
        chosen = every
        if sample is not None and sample < len(every):
            chosen = random.Random(f"{seed}/{module}").sample(every, sample)
        # Guest programs that a test needs are built once: workers share them (see tests/conftest.py).
        shared = {"PYTEST_XDIST_WORKER": "mutants", "PYTEST_DEBUG_TEMPROOT": str(scratch)}
        environment = {**os.environ, **shared, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
        mutmut = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *chosen]
        done = subprocess.run(
            mutmut, cwd=folder, env=environment, text=True, errors="replace", check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            told = [line for line in done.stdout.splitlines() if not SPINNER.match(line)]
            print(f"{module}: mutmut ended with {done.returncode}:", *told[-30:], sep="\n")
            return False
        ended = results(folder, module, chosen)
        counts = Counter(ended.values())
        figures = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        print(f"{module}: {len(chosen)} of {len(every)} changes: {figures}", flush=True)
        good = True
        for name, status in ended.items():
            if status not in ("killed", "timeout", "segfault", "suspicious"):
                what = change(folder, module, name)
                why = known.get(what)
                good &= why is not None
                print(f"  {name.removeprefix('pltvm.')}: {status}: {why or 'NO REASON'}")
                print(f"    - {what.was}\n    + {what.now}", flush=True)
        return good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="as pltvm/monitor/guard.py")
    parser.add_argument("--sample", type=int, help="changes of each module (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", "--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    unknown = set(options.modules) - set(TESTS)
    if unknown:
        parser.error(f"not in tests/mutants/table.py: {', '.join(sorted(unknown))}")
    good = [run(module, options.sample, options.seed, options.jobs) for module in options.modules or TESTS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
