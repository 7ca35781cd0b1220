"""A profile in the format of callgrind: KCachegrind, QCachegrind and `callgrind_annotate` read it.

An enclave or process is an object file (`ob`), and a call has the line of the caller. The only event is `Ir`,
as with callgrind: instructions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from pltvm.debug.profile.result import Profile

_VERSION: Final = "# callgrind format\nversion: 1\ncreator: pltvm"


def callgrind(profile: Profile, name: str) -> str:
    """Return the text of the file."""
    return "\n".join(_lines(profile, name)) + "\n"


def _lines(profile: Profile, name: str) -> Iterator[str]:
    yield from (_VERSION, f"cmd: {name}", "positions: line", "events: Ir")
    yield f"summary: {profile.instructions}"
    own: dict[int, Counter[tuple[str, int]]] = defaultdict(Counter)
    for (function, pc, _), times in profile.at.items():
        own[function][_place(profile, function, pc)] += times
    calls: dict[int, list[tuple[tuple[str, int], int, int, int]]] = defaultdict(list)
    for (caller, site, callee), (count, inside) in profile.calls().items():
        place = _place(profile, caller, site - 1) if site else _start(profile, caller)
        calls[caller].append((place, callee, count, inside))
    for function in sorted(own.keys() | calls.keys()):
        yield ""
        yield f"ob={profile.labels[profile.functions[function].who]}"
        home = _start(profile, function)[0]
        yield f"fl={home}"
        yield f"fn={_name(profile, function)}"
        file = home
        for (where, line), times in sorted(
            own[function].items(), key=lambda row: (row[0][0] != home, row[0])
        ):
            if where != file:
                yield f"{'fe' if where == home else 'fi'}={where}"
                file = where
            yield f"{line} {times}"
        for (where, line), callee, count, inside in sorted(calls[function]):
            if where != file:
                yield f"{'fe' if where == home else 'fi'}={where}"
                file = where
            target, start = _start(profile, callee)
            yield f"cob={profile.labels[profile.functions[callee].who]}"
            yield f"cfi={target}"
            yield f"cfn={_name(profile, callee)}"
            yield f"calls={count} {start}"
            yield f"{line} {inside}"


def _place(profile: Profile, function: int, pc: int) -> tuple[str, int]:
    """Return file and line; line 0 of the function's own file if unknown."""
    file, line = profile.place(function, pc)
    return (file, line) if line else (_start(profile, function)[0], 0)


def _start(profile: Profile, function: int) -> tuple[str, int]:
    """Return file and line of the start of a function."""
    one = profile.functions[function]
    return profile.place(function, one.start + one.moved) if one.start else ("?", 0)


def _name(profile: Profile, function: int) -> str:
    """Return a unique name: two enclaves of one ELF have the same functions, and readers use only names."""
    one = profile.functions[function]
    ambiguous = sum(other.name == one.name and other.who != one.who for other in profile.functions)
    return f"{profile.labels[one.who]}:{one.name}" if ambiguous else one.name
