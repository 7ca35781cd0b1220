"""The command `pltvm replay`: repeats a recorded run."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from pltvm.cli.beside import Around, Beside, taped
from pltvm.cli.debugger import HISTORY, Door, Gdb, WithGdb, attached, door
from pltvm.cli.findings import show_finding
from pltvm.cli.options import Confined, build_wall, check_name, check_stack, parse_kind, parse_size
from pltvm.cli.running import Manner, create_all, kernel_machine, run_enclave, run_host, run_kernel
from pltvm.cli.several import Several
from pltvm.cli.streams import say
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_headers import NamedElf
from pltvm.host.elf_kind import Decision, decide
from pltvm.host.text import one_line
from pltvm.machine import LARGEST_RAM, Machine

if TYPE_CHECKING:
    from pltvm.debug.packed import Case, Packed
    from pltvm.debug.recording import Replay

_LONGEST: Final = 10**6  # seconds of a time limit

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=WithGdb)
def replay(
    file: Annotated[Path, typer.Argument(help="Recording made by pltvm run --record-run.")],
    gdb: Gdb = None,
    history: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="With --gdb: memory for going back in time; default: 256M.",
            show_default=False,
        ),
    ] = HISTORY,
    confine: Confined = True,
) -> None:
    """Repeat a recorded run.

    Output and exit status are those of the recorded run. If something differs, a line says at which trap,
    and the exit status is 1.
    """
    again(file, confine, gdb, history)


def again(
    file: Path, confine: bool, gdb: str | None = None, history: int = 0, around: Around | None = None
) -> None:
    """Repeat a recording, and exit with its status; `around` is a context around all use of its machine.

    Raises PltvmError.
    """
    from pltvm.debug.packed import Packed

    packed = Packed(file)
    for note in packed.notes:
        say(one_line(f"pltvm: {packed.name}: {note}"))
    debugger = door(gdb)
    with _room(packed.case) as work:
        try:
            _Again(packed, work, confine, debugger, history, around).run()
        except ArgumentError as error:  # these are no arguments of the user
            raise PltvmError(f"{packed.name}: cannot be run: {error}") from None


@contextmanager
def _room(case: "Case") -> Iterator[Path | None]:
    """Provide a folder for files that the replay needs, if any; it is removed at the end of the replay.

    A separate process removes it, as this one could not do so behind the wall.
    """
    if case.kind in ("enclave", "kernel") and "disk" not in case.given:
        yield None
        return
    work = Path(tempfile.mkdtemp(prefix="pltvm-replay-"))
    child = os.fork()
    if child == 0:
        yield work
        return
    try:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    os._exit(status if status >= 0 else 128 - status)


class _Again:
    """One replay."""

    def __init__(
        self,
        packed: "Packed",
        work: Path | None,
        confine: bool,
        debugger: Door | None,
        history: int,
        around: Around | None,
    ) -> None:
        self._packed, self._case, self._work = packed, packed.case, work
        self._confine, self._debugger, self._history = confine, debugger, history
        self._around = [around] if around is not None else []

    def run(self) -> None:
        """Replay, and exit with the status of the recorded run, or raise PltvmError."""
        runs = {
            "enclave": self._enclave,
            "host": self._host,
            "kernel": self._kernel,
            "finding": self._finding,
        }
        if self._case.kind not in runs:
            raise PltvmError(f"{self._packed.name}: is a recording of {one_line(self._case.kind)!r}: unknown")
        runs[self._case.kind]()

    def _option(self, name: str, kind: type, default: Any = None) -> Any:
        value = self._case.options.get(name, default)
        if value is not None and type(value) is not kind:
            raise PltvmError(f"{self._packed.name}: not a recording: its {name} is {value!r}")
        return value

    @property
    def _limit(self) -> float | None:
        value = self._case.options.get("timeout")
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 < value < _LONGEST:
            raise PltvmError(f"{self._packed.name}: not a recording: its time limit is {value!r}")
        return float(value)

    @property
    def _manner(self) -> Manner:
        return Manner(self._limit, self._option("json", bool, False), self._option("exit_code", bool, False))

    def _beside(self, tape: "Replay", kernel: bool = False) -> Beside:
        history = 0 if kernel else self._history
        return Beside(
            self._case.file, tape=tape, kernel=kernel, debugger=self._debugger, history=history,
            added=self._around,
        )  # fmt: skip

    @property
    def _compares(self) -> bool:
        """Whether the replay is compared: not under a debugger, which may change the run."""
        return self._debugger is None

    @property
    def _ram(self) -> int:
        return int(min(self._option("ram", int, 0), LARGEST_RAM))

    @property
    def _decision(self) -> Decision:
        kind = self._option("as", str)
        return decide(self._case.elves[0]) if kind is None else Decision(parse_kind(kind))

    def _disk(self) -> Path | None:
        content = self._case.given.get("disk")
        if content is None or self._work is None:
            return None
        disk = self._work / "disk"
        disk.write_bytes(content)
        return disk

    def _enclave(self) -> None:
        from pltvm.debug.recording import Replay

        case, disk = self._case, self._disk()
        name, stack_size = self._option("name", str, ""), self._option("stack_size", int, 0)
        check_name(name)
        check_stack(stack_size)
        machine, beside = (
            Machine(self._ram, disk=disk),
            self._beside(Replay(self._packed, compares=self._compares)),
        )
        build_wall(self._confine, [], file=disk)
        count = len(case.servers) + 1
        servers = [(server, elf) for (server, _), elf in zip(case.servers, case.elves[1:count], strict=True)]
        with beside.making(machine):
            if "callers" in case.options:
                self._several(machine, beside, servers, disk is not None, stack_size)
            enclave = create_all(
                machine, NamedElf(case.elves[0], case.file), self._decision, servers, case.given.get("shm"),
                case.given.get("relay"), disk is not None, name, stack_size,
            )  # fmt: skip
            with beside.running(machine):
                run_enclave(machine, enclave, self._manner, self._decision)

    def _several(
        self, machine: Machine, beside: Beside, servers: list[tuple[str, bytes]], has_disk: bool, stack: int
    ) -> NoReturn:
        case = self._case
        others = list(zip(case.arguments, case.elves[len(case.servers) + 1 :], strict=True))
        callers, quantum = self._option("callers", int), self._option("quantum", int)
        several = Several(callers, quantum, self._option("schedule", str), [*others])
        enclaves = several.create(
            machine, case.elves[0], case.file, self._decision, [*servers], case.given.get("shm"),
            case.given.get("relay"), has_disk, stack,
        )  # fmt: skip
        with beside.running(machine):
            several.run(machine, enclaves, self._manner)

    def _kernel(self) -> None:
        from pltvm.debug.recording import Replay

        case, machine = self._case, kernel_machine(self._ram)
        beside = self._beside(Replay(self._packed, compares=self._compares), kernel=True)
        build_wall(self._confine, [])
        with beside.making(machine), beside.running(machine):
            run_kernel(case.file, case.elves[0], machine, self._manner, self._decision)

    def _host(self) -> None:
        import pltvm.host.linux.runner  # noqa: F401  # before the wall, as `pltvm run` does
        from pltvm.debug.recording import Replay

        case, work = self._case, self._work
        assert work is not None
        root, disk = work / "root", self._disk()
        root.mkdir()
        tape = Replay(self._packed, root, self._compares)
        machine, beside = Machine(self._ram, disk=disk), self._beside(tape)
        build_wall(self._confine, [], file=disk, links=[root])
        with beside.making(machine), beside.running(machine):
            run_host(
                case.file, case.arguments, machine, self._manner, self._decision,
                root=str(root), verbose=self._option("verbose", bool, False),
                schedule=self._option("schedule", str), quantum=self._option("quantum", int),
                **tape.options(machine),
            )  # fmt: skip

    def _finding(self) -> None:
        from pltvm.debug.recording import Replay
        from pltvm.fuzz.options import Options
        from pltvm.fuzz.worker import Worker

        case, work = self._case, self._work
        assert work is not None
        paths = []
        for number, (name, elf) in enumerate(
            zip([case.file, *(file for _, file in case.servers)], case.elves, strict=True)
        ):
            if os.path.basename(name) != name or name in ("", ".", "..") or "\0" in name:
                raise PltvmError(
                    f"{self._packed.name}: not a recording: {one_line(name)!r} is not a file name"
                )
            paths.append(work / str(number) / name)
            paths[-1].parent.mkdir()
            paths[-1].write_bytes(elf)
        servers = [(name, str(path)) for (name, _), path in zip(case.servers, paths[1:], strict=True)]
        described = self._option("fuzz", dict, {})
        options = Options.from_dict({**described, "elf": str(paths[0]), "servers": servers, "harness": ""})
        name, data = (case.arguments or [""])[0], case.given.get("input", b"")
        build_wall(self._confine, paths)
        looked_at = self._debugger is not None
        worker, tape = Worker(options, looked_at), Replay(self._packed, compares=not looked_at)
        target = worker.target
        with (
            self._beside(tape).making(target.machine),
            attached(target.machine, self._debugger, name, history=self._history, partner=target),
            taped(None, tape),
        ):
            raise typer.Exit(show_finding(worker, data, Path(name), self._option("json", bool, False)))
