"""Traces: all events of a machine, written to a file when they happen.

    collect.py    watches a machine and passes each event to a writer
    plain.py      events and snapshots as plain data
    text.py       readable lines            jsonl.py      one JSON object per line, for programs
    perfetto.py   Chrome's Trace Event Format, for ui.perfetto.dev

docs/tracing.md describes the formats.
"""
