"""SAP's OData bodies: documents, their cancellations and postings, and what is told by a header alone."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from canonical.dead_letters import DeadLetter
from sources.records import Mapped, Rejected, map_paths
from sources.registry import map_record

FOLDER = Path(__file__).parent / "fixtures" / "sap_odata"
ROWS = list(map_paths("sap_odata", [str(FOLDER)]))
EVENTS = [event for row in ROWS if isinstance(row, Mapped) for event in row.events]
ITEMS = json.loads((FOLDER / "accounting.json").read_text())["value"]


def case(key: str) -> list[Any]:
    return [event for event in EVENTS if event.correlationid == key]


def posting(**changes: str) -> Any:
    """The document with these values in each of its items: an event or a dead letter."""
    outcome = map_record("sap_odata", json.dumps({"value": [item | changes for item in ITEMS]}).encode())
    return outcome if isinstance(outcome, DeadLetter) else outcome[0]


def test_a_billing_document_and_its_cancellation_are_one_case() -> None:
    issued, voided = case("invoice:1710:sap:0090000001")
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.accounting_date) == (5_686, 421, date(2016, 8, 17))  # fmt: skip
    assert (voided.type, voided.data.reason) == ("invoice.voided", "cancelled by 0090000002")
    assert [event.type for event in case("credit:1710:sap:0090000003")] == ["credit_memo.issued", "credit_memo.voided"]
    assert case("credit:1710:sap:0090000003")[0].data.total_minor == 1_100


def test_items_of_an_accounting_document_are_one_posting_in_its_invoices_case() -> None:
    (posted,) = case("invoice:1010:sap:0090000009")
    assert [(line.role, line.base_minor, line.amount_minor) for line in posted.data.lines] == [
        ("receivable", 99_900, 120_000), ("other", -80_000, -96_096), ("tax", -19_900, -23_904),
    ]  # fmt: skip
    assert (posted.data.document_type, posted.data.accounting_date, posted.data.base_currency) == ("invoice", date(2015, 12, 25), "EUR")  # fmt: skip


def test_unsigned_amounts_beside_s_and_h_are_negated_once_and_signed_ones_never() -> None:
    unsigned = [item | {name: item[name].removeprefix("-") for name in ("AmountInCompanyCodeCurrency", "AmountInTransactionCurrency")} for item in ITEMS]  # fmt: skip
    outcome = map_record("sap_odata", json.dumps({"value": unsigned}).encode())
    assert not isinstance(outcome, DeadLetter)
    assert outcome[0].data == case("invoice:1010:sap:0090000009")[0].data


def test_a_part_of_a_document_is_refused() -> None:
    letter = map_record("sap_odata", json.dumps({"value": ITEMS[:2]}).encode())
    assert isinstance(letter, DeadLetter)
    assert "its 2 items come to 19900 minor units, not to zero" in letter.reason
    assert "DebitCreditCode is 'X'" in posting(DebitCreditCode="X").reason
    assert posting(BillingDocument="").correlationid == "summary:1010:sap:2015/0100000032"


def test_orders_and_suppliers_are_told_too() -> None:
    (order,) = case("order:1710:sap:0000000001")
    assert (order.data.kind, order.data.value_minor, order.data.refs[0].value) == ("order", 5_265, "PO-7")
    issued, voided = case("invoice:1710:sap:2016/5100000001")
    assert (issued.data.direction, issued.data.total_minor, voided.type) == ("purchase", 151_163, "invoice.voided")


def test_what_is_told_by_its_header_or_holds_no_document_says_so() -> None:
    assert [(row.failure, row.reason) for row in ROWS if isinstance(row, Rejected)] == [
        ("policy", "sap BillingDocument '0090000001': an item is told by its document's header"),
        ("policy", "sap_odata: a request or notification holds no document; send what the API answers"),
    ]
