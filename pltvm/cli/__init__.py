"""The commands: each turns its options into calls of the package and shows the result.

    run        run, demo                    attest     measure, attest, verify
    build      info, build, examples        fuzz       fuzz, cov
    selftest   selftest                     corpus     triage, cmin, tmin, showmap
    new        new                          call       call
    debug      debug                        replay     replay
    profile    profile                      view       view
    kinds      run, by kind of file         around     commands that extend run
    running    runs a program                beside     additions to a run, such as --trace
    findings   runs one fuzzer input         debugger   --gdb
    app        the list of commands, and options before them
    options    shared options                targets    options for fuzz targets
    tables     tables and progress           covered    --cov
    streams    standard input, output and error

An enclave's own output goes to stdout when it is printed; everything else goes to stderr, except requested
results. The exit status is 0 if the enclave ran to its end, else 1; 2 for an invalid command line.
"""

import gc

from pltvm.cli import streams


def _command() -> None:
    from pltvm import native
    from pltvm.cli.app import app

    if native.stale:
        streams.say(f"pltvm: {native.status}")
    app()


def main() -> None:
    """The `pltvm` command: every error of ours is one line and exit status 1, or 2 for wrong usage."""
    gc.disable()  # until the command begins: imports make no garbage, and a collection takes 8 ms
    try:
        streams.run(_command)
    finally:
        gc.unfreeze()
        gc.enable()
