"""Every row of the table of §8, and host programs as people write them, by a library that knows the document.

The program tells the first result that differs; every run must print the same bytes, whatever compiled it.
"""

import pytest

from tests.peer import cases
from tests.peer.cases import Case
from tests.peer.conftest import Variant


@pytest.mark.parametrize("case", [*cases.rows(), *cases.PROGRAMS], ids=str)
def test_as_the_document_says(case: Case, variant: Variant) -> None:
    assert cases.wrong(cases.run(case, *variant), case.output) == ""


@pytest.mark.parametrize("case", cases.PROGRAMS, ids=str)
def test_once_more(case: Case, musl: Variant) -> None:
    assert cases.run(case, *musl) == cases.run(case, *musl)
