"""Kill Bill: what its objects say in whichever body they come, and why a body makes no event."""

from pathlib import Path
from typing import Any

from sources.records import Mapped, Rejected, map_paths

ROWS = list(map_paths("killbill", [str(Path(__file__).parent / "fixtures" / "killbill")]))
CASES: dict[str, list[Any]] = {}
for _row in ROWS:
    for _event in _row.events if isinstance(_row, Mapped) else ():
        CASES.setdefault(_event.correlationid, []).append(_event)


def case(kind: str, ident: str) -> list[Any]:
    return CASES[f"{kind}:main:killbill:{ident}"]


def test_an_invoice_its_credit_and_its_payment_lie_in_one_case() -> None:
    issued, credit, payment = case("invoice", "i1")
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.order_key) == (6_050, 1_050, "order:main:killbill:s1")  # fmt: skip
    assert [line.amount_minor for line in issued.data.lines] == [1_050, 5_000]
    assert (credit.data.from_kind, credit.data.amount_minor) == ("credit", 2_000)
    assert (payment.data.from_kind, payment.data.amount_minor, payment.data.payment_key) == ("payment", 4_050, "receipt:main:killbill:p1")  # fmt: skip


def test_each_transaction_of_a_payment_is_told_and_what_is_pending_is_not() -> None:
    assert [(event.type, event.data.amount_minor) for event in case("receipt", "p1")] == [
        ("payment.failed", 4_050), ("payment.received", 4_050), ("refund.issued", 500),
    ]  # fmt: skip


def test_a_void_invoice_no_longer_stands_and_one_below_nothing_is_a_credit() -> None:
    assert [event.type for event in case("invoice", "i2")] == ["invoice.issued", "invoice.voided"]
    assert case("invoice", "i2")[0].data.total_minor == 500, "yen have no decimals"
    assert [(event.type, event.data.total_minor) for event in case("credit", "i3")] == [("credit_memo.issued", 750)]


def test_a_subscription_inside_its_bundle_is_found() -> None:
    assert [event.type for event in case("order", "s1")] == ["subscription.activated", "subscription.cancelled"]


def test_what_makes_no_event_says_why() -> None:
    assert [(row.line, row.failure, row.reason.rsplit(": ", 1)[1]) for row in ROWS if isinstance(row, Rejected)] == [
        (7, "policy", "it bills nothing yet"),
        (8, "policy", "it holds no money that tieout reconciles"),
        (9, "policy", "none of its transactions moved money"),
        (10, "policy", "an item is told by its invoice"),
        (11, "mapping", "unknown to this adapter; report it with this record"),
    ]
