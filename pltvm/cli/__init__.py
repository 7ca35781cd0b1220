"""The commands. Thin: each turns its options into calls of the package and shows what comes back.

    run        run, demo                    attest     measure, attest, verify
    build      info, build, examples        fuzz       fuzz, cov
    selftest   selftest                     corpus     triage, cmin, tmin, showmap
    new        new                          call       call
    debug      debug                        replay     replay
    profile    profile                      view       view
    around     run, with something around
    running    what runs a program do       beside     what is put beside a run
    findings   one input of the fuzzer's    debugger   --gdb
    app        all of them, and what stands before one
    options    what several commands have   targets    what is fuzzed, as options
    tables     tables, and how far it is    covered    --cov
    streams    standard input, output and error

An enclave's own output goes to stdout as it appears; everything else goes to stderr, unless it is what was
asked for. Exit status 0 when the enclave ran to its end, else 1; 2 for a command line that makes no sense.
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
    gc.disable()  # until the command begins: imports make no garbage, and looking for some takes 8 ms
    try:
        streams.run(_command)
    finally:
        gc.unfreeze()
        gc.enable()
