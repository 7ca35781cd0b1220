"""A whole machine: RAM, hart, monitor, host kernel and driver, put together for Python programs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.snapshot import EngineSnapshot, Snapshots
from pltvm.errors import ArgumentError, SnapshotError
from pltvm.host import api, arguments
from pltvm.host import snapshot as host_snapshot
from pltvm.host.api import OnOutput, Pages
from pltvm.host.driver import Driver
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import Source
from pltvm.host.kernel import SMALLEST_RAM, Kernel
from pltvm.host.services import DISK_LIMIT, Disk, FileDisk, Random
from pltvm.host.shared import RelayMemory, SharedMemory
from pltvm.host.symbols import Symbols
from pltvm.listeners import machine_made
from pltvm.monitor.abi import DEFAULT_STACK, RAM_BASE, EnclaveType
from pltvm.monitor.digest import Digest
from pltvm.monitor.keys import DEVELOPMENT, Keys
from pltvm.monitor.measure import Snapshot as Content
from pltvm.monitor.monitor import Monitor
from pltvm.view.enclave import Enclave

if TYPE_CHECKING:
    from pltvm.host.linux.runner import LinuxResult
    from pltvm.host.supervisor import SupervisorResult, Victim
    from pltvm.host.together import Results
    from pltvm.view.enclaves import Enclaves
    from pltvm.view.hooks import Hooks, Watch
    from pltvm.view.memory import Owners, Pmp
    from pltvm.view.watching import Watching

DEFAULT_RAM: Final = 1 << 30
LARGEST_RAM: Final = 256 << 30


@dataclass(frozen=True, slots=True)
class MachineSnapshot:
    """The state of a machine at one moment: RAM, CPU, the monitor outside its records, and the host.

    Plain data: it can be pickled, and restored in another process by a machine of the same size.
    """

    engine: EngineSnapshot
    contents: dict[int, Content] = field(repr=False)  # of enclaves at their creation, by eid
    host: host_snapshot.HostState = field(repr=False)


class Machine:
    """One RISC-V machine with a secure monitor.

    `ram` is its size in bytes, a multiple of a page; memory is allocated when it is touched. `seed`
    determines the random numbers that enclaves get. `disk` is a file for their sectors (§4), of at most
    `disk_limit` bytes; it is made when memory for sectors is named. Without it sectors are in memory only.
    `keys` sign reports, and enclaves derive their keys from them; the default is a published set that proves
    nothing. `digest` measures enclaves. With `native=False` everything is done in Python, with the same
    results. Raises PltvmError for a size or file that does not work.
    """

    def __init__(
        self,
        ram: int = DEFAULT_RAM,
        *,
        seed: int = 0,
        disk: str | os.PathLike[str] | None = None,
        disk_limit: int = DISK_LIMIT,
        keys: Keys = DEVELOPMENT,
        digest: Digest | str = Digest.PENGLAI,
        native: bool = True,
    ) -> None:
        ram = arguments.number("ram", ram, "its bytes, a whole number, such as 512 << 20")
        seed, digest = arguments.number("seed", seed), arguments.member(Digest, "digest", digest)
        disk_limit = arguments.number("disk_limit", disk_limit, "its bytes, a whole number")
        if disk is not None and not isinstance(disk, str | os.PathLike):
            raise arguments.wrong("disk", disk, "the path of a file, or None")
        if not isinstance(keys, Keys):
            raise arguments.wrong("keys", keys, "Keys, such as pltvm.keyfile.load(path) gives")
        if not SMALLEST_RAM <= ram <= LARGEST_RAM or ram % PAGE:
            raise ArgumentError(
                f"{ram} bytes of RAM: it must be a page multiple from {SMALLEST_RAM >> 20} MiB "
                f"to {LARGEST_RAM >> 30} GiB"
            )
        self.memory = Memory(RAM_BASE, ram)
        self.hart = Hart(self.memory, use_core=native)
        self.monitor = Monitor(self.hart, keys, digest)
        self.kernel = Kernel(self.hart, self.monitor)
        self.driver = Driver(self.kernel)
        self.driver.services.random = Random(seed)
        self.driver.services.disk = Disk(disk_limit) if disk is None else FileDisk(disk, disk_limit)
        self._snapshots = Snapshots(self.hart)
        self._watching: Watching | None = None  # after the first `watch`
        for listener in machine_made:
            listener(self)

    def __repr__(self) -> str:
        return f"<Machine {self.memory.size >> 20} MiB, {len(self.enclaves)} enclaves>"

    def _repr_html_(self) -> str:
        """Return a table of its enclaves for notebooks."""
        return self.enclaves._repr_html_()

    def snapshot(self) -> MachineSnapshot:
        """Save the state of the machine, between runs or in a callback of one.

        The cost depends on the pages touched since the last snapshot or restore. Raises SnapshotError, and
        changes nothing, if something cannot be saved: see "Snapshots" in docs/design.md.
        """
        state = self.monitor.state
        if self._watching is not None:
            self._watching.before_snapshot()
        host = host_snapshot.save(self.driver)
        state.note_written()
        engine = self._snapshots.save()
        state.note_current()
        return MachineSnapshot(engine, dict(state.contents), host)

    def restore(self, snapshot: MachineSnapshot) -> None:
        """Go back to a snapshot, as often as wanted, in any order, between runs or in a callback of one.

        Enclaves made after the snapshot have ended. If a run was in progress at the snapshot: in a callback
        it goes on from there when the callback returns; outside a run it counts as interrupted, and `resume`
        goes on. Raises SnapshotError, and changes nothing, if something cannot be restored.
        """
        if not isinstance(snapshot, MachineSnapshot):
            raise arguments.wrong("snapshot", snapshot, "what Machine.snapshot gave")
        if self._watching is not None:
            self._watching.before_snapshot()
        state, hart = self.monitor.state, self.hart
        if snapshot.engine.size != self.memory.size:
            sizes = f"{snapshot.engine.size >> 20} MiB of RAM, this one has {self.memory.size >> 20}"
            raise SnapshotError(
                f"the snapshot is of a machine with {sizes}: make one of the same size (ram=…)"
            )
        host_snapshot.check(self.driver, snapshot.host)
        state.note_written()
        derived = state.derived()
        changed = self._snapshots.restore(snapshot.engine)
        state.keep_derived(derived, changed)
        state.contents = dict(snapshot.contents)
        state.note_current()
        host_snapshot.load(self.driver, snapshot.host)
        state.host = hart.current  # the context of the host; an enclave that was running has the hart
        running = state.running
        if running is not None:
            hart.current = running.context
        if self._watching is not None:
            self._watching.put_back()

    @property
    def enclaves(self) -> "Enclaves":
        """All living enclaves, by iteration, by eid, by name; also those made by guest programs."""
        from pltvm.view.enclaves import Enclaves

        return Enclaves(self.driver)

    @property
    def owners(self) -> "Owners":
        """The owner of each page of RAM, in rows by address."""
        from pltvm.view import memory

        return memory.owners(self.monitor.state)

    @property
    def pmp(self) -> "Pmp":
        """The PMP entries, which limit what user and supervisor mode may access, in rows by number."""
        from pltvm.view import memory

        return memory.pmp(self.hart)

    def watch(self, **hooks: "Unpack[Hooks]") -> "Watch":
        """Call functions at events from now on, until the Watch is stopped or its `with` ends.

        `on_trap`, `on_call`, `on_return`, `on_ocall`, `on_switch`, `on_fault`, `on_state`, `on_host_call`,
        `on_page`, `on_pte`, `on_satp`, `on_pmp`, `on_restore` get the events of that kind, see
        `pltvm.view.events`; `on_event` gets all events. A hook may look at the machine and change registers
        and memory. If it raises, the run ends as by Ctrl-C and raises that error. A hook cannot take
        snapshots, as it is called in the middle of an operation. Raises ArgumentError for an unknown kind of
        hook.
        """
        from pltvm.view.hooks import Watch, checked
        from pltvm.view.watching import Watching

        wanted = checked(hooks)
        if self._watching is None:
            self._watching = Watching(self.driver)
        return Watch(self._watching, wanted)

    def create(
        self,
        elf: Source,
        *,
        name: str = "",
        type: EnclaveType | str = EnclaveType.NORMAL,
        stack_size: int = DEFAULT_STACK,
        shm: Pages = None,
        relay: Pages = None,
        slots: int | None = None,
    ) -> Enclave:
        """Create an enclave from an ELF (path or bytes): `PLenclave_create`.

        `type` is a member of EnclaveType or its name: "normal", "server", "shadow", or "concurrent": a server
        that up to `slots` chains (1 to 64, default 8) may call at once. `name` has at most 16 bytes; a server
        needs one that no living server has. `stack_size` is in bytes, for each slot. `shm` is shared with the
        host while the enclave lives, `relay` is handed over when it runs: bytes, a text, or a file's Path,
        rounded up to whole pages, or a result of the methods `shm` and `relay`; `BOUND` stands for the relay
        pages that others have sent to this name. Raises ElfError, EnclaveError or OutOfMemory, and leaves
        nothing behind; TypeError or ArgumentError for an invalid argument.
        """
        made = partial(
            api.create, self.driver, elf, name=name, kind=type, stack_size=stack_size, shm=shm, relay=relay,
            slots=slots,
        )  # fmt: skip
        if self._watching is None:
            return Enclave(self.driver, made())
        with self._watching.making(name, elf):
            enclave = Enclave(self.driver, made())
        self._watching.raise_late()
        return enclave

    def shm(self, content: bytes | str | Path | int) -> SharedMemory:
        """Make memory to share with several enclaves, in whole pages, from its content or its size in
        bytes."""
        return SharedMemory(self.driver, arguments.content_or_size("content", content))

    def relay(self, content: bytes | str | Path | int) -> RelayMemory:
        """Make relay pages, to be given to one enclave after another; the argument is as for `shm`."""
        return RelayMemory(self.driver, arguments.content_or_size("content", content))

    def use_for_persistency(self, shm: SharedMemory) -> None:
        """Name the memory through which sectors are passed (ioctl 0x18); until then there are no sectors."""
        if not isinstance(shm, SharedMemory):
            raise arguments.wrong("shm", shm, "what Machine.shm gave")
        self.driver.services.use(shm.pa)

    def reclaim(self) -> int:
        """Take back memory that enclaves left behind, and return how many bytes that gave.

        This is memory that they shared, and relay pages sent to a name by an enclave that has ended. The
        driver does this by itself when it runs out of memory, the oldest first.
        """
        return self.driver.away.reclaim()

    def run_together(
        self,
        enclaves: Sequence[Enclave],
        *,
        schedule: str | int | None = None,
        quantum: int | None = None,
        most: int = 0,
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> "Results":
        """Run several new enclaves at once, sharing the hart, and return a result for each, in order.

        `schedule` decides which enclave is next: None is round robin, with time slices of `quantum`
        instructions; a number is the seed of a random order; a text has steps, as in `schedule` of a result,
        and repeats that run exactly: see `pltvm.host.schedule`. The run is interrupted after `most`
        instructions in total, or after `timeout` seconds; `resume_together` goes on. `on_output` is as for
        `Enclave.run`. From then on the machine counts instructions, which makes guest code up to four times
        slower. Raises EnclaveError for enclaves that cannot be run, ArgumentError for an invalid schedule,
        and KeyboardInterrupt.
        """
        from pltvm.host import together
        from pltvm.host.chains import Recipe

        inner = [one.startable() for one in enclaves]
        most, timeout = arguments.number("most", most), arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        return together.run_together(self.driver, inner, Recipe(schedule, quantum, most), timeout, on_output)

    def resume_together(
        self, *, timeout: float | None = None, on_output: OnOutput | None = None
    ) -> "Results":
        """Go on with a run of `run_together` that was interrupted, or that was in progress at the snapshot
        which the machine was restored to. Raises EnclaveError if there is none."""
        from pltvm.host import together

        timeout = arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        return together.resume_together(self.driver, timeout, on_output)

    def run_program(
        self, program: str | os.PathLike[str], *arguments_of_program: str, **options: Any
    ) -> "LinuxResult":
        """Run a RISC-V Linux host program; options as for `pltvm.host.linux.runner.run_program`."""
        from pltvm.host.linux.runner import run_program

        for one in (program, *arguments_of_program):
            if not isinstance(one, str | bytes | os.PathLike):
                raise arguments.wrong("an argument", one, "a text, or a path")
        return run_program(self.driver, program, arguments_of_program, **options)

    def resume_program(self, **options: Any) -> "LinuxResult":
        """Go on with the Linux program that was running at the snapshot which the machine was restored to.

        Options as for `pltvm.host.linux.runner.resume_program`. Raises SnapshotError if there is none.
        """
        from pltvm.host.linux.runner import resume_program

        return resume_program(self.driver, **options)

    def supervise(
        self,
        elf: Source,
        victims: Sequence["Victim"] = (),
        on_output: OnOutput | None = None,
        timeout: float | None = None,
    ) -> "SupervisorResult":
        """Run a kernel program in S-mode, in the place of the host kernel: see `pltvm.host.supervisor`.

        `timeout` is in seconds. Raises ElfError, OutOfMemory; KeyboardInterrupt on Ctrl-C.
        """
        from pltvm.host.supervisor import Supervisor

        elf, timeout = arguments.source("elf", elf), arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        return Supervisor(self.driver, load_image(elf), Symbols(elf)).run(victims, on_output, timeout)
