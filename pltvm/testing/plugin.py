"""The plugin: what a failed test shows of the enclaves that faulted in it.

assert result.fault is None         the comparison shows the whole report, not its first line
any other failure                   a section "fault reports" has those that were made during the test
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest


def _latest() -> list[Any]:
    """The latest reports; none where nothing has run an enclave, which is not loaded for that."""
    module = sys.modules.get("pltvm.host.report")
    return list(module.latest) if module is not None else []


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """The whole text where a report is compared."""
    for one in (left, right):
        if type(one).__name__ == "FaultReport" and type(one).__module__ == "pltvm.host.report":
            return [f"{left!r} {op} {right!r}", *str(one).splitlines()]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Add the reports of a test to its failure."""
    before = {id(report) for report in _latest()}
    try:
        return (yield)
    except Exception:
        new = [str(report) for report in _latest() if id(report) not in before]
        if new:
            item.add_report_section("call", "fault reports", "\n\n".join(new))
        raise
