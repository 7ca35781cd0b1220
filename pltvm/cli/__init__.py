"""The commands. Thin: each turns its options into calls of the package and shows what comes back.

    run        run, demo                    attest     measure, attest, verify
    build      info, build, examples        fuzz       fuzz, cov
    selftest   selftest
    options    what several commands have   streams    standard input, output and error

An enclave's own output goes to stdout as it appears; everything else goes to stderr, unless it is what was
asked for. Exit status 0 when the enclave ran to its end, else 1; 2 for a command line that makes no sense.
"""

import typer

from pltvm.cli import attest, build, fuzz, run, selftest, streams

app = typer.Typer(
    help="Run Penglai-TVM RISC-V enclaves, unchanged, without hardware.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (run, build, attest, selftest, fuzz):
    app.add_typer(group.app)


def main() -> None:
    """The `pltvm` command: every error of ours is one line and exit status 1."""
    streams.run(app)
