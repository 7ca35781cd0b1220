"""`--pltvm-cov`: the lines of enclaves that the tests ran, on all machines and workers, as one lcov file."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pltvm.errors import PltvmError
from pltvm.listeners import machine_made

if TYPE_CHECKING:
    from pltvm import Machine
    from pltvm.coverage.lcov import Files
    from pltvm.coverage.recorder import Recorder

NAME: Final = "lcov.info"
_SENT: Final = "pltvm_cov"  # key of the data sent by a pytest-xdist worker
_SHOWN: Final = 5  # names of missing sources


class Coverage:
    """The plugin that is registered if coverage is requested."""

    def __init__(self, config: pytest.Config, place: str) -> None:
        self._config = config
        folder = os.path.isdir(place) or place.endswith(os.sep)
        self.path = Path(config.invocation_params.dir, place, *([NAME] if folder else []))
        self._recorder: Recorder | None = None
        self._files: Files = {}
        self._missing: set[str] = set()
        self._lost = 0  # workers that have sent no data
        self._error = ""
        machine_made.append(self._watch)

    def pytest_unconfigure(self) -> None:
        machine_made.remove(self._watch)

    def _watch(self, machine: "Machine") -> None:
        if self._recorder is None:
            from pltvm.coverage.recorder import Recorder

            self._recorder = Recorder(self._folders_of)
        self._recorder.watch(machine)

    def _folders_of(self, elf: Path | None) -> list[Path]:
        from pltvm.testing import building

        own = building.folders.get(elf, []) if elf is not None else []
        return [*own, self._config.rootpath]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Send the counts in a worker; in the main process, write the file."""
        if self._recorder is not None:
            files, missing = self._recorder.found()
            self._add(files, missing)
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            from pltvm.coverage.lcov import to_plain

            output[_SENT] = json.dumps([to_plain(self._files), sorted(self._missing)])
        else:
            self._write()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the data of a worker that has ended."""
        from pltvm.coverage.lcov import from_plain

        sent = getattr(node, "workeroutput", {}).get(_SENT)
        if sent is None:
            self._lost += 1
            return
        plain, missing = json.loads(sent)
        self._add(from_plain(plain), missing)

    def _add(self, files: "Files", missing: Any) -> None:
        from pltvm.coverage.lcov import add

        add(self._files, files)
        self._missing.update(missing)

    def _write(self) -> None:
        from pltvm.coverage.lcov import text
        from pltvm.host.plain_file import write_plain

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_plain(self.path, text(self._files).encode("utf-8", "surrogateescape"))
        except (OSError, PltvmError) as error:
            self._error = f"{self.path}: {error}" if isinstance(error, OSError) else str(error)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print a line for each file."""
        show = terminalreporter.write_line
        terminalreporter.section("coverage of enclaves")
        rows = [(name, *file.reached) for name, file in sorted(self._files.items())]
        if len(rows) > 1:
            rows.append(("in all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
        for name, reached, lines in rows:
            part = f"{100 * reached // lines:3} %" if lines else "     "
            show(f"{reached:6} of {lines:6} lines  {part}  {_shown(name, self._config)}")
        if not rows:
            show("no enclave ran whose sources are known (compile with -g)")
        if self._missing:
            names = sorted(self._missing)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            show(f"there is no source of {', '.join(names[:_SHOWN])}{more}")
        if self._lost:
            show(f"not counted: {self._lost} workers that broke down")
        show(self._error or f"written to {_shown(str(self.path), self._config)}")


def _shown(name: str, config: pytest.Config) -> str:
    """Return a path, relative to the folder where pytest was started if it is in there."""
    folder = config.invocation_params.dir
    return os.path.relpath(name, folder) if Path(name).is_relative_to(folder) else name
