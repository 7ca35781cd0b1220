"""The tree of internal files: /dev, /proc, and the few of /sys that programs read."""

from typing import Final
from uuid import UUID

from pltvm.engine.memory import PAGE
from pltvm.host.linux.clock import START_NS, UPTIME_NS
from pltvm.host.linux.fs import proc
from pltvm.host.linux.fs.nodes import Folder
from pltvm.host.linux.fs.proc import Known
from pltvm.host.linux.process import MOST_FILES

RELEASE: Final = b"6.1.0"  # as returned by `uname`
_BOOT_ID: Final = b"5e3d1c9a-0f42-4b7e-9a61-2f0c8d7b6a15\n"
_LINKS: Final = {
    b"fd": b"/proc/self/fd", b"stdin": b"/proc/self/fd/0", b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
}  # fmt: skip
_KERNEL: Final = {
    b"osrelease": RELEASE, b"ostype": b"Linux", b"version": b"#1 SMP", b"pid_max": b"4194304",
    b"threads-max": b"1024", b"cap_last_cap": b"40", b"ngroups_max": b"65536", b"randomize_va_space": b"0",
    b"core_pattern": b"core",
}  # fmt: skip
_VM: Final = {b"overcommit_memory": b"1", b"max_map_count": b"65530", b"mmap_min_addr": b"4096"}
_MOST_FILES: Final = b"%d" % MOST_FILES
_FS: Final = {b"file-max": _MOST_FILES, b"nr_open": _MOST_FILES, b"pipe-max-size": b"1048576"}
_NET: Final = {b"somaxconn": b"4096"}
_SYS: Final = {
    b"devices/system/cpu/online": b"0", b"devices/system/cpu/possible": b"0",
    b"devices/system/cpu/present": b"0", b"kernel/mm/transparent_hugepage/hpage_pmd_size": b"2097152",
    b"kernel/mm/transparent_hugepage/enabled": b"always madvise [never]",
}  # fmt: skip


def add_tree(root: Folder, system: Known) -> None:
    """Add the tree to the root's folder of nodes; devices are added separately."""
    dev = root.folder(b"dev")
    for name, target in _LINKS.items():
        dev.link(name, lambda target=target: target)  # type: ignore[misc]
    tree = Folder(b"/proc", lambda name: proc.process_called(system, name), lambda: proc.numbers(system))
    root.add(tree)
    proc.add_processes(tree, system)
    for name, content in {
        b"cpuinfo": lambda: b"processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n\n",
        b"meminfo": lambda: _memory(system),
        b"version": lambda: b"Linux version %s (pltvm) #1 SMP\n" % RELEASE,
        b"uptime": lambda: b"%.2f %.2f\n" % ((system.clock.monotonic() / 1e9,) * 2),
        b"loadavg": lambda: b"0.00 0.00 0.00 1/%d %d\n" % (_threads(system), max(system.processes)),
        b"stat": lambda: _statistics(system),
        b"filesystems": lambda: b"nodev\tproc\nnodev\tsysfs\nnodev\tdevtmpfs\n\text4\n",
        b"swaps": lambda: b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        b"cmdline": lambda: b"console=ttyS0\n",
        b"devices": lambda: b"Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n",
    }.items():
        tree.text(name, content)
    tree.link(b"mounts", lambda: b"self/mounts")
    kernel = tree.folder(b"sys").folder(b"kernel")
    for folder, texts in ((kernel, _KERNEL), (tree.folder(b"sys").folder(b"vm"), _VM),
                          (tree.folder(b"sys").folder(b"net").folder(b"core"), _NET),
                          (tree.folder(b"sys").folder(b"fs"), _FS)):  # fmt: skip
        for name, text in texts.items():
            folder.text(name, lambda text=text: text + b"\n")  # type: ignore[misc]
    kernel.text(b"hostname", lambda: bytes(system.state.host_name) + b"\n")
    of_random = kernel.folder(b"random")
    of_random.text(b"boot_id", lambda: _BOOT_ID)
    of_random.text(
        b"uuid", lambda: b"%s\n" % str(UUID(bytes=system.random.randbytes(16), version=4)).encode()
    )
    sys = root.folder(b"sys")
    sys.is_listed = False
    for path, text in _SYS.items():
        *folders, name = path.split(b"/")
        at = sys
        for one in folders:
            at = at.folder(one)
        at.text(name, lambda text=text: text + b"\n")  # type: ignore[misc]


def _memory(system: Known) -> bytes:
    total, free = system.kernel.memory.size >> 10, system.kernel.blocks.free_pages * PAGE >> 10
    rows = {
        "MemTotal": total, "MemFree": free, "MemAvailable": free, "Buffers": 0, "Cached": 0, "SwapCached": 0,
        "Active": 0, "Inactive": 0, "SwapTotal": 0, "SwapFree": 0, "Dirty": 0, "Writeback": 0, "AnonPages": 0,
        "Mapped": 0, "Shmem": 0, "Slab": 0, "CommitLimit": total, "Committed_AS": total - free,
    }  # fmt: skip
    lines = [f"{key + ':':<16}{value:8} kB\n" for key, value in rows.items()]
    return "".join([*lines, "HugePages_Total:       0\nHugepagesize:       2048 kB\n"]).encode()


def _threads(system: Known) -> int:
    return sum(len(process.threads) for process in system.processes.values())


def _statistics(system: Known) -> bytes:
    used = system.clock.used() // 10**7
    idle = system.clock.monotonic() // 10**7 - used
    row = b"%d 0 0 %d 0 0 0 0 0 0\n" % (used, max(idle, 0))
    count, running = max(system.processes), _threads(system)
    boot = (START_NS - UPTIME_NS) // 10**9
    tail = b"intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n"
    return b"cpu  " + row + b"cpu0 " + row + tail % (boot, count, running)
