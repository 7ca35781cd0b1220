"""Processes of Dask, forked from one that has imported it: which takes longer than what they are to do."""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

_FROM: Final = multiprocessing.get_context("forkserver")
_FROM.set_forkserver_preload([
    __name__, "dask.__main__", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker",
    "pltvm.fuzz.worker",
])  # fmt: skip


def start(arguments: list[str], log: Path) -> ForkServerProcess:
    """The command `dask` with these arguments."""
    process = _FROM.Process(target=_run, args=(arguments, log), daemon=True)
    process.start()
    return process


def _run(arguments: list[str], log: Path) -> None:
    from dask.__main__ import main

    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv[:] = ["dask", *arguments]
    main()
