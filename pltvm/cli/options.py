"""Options shared by several commands, and the parsing of their values."""

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_headers import instead, name_of
from pltvm.host.elf_kind import CHOICES, Kind, decide
from pltvm.host.plain_file import read_plain
from pltvm.monitor.abi import DEFAULT_SLOTS, MAX_STACK, MOST_SLOTS, NAME_SIZE, EnclaveType

_TEXT: Final = "text:"
_LIKE_A_PATH: Final = re.compile(r"\S*/\S*|\S+\.\w{1,8}", re.ASCII)  # a slash, or an extension
_SMALL: Final = 1 << 20  # bytes
_LEAST_LIMIT: Final = 0.001  # seconds
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str | int) -> int:
    """Parse `512M`, `2G`, `64K` or plain bytes; a default is a number already."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d{1,18})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a size: write 512M, 2G or a number of bytes")
    return int(match[1]) * _UNITS[match[2].upper()]


def whole(least: int = 0, most: int | None = None) -> Callable[[str | int], int]:
    """Return a parser of whole numbers from `least` to `most`."""
    limits = f"{least} or more" if most is None else f"{least} to {most}"

    def parse(text: str | int) -> int:
        try:
            number = int(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a whole number") from None
        if number < least or (most is not None and number > most):
            raise typer.BadParameter(f"{number} is out of range: it must be {limits}")
        return number

    return parse


def parse_seconds(text: str | float) -> float:
    """Parse a time in seconds, which may be a fraction; 0 means no limit where that is the default."""
    try:
        seconds = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number of seconds") from None
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"{text} is no time: write a number of seconds")
    return seconds


def parse_limit(text: str | float) -> float:
    """Parse a time limit: at least a millisecond."""
    seconds = parse_seconds(text)
    if seconds < _LEAST_LIMIT:
        raise typer.BadParameter(f"{text} is too short: a limit is {_LEAST_LIMIT} seconds or more")
    return seconds


def file_or_text(option: str, value: str | None) -> bytes | None:
    """Return the content for a value of `option`: `@FILE` is a file, `text:…` a text, others a file or a
    text.

    A bare word that names a file is that file. One that looks like a file name, but names none, is an
    ArgumentError, as the name itself is never the intended content.
    """
    if value is None:
        return None
    if value.startswith(_TEXT):
        return os.fsencode(value.removeprefix(_TEXT))
    if value.startswith("@"):
        return read_plain(value[1:])
    if os.path.isfile(value):
        return read_plain(value)
    if _LIKE_A_PATH.fullmatch(value):
        what = "not a plain file" if os.path.lexists(value) else "no such file"
        raise ArgumentError(
            f"{option} {value}: {what}; write {option} @FILE for a file, or {option} {_TEXT}…"
        )
    return os.fsencode(value)


def refuse_given(ctx: typer.Context, why: str, *names: str) -> None:
    """Raise ArgumentError if one of these options was given, as it would have no effect.

    `names` are those of parameters; `why` completes "--option …".
    """
    for parameter in ctx.command.params:
        if parameter.name in names and is_given(ctx, parameter.name):
            raise ArgumentError(f"{parameter.opts[0]} {why}")


def own_options(ctx: typer.Context) -> list[str]:
    """Return the options of this command, as they are written; without --help."""
    return [word for parameter in ctx.command.params for word in parameter.opts if word.startswith("-")]


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether the command line has this option, with any value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


_CONCURRENT: Final = ",concurrent"
_SLOTS: Final = re.compile(rf"(.+?){_CONCURRENT}(?:=([0-9]+))?", re.DOTALL)


def parse_servers(pairs: Iterable[str], concurrent: bool = True) -> list[tuple[str, str]]:
    """`--server NAME=FILE[,concurrent[=SLOTS]]` as names and paths, each name once. Raises ArgumentError.

    The name of a concurrent server has a suffix for `kind_of_server`. Without `concurrent` it is refused.
    """
    servers: dict[str, tuple[str, str]] = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        slots = _SLOTS.fullmatch(path)
        file, comma, _ = path.rpartition(",")
        is_misspelt = not slots and comma and os.path.isfile(file) and not os.path.lexists(path)
        if not name or not path or is_misspelt:
            raise ArgumentError(f"--server {pair}: write --server NAME=FILE, or NAME=FILE{_CONCURRENT}=SLOTS")
        if slots and not (concurrent and 1 <= int(slots[2] or DEFAULT_SLOTS) <= MOST_SLOTS):
            why = f"a server has 1 to {MOST_SLOTS} slots" if concurrent else "no server is concurrent here"
            raise ArgumentError(f"--server {pair}: {why}")
        if name in servers:
            other = servers[name][1]
            raise ArgumentError(f"--server {pair}: another server has this name: {other}")
        check_name(name, "--server")
        if _SLOTS.fullmatch(name):
            raise ArgumentError(f"--server {pair}: no name ends so")
        servers[name] = (name + path[slots.end(1) :], slots[1]) if slots else (name, path)
    return list(servers.values())


def kind_of_server(name: str) -> dict[str, Any]:
    """Return arguments of `Machine.create` for a server with this name from `parse_servers`."""
    found = _SLOTS.fullmatch(name)
    if found is None:
        return {"name": name, "type": EnclaveType.SERVER}
    slots = int(found[2] or DEFAULT_SLOTS)
    return {"name": found[1], "type": EnclaveType.CONCURRENT_SERVER, "slots": slots}


def check_stack(size: int) -> None:
    """Raise ArgumentError for an invalid --stack-size."""
    if not 0 < size <= MAX_STACK:
        raise ArgumentError(f"--stack-size {size}: a stack has 1 byte to {MAX_STACK >> 20} MiB")


def check_name(name: str, option: str = "--name") -> None:
    """Raise ArgumentError for an invalid name of an enclave."""
    if (size := len(os.fsencode(name))) > NAME_SIZE:
        raise ArgumentError(f"{option} {name!r}: the name has {size} bytes; at most {NAME_SIZE} are possible")


def build_wall(
    wanted: bool,
    read: Iterable[str | Path],
    write: Iterable[str | Path] = (),
    *,
    folder: Path | None = None,
    file: Path | None = None,
    links: Iterable[str | Path] = (),
    **keeps: bool,
) -> None:
    """Confine this process before it runs an untrusted program, and report the gaps.

    Arguments as for `pltvm.confine.confine`. `folder` and `file` are for output: they are made here, as they
    could not be made behind the wall. Raises PltvmError if the folder cannot be made, and for a missing file
    to be read where it can tell what is there instead, as nothing behind the wall can.
    """
    if not wanted:
        return
    from pltvm.confine import confine

    read = list(read)
    for path in read:
        hint = "" if os.path.lexists(path) else instead(os.fspath(path))
        if hint:
            raise PltvmError(f"{name_of(path)}: no such file{hint}")
    if folder is not None and not folder.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PltvmError(f"{folder}: cannot be written: {error.strerror}") from None
    if file is not None and not file.exists():
        with suppress(OSError):  # writing to it reports the error
            file.touch()
    missing = confine(
        read, [*write, *(path for path in (folder, file) if path is not None)], links=links, **keeps
    )
    if missing:
        print(f"pltvm: {'; '.join(missing)} (see docs/threat-model.md)", file=sys.stderr)


def read_small(path: Path) -> bytes:
    """Return the bytes of a file with a report or a key. Raises PltvmError, also if it is too large."""
    return read_plain(path, _SMALL)


def refuse_host_program(file: str | os.PathLike[str]) -> None:
    """Raise PltvmError for a file that is certainly a Linux program, where only an enclave is valid."""
    decision = decide(file)
    if decision.kind is Kind.LINUX_PROGRAM and decision.sure:
        raise PltvmError(f"{name_of(file)}: is a host program, not an enclave: it {decision.reasons[0]}")


def parse_kind(text: str) -> Kind:
    """Parse the kind of a file (--as)."""
    if text not in CHOICES:
        raise ArgumentError(f"--as {text}: write one of {', '.join(CHOICES)}")
    return Kind(text)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return shell completion for an option that takes one of these words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def file_behind(mark: str) -> Callable[[str], list[str]]:
    """Return shell completion for a value with a file after the first `mark`.

    Some shells take the part after it as a word, and complete files themselves.
    """

    def offer(incomplete: str) -> list[str]:
        before, found, path = incomplete.partition(mark)
        return [f"{before}{mark}{one}" for one in _files(path)] if found else []

    return offer


def file_in_bash(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return completion for a word that bash splits off: the FILE of `--shm @FILE`.

    bash replaces `@FILE` by it, which has the same meaning. Other values are completed by bash itself.
    """
    behind = any(str(ctx.params.get(name) or "").endswith("@") for name in ("shm", "relay"))
    return list(_files(incomplete)) if behind else []


def _files(path: str) -> Iterator[str]:
    """Yield the files whose paths start with this, with a slash after folders."""
    folder, name = os.path.split(path)
    with suppress(OSError):
        for one in sorted(os.listdir(folder or ".")):
            if one.startswith(name) and (name or one[0] != "."):
                found = os.path.join(folder, one)
                yield f"{found}/" if os.path.isdir(found) else found


As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="|".join(CHOICES),
        help="Take FILE for this, whatever it looks like.",
        autocompletion=one_of(*CHOICES),
    ),
]
Ram = Annotated[
    int,
    typer.Option(
        parser=parse_size, metavar="SIZE", help="RAM of the guest machine; default: 1G.", show_default=False
    ),
]
StackSize = Annotated[
    int,
    typer.Option(
        parser=parse_size,
        metavar="SIZE",
        help="Size of the enclave's stack; default: 64K.",
        show_default=False,
    ),
]
Budget = Annotated[
    float,
    typer.Option(
        "--time",
        parser=parse_seconds,
        metavar="SECONDS",
        help="Stop after this time.",
        show_default=False,
    ),
]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="Exit with the low 8 bits of the enclave's value.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Relay = Annotated[
    str | None,
    typer.Option(
        metavar="@FILE|TEXT",
        help="Content of the relay pages given to each enclave.",
        autocompletion=file_behind("@"),
    ),
]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=ELF",
        help="Server, and the name to call it by; repeatable. ELF,concurrent=N: takes N calls at once.",
        autocompletion=file_behind("="),
    ),
]
Shm = Annotated[
    str | None,
    typer.Option(
        metavar="@FILE|TEXT",
        help="Content of the memory shared with the host.",
        autocompletion=file_behind("@"),
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--keys", metavar="FILE", help="The machine's keys; made if the file is missing."),
]
Confined = Annotated[
    bool,
    typer.Option("--confine/--no-confine", help="Keep this process from all files that it does not need."),
]
Callers = Annotated[
    int | None, typer.Option(parser=whole(), metavar="N", help="Run N copies of the enclave at once.")
]
Quantum = Annotated[
    int | None, typer.Option(parser=whole(), metavar="N", help="Length of a time slice, in instructions.")
]
Races = Annotated[bool, typer.Option("--races", help="Report data races.")]
Schedule = Annotated[
    str | None, typer.Option(metavar="SEED|STEPS", help="Order of the turns: see docs/schedules.md.")
]
