"""`python -m pltvm.build core|enclaves|hosts [DIRECTORY]`: makes built files again, in place or elsewhere.

core       the native core, with the system's C compiler or that of ziglang; and the layouts of structs
enclaves   examples and attacks; always with the compiler of ziglang
hosts      host programs and the enclaves made for them; glibc's need Debian's cross compiler
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pltvm.build import core, guest, layout
from pltvm.build.rebuild import rebuild_attacks, rebuild_examples, rebuild_hosts
from pltvm.errors import BuildError


def _enclaves(into: Path | None) -> list[Path]:
    elves = into or guest.guest_dir() / "elf"
    return [*rebuild_examples(elves), *rebuild_attacks(elves / "attacks")]


def _hosts(into: Path | None) -> list[Path]:
    return rebuild_hosts(into or guest.host_elf_dir())


def _core(into: Path | None) -> list[Path]:
    into = into or core.PACKAGE
    return [core.build(into / core.NAME), *layout.build_all(into).values()]


_COMMANDS = {"core": _core, "enclaves": _enclaves, "hosts": _hosts}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if not arguments or arguments[0] not in _COMMANDS or len(arguments) > 2:
        print("usage: python -m pltvm.build core|enclaves|hosts [DIRECTORY]", file=sys.stderr)
        return 2
    try:
        for made in _COMMANDS[arguments[0]](Path(arguments[1]) if len(arguments) == 2 else None):
            print(made)
    except (BuildError, core.CoreError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
