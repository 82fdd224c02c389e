"""Chargebee: what its objects say however they were delivered, and why a record makes no event."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from matching.case import Case
from matching.effects import effects
from matching.judge import judge
from matching.policy import load
from sources.records import Mapped, Rejected, map_paths
from sources.registry import SOURCES
from tests.sources import outcomes

FOLDER = Path(__file__).parent / "fixtures" / "chargebee"
PAID = json.loads((FOLDER / "payment_succeeded.json").read_text())


told = partial(outcomes.told, "chargebee")
refusal = partial(outcomes.refusal, "chargebee")


def invoice_with(**changes: Any) -> Any:
    return PAID["content"]["invoice"] | changes


def transaction_with(**changes: Any) -> Any:
    return PAID["content"]["transaction"] | changes


def test_an_invoice_says_all_that_settled_it_and_from_what() -> None:
    issued, *applied = [event for event in told(PAID) if event.correlationid == "invoice:main:chargebee:17"]
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.version) == (12_100, 2_100, 1_700_000_250_123)
    assert issued.data.order_key == "order:main:chargebee:sub_1"
    assert [(event.data.from_kind, event.data.amount_minor, event.data.payment_key) for event in applied] == [
        ("payment", 9_000, "receipt:main:chargebee:txn_1"), ("credit", 1_500, None), ("credit", 1_500, None), ("write_off", 100, None),
    ]  # fmt: skip
    assert (issued.data.rate, issued.data.rate_direction, issued.data.base_currency) == (
        "1.0825",
        "base_per_document",
        "USD",
    )


def test_a_paid_invoice_and_its_receipt_tie_out() -> None:
    cases: dict[str, Case] = {}
    for event in told(PAID):
        cases.setdefault(event.correlationid, Case(event.correlationid)).add(event)
    verdict = judge(cases["invoice:main:chargebee:17"], load("[expect.chargebee]\nposting = false\npayment = true\napplication = true\nsubscription = true\n"), datetime(2026, 1, 1, tzinfo=UTC))  # fmt: skip
    assert (verdict.outcome, verdict.breaks) == ("ok", ())
    taken = [(effect.target, effect.kind, effect.amount_minor) for effect in effects(cases["invoice:main:chargebee:17"], load())]  # fmt: skip
    assert ("receipt:main:chargebee:txn_1", "applied_from", 9_000) in taken


def test_a_webhook_its_retry_and_a_poll_are_one_fact() -> None:
    polled = {event.id: event.data for event in told(invoice_with())}
    by_webhook = {event.id: event.data for event in told(PAID | {"id": "ev_9", "occurred_at": 1_700_009_999})}
    assert polled.items() <= by_webhook.items()


def test_a_list_that_does_not_come_to_its_total_gives_way_to_the_total() -> None:
    events = told(invoice_with(linked_payments=[]))
    (payment,) = [event for event in events if event.type == "cash.applied" and event.data.from_kind == "payment"]
    assert (payment.data.amount_minor, payment.data.payment_id, payment.time) == (9_000, None, datetime.fromtimestamp(1_700_000_200, UTC))  # fmt: skip


def test_an_invoice_whose_parts_do_not_come_to_its_total_is_refused() -> None:
    letter = refusal(invoice_with(amount_due=1))
    assert letter.reason.endswith("total is 12100, but paid 9000, adjusted 1500, written off 100, credits 1500 and due 1 are 12101")  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        ({"status": "voided", "voided_at": 1_700_000_300}, ["invoice.issued", "invoice.voided"]),
        ({"deleted": True}, ["invoice.issued", "invoice.voided"]),
        ({"status": "posted"}, ["invoice.issued", "cash.applied", "cash.applied", "cash.applied", "cash.applied"]),
    ],
)
def test_what_became_of_an_invoice_follows_its_status(changes: Any, types: list[str]) -> None:
    assert [event.type for event in told(invoice_with(**changes))] == types


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        ({}, ["payment.received"]),
        ({"status": "failure", "error_text": "declined"}, ["payment.failed"]),
        ({"status": "voided"}, ["payment.received", "payment.returned"]),
        ({"deleted": True}, ["payment.received", "payment.returned"]),
        ({"type": "refund", "refunded_txn_id": "txn_0"}, ["refund.issued"]),
        ({"type": "refund", "status": "failure"}, ["refund.failed"]),
        ({"type": "payment_reversal", "reference_transaction_id": "txn_0"}, ["payment.returned"]),
    ],
)
def test_money_moves_as_the_transaction_says(changes: Any, types: list[str]) -> None:
    events = told(transaction_with(**changes))
    assert [event.type for event in events] == types
    of = changes.get("refunded_txn_id") or changes.get("reference_transaction_id") or "txn_1"
    assert {event.correlationid for event in events} == {f"receipt:main:chargebee:{of}"}


@pytest.mark.parametrize(
    ("record", "failure", "reason"),
    [
        (transaction_with(type="authorization"), "policy", "an authorisation moves no money"),
        (transaction_with(status="in_progress"), "policy", "no money has moved yet"),
        (transaction_with(status="lost"), "mapping", "status is 'lost', unknown"),
        (transaction_with(currency_code="XZZ"), "master_data", "currency 'XZZ' is not in ISO 4217"),
        (transaction_with(amount=-5), "mapping", "amount is -5"),
        (transaction_with(amount="9.00"), "mapping", "amount is '9.00' (text), expected an integer"),
        (invoice_with(status="pending"), "policy", "its charges are still being collected"),
        ({"object": "customer", "id": "c", "deleted": True}, "policy", "deleted in Chargebee"),
        ({"object": "wallet", "id": "w"}, "mapping", "object 'wallet' is unknown"),
        ({}, "mapping", "holds no object"),
    ],
)
def test_what_makes_no_event_says_why(record: Any, failure: str, reason: str) -> None:
    letter = refusal(record)
    assert letter.failure == failure
    assert reason in letter.reason


def test_an_object_that_cannot_be_read_refuses_its_whole_record() -> None:
    content = PAID["content"] | {"transaction": transaction_with(amount=None, date=None)}
    assert "date is missing" in refusal(PAID | {"content": content}).reason


def test_the_folder_is_read_as_a_whole() -> None:
    outcomes = list(map_paths("chargebee", [str(FOLDER)]))
    cases = defaultdict(list)
    for outcome in outcomes:
        for event in outcome.events if isinstance(outcome, Mapped) else ():
            cases[event.correlationid].append(event.type)
    assert cases["order:main:chargebee:sub_1"] == ["subscription.activated", "subscription.renewed"]
    assert cases["order:main:chargebee:sub_2"] == ["subscription.activated", "subscription.cancelled", "quote.approved"]
    assert cases["receipt:main:chargebee:txn_1"] == ["refund.issued", "payment.received"]
    assert cases["credit:main:chargebee:CN-3"] == ["credit_memo.issued"]
    assert [(Path(row.path).stem, row.line, row.failure) for row in outcomes if isinstance(row, Rejected)] == [("page", 3, "policy")]  # fmt: skip


def test_the_key_is_the_first_objects_id() -> None:
    assert SOURCES["chargebee"].key(json.dumps(PAID).encode()) == b"txn_1"
