"""Zuora's table extracts: what invoices, payments and subscriptions say, and why a row is refused."""

from pathlib import Path
from typing import Any

from sources.records import Mapped, Rejected, map_paths

ROWS = list(map_paths("zuora_tables", [str(Path(__file__).parent / "fixtures" / "zuora")]))
CASES: dict[str, list[Any]] = {}
for _row in ROWS:
    for _event in _row.events if isinstance(_row, Mapped) else ():
        CASES.setdefault(_event.correlationid, []).append(_event)


def case(kind: str, ident: str) -> list[Any]:
    return sorted(CASES[f"{kind}:main:zuora:{ident}"], key=lambda event: event.id)


def test_an_invoice_and_all_that_settles_it_lie_in_one_case() -> None:
    decrease, memos, issued, payment = case("invoice", "i1")
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.currency) == (12_050, 2_050, "EUR")
    assert (issued.data.base_currency, issued.data.rate, issued.data.rate_direction) == ("USD", "1.0825", "base_per_document")  # fmt: skip
    assert (issued.data.order_key, [line.amount_minor for line in issued.data.lines]) == (
        "order:main:zuora:s1",
        [10_000],
    )
    assert [(event.data.from_kind, event.data.amount_minor, event.data.payment_key) for event in (payment, memos, decrease)] == [
        ("payment", 10_000, "receipt:main:zuora:p1"), ("credit", 2_050, None), ("credit", 300, None),
    ]  # fmt: skip


def test_an_invoice_below_nothing_is_a_credit_and_a_reversed_one_no_longer_stands() -> None:
    (credit,) = case("credit", "i2")
    assert (credit.type, credit.data.total_minor) == ("credit_memo.issued", 5_000)
    assert [event.type for event in case("invoice", "i3")] == ["invoice.issued", "invoice.voided"]
    assert case("invoice", "i3")[0].data.total_minor == 10, "yen have no decimals"


def test_payments_are_told_by_their_status() -> None:
    assert [[event.type for event in case("receipt", ident)] for ident in ("p1", "p2", "p3")] == [
        ["payment.received"], ["payment.failed"], ["payment.received", "payment.returned"],
    ]  # fmt: skip


def test_a_subscription_has_its_number_beside_its_id() -> None:
    activated, cancelled = case("order", "s1")
    assert (activated.type, cancelled.type) == ("subscription.activated", "subscription.cancelled")
    assert [(ref.kind, ref.value) for ref in activated.data.refs] == [("number", "A-S1"), ("first_version", "s0")]


def test_each_row_that_tells_nothing_says_why() -> None:
    assert sorted((row.failure, row.reason) for row in ROWS if isinstance(row, Rejected)) == [
        ("mapping", "zuora invoice 'INV5': adjustment_amount is not zero, and the table does not say in which direction it was adjusted"),
        ("mapping", "zuora invoice_item 'ii2': the item belongs to invoice 'i9', which is not in the folder; extract both at one time"),
        ("master_data", "zuora refund 'r1': no transaction_currency: the table does not say what the amount is in"),
        ("policy", "zuora credit_balance_adjustment 'c2': an increase keeps a credit on account; it pays no invoice yet"),
        ("policy", "zuora invoice 'INV4': status is Draft: nothing has come of it"),
        ("policy", "zuora payment 'P4': status is Processing: nothing has come of it"),
        ("policy", "zuora product 'x': table product moves nothing that tieout reconciles"),
        ("policy", "zuora subscription 's0': an earlier version of the subscription; the latest one tells itself"),
    ]  # fmt: skip
