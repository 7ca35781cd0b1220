"""Small campaigns in folders, and what is in the folders afterwards."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pltvm.fuzz.campaign import Campaign, Limits
from pltvm.fuzz.options import Options
from pltvm.fuzz.paths import read_options
from pltvm.fuzz.pool import Here, Pool
from pltvm.fuzz.results import Entry
from pltvm.fuzz.status import Status
from pltvm.fuzz.store import OutputFolder
from pltvm.fuzz.worker import Job, Round, Worker

WORK = 5_000_000

# A server with steps to climb, so that a campaign of some rounds is never done, and four bugs.
CLIMB = """
#include <string.h>
#include "eapp.h"
static volatile unsigned long state;
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    unsigned char *memory = (unsigned char *)args[11];
    if (memory) {
        int step = 0;
        while (step < 64 && (memory[step] ^ step * 37) % 8 == 5)
            step++;
        for (int i = 0; i < step; i++)
            state += memory[i] % 5 == 0 ? 3 : memory[i] % 7 == 0 ? 5 : 7;
        switch (step) {
        case 1: if (memory[9] == 100) *(volatile int *)8 = 1; break;
        case 2: if (memory[9] > 200) __asm__ volatile("unimp"); break;
        case 3: if (memory[10] == 77) ((void (*)(void))0x123457)(); break;
        case 4: if (memory[11] == 1) *(volatile int *)16 = 1; break;
        }
        ret.resp_val = state;
    }
    SERVER_RETURN(&ret);
}
"""


class Several:
    """Rounds in this process, so many a generation."""

    def __init__(self, worker: Worker, size: int) -> None:
        self.size, self._here = size, Here(worker)

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all of the jobs."""
        return self._here.run(jobs)

    def close(self) -> None:
        """Nothing is to be stopped."""


class Counted:
    """A pool that calls `before` with the number of each generation; after the last one it is Ctrl-C."""

    def __init__(self, pool: Pool, most: int, before: Callable[[int], None] = lambda _number: None) -> None:
        self.size, self.generations = pool.size, 0
        self._pool, self._most, self._before = pool, most, before

    def run(self, jobs: Sequence[Job]) -> list[Round]:
        """Run all of the jobs."""
        if self.generations == self._most:
            raise KeyboardInterrupt
        self._before(self.generations)
        self.generations += 1
        return self._pool.run(jobs)

    def close(self) -> None:
        """Stop the workers."""
        self._pool.close()


def campaign(
    out: Path,
    options: Options,
    pool: Callable[[Worker], Pool],
    generations: int,
    seeds: Sequence[tuple[str, bytes]] = (),
    before: Callable[[int], None] = lambda _number: None,
    limits: Limits = Limits(),  # noqa: B008
    **more: Any,
) -> str:
    """Run so many generations of a campaign; what it said."""
    worker = Worker(options)
    said = io.StringIO()
    described = {**options.to_dict(), "seed": more.get("seed", 0)}
    with OutputFolder(out, options=described) as folder, Status(out=said, err=said, terminal=False) as status:
        counted = Counted(pool(worker), generations, before)
        run = Campaign(worker, counted, folder, status, **{"work": WORK, **more})
        try:
            run.load(seeds)
            run.run(limits)
        except KeyboardInterrupt:
            pass
        finally:
            counted.close()
    return said.getvalue()


def entries(out: Path) -> list[Entry]:
    """The corpus."""
    with OutputFolder(out, options=described(out)) as folder:
        return folder.queue()


def findings(out: Path) -> list[tuple[str, str, str, bytes]]:
    """The findings."""
    with OutputFolder(out, options=described(out)) as folder:
        return [(one.kind, one.signature, one.report, one.data) for one in folder.findings()]


def described(out: Path) -> dict[str, Any]:
    """The options in a folder."""
    return read_options(out, out / "default" / "campaign.json")


def content(out: Path) -> tuple[Any, ...]:
    """Corpus and findings."""
    return entries(out), findings(out)
