"""The page: one HTML file with data, style and program, which loads nothing else."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pltvm.debug.trace.jsonl import read
from pltvm.debug.view import sources
from pltvm.debug.view.story import Story


class Page:
    """A page for a browser: `str()` is the file. Notebooks show it."""

    def __init__(self, story: Story, title: str, folders: Sequence[Path] = ()) -> None:
        plain = story.plain()
        named = [step[key] for step in story.steps for key in ("then", "where") if step.get(key)]
        self.data: dict[str, Any] = {"title": title, **plain, "sources": sources.find(named, folders)}

    def __str__(self) -> str:
        return _template(self.data)

    def __repr__(self) -> str:
        return f"<Page: {self.data['title']}, {len(self.data['steps'])} steps>"

    def _repr_html_(self) -> str:
        """Return the page in a frame, for notebooks."""
        frame = "width:100%;height:52em;border:1px solid #888"
        title = escape(self.data["title"], quote=True)
        return f'<iframe title="{title}" style="{frame}" srcdoc="{escape(str(self), quote=True)}"></iframe>'


def page_of_trace(lines: Iterable[str], title: str, folders: Sequence[Path] = ()) -> Page:
    """Return the page of a trace in JSON lines; its sources are searched for in `folders`.

    Raises PltvmError if it is no trace.
    """
    return Page(Story(read(lines)), title, folders)


def _template(data: dict[str, Any]) -> str:
    """Return all parts in one file. The data are escaped, so that they cannot end their element or begin
    another."""
    plain = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "@title@": escape(data["title"]),
        "@style@": _text("page.css"),
        "@library@": _text("vendor/htm-preact.js").replace("</script", "<\\/script"),
        "@program@": _text("page.js").replace("</script", "<\\/script"),
        "@data@": plain,
    }
    page = []
    for piece in _text("page.html").split("\n"):
        name = piece.strip()
        page.append(parts[name] if name in parts else piece.replace("@title@", parts["@title@"]))
    return "\n".join(page)


def _text(name: str) -> str:
    return files("pltvm.debug.view").joinpath(name).read_text("utf-8")
