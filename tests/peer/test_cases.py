"""Every row of the table of §8, and host programs as people write them, by a library that knows the document.

Each case is run twice and must print the same bytes; the program tells the first result that differs.
"""

import pytest

from tests.peer import cases
from tests.peer.cases import Case
from tests.peer.conftest import Variant


@pytest.mark.parametrize("case", [*cases.rows(), *cases.PROGRAMS], ids=str)
def test_as_the_document_says(case: Case, variant: Variant) -> None:
    first = cases.run(case, *variant)

    assert cases.wrong(first, case.output) == ""
    assert cases.run(case, *variant) == first
