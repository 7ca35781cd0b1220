"""The table and the reasons speak of what is there."""

from collections import Counter

import pytest

from tests.mutants.__main__ import REASONS, ROOT, one_line, reasons
from tests.mutants.table import TESTS


def test_modules_and_their_tests_exist() -> None:
    for module, tests in TESTS.items():
        assert (ROOT / module).is_file(), module
        assert tests, module
        for test in tests:
            assert (ROOT / "tests" / test).is_file(), test


@pytest.mark.parametrize("module", TESTS)
def test_reasons_are_of_lines_that_are_there(module: str) -> None:
    text = one_line((ROOT / module).read_text())
    for change, why in reasons().items():
        if change.module == module:
            assert change.was in text
            assert f"def {change.function.rpartition('.')[2]}(" in text
            assert change.was != change.now
            assert why


def test_each_reason_is_there_once_and_of_a_module_of_the_table() -> None:
    entries = Counter(reasons().keys())
    assert {change.module for change in entries} <= set(TESTS)
    assert REASONS.read_text().count("[[survivor]]") == len(entries)
