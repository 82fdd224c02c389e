"""What do tolerances let pass, and on which day? Summed over cases it is money."""

import pytest

from matching.policy import load
from matching.tolerated import differences, lines
from tests.scenarios.books import applied, case_of, invoice, payment, posting, void

POLICY = load("[tolerance]\namount_minor = 5\ntax_minor = 2\npayment_minor = 3\ncap_minor = 6\n")
PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))
ROWS = (
    ("what agrees lets nothing pass", (invoice("120.00"), posting("120.00"), *PAID), []),
    ("an entry over five cents more", (invoice("120.00"), posting("120.05"), *PAID), [("2026-03-01", "amount", 5)]),
    ("an entry over six cents more is a break, and not let pass", (invoice("120.00"), posting("120.06"), *PAID), []),
    ("paid three cents short", (invoice("120.00"), posting("120.00"), payment("119.97", "1d"), applied("119.97", "1d+1h")),
     [("2026-03-02", "payment", -3)]),
    ("paid four cents short is open still", (invoice("120.00"), posting("120.00"), payment("119.96", "1d")), []),
    ("tax two cents less inside the same total", (invoice("120.00", tax="20.00"), posting("120.00", tax="19.98"), *PAID),
     [("2026-03-01", "tax", -2)]),
    ("a document that is void", (invoice("120.00"), posting("120.05"), void("1d")), []),
    ("no document yet", (posting("120.05"),), []),
)  # fmt: skip


@pytest.mark.parametrize(("what", "facts", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_tolerance_lets_pass_is_told(what: str, facts: tuple, expected: list) -> None:  # type: ignore[type-arg]
    found = [(str(each.day), each.kind, each.variance_minor) for each in differences(case_of(*facts), POLICY)]
    assert found == expected


def test_differences_that_cancel_are_let_pass_all_the_same() -> None:
    more, less = (case_of(invoice("120.00"), posting(amount)) for amount in ("120.04", "119.97"))
    (line,) = lines([each for case in (more, less) for each in differences(case, POLICY)], POLICY.tolerance)
    assert (line.differences, line.let_pass_minor, line.net_minor, line.is_break) == (2, 7, 1, True)
    assert [each.variance_minor for each in line.largest] == [4, -3]
