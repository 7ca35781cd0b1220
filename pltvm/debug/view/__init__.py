"""A page that shows a run: who had the hart, whose each page of RAM was, page tables, and what moved.

story.py     from a trace: steps with their effects, each in words, as plain data for the page
explain.py   the words
sources.py   lines of source beside the steps
page.py      one HTML file of it all, which needs nothing else: page.html, page.css, page.js, vendor/
"""

from pltvm.debug.view.page import Page, page_of_trace

__all__ = ["Page", "page_of_trace"]
