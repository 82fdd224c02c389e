"""SAP's document flow: documents with cases of their own, and links that never join them."""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sources.records import Mapped, Rejected, map_paths

FOLDER = Path(__file__).parent / "fixtures" / "sap_flow"
ROWS = list(map_paths("sap_document_flow", [str(FOLDER)]))
CASES: dict[str, list[Any]] = defaultdict(list)
for _row in ROWS:
    for _event in _row.events if isinstance(_row, Mapped) else ():
        CASES[_event.correlationid].append(_event)


def case(kind: str, ident: str) -> list[Any]:
    return CASES[f"{kind}:main:sap_flow:{ident}"]


def refs_of(event: Any) -> list[tuple[str, str]]:
    return [(ref.kind, ref.value) for ref in event.data.refs or ()]


def test_an_invoice_is_linked_to_its_order_and_delivery_and_stays_a_case_of_its_own() -> None:
    (issued,) = case("invoice", "0090000003")
    assert (issued.type, issued.data.total_minor, issued.data.currency) == ("invoice.issued", 10_050, "EUR")
    assert issued.time == datetime(2025, 1, 5, 8, tzinfo=UTC)
    assert refs_of(issued) == [("order", "0000001000"), ("delivery", "0080000001")]
    assert issued.data.order_key == "order:main:sap_flow:0000001000"


def test_an_item_linked_to_order_and_delivery_counts_once_and_items_add_up() -> None:
    (yen,) = case("invoice", "0090000008")
    assert (yen.data.total_minor, yen.data.currency) == (1_500, "JPY"), "SAP stores yen with two decimals"


def test_what_moves_no_money_is_recorded_with_what_it_follows() -> None:
    (delivery,), (goods,) = case("index", "J/0080000001"), case("index", "R/0049000001")
    assert (delivery.data.kind, refs_of(delivery)) == ("delivery", [("order", "0000001000")])
    assert (goods.data.kind, refs_of(goods)) == ("goods movement", [("delivery", "0080000001")])


def test_an_order_that_follows_nothing_was_there_when_it_was_first_followed() -> None:
    (order,) = case("order", "0000001000")
    assert (order.data.kind, order.time, order.data.refs) == ("order", datetime(2025, 1, 2, 9, tzinfo=UTC), ())


def test_a_number_in_two_ranges_is_two_documents() -> None:
    (transfer,), (delivery,) = case("index", "Q/0000000023"), case("index", "J/0000000023")
    assert refs_of(transfer) == [("delivery", "0000000023")]
    assert delivery.data.kind == "delivery"


def test_a_cancellation_voids_the_only_invoice_that_it_can_mean() -> None:
    issued, voided = case("invoice", "0090000001")
    assert (voided.type, voided.data.document_id, voided.data.reason) == ("invoice.voided", issued.data.document_id, "cancelled by 0090000002")  # fmt: skip
    assert [event.type for event in case("invoice", "0090000003")] == ["invoice.issued"], "it came later"


def test_a_cancellation_that_could_mean_two_invoices_guesses_none() -> None:
    (memo,) = case("credit", "0090000006")
    assert (memo.type, memo.data.total_minor, memo.data.invoice_key) == ("credit_memo.issued", 36_000, None)
    assert [len(case("invoice", ident)) for ident in ("0090000004", "0090000005")] == [1, 1]


def test_a_credit_memo_names_its_invoice_and_its_own_cancellation() -> None:
    issued, voided = case("credit", "0090000007")
    assert (issued.data.invoice_key, issued.data.total_minor) == ("invoice:main:sap_flow:0090000003", 2_000)
    assert voided.type == "credit_memo.voided"


def test_an_invoice_below_nothing_is_a_credit() -> None:
    (memo,) = case("credit", "0090000009")
    assert (memo.type, memo.data.total_minor) == ("credit_memo.issued", 750)


def test_what_contradicts_itself_is_refused() -> None:
    assert sorted((row.reason.split(": ", 1)) for row in ROWS if isinstance(row, Rejected)) == [
        ["sap 'Y' '0000000099'", "document category 'Y' is unknown to this adapter"],
        ["sap cancellation '0090000013'", "it is not told which credit memo it cancels: none, or more than one, of its items at its values came before it"],
        ["sap invoice '0090000010'", "item 000010 is worth one thing by its delivery and another by its order"],
        ["sap invoice '0090000011'", "its items are in EUR and USD: an invoice has one currency"],
        ["sap invoice '0090000014'", "no link says when it was created"],
        ["sap_document_flow", "the row has 2 cells for 16 columns; a separator is missing or unquoted"],
        ["sap_document_flow", "the row names no following document (VBELN)"],
    ]  # fmt: skip
