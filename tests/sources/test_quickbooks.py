"""QuickBooks: what its transactions say, in whichever wrapper they come, and why a record makes no event."""

import json
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sources.records import Mapped, Rejected, map_paths
from sources.registry import SOURCES
from tests.sources import outcomes

FOLDER = Path(__file__).parent / "fixtures" / "quickbooks"
RECORDS = [json.loads(line) for line in (FOLDER / "records.jsonl").read_text().splitlines()]


told = partial(outcomes.told, "quickbooks")
refusal = partial(outcomes.refusal, "quickbooks")


def changed(index: int, **values: Any) -> Any:
    return RECORDS[index] | {"data": RECORDS[index]["data"] | values}


def test_an_invoice_has_its_total_its_tax_and_its_version() -> None:
    (issued,) = told(RECORDS[0])
    assert (issued.correlationid, issued.data.total_minor, issued.data.tax_minor) == ("invoice:main:quickbooks:119", 31_428, 2_328)  # fmt: skip
    assert (issued.data.version, issued.data.due_date, [line.amount_minor for line in issued.data.lines]) == (2, date(2025, 3, 20), [29_100])  # fmt: skip
    assert issued.data.recorded_at == datetime(2025, 2, 18, 20, 57, 24, tzinfo=UTC)


def test_a_payment_names_what_it_pays_and_keeps_the_rest() -> None:
    received, applied = told(RECORDS[1])
    assert (received.data.amount_minor, [(part.target, part.amount_minor) for part in received.data.allocations]) == (32_000, [("invoice:main:quickbooks:119", 31_428)])  # fmt: skip
    assert (applied.type, applied.correlationid, applied.data.invoice_key) == ("cash.applied", "receipt:main:quickbooks:130", "invoice:main:quickbooks:119")  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([("1", "Invoice", 60), ("2", "Invoice", 40)], [6_000, 4_000]),
        ([("1", "Invoice", 120), ("9", "CreditMemo", 20)], [10_000]),
        ([("1", "Invoice", 70), ("2", "Invoice", 50), ("9", "CreditMemo", 20)], []),
        ([("1", "Invoice", 20), ("9", "CreditMemo", 20)], []),
    ],
)
def test_credits_used_beside_money_are_not_taken_for_money(lines: list[tuple[str, str, int]], parts: list[int]) -> None:
    line = [{"Amount": amount, "LinkedTxn": [{"TxnId": ident, "TxnType": kind}]} for ident, kind, amount in lines]
    received, *applied = told(changed(1, TotalAmt=100, Line=line))
    assert [part.amount_minor for part in received.data.allocations or ()] == parts
    assert [event.data.amount_minor for event in applied] == parts


def test_yen_have_no_decimals_and_a_rate_says_its_direction() -> None:
    (bill,) = told(RECORDS[2])
    assert (bill.data.total_minor, bill.data.direction, bill.data.rate, bill.data.rate_direction) == (900, "purchase", "0.0067", "base_per_document")  # fmt: skip


def test_a_voided_invoice_and_a_deleted_one_no_longer_stand() -> None:
    assert [event.type for event in told(changed(0, TotalAmt=0, PrivateNote="Voided - see 1036"))] == ["invoice.issued", "invoice.voided"]  # fmt: skip
    deleted = {"Invoice": {"Id": "119", "status": "Deleted", "MetaData": {"LastUpdatedTime": "2025-03-01T00:00:00Z"}}}
    assert [event.type for event in told(deleted)] == ["invoice.voided"]


def test_every_wrapper_is_opened() -> None:
    types = [[event.type for event in row.events] for row in map_paths("quickbooks", [str(FOLDER)]) if isinstance(row, Mapped)]  # fmt: skip
    assert types == [
        ["invoice.issued"], ["payment.received", "cash.applied"], ["invoice.issued"], ["credit_memo.issued"], ["quote.approved"],
        ["posting.recorded"], ["invoice.issued", "payment.received"], ["customer.changed"],
    ]  # fmt: skip
    assert [row.failure for row in map_paths("quickbooks", [str(FOLDER)]) if isinstance(row, Rejected)] == ["policy"]


@pytest.mark.parametrize(
    ("record", "failure", "reason"),
    [
        ({"eventNotifications": []}, "policy", "ids only"),
        (changed(0, CurrencyRef=None), "master_data", "home currency"),
        (changed(0, TotalAmt=1.005), "mapping", "more decimals than USD"),
        (changed(0, TotalAmt=-1), "mapping", "not negative"),
        (changed(0, SyncToken="x"), "mapping", "SyncToken is 'x'"),
        (changed(1, TotalAmt=10), "mapping", "its lines apply 31428 of 1000"),
        ({"Estimate": RECORDS[5]["Estimate"] | {"TxnStatus": "Pending"}}, "policy", "not a quote that was accepted"),
        ({"stream": "wallets", "data": {"Id": "1"}}, "mapping", "unknown to this adapter"),
        ({}, "mapping", "holds no object"),
    ],
)
def test_what_makes_no_event_says_why(record: Any, failure: str, reason: str) -> None:
    letter = refusal(record)
    assert letter.failure == failure
    assert reason in letter.reason


def test_the_key_is_the_transactions_id() -> None:
    assert SOURCES["quickbooks"].key(json.dumps(RECORDS[1]).encode()) == b"130"
