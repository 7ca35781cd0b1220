"""Which tests are to notice a change of which module: the direct ones, that take seconds.

Tests that count work, that replace the code of functions or that run many machines are left out: mutmut puts
a function of its own before each one it changes. It runs the tests in which a changed function was called, so
what a fixture of a whole module calls counts for the first test of it alone.
"""

from typing import Final

TESTS: Final[dict[str, tuple[str, ...]]] = {
    "pltvm/engine/context.py": ("engine/test_context.py",),
    "pltvm/engine/memory.py": ("engine/test_memory.py",),
    "pltvm/engine/pmp.py": ("engine/test_pmp.py",),
    "pltvm/engine/sv39.py": ("engine/test_sv39.py",),
    "pltvm/engine/trap.py": ("engine/test_trap.py",),
    "pltvm/engine/halt.py": ("engine/test_halt.py",),
    "pltvm/engine/hart.py": (
        "engine/test_hart.py",
        "engine/test_supervisor.py",
        "engine/test_watch.py",
        "engine/test_halt.py",
        "engine/test_tlb_tuning.py",
    ),
    "pltvm/monitor/attest.py": ("monitor/test_attest.py",),
    "pltvm/monitor/audit.py": ("monitor/test_audit.py",),
    "pltvm/monitor/copying.py": ("monitor/test_shadow.py",),
    "pltvm/monitor/digest.py": ("monitor/test_digest.py",),
    "pltvm/monitor/fault.py": ("monitor/test_fault.py",),
    "pltvm/monitor/guard.py": ("monitor/test_guard.py", "monitor/test_audit.py"),
    "pltvm/monitor/host_memory.py": ("monitor/test_host_memory.py", "monitor/test_guard.py"),
    "pltvm/monitor/keys.py": ("monitor/test_keys.py",),
    "pltvm/monitor/lifecycle.py": (
        "monitor/test_lifecycle.py",
        "monitor/test_host_calls.py",
        "monitor/test_relay.py",
        "monitor/test_shadow.py",
    ),
    "pltvm/monitor/measure.py": ("monitor/test_measure.py", "monitor/test_attest.py"),
    "pltvm/monitor/ocall.py": ("monitor/test_ocall.py",),
    "pltvm/monitor/pages.py": ("monitor/test_pages.py", "monitor/test_guard.py", "monitor/test_audit.py"),
    "pltvm/monitor/relay.py": ("monitor/test_relay.py", "monitor/test_host_calls.py"),
    "pltvm/monitor/secure_shm.py": ("monitor/test_secure_shm.py", "monitor/test_audit.py"),
    "pltvm/monitor/server.py": ("monitor/test_server.py", "monitor/test_audit.py"),
    "pltvm/monitor/shadow.py": ("monitor/test_shadow.py",),
    "pltvm/monitor/sm2.py": ("monitor/test_keys.py", "monitor/test_attest.py"),
    "pltvm/monitor/space.py": ("monitor/test_space.py", "monitor/test_ocall.py", "monitor/test_relay.py"),
    "pltvm/monitor/storage.py": ("monitor/test_random_sectors.py",),
    "pltvm/host/elf.py": ("host/test_elf.py", "host/test_elf_bombs.py"),
    "pltvm/host/elf_headers.py": ("host/test_elf.py", "host/test_elf_bombs.py"),
    "pltvm/host/elf_details.py": ("host/test_elf_details.py", "host/test_elf.py"),
    "pltvm/host/elf_info.py": ("host/test_elf_info.py",),
    "pltvm/host/elf_pages.py": ("host/test_elf.py",),
    "pltvm/host/loading.py": ("host/test_loading.py", "host/test_elf.py", "monitor/test_measure.py"),
    "pltvm/host/linux/file.py": ("host/linux/test_files.py", "host/linux/test_paths.py"),
    "pltvm/host/linux/files.py": ("host/linux/test_files.py", "host/linux/test_paths.py"),
    "pltvm/host/linux/fs_calls.py": ("host/linux/test_fs_calls.py", "host/linux/test_boundary.py"),
    "pltvm/host/linux/path_calls.py": ("host/linux/test_fs_calls.py", "host/linux/test_boundary.py"),
    "pltvm/host/linux/paths.py": ("host/linux/test_paths.py", "host/linux/test_files.py"),
    "pltvm/host/linux/opening.py": ("host/linux/test_paths.py", "host/linux/test_files.py"),
    "pltvm/host/linux/program.py": ("host/linux/test_program.py",),
    "pltvm/host/linux/room.py": ("host/linux/test_files.py", "host/linux/test_program.py"),
}
