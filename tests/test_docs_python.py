"""docs/python.md: its examples are run in order, and print what it shows.

python -m tests.test_docs_python      writes what they print into it
"""

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pltvm.build import guest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<shown>.*?)```\n)?", re.DOTALL)


def outputs(document: str, folder: Path) -> Iterator[tuple[re.Match[str], str]]:
    """Each example with what it prints."""
    for name in ("caller", "server", "server1"):
        shutil.copyfile(guest.examples()[name].elf, folder / f"{name}.elf")
    names: dict[str, Any] = {}
    for example in EXAMPLE.finditer(document):
        printed = io.StringIO()
        with chdir(folder), redirect_stdout(printed):
            exec(compile(example["code"], PAGE.name, "exec"), names)
        yield example, printed.getvalue()


def test_examples_print_what_the_page_shows(tmp_path: Path) -> None:
    count = 0
    for example, printed in outputs(PAGE.read_text(), tmp_path):
        assert printed == (example["shown"] or ""), example["code"]
        count += 1
    assert count >= 6


def write() -> None:
    document = PAGE.read_text()
    with TemporaryDirectory() as folder:
        done = {one.span(): (one["code"], text) for one, text in outputs(document, Path(folder))}
    for (start, end), (code, text) in sorted(done.items(), reverse=True):
        shown = f"\n```text\n{text}```\n" if text else ""
        document = f"{document[:start]}```python\n{code}```\n{shown}{document[end:]}"
    PAGE.write_text(document)


if __name__ == "__main__":
    write()
