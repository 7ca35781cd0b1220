"""A page that shows a run: which context had the hart, owners of pages, page tables, and what moved.

story.py     turns a trace into steps with their effects, each in words, as plain data for the page
explain.py   the explanations
sources.py   lines of source beside the steps
page.py      makes one self-contained HTML file of all parts: page.html, page.css, page.js, vendor/
"""

from pltvm.debug.view.page import Page, page_of_trace

__all__ = ["Page", "page_of_trace"]
