"""The plugin: its options, and the data on enclaves shown by failed tests.

assert result.fault is None         the comparison shows the whole report, not its first line
any other failure                   a section "fault reports" has the reports made during the test,
                                    a section "enclave output" the text printed by enclaves

No module of the machine is imported before a test does so.
"""

import os
import sys
from collections.abc import Generator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import pytest

from pltvm.listeners import machine_made
from pltvm.testing.fixtures import (  # for pytest to find them
    MARK,
    _pltvm_put_back,
    pltvm_build,
    pltvm_machine,
    pltvm_module_machine,
)

if TYPE_CHECKING:
    from pltvm import Machine

__all__ = ["_pltvm_put_back", "pltvm_build", "pltvm_machine", "pltvm_module_machine"]

_PROXY: Final = 2  # pltvm.host.clients.PROXY, not imported for that
_CALLED: Final = "servers, called from Python"
_MOST_OUTPUT: Final = 64 << 10  # bytes shown by a failure: the last ones


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("pltvm", "enclaves (pltvm)")
    group.addoption(
        "--pltvm-cov", nargs="?", const="lcov.info", metavar="FILE|DIR",
        help="write which lines of enclaves the tests ran, as lcov (default: lcov.info)",
    )  # fmt: skip
    group.addoption(
        "--pltvm-check",
        action="store_true",
        help="build enclaves with the memory checker (pltvm build --check)",
    )
    parser.addini("pltvm_flags", "flags for the enclaves that pltvm_build builds", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register listeners."""
    config.addinivalue_line(
        "markers", f"{MARK}(**options): options of the test's machine, as of pltvm.Machine"
    )
    config.pluginmanager.register(_Shown(), "pltvm-shown")
    place = config.getoption("pltvm_cov")
    if place is not None:
        from pltvm.testing.cov import Coverage

        config.pluginmanager.register(Coverage(config, place), "pltvm-cov")


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show the whole text of a compared report."""
    for one in (left, right):
        if type(one).__name__ == "FaultReport" and type(one).__module__ == "pltvm.host.report":
            return [f"{left!r} {op} {right!r}", *str(one).splitlines()]
    return None


def _latest() -> list[Any]:
    """Return the latest reports; none if no enclave has run, without importing the module for that."""
    module = sys.modules.get("pltvm.host.report")
    return list(module.latest) if module is not None else []


class _Shown:
    """Records reports and output of enclaves during a test, to show them if it fails."""

    def __init__(self) -> None:
        self._before: list[Any] = []  # reports
        self._printed: list[tuple[str, bytes]] = []  # with the enclave whose run it was
        self._size = 0
        machine_made.append(self._listen)

    def pytest_unconfigure(self) -> None:
        machine_made.remove(self._listen)

    def _listen(self, machine: "Machine") -> None:
        machine.driver.listen(self._note)

    def _note(self, enclave: Any, text: bytes) -> None:
        who = _CALLED if enclave.client == _PROXY else os.path.basename(enclave.label)
        self._printed.append((who, text))
        self._size += len(text)
        while self._size > _MOST_OUTPUT and len(self._printed) > 1:
            self._size -= len(self._printed.pop(0)[1])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Begin a test."""
        self._before, self._printed, self._size = _latest(), [], 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add sections to its failure, also for unittest classes, whose failures are no exceptions here."""
        report = yield
        if report.failed:
            told = report.longreprtext
            new = [str(one) for one in _latest() if not any(one is other for other in self._before)]
            texts = [one for one in new if any(line.strip() not in told for line in one.splitlines())]
            if texts:
                report.sections.append((f"Captured fault reports {call.when}", "\n\n".join(texts)))
            if self._printed:
                report.sections.append((f"Captured enclave output {call.when}", self._output()))
        return report

    def _output(self) -> str:
        """Return the printed text, with the enclave's name where it changes."""
        parts = []
        for label, texts in groupby(self._printed, lambda one: one[0]):
            text = b"".join(text for _, text in texts)[-_MOST_OUTPUT:].decode("utf-8", "replace")
            parts.append(f"{label}:\n{text}" if text.endswith("\n") else f"{label}:\n{text}\n")
        return "".join(parts)
