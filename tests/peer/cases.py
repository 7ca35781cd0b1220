"""What is run, and what must come out: cases that do not depend on how they were compiled.

A case is one host program on one machine of its own. Programs check every result themselves and tell the
first that differs from docs/penglai-abi.md; here is what must be printed besides, up to their last line.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltvm import Machine
from tests.peer.build import GUEST, Enclaves, Host, enclaves, host_program

TIME_LIMIT: Final = 30.0  # seconds; what goes on for that long never ends


@dataclass(frozen=True)
class Case:
    """One run of a host program: `peer PROGRAM ARGUMENTS`."""

    program: str
    arguments: tuple[str, ...] = ()
    printed: str = ""  # before the last line, which is "PROGRAM: ok"
    ram: int = 1 << 30

    def __str__(self) -> str:
        return "-".join([self.program, *self.arguments])

    @property
    def output(self) -> str:
        return f"{self.printed}{self.program}: ok\n"


TUTORIAL: Final = """\
[caller] shared memory starts with 11111
[caller] relay page starts with 22222
[server1] req sum 0x19961000
[server] req sum 0x19962000
[server] resp sum 0x19962000
[server1] value 0x2
[server1] resp sum 0x19962000
[caller] value 0x3
[caller] req sum 0x2000
[caller] resp sum 0x2000
"""

WITHOUT_SERVER1: Final = """\
[caller] shared memory starts with 11111
[caller] relay page starts with 22222
[server] req sum 0x19961000
[server] resp sum 0x19962000
[caller] value 0x2
[caller] req sum 0x1000
[caller] resp sum 0x2000
"""

ATTACHED: Final = """\
[caller] relay page starts with 33333
[server] req sum 0x19961000
[server] resp sum 0x19962000
[caller] value 0x2
[caller] req sum 0x1000
[caller] resp sum 0x2000
"""

# §4: at most 511 bytes up to the NUL; a message without newline gets one, and an empty one prints nothing.
MESSAGES: Final = "\n".join(
    [
        *("before", "no newline", "newline", "two", "lines", "100 %d %s %n %%", "", "ends in two", ""),
        *("a" * 510, "b" * 511, "c" * 511, "d" * 511, "e" * 510, "f" * 511, "after", ""),
    ]
)

RELAY: Final = """\
[relay] 3 pages, the first starts with 500
[relay] passed on 2 pages
[relay] back, the new page starts with 501
"""

# a2 is the running number of started instances, modulo 5 (§2).
SHADOW: Final = "".join(f"[shadow] number {i}, eid {i + 1}, counter 42\n" for i in range(3))

THIEF: Final = "a thief looks at the vault\n"
STORE: Final = f"[filesystem] made a file system on the disk\n{THIEF}"

PROGRAMS: Final = (
    Case("tutorial", ("caller.elf", "server.elf", "server1.elf"), TUTORIAL),
    Case("tutorial", ("caller.elf", "server.elf"), WITHOUT_SERVER1),
    Case("attached", printed=ATTACHED),
    Case("messages", printed=MESSAGES),
    Case("relay_rerun"),
    Case("relay_rerun_instance"),
    Case("relay_part"),
    Case("relay_destroyed"),
    Case("relay_name_taken"),
    Case("relay_example", printed=RELAY),
    Case("asynchronous_before"),
    Case("asynchronous_after"),
    Case("asynchronous_two"),
    Case("shared_orders"),
    Case("shared_by_two"),
    Case("fork_host", ("1",)),
    Case("fork_host", ("100",)),
    Case("fork_example", printed=SHADOW),
    Case("sectors"),
    Case("sectors_unnamed"),
    Case("store", printed=STORE),
    Case("thread_stop_resume"),
    Case("thread_destroy"),
    Case("thread_destroy_stopped"),
    Case("thread_run_twice"),
    Case("thread_destroy_instance"),
    Case("thread_destroy_in_server"),
    Case("thread_relay_taken"),
    Case("thread_many"),
)


def rows() -> list[Case]:
    """A case for each ROW of guest/rows_*.c."""
    names = [
        name
        for source in sorted(GUEST.glob("rows_*.c"))
        for name in re.findall(r"^ROW\((\w+)\)", source.read_text(), re.MULTILINE)
    ]
    small = {"create_no_host_memory": 128 << 20, "run_no_memory_for_instance": 64 << 20}
    return [Case(name, ram=small.get(name, 1 << 30)) for name in names]


def arguments(case: Case, kind: Enclaves) -> tuple[str, ...]:
    """The program's arguments: one row must know what the enclaves' linker did."""
    attributes = case.program == "run_lowest_address" and kind.attributes
    return (case.program, *case.arguments, *(["attributes"] if attributes else []))


def wrong(result: tuple[int, str, str], wanted: str) -> str:
    """What is wrong with the result of a run, in a few lines; nothing when it is as it must be."""
    status, ended, output = result
    if (status, ended, output) == (0, "", wanted):
        return ""
    return f"status {status} {ended}\n{output}" + ("" if status else f"-- wanted:\n{wanted}")


def run(case: Case, host: Host, kind: Enclaves, disk: Path | None = None) -> tuple[int, str, str]:
    """A program's exit status, what ended it when that was not its own doing, and all that was printed."""
    with tempfile.TemporaryDirectory(prefix="pltvm-peer-") as scratch:
        root = Path(scratch) / "root"
        shutil.copytree(enclaves(kind), root)
        machine = Machine(case.ram, disk=disk)
        result = machine.run_program(
            host_program(host), *arguments(case, kind), root=root, timeout=TIME_LIMIT
        )
    return result.exit_code, result.end, result.output.decode(errors="replace")


def check(runs: int, job: tuple[Case, Host, Enclaves]) -> str:
    """Run a case so many times, and tell as `wrong` does."""
    case, host, kind = job
    first = run(case, host, kind)
    if told := wrong(first, case.output):
        return told
    for number in range(2, runs + 1):
        if run(case, host, kind) != first:
            return f"run {number} is not like run 1"
    return ""
