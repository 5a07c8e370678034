"""The page of faults and the tests that name them say the same."""

from __future__ import annotations

import re

import pytest
from tests.fault_rows import named_in_tests, named_on_page
from tests.source_code import ROOT

ON_PAGE = named_on_page()
IN_TESTS = named_in_tests()

# Of parts that do not exist yet, or are not finished: a test may name them, the page must not claim them.
LATER = re.compile(r"H\d+|S(15|17)|D13|R(8|9|12)|E28|P12|T8")


@pytest.mark.parametrize("row", ON_PAGE)
def test_every_test_on_the_page_exists_and_names_its_row(row: str):
    assert ON_PAGE[row], f"no test for row {row}"
    assert [test for test in ON_PAGE[row] if test not in IN_TESTS.get(row, [])] == []


def test_every_row_that_tests_name_is_on_the_page_unless_its_part_is_to_come():
    assert sorted(row for row in IN_TESTS if row not in ON_PAGE and not LATER.fullmatch(row)) == []


def test_no_row_of_a_part_to_come_is_claimed():
    assert [row for row in ON_PAGE if LATER.fullmatch(row)] == []


def test_the_page_names_whole_paths():
    assert len(ON_PAGE) > 50
    assert all((ROOT / test.partition("::")[0]).is_file() for tests in ON_PAGE.values() for test in tests)
