"""Stripe: each payload kind gives exactly the events beside it in fixtures/stripe, or exactly that dead letter.

A fixture is {"body": ..., "events": [...]} or {"body": ..., "dead_letter": {"class", "reason"}}; made by hand after
Stripe's shapes of API versions 2020-08-27 ("older") and 2025-09-30, and of those between 2012 and 2018, which say less.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.dead_letters import DeadLetter
from canonical.records import encode
from sources.registry import SOURCES, map_record

FIXTURES = Path(__file__).parent / "fixtures" / "stripe"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))


def body(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())["body"]
    return found


def mapped(document: dict[str, Any]) -> Any:
    return map_record("stripe", msgspec.json.encode(document))


def told(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The events as plain values; fails with the reason where the record was refused."""
    outcome = mapped(document)
    assert not isinstance(outcome, DeadLetter), outcome
    return [json.loads(encode(event)) for event in outcome]


def facts(*names: str) -> dict[str, Any]:
    """What several records together say: id -> (type, case, data); fails where two of them contradict each other."""
    known: dict[str, Any] = {}
    for name in names:
        for event in told(body(name)):
            said = (event["type"], event["correlationid"], event["data"])
            assert known.setdefault(event["id"], said) == said, name
    return known


@pytest.mark.parametrize("name", NAMES)
def test_payload_gives_exactly_these_events(name: str) -> None:
    fixture = json.loads((FIXTURES / f"{name}.json").read_text())
    outcome = mapped(fixture["body"])
    if "dead_letter" in fixture:
        expected = fixture["dead_letter"]
        assert outcome == DeadLetter(expected["class"], expected["reason"])
        return
    names = ("type", "id", "source", "subject", "time", "correlationid", "data")
    assert [{name: event[name] for name in names} for event in told(fixture["body"])] == fixture["events"]


def test_an_invoice_is_one_fact_by_webhook_by_poll_and_in_older_shapes() -> None:
    names = ("invoice_finalized", "invoice_finalized_older", "invoice_polled", "invoice_paid", "invoice_paid_older")
    assert "stripe:in_1:issued" in facts(*names)


def test_a_payment_is_one_fact_whoever_tells_it() -> None:
    known = facts("charge_succeeded_older", "payment_intent_succeeded_older", "invoice_paid_older")
    received = [said for said in known.values() if said[0] == "payment.received"]
    assert len(received) == 1
    assert received[0][1] == "invoice:main:stripe:in_1"
    assert received[0][2]["amount_minor"] == 11900


def test_a_payment_of_the_newest_shape_is_one_fact_in_its_receipt() -> None:
    known = facts("charge_succeeded", "payment_intent_succeeded")
    assert [said[1] for said in known.values() if said[0] == "payment.received"] == ["receipt:main:stripe:pi_1"]


def test_an_allocation_never_contradicts_the_payment_it_allocates() -> None:
    allocated, charged = told(body("invoice_payment_paid"))[0], told(body("charge_succeeded"))[0]
    assert allocated["id"] == charged["id"]
    assert allocated["data"]["version"] < charged["data"]["version"], "who knows the customer holds"
    assert charged["data"] == allocated["data"] | {"version": 2, "customer": {"payer": "cus_1"}}


def test_the_receipt_of_a_new_shape_charge_is_linked_to_its_invoice() -> None:
    link = next(event for event in told(body("invoice_payment_paid")) if event["type"] == "case.linked")
    assert link["correlationid"] == "invoice:main:stripe:in_1"
    assert link["data"]["alias"] == told(body("charge_succeeded"))[0]["correlationid"]


def test_a_failed_attempt_is_one_fact_by_charge_by_intent_and_by_invoice() -> None:
    known = facts("charge_failed", "payment_intent_failed")
    assert [ident for ident, said in known.items() if said[0] == "payment.failed"] == ["stripe:pi_1:failed:ch_0"]
    by_invoice = told(body("invoice_payment_failed_older"))[1]
    assert by_invoice["id"] == "stripe:pi_1:failed:ch_0"
    assert by_invoice["data"]["version"] < known["stripe:pi_1:failed:ch_0"][2]["version"]


def test_a_refund_is_one_fact_by_webhook_and_inside_its_charge() -> None:
    assert "stripe:re_1:issued" in facts("refund_created", "charge_refunded_older")


def test_a_retried_webhook_gives_the_same_bytes() -> None:
    for name in NAMES:
        document = body(name)
        retried = (
            document | {"id": "evt_retry", "pending_webhooks": 1} if document.get("object") == "event" else document
        )
        assert mapped(retried) == mapped(document), name


def test_a_longer_due_date_holds_over_the_first_without_a_conflict() -> None:
    first, moved = told(body("invoice_finalized"))[0], told(body("invoice_due_date_moved"))
    assert [event["type"] for event in moved] == ["invoice.amended", "invoice.issued"]
    assert moved[1]["data"] == first["data"], "the original still says what it said"
    later = body("invoice_finalized")
    later["data"]["object"]["due_date"] = body("invoice_due_date_moved")["data"]["object"]["due_date"]
    after = told(later)[0]
    assert first["data"]["version"] < after["data"]["version"] < moved[0]["data"]["version"]


@pytest.mark.parametrize(
    ("name", "currency", "total_minor"),
    [
        ("invoice_yen", "JPY", 11900),
        ("invoice_isk", "ISK", 11900),  # Stripe counts hundredths that ISO 4217 does not have
        ("invoice_mga", "MGA", 500000),  # and none where ISO 4217 has two decimals
        ("invoice_kwd", "KWD", 11900),
        ("invoice_finalized", "USD", 11900),
    ],
)
def test_amounts_come_out_in_iso_minor_units(name: str, currency: str, total_minor: int) -> None:
    data = told(body(name))[0]["data"]
    assert (data["currency"], data["total_minor"]) == (currency, total_minor)


@pytest.mark.parametrize("amount", [True, 119.0, "11900", None, [11900], -0.5, 2**63])
def test_an_amount_that_is_no_integer_of_minor_units_is_never_guessed(amount: Any) -> None:
    letter = mapped(body("invoice_polled") | {"total": amount})
    assert isinstance(letter, DeadLetter)
    assert letter.failure == "mapping"
    assert "total" in letter.reason


def test_what_is_applied_to_a_paid_invoice_sums_to_its_total() -> None:
    for name in (
        "invoice_paid", "invoice_paid_older", "invoice_paid_out_of_band", "invoice_paid_from_balance",
        "invoice_paid_partly_from_balance", "invoice_paid_with_older_debt", "invoice_paid_with_payments",
        "invoice_paid_out_of_band_older", "invoice_paid_without_status",
    ):  # fmt: skip
        events = told(body(name))
        signs = {"cash.applied": 1, "cash.unapplied": -1}
        applied = sum(signs.get(event["type"], 0) * event["data"].get("amount_minor", 0) for event in events)
        assert applied == events[0]["data"]["total_minor"], name


def test_a_payment_with_an_older_debt_is_no_more_than_what_was_due() -> None:
    """Otherwise a customer who paid both the invoice and the debt would look as if too much was taken."""
    document = body("invoice_paid_with_older_debt")
    document["data"]["object"]["payment_intent"] = "pi_1"
    by_type = {event["type"]: event["data"].get("amount_minor") for event in told(document)}
    total = told(document)[0]["data"]["total_minor"]
    assert by_type["payment.received"] == by_type["cash.applied"] == total + by_type["cash.unapplied"]


def test_a_payment_of_the_oldest_shape_is_one_fact_whoever_tells_it() -> None:
    names = ("charge_without_status", "charge_status_paid", "invoice_paid_without_status", "invoice_paid_without_status_polled")  # fmt: skip
    received = [said for said in facts(*names).values() if said[0] == "payment.received"]
    assert len(received) == 1
    assert received[0][1:] == ("invoice:main:stripe:in_1", told(body("charge_without_status"))[0]["data"])


def test_lines_are_read_as_a_list_object_as_an_array_and_by_kind() -> None:
    listed, array = body("invoice_paid_without_status_polled"), body("invoice_paid_without_status_polled")
    array["lines"] = listed["lines"]["data"]
    by_kind = told(body("invoice_with_lines_by_kind"))[0]["data"]["lines"]
    assert told(array)[0]["data"]["lines"] == told(listed)[0]["data"]["lines"]
    assert sum(line["amount_minor"] for line in by_kind) == 11900


def test_nothing_happens_to_an_object_before_it_exists() -> None:
    """Stripe's sample events are dated 2012, whatever they are about."""
    sample = body("charge_without_status")
    assert sample["created"] < sample["data"]["object"]["created"]
    assert told(sample)[0]["time"] == "2013-10-05T00:38:25Z"


def test_what_failed_after_it_had_succeeded_is_taken_back() -> None:
    """The events of its success said that it was received: the failure alone would leave that standing."""
    succeeded = facts("charge_succeeded_older")["stripe:pi_1:received"]
    amounts = {event["type"]: event for event in told(body("charge_failed_after_it_succeeded"))}
    assert amounts["payment.received"]["data"] == succeeded[2]
    assert amounts["payment.returned"]["data"]["amount_minor"] == succeeded[2]["amount_minor"]
    assert amounts["payment.returned"]["correlationid"] == succeeded[1]


def test_a_refund_that_moved_nothing_costs_its_charge_nothing() -> None:
    events = told(body("charge_with_refunds_that_moved_nothing"))
    assert [event["type"] for event in events if event["type"] != "case.linked"] == ["payment.received", "refund.failed", "refund.issued"]  # fmt: skip


def test_a_canceled_refund_takes_back_what_it_said_while_pending() -> None:
    pending = body("refund_canceled")
    pending["data"]["object"]["status"] = "pending"
    (issued,) = [event for event in told(pending) if event["type"] == "refund.issued"]
    (failed,) = [event for event in told(body("refund_canceled")) if event["type"] == "refund.failed"]
    assert (issued["data"]["document_id"], issued["correlationid"]) == (failed["data"]["document_id"], failed["correlationid"])  # fmt: skip


def test_what_a_partial_capture_released_is_no_refund_of_what_was_captured() -> None:
    amounts = {event["type"]: event["data"].get("amount_minor") for event in told(body("charge_partly_captured_older"))}
    assert (amounts["payment.received"], amounts["refund.issued"]) == (9000, 2000)


@pytest.mark.parametrize(
    ("name", "voided"), [("invoice_voided", "invoice.voided"), ("credit_note_voided", "credit_memo.voided")]
)
def test_a_void_document_is_void_even_where_nothing_says_since_when(name: str, voided: str) -> None:
    polled = body(name)["data"]["object"] if body(name)["object"] == "event" else body(name)
    polled = polled | {"status_transitions": {}, "voided_at": None}
    assert voided in [event["type"] for event in told(polled)]


def test_the_line_of_a_payout_itself_is_no_part_of_the_payout() -> None:
    """It is what left the balance for it; in the payout's case it would have to be the payout's sum."""
    (line,) = told(body("balance_transaction_of_payout"))
    assert line["data"]["payout_id"] == "po_1"
    assert not line["correlationid"].startswith("payout:")


def test_two_movements_of_one_invoice_are_never_versions_of_one_document() -> None:
    """Of two facts of one type and document the newer would hold and the other be lost."""
    second = body("charge_failed")
    second["data"]["object"] |= {"id": "ch_9", "failure_code": "insufficient_funds"}
    several = [
        *told(body("invoice_paid_partly_from_balance")), *told(body("invoice_paid_with_payments")),
        *told(body("charge_failed")), *told(second), *told(body("credit_note_created")),
    ]  # fmt: skip
    documents = {(event["type"], event["data"]["document_id"]): event["id"] for event in several}
    assert all(documents[event["type"], event["data"]["document_id"]] == event["id"] for event in several)


def test_a_connected_account_is_its_own_entity() -> None:
    event = told(body("invoice_of_connected_account"))[0]
    assert event["data"]["entity"] == "acct_7"
    assert event["correlationid"] == "invoice:acct_7:stripe:in_1"
    assert event["source"] == "stripe/acct_7"


def test_records_of_one_object_share_a_key() -> None:
    key = SOURCES["stripe"].key
    polled, webhook = msgspec.json.encode(body("invoice_polled")), msgspec.json.encode(body("invoice_paid"))
    assert key(polled) == key(webhook) == b"in_1"
    assert key(b"\xff{") == b""
    assert key(b"[1]") == b""


def test_the_trace_of_a_record_is_carried_and_a_broken_one_costs_nothing() -> None:
    raw = msgspec.json.encode(body("invoice_polled"))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced, broken = map_record("stripe", raw, trace), map_record("stripe", raw, "not a trace")
    assert not isinstance(traced, DeadLetter)
    assert not isinstance(broken, DeadLetter)
    assert traced[0].traceparent == trace
    assert broken[0].traceparent is None


def test_a_prorated_or_metered_line_says_so_in_every_shape() -> None:
    def reasons(**changes: Any) -> list[str | None]:
        record = body("invoice_finalized")
        line = record["data"]["object"]["lines"]["data"][0]
        line |= changes
        return [line.get("reason") for line in told(record)[0]["data"]["lines"]]

    assert reasons() == [None]
    assert reasons(parent={"subscription_item_details": {"proration": True}}) == ["proration"]
    assert reasons(proration=True) == ["proration"]
    assert reasons(price={"recurring": {"usage_type": "metered"}}) == ["usage"]
    assert reasons(plan={"usage_type": "metered"}, parent="nothing that is known") == ["usage"]
