"""Running a piece of Python in a process of its own that may take only so much more memory."""

import os
import subprocess
import sys
from pathlib import Path

_PREPARE = """\
import json, resource, sys
sys.path.insert(0, {folder!r})
{imports}
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {room}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
{body}
"""


def run_within(room: int, imports: str, body: str, *arguments: str) -> str:
    """What `body` prints, when after `imports` the process may map `room` more bytes; fails if it cannot."""
    folder = str(Path(__file__).parents[2])
    code = _PREPARE.format(folder=folder, imports=imports, room=room, body=body)
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert result.returncode == 0, result.stderr[-1000:]
    return result.stdout
