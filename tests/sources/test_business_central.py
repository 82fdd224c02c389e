"""Business Central: what its entities say, and why a body makes no event."""

from pathlib import Path
from typing import Any

from sources.records import Mapped, Rejected, map_paths

ROWS = list(map_paths("business_central", [str(Path(__file__).parent / "fixtures" / "business_central")]))
EVENTS = [event for row in ROWS if isinstance(row, Mapped) for event in row.events]


def case(key: str) -> list[Any]:
    return [event for event in EVENTS if event.correlationid == key]


def test_an_invoice_lies_in_its_companys_books_and_a_draft_is_none() -> None:
    (issued,) = case("invoice:c0ffee:business_central:i1")
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.direction) == (12_150, 2_150, "sales")
    assert (issued.data.refs[0].value, issued.data.accounting_date.isoformat()) == ("PO-1", "2025-01-16")
    assert case("invoice:c0ffee:business_central:i2") == []


def test_a_cancelled_bill_no_longer_stands_and_dinars_have_three_decimals() -> None:
    issued, voided = case("invoice:main:business_central:b1")
    assert (issued.data.direction, issued.data.total_minor, voided.type) == ("purchase", 10_125, "invoice.voided")


def test_credits_and_payments_name_their_invoice() -> None:
    (memo,), (received,) = case("credit:main:business_central:m1"), case("receipt:main:business_central:p1")
    assert memo.data.invoice_key == received.data.allocations[0].target == "invoice:main:business_central:i1"
    assert (memo.data.total_minor, received.data.amount_minor) == (2_150, 10_000)
    assert case("order:main:business_central:o1")[0].data.value_minor == 12_150


def test_what_makes_no_event_says_why() -> None:
    assert [(row.line, row.failure, row.reason.split(": ", 1)[1]) for row in ROWS if isinstance(row, Rejected)] == [
        (7, "master_data", "currencyCode is empty: the local currency's code is not in the body"),
        (8, "master_data", "a ledger entry: the local currency it is in is not in the body"),
        (9, "policy", "it holds no document, payment or customer"),
        (10, "mapping", "status is 'Lost', unknown to this adapter"),
    ]
