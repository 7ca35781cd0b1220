"""Runs one input of the fuzzer once: shows its report, and records the run for `pltvm replay`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pltvm.cli.options import build_wall
from pltvm.cli.streams import print_json, say
from pltvm.cli.tables import fit
from pltvm.cli.targets import Workers, files_of
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.plain_file import read_plain
from pltvm.host.text import one_line

if TYPE_CHECKING:
    from pltvm.debug.recording import Recording
    from pltvm.fuzz.options import Options
    from pltvm.fuzz.worker import Worker

FOUND: Final = 3  # exit status when there are findings


def replay_input(file: Path, workers: Workers, confine: bool, json: bool, record_run: Path | None) -> int:
    """Show the report on one input, and record the run if a file is named; return the exit status."""
    from pltvm.fuzz.paths import read_input

    data, options = read_input(file.parent, file), workers.options_of(file)
    if record_run is None:
        build_wall(confine, files_of(options))
        return show_finding(workers.of(file), data, file, json)
    tape = _tape(record_run, options, data, file.name, json)
    build_wall(confine, files_of(options))
    with tape.running(None):
        status = show_finding(workers.of(file), data, file, json)
    say(one_line(tape.finish(status)))
    return status


def _tape(path: Path, options: "Options", data: bytes, name: str, json: bool) -> "Recording":
    if options.harness:
        raise ArgumentError("--record-run: a harness is a program of yours, and is not recorded")
    from pltvm.debug.packed import Case
    from pltvm.debug.recording import Recording

    files = [options.elf, *(elf for _, elf in options.servers)]
    described = {**options.to_dict(), "name": options.server_name, "elf": "", "servers": []}
    servers = [(server, os.path.basename(elf)) for server, elf in options.servers]
    case = Case("finding", os.path.basename(options.elf), [read_plain(one) for one in files], servers)
    case.options, case.given, case.arguments = {"fuzz": described, "json": json}, {"input": data}, [name]
    return Recording(path, case)


def show_finding(worker: "Worker", data: bytes, file: Path, json: bool) -> int:
    """Show the report on one input, the content of `file`; return the exit status."""
    try:
        finding = worker.explain(data)
    except KeyboardInterrupt:
        raise PltvmError(f"{file}: stopped by Ctrl-C") from None
    if json:
        about = None if finding is None else {**finding.to_dict(), "report": finding.report}
        print_json({"file": str(file), "bytes": len(data), "finding": about})
    elif finding is None:
        print(f"{file.name}: runs to its end, and nothing is wrong")
    else:
        print(fit(finding.report), end="")
    return 0 if finding is None else FOUND
