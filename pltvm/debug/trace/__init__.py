"""Traces: all that happens on a machine, written to a file as it happens.

    collect.py    Trace: watches a machine and hands on each event; what there is at the start
    plain.py      events and snapshots as plain data
    text.py       lines for people          jsonl.py      a JSON object a line, for programs
    perfetto.py   Chrome's Trace Event Format, for ui.perfetto.dev

docs/tracing.md describes the formats.
"""
