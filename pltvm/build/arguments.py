"""Parses a command line of `pltvm build`, which is that of a C compiler.

sources, objects, archives, -l and other linker options      in their order: `Arguments.inputs`
-o, -O, -g, -c -S -E                                         once: the last one counts
everything else                                              is passed to the compiler unchanged
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltvm.errors import BuildError

C: Final = frozenset((".c", ".i"))
CXX: Final = frozenset((".cc", ".cpp", ".cxx", ".C", ".ii"))
ASSEMBLY: Final = frozenset((".S", ".s"))
LINKED: Final = frozenset((".o", ".obj", ".a"))
SOURCES: Final = C | CXX | ASSEMBLY

_LEVELS: Final = ("0", "1", "2", "3", "s", "z")
_MODES: Final = frozenset(("-c", "-S", "-E", "-fsyntax-only", "-M", "-MM"))
# Options whose argument is the next word, unless it is joined to them.
_TAKES_ONE: Final = frozenset((
    "-I", "-D", "-U", "-include", "-imacros", "-isystem", "-iquote", "-idirafter",
    "-Xclang", "-mllvm", "-Xpreprocessor", "-Xassembler", "-MF", "-MT", "-MQ", "-x", "--param", "-arch",
))  # fmt: skip
_LINKER_TAKES_ONE: Final = frozenset(("-L", "-l", "-u", "-z", "-Xlinker"))
_LINKER: Final = (
    "-L",
    "-l",
    "-u",
    "-Wl,",
    "-Xlinker",
    "-z",
    "-static",
    "-nostdlib",
    "-nodefaultlibs",
    "-nostart",
)
_ALWAYS_THERE: Final = ("-lc", "-lm", "-lgcc", "-lpltvm")  # needed parts of them are linked anyway


@dataclass(frozen=True)
class Arguments:
    """A parsed command line."""

    inputs: tuple[str, ...]  # files, and options of the linker
    flags: tuple[str, ...]  # of the compiler
    output: Path | None = None
    opt: str = "-O2"
    debug: str = ""  # -g0 is no information, -g1 line tables, -g all; "" what reports need, by language
    mode: str = ""  # "" for an ELF, else one of -c -S -E
    asks: bool = False  # whether it is a query of the compiler, such as --version

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [Path(one) for one in self.inputs if Path(one).suffix in SOURCES | LINKED and one[0] != "-"]

    @property
    def sources(self) -> list[str]:
        """The names of files to compile."""
        return [one for one in self.inputs if Path(one).suffix in SOURCES and one[0] != "-"]

    def default_output(self) -> Path:
        """Return the default path of the ELF."""
        return self.files[0].with_suffix(".elf")


def parse(line: Sequence[str]) -> Arguments:
    """Parse a command line. Raises BuildError if there is nothing to compile, or an argument is missing."""
    inputs: list[str] = []
    flags: list[str] = []
    output, opt, debug, mode, asks = None, "-O2", "", "", False
    rest = list(line)
    while rest:
        word = rest.pop(0)
        if word == "--":
            continue
        if word == "-o" or (word.startswith("-o") and word != "-o" and not word.startswith("-object")):
            output = Path(word[2:] or _argument(word, rest))
        elif word in _MODES:
            mode = word
        elif word == "-O" and rest[:1] and rest[0] in _LEVELS:
            opt = f"-O{rest.pop(0)}"
        elif word.startswith("-O"):
            opt = word
        elif word.startswith("-g") and _is_debug(word):
            debug = word
        elif word.startswith(_LINKER):
            words = [word, _argument(word, rest)] if word in _LINKER_TAKES_ONE else [word]
            if "".join(words) not in _ALWAYS_THERE:
                inputs += words
        elif word in _TAKES_ONE:
            flags += [word, _argument(word, rest)]
        elif word.startswith("-"):
            asks = asks or word in ("--version", "-v", "-###", "-dumpmachine") or word.startswith("-print-")
            flags.append(word)
        else:
            inputs.append(_file(word))
    if not asks and not any(not word.startswith("-") for word in inputs):
        raise BuildError("name a file to compile or to link: pltvm build FILE.c makes FILE.elf")
    return Arguments(tuple(inputs), tuple(flags), output, opt, debug, mode, asks)


def _argument(word: str, rest: list[str]) -> str:
    if not rest:
        raise BuildError(f"{word}: nothing follows it")
    return rest.pop(0)


def _is_debug(word: str) -> bool:
    """Whether the word sets the amount of debug information: -g, -g0 … -g3, -ggdb."""
    return word in ("-g", "-ggdb") or (len(word) == 3 and word[2].isdigit())


def _file(word: str) -> str:
    if Path(word).suffix not in SOURCES | LINKED:
        kinds = " ".join(sorted(SOURCES | LINKED))
        raise BuildError(f"{word}: is not one of {kinds}")
    return word
