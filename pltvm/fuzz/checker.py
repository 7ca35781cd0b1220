"""Reads the report that the memory checker of `pltvm build --check` prints before it ends an enclave.

    heap-use-after-free: read of 4 bytes at 0x2fffe01060
      in last at list.c:31
      freed in drop at list.c:22 < main at list.c:40
      allocated in make at list.c:9 < main at list.c:38

It ends in a function named after the error (guest/lib/check/stop.S). A guest's text is not trusted: only
lines after such a title are taken, up to a limit.
"""

from typing import Final

from pltvm.host.text import one_line

_TITLES: Final = {
    "undefined_behaviour": "undefined behaviour: ",
    "freed_twice": "double-free: ",
    **{
        name: f"{name.replace('_', '-')}: "
        for name in (
            *("heap_buffer_overflow", "heap_use_after_free", "global_buffer_overflow"),
            *("stack_buffer_overflow", "stack_use_after_return", "stack_use_after_scope"),
            *("container_overflow", "memory_not_for_use", "bad_free"),
        )
    },
}
_MOST_LINES: Final = 8
_LONGEST: Final = 400  # characters


def report_in(printed: bytes, function: str) -> list[str]:
    """Return the lines of the checker's last report in printed text, if `function` is one that it ends in."""
    title = _TITLES.get(function)
    if title is None:
        return []
    lines = printed.decode("utf-8", "replace").splitlines()
    at = next((at for at in reversed(range(len(lines))) if title in lines[at]), None)
    if at is None:
        return []
    found = [lines[at]]
    for line in lines[at + 1 : at + _MOST_LINES]:
        if not line.startswith("  "):
            break
        found.append(line)
    return [one_line(line[:_LONGEST]) for line in found]
