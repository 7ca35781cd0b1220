"""Extends mkdocs.yml: adds pages made of files outside docs/, and links to them.

    README.md, CONTRIBUTING.md, CHANGELOG.md    are pages of the site too; on GitHub they are at the top
    commands.md                                 the help of each command
    ../pltvm/engine/hart.py                     links to sources become plain paths, as the site has no
    sources

mkdocs calls the functions that begin with `on_`.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
OUTSIDE: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_HELP: Final = {"resilient_parsing": True, "max_content_width": 88, "terminal_width": 88}
_LINK: Final = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Remove missing pages from nav."""
    config.nav = list(_present(config.nav))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside, and the one of the commands."""
    from mkdocs.structure.files import File

    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=with_links(text, ROOT)))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links out of docs/ into links to pages of the site, or into plain paths."""
    return markdown if page.file.generated_by else with_links(markdown, ROOT / "docs")


def with_links(text: str, folder: Path) -> str:
    """Return the text of a file in `folder`, with links for the site."""

    def changed(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        path = Path(os.path.normpath(folder / target)).relative_to(ROOT).as_posix()
        if path in OUTSIDE:
            return f"[{words}]({OUTSIDE[path]}{anchor})"
        if path.startswith("docs/"):
            return f"[{words}]({path.removeprefix('docs/')}{anchor})"
        return words if words.startswith("`") else f"{words} (`{path}`)" if words != path else f"`{path}`"

    return _LINK.sub(changed, text)


def commands() -> str:
    """Return a page with the help of each command, as in a terminal of 88 columns."""
    import typer

    sys.path.insert(0, str(ROOT))
    from pltvm.cli.app import app

    group: Any = typer.main.get_command(app)
    context = group.make_context("pltvm", [], **_HELP)
    text = io.StringIO()
    text.write("# Commands\n\nThis is what each command says to `--help`. Scripts read [JSON](json.md).\n\n")
    text.write(f"```text\n{group.get_help(context)}\n```\n")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        about = command.get_help(command.make_context(name, [], parent=context, **_HELP))
        text.write(f"\n## pltvm {name}\n\n```text\n{about}\n```\n")
    return text.getvalue()


def _present(nav: list[Any]) -> Iterator[Any]:
    """Yield the entries of nav, without missing pages and empty sections."""
    for entry in nav:
        ((title, value),) = entry.items() if isinstance(entry, dict) else ((None, entry),)
        if isinstance(value, list):
            if inside := list(_present(value)):
                yield {title: inside}
        elif value in {*OUTSIDE.values(), "commands.md"} or (ROOT / "docs" / value).is_file():
            yield entry
