"""Makes the JIT leave guest code only between blocks, and never inside an instruction.

Unicorn's JIT checks for a request to stop at the start of each block, and again after each load and store.
There it goes back to the start of the instruction, to run it again. But an atomic instruction has stored by
then: it would add twice, or a store-conditional that took a lock would fail, and the program would wait for
itself. The moment depends on the host's clock, as the request comes from another thread.

Unicorn can translate without the checks after loads and stores, which makes both up to twice as fast, but
uses that only in IT blocks of Arm, and no function sets it. So its field is found here by the fields around
it.
"""

import ctypes
from typing import Final

from pltvm.engine.unicorn_library import quick
from pltvm.errors import EngineError

_NESTED: Final = 64
_COUNT: Final = 0x5A17_C0DE  # a number of instructions; none runs
_SEARCHED: Final = 4096  # bytes of the structure, which has over 14,000
_DIFFERENT: Final = "this Unicorn is another one than pltvm knows how to stop: use unicorn 2.1.4"


class _Fields(ctypes.Structure):
    """The part of Unicorn's `uc_struct` with the field in question: it is found by `exits`."""

    _fields_ = [
        ("counter", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("between", ctypes.c_uint8 * 48),
        ("exits", ctypes.c_uint64 * _NESTED),
        ("ctl_exits", ctypes.c_void_p),
        ("thumb", ctypes.c_int),
        ("mapped_blocks", ctypes.c_void_p),
        ("mapped_block_count", ctypes.c_uint32),
        ("mapped_block_cache_index", ctypes.c_uint32),
        ("qemu_thread_data", ctypes.c_void_p),
        ("target_page_size", ctypes.c_uint32),
        ("target_page_align", ctypes.c_uint32),
        ("host_page_size", ctypes.c_uint64),
        ("real_host_page_size", ctypes.c_uint64),
        ("icache_line_size", ctypes.c_int),
        ("context_content", ctypes.c_int),
        ("cpu_context_size", ctypes.c_int),
        ("next_pc", ctypes.c_uint64),
        ("hook_insert", ctypes.c_uint8),
        ("first_tb", ctypes.c_uint8),
        ("no_exit_request", ctypes.c_uint8),
        ("init_done", ctypes.c_uint8),
    ]


class Leaving:
    """Sets whether newly translated code is left only between blocks.

    `engine` has to be new, without any run, in M-mode, with memory at the even address `end`, where no code
    runs. Raises EngineError if its structure is not the known one.
    """

    def __init__(self, engine: ctypes.c_void_p, end: int) -> None:
        # A run that ends where it begins executes nothing, and leaves the address in `exits`.
        quick.uc_emu_start(
            engine, ctypes.c_uint64(end), ctypes.c_uint64(end), ctypes.c_uint64(0), ctypes.c_size_t(0)
        )
        start = engine.value or 0
        at = ctypes.string_at(start, _SEARCHED).find(end.to_bytes(8, "little")) - _Fields.exits.offset
        if at < 0 or at % 8:
            raise EngineError(_DIFFERENT)
        self._fields = fields = _Fields.from_address(start + at)
        shape = (fields.mapped_block_count, fields.target_page_size, fields.hook_insert, fields.first_tb)
        if shape != (1, 4096, 0, 1) or (fields.no_exit_request, fields.init_done) != (0, 1):
            raise EngineError(_DIFFERENT)
        quick.uc_emu_start(
            engine, ctypes.c_uint64(end), ctypes.c_uint64(end), ctypes.c_uint64(0), ctypes.c_size_t(_COUNT)
        )
        if (fields.counter, fields.count) != (0, _COUNT):
            raise EngineError(_DIFFERENT)

    @property
    def counted(self) -> int:
        """Return the number of instructions since the JIT was entered, if they are counted; from a
        handler."""
        return int(self._fields.counter)

    def ran(self, instructions: int) -> None:
        """Correct Unicorn's count by so many instructions, which may be negative; from a handler."""
        self._fields.counter = max(self._fields.counter + instructions, 0)

    def between_blocks(self, only: bool) -> None:
        """Leave code only between blocks; if `only` is false also inside them, as hooks for instructions
        need."""
        self._fields.no_exit_request = only
