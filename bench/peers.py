"""Other ways to run the same RISC-V programs, where they are installed.

qemu-riscv64   a process of QEMU's user-mode emulation (Debian: qemu-user); its start is taken off
icicle-emu     the fuzzing emulator (PyPI), flat memory, everything RWX
unicorn        Unicorn as it comes: M-mode, no page tables, nothing protected: the price of isolation
hooks          pltvm, and beside its page tables a Python hook on every load and store that looks the page
               up: what isolation by hooks would cost
"""

import ctypes
import importlib.metadata
import io
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import riscv_const as riscv
from unicorn.unicorn_py3.unicorn import uclib

from pltvm import Machine
from pltvm.build import zig
from pltvm.build.enclave import TARGET
from pltvm.engine import context as ctx
from pltvm.engine.context import SAVED_FROM, SLOTS, Context

QEMU, ICICLE, UNICORN, HOOKS = "qemu-riscv64", "icicle-emu", "unicorn", "hooks"
PAGE = 4096
_STACK_TOP, _STACK = 0x38_0000_0000, 64 << 10
_NEVER = 0xFFFF_FFFF_FFFF_FFFF
_EXIT = 99
_library_name = uclib._name


@cache
def versions() -> dict[str, str]:
    """The version of each peer that has to be installed, or "not installed"."""
    found = {QEMU: "not installed", ICICLE: "not installed"}
    if shutil.which(QEMU):
        output = subprocess.run([QEMU, "--version"], capture_output=True, text=True).stdout
        found[QEMU] = output.splitlines()[0].split(" version ")[1].split(" ")[0] if output else "?"
    try:
        found[ICICLE] = importlib.metadata.version(ICICLE)
        import icicle  # noqa: F401  some builds lack the processor definitions
    except (ImportError, OSError):
        found[ICICLE] = "not installed"
    return found


def installed(peer: str) -> bool:
    """Whether the peer can be measured here."""
    return versions().get(peer) != "not installed"


def segments(elf: bytes) -> tuple[int, list[tuple[int, int, bytes]]]:
    """Entry point; address, size in memory and bytes of each loaded segment."""
    file = ELFFile(io.BytesIO(elf))
    loads = [one for one in file.iter_segments() if one["p_type"] == "PT_LOAD"]
    return file.header["e_entry"], [(one["p_vaddr"], one["p_memsz"], one.data()) for one in loads]


def span(segments: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """The pages that hold all of the segments: address and bytes."""
    start = min(at for at, _, _ in segments) & -PAGE
    return start, -(start - max(at + size for at, size, _ in segments)) + PAGE - 1 & -PAGE


def run_qemu(elf: Path) -> tuple[int, float]:
    """Exit status, and seconds of the whole process."""
    start = time.perf_counter()
    status = subprocess.run([QEMU, str(elf)]).returncode
    return status, time.perf_counter() - start


def run_icicle(elf: bytes) -> tuple[int, float]:
    """What the program exits with, and seconds without loading."""
    import icicle

    emulator = icicle.Icicle("riscv64gc")
    entry, parts = segments(elf)
    start, size = span(parts)
    emulator.mem_map(start, size, icicle.MemoryProtection.ExecuteReadWrite)
    for at, _, data in parts:
        emulator.mem_write(at, data)
    emulator.mem_map(_STACK_TOP - _STACK, _STACK, icicle.MemoryProtection.ReadWrite)
    emulator.reg_write("sp", _STACK_TOP)
    emulator.pc = entry
    began = time.perf_counter()
    emulator.run()
    spent = time.perf_counter() - began
    if emulator.exception_code != icicle.ExceptionCode.Syscall or emulator.reg_read("a7") != _EXIT:
        raise RuntimeError(f"icicle-emu ended with {emulator.exception_code}")
    return emulator.reg_read("a0"), spent


def run_unicorn(elf: bytes) -> tuple[int, float]:
    """As `run_icicle`, in Unicorn without page tables."""
    engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    entry, parts = segments(elf)
    engine.mem_map(*span(parts))
    for at, _, data in parts:
        engine.mem_write(at, data)
    engine.mem_map(_STACK_TOP - _STACK, _STACK)
    engine.reg_write(riscv.UC_RISCV_REG_SP, _STACK_TOP)
    engine.hook_add(unicorn.UC_HOOK_INTR, lambda uc, _cause, _data: uc.emu_stop())
    began = time.perf_counter()
    engine.emu_start(entry, _NEVER)
    return engine.reg_read(riscv.UC_RISCV_REG_A0), time.perf_counter() - began


def add_hooks(machine: Machine) -> None:
    """Check every load and store of the guest in Python as well, the cheapest way: a set of pages."""
    hart = machine.hart
    engine = hart._uc
    known: dict[Context, set[int]] = {}

    def check(_uc: object, _access: int, address: int, _size: int, _value: int, _data: object) -> None:
        pages = known.setdefault(hart.current, set())
        if address >> 12 not in pages:  # a real hook would check the owner of the page
            pages.add(address >> 12)

    engine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, check)


class FlatCalls:
    """Calls between two programs that nothing keeps apart: traps and registers swapped, and no more.

    The same direct use of the library as in pltvm.engine.hart, so that the difference is isolation alone.
    """

    def __init__(self, code: bytes, client: int, server: int) -> None:
        base = 0x8000_0000
        self._quick = ctypes.PyDLL(_library_name)
        self._start = ctypes.CDLL(_library_name).uc_emu_start
        self._start.argtypes = [ctypes.c_void_p] + [ctypes.c_uint64] * 3 + [ctypes.c_size_t]
        self._code, self._base, self._entry = code, base, base + client
        self._client, self._server = Context(ctx.M), Context(ctx.M)
        self._server.regs[ctx.PC] = base + server

    def run(self, times: int) -> float:
        """Seconds that so many calls take."""
        quick, client, server = self._quick, self._client, self._server
        read, write = quick.uc_reg_read_batch, quick.uc_reg_write_batch
        ids, count = ctypes.byref(ctx.REGISTER_IDS, 4 * SAVED_FROM), SLOTS - SAVED_FROM
        client_regs, server_regs, start = client.saved_pointers, server.saved_pointers, server.regs[ctx.PC]
        engine = self._engine()
        handle, serving = engine._uch, False

        def trap(_engine: object, _cause: int) -> None:
            nonlocal serving
            if serving:
                read(handle, ids, server_regs, count)
                server.regs[ctx.PC] = start
                serving = False
                write(handle, ids, client_regs, count)
                return
            read(handle, ids, client_regs, count)
            if client.regs[ctx.A7] == _EXIT:
                quick.uc_emu_stop(handle)
                return
            serving = True
            write(handle, ids, server_regs, count)

        return self._timed(engine, trap, times)

    def empty_traps(self, times: int) -> float:
        """Seconds that so many traps take with a handler in Python that does nothing but count."""
        engine, left = self._engine(), times

        def trap(_engine: object, _cause: int) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._quick.uc_emu_stop(engine._uch)

        return self._timed(engine, trap, times + 1)

    def _engine(self) -> unicorn.Uc:
        engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        engine.mem_map(self._base, PAGE)
        engine.mem_write(self._base, self._code)
        return engine

    def _timed(self, engine: unicorn.Uc, trap: Callable[[object, int], None], times: int) -> float:
        callback = ctypes.CFUNCTYPE(None, ctypes.c_uint8, ctypes.c_uint32)(trap)
        hook = ctypes.c_size_t()
        self._quick.uc_hook_add(
            engine._uch, ctypes.byref(hook), ctypes.c_int(unicorn.UC_HOOK_INTR), callback, None,
            ctypes.c_uint64(1), ctypes.c_uint64(0),
        )  # fmt: skip
        engine.reg_write(riscv.UC_RISCV_REG_S0, times)
        start = time.perf_counter()
        self._start(engine._uch, self._entry, _NEVER, 0, 0)
        return time.perf_counter() - start


def flat_calls(scratch: Path) -> FlatCalls:
    """The two programs of bench/guest/flat.S."""
    source, output = Path(__file__).parent / "guest" / "flat.S", scratch / "flat.o"
    command = zig.command("cc", *TARGET, "-mabi=lp64", "-mno-relax", "-c", str(source), "-o", str(output))
    zig.run(command, output, output, zig.cache_dir(str(scratch)))
    file = ELFFile(io.BytesIO(output.read_bytes()))
    symbols = file.get_section_by_name(".symtab")
    places = [symbols.get_symbol_by_name(name)[0]["st_value"] for name in ("client", "server")]
    return FlatCalls(file.get_section_by_name(".text").data(), *places)
