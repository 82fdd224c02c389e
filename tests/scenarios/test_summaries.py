"""Summary postings: a daily journal over many invoices, its members told by their own cases (rule E6).

The batch of the day is journal JE-9; invoices of 100.00 and tax 20.00 name it. Its journal nets to what they come to.
"""

import random
from typing import Any

import msgspec
import pytest

from canonical import structs
from canonical.events import Event
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import load
from matching.verdict import decode
from streams.batch import reconcile
from tests.scenarios.books import Row, after, applied, case_of, check, invoice, payment, posting, reversal, tell, void

BATCH = "summary:acme-us:erp:JE-9"
OTHER_BATCH = "summary:acme-us:erp:JE-10"
POLICY = load(None)
IN_SUMMARY = '[expect.billing]\nposting_mode = "summary"'


def home(number: int) -> str:
    return f"invoice:acme-us:billing:INV-{number}"


def member(number: int, total: str = "100.00", at: str = "0", *, batch: str = BATCH, **more: Any) -> Event:
    more = {"case": home(number), "document": f"in_{number}", "number": f"INV-{number}"} | more
    return invoice(total, at, summary_key=batch, **more)


def told(*facts: Event, to: str = BATCH, revision: int = 1) -> tuple[Event, ...]:
    events = [as_event(facts[0].correlationid, effect, revision) for effect in effects(case_of(*facts), POLICY)]
    return tuple(event for event in events if event.correlationid == to)


def members(*numbers: int, to: str = BATCH, **more: Any) -> tuple[Event, ...]:
    return tuple(event for number in numbers for event in told(member(number, **more), to=to))


def journal(total: str, at: str = "10m", **more: Any) -> Event:
    more = {"case": BATCH, "document": "je_9", "customer": None, "posting_kind": "summary"} | more
    return posting(total, at, **more)


def credit(total: int, **more: Any) -> Event:
    more = {"summary_key": BATCH} | more
    return tell("credit_memo.issued", "cn_1", "1m", case="credit:acme-us:billing:CN-1", currency="USD", total_minor=total, direction="sales", **more)  # fmt: skip


DAY = members(*range(1, 1_201))
OF_INVOICE_3 = member(3)
VOIDED = tell("invoice.voided", "in_3", "2m", case=home(3))
VOIDED_NEXT_DAY = tell(
    "invoice.voided", "in_3", "1d", case=home(3), summary_key=OTHER_BATCH, currency="USD", total_minor=10_000
)

ROWS = (
    Row("a day of 1,200 invoices in one journal", (*DAY, journal("120000.00")), "1h", "ok",
        controls={"summary_split": "pass", "missing_posting": "pass"}),
    Row("row 1: a day of 1,200 invoices, one of them 5.00 short in the journal: one break, on the batch", (*DAY, journal("119995.00")),
        "1h", "break", "summary_split", "5.00", owner="integration"),
    Row("the same while the rest may still be booked", (*DAY, journal("119995.00")), "20m", "pending", next_deadline="25m"),
    Row("booked by two journals", (*members(1, 2, 3), journal("200.00"), journal("100.00", "12m", document="je_9b")), "1h", "ok"),
    Row("short, and corrected by a second journal", (*members(1, 2, 3), journal("295.00"), journal("5.00", "1d", document="je_9b", posting_kind="manual",
        document_type="invoice")), "3d", "ok"),
    Row("an invoice missing from the journal", (*members(1, 2, 3), journal("200.00")), "1h", "break", "summary_split", "100.00"),
    Row("an invoice twice in the journal", (*members(1, 2, 3), journal("400.00")), "2d", "break", "summary_split", "100.00"),
    Row("the journal books more than is known: the invoice may still come", (*members(1, 2, 3), journal("400.00")), "23h", "pending"),
    Row("the journal books more than is known, and billing's feed is behind", (*members(1, 2, 3), journal("400.00")), "2d", "pending",
        behind={"billing": "1h"}),
    Row("the invoice came later", (*members(1, 2, 3, 4), journal("400.00")), "2d", "ok"),
    Row("an invoice told as a member by two cases", (*members(1, 2), *told(member(2, case=home(22))), journal("200.00")), "1h", "break", "summary_split",
        "100.00"),
    Row("the journal says how many it books", (*members(1, 2, 3), journal("300.00", members=3)), "2d", "ok"),
    Row("the sum is right and one is missing: two errors that cancel", (*members(1, 2), *told(member(3, "0.00")), journal("200.00", members=3)), "2d", "break",
        "summary_split"),
    Row("a credit memo takes off the day's sum", (*members(1, 2, 3), *told(credit(4_000)), journal("260.00")), "1h", "ok"),
    Row("a credit memo was booked as an invoice", (*members(1, 2, 3), *told(credit(4_000)), journal("340.00")), "2d", "break", "summary_split", "80.00"),
    Row("purchases sit on payables", (*members(1, 2, direction="purchase"), journal("200.00", role="payable")), "1h", "ok"),
    Row("an invoice voided after it was told is no member", (*members(1, 2), *told(OF_INVOICE_3), *told(OF_INVOICE_3, VOIDED, revision=2), journal("200.00")),
        "1h", "ok"),
    Row("voided the next day, and taken back by that day's batch: the batch that booked it stays right", (*members(1, 2), *told(OF_INVOICE_3),
        *told(OF_INVOICE_3, VOIDED_NEXT_DAY, revision=2), journal("300.00")), "2d", "ok"),
    Row("voided the next day: that day's batch takes it back", (*members(4, batch=OTHER_BATCH, to=OTHER_BATCH), *told(OF_INVOICE_3, VOIDED_NEXT_DAY, to=OTHER_BATCH),
        journal("0.00", "1d", case=OTHER_BATCH)), "9d", "ok"),
    Row("voided the next day, and that day's batch forgot", (*members(4, batch=OTHER_BATCH, to=OTHER_BATCH), *told(OF_INVOICE_3, VOIDED_NEXT_DAY, to=OTHER_BATCH),
        journal("100.00", "1d", case=OTHER_BATCH)), "9d", "break", "summary_split", "100.00"),
    Row("an invoice moved to the next day's batch", (*members(1, 2), *told(OF_INVOICE_3), *told(OF_INVOICE_3, member(3, batch=OTHER_BATCH, version=2, id="billing:in_3:2"),
        revision=2), journal("200.00")), "1h", "ok"),
    Row("a ledger of its own is short, the other is right", (*members(1, 2), journal("200.00"), journal("190.00", ledger="local", id="erp:local:je_9")), "1h",
        "break", "summary_split", "10.00"),
    Row("two currencies in one batch, each by itself", (*members(1), *members(2, currency="EUR"), journal("100.00"),
        journal("100.00", document="je_9e", currency="EUR", base="108.00")), "1h", "ok"),
    Row("two currencies in one batch do not make up for each other", (*members(1), *members(2, currency="EUR"), journal("101.00"),
        journal("99.00", document="je_9e", currency="EUR", base="106.92")), "2d", "break", "summary_split summary_split"),
    Row("base amounts alone say nothing of euros: not assessed, so never ok", (*members(1, currency="EUR"), journal("108.00", currency=None)), "2d", "pending",
        controls={"summary_split": "not_assessed"}),
    Row("no journal yet", members(1, 2), "10m", "pending", next_deadline="15m"),
    Row("the day was never booked: one break for all of it", DAY, "1d+1m", "break", "missing_posting", "120000.00"),
    Row("the day was never booked, and the ledger's feed is behind", DAY, "1d+1m", "pending", behind={"erp": "0"}),
    Row("the journal was reversed and nothing booked in its place", (*members(1, 2), journal("200.00"),
        reversal("200.00", "1h", case=BATCH, reverses="je_9", posting_kind="summary", customer=None)), "2d", "break", "missing_posting", "200.00"),
    Row("all of its documents were voided, and nothing was booked", (*told(OF_INVOICE_3), *told(OF_INVOICE_3, VOIDED, revision=2)), "2d", "ok"),
    Row("a summary that no document names: not assessed, so never ok", (journal("200.00"),), "9d", "pending", controls={"summary_split": "not_assessed"}),
    # The invoice itself.
    Row("an invoice that its batch books waits for no posting", (member(1), payment("100.00", case=home(1)), applied("100.00", case=home(1))), "40d", "ok",
        hops={"invoice_to_posting": "not_expected"}, controls={"missing_posting": "not_applicable", "amount": "not_applicable"}),
    Row("an invoice of a system that posts in summary, and that names no batch", (invoice("100.00"), payment("100.00"), applied("100.00")), "40d", "pending",
        policy=IN_SUMMARY, hops={"invoice_to_posting": "not_expected"}, controls={"missing_posting": "not_assessed"}),
    Row("a credit memo of such a system that names no batch", (credit(4_000, summary_key=None),), "9d", "pending", policy=IN_SUMMARY,
        controls={"missing_posting": "not_assessed"}),
    Row("an invoice of such a system that names its batch", (member(1), payment("100.00", case=home(1)), applied("100.00", case=home(1))), "40d", "ok",
        policy=IN_SUMMARY, controls={"missing_posting": "not_applicable"}),
    Row("an invoice of nothing in such a system", (invoice("0.00"),), "40d", "ok", policy=IN_SUMMARY, controls={"missing_posting": "not_applicable"}),
    Row("an invoice of such a system that names no batch and was voided", (invoice("100.00"), void("1h")), "40d", "ok", policy=IN_SUMMARY),
    Row("an invoice of such a system that was booked by itself, though it names no batch", (invoice("100.00"), posting("100.00"), payment("100.00"),
        applied("100.00")), "40d", "ok", policy=IN_SUMMARY, controls={"missing_posting": "pass"}),
    Row("an invoice of such a system that was booked by itself, and wrong", (invoice("100.00"), posting("90.00")), "1h", "break", "amount", "10.00", policy=IN_SUMMARY),
    Row("an invoice booked by itself and by its batch", (member(1), posting("100.00", case=home(1))), "1h", "break", "duplicate_posting", "100.00"),
    Row("booked by itself by mistake, and taken back", (member(1, tax="20.00"), posting("100.00", case=home(1), tax="20.00"),
        reversal("100.00", "1h", case=home(1), tax="-20.00"), payment("100.00", case=home(1)), applied("100.00", case=home(1))), "40d", "ok"),
    Row("a credit memo that its batch books", (credit(4_000),), "9d", "ok", controls={"missing_posting": "not_applicable"}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_summary(row: Row) -> None:
    check(row)


def test_the_one_member_that_explains_the_difference_is_named() -> None:
    facts = (*members(1, 2), *told(member(3, "77.00")))
    for booked, hint in (("200.00", "as if in_3 were missing from it"), ("354.00", "as if in_3 stood twice in it")):
        verdict = judge(case_of(*facts, journal(booked)), POLICY, after("2d"))
        assert hint in verdict.breaks[0].reason
    verdict = judge(case_of(*facts, journal("177.00")), POLICY, after("2d"))
    assert "as if" not in verdict.breaks[0].reason, "two members come to 100.00: neither can be named"


def test_a_member_that_names_no_currency_is_counted_beside_those_that_do() -> None:
    """Nobody tells of such a member; the log may hold one all the same."""
    named, unnamed = members(1), members(2, at="1s")
    raw = msgspec.json.decode(msgspec.json.encode(unnamed[0]))
    raw["data"].pop("currency")
    facts = (*named, structs.decode(msgspec.json.encode(raw)))
    unbooked = judge(case_of(*facts), POLICY, after("40d"))
    assert [found.class_ for found in unbooked.breaks] == ["missing_posting"]
    booked = judge(case_of(*facts, journal("100.00")), POLICY, after("40d"))
    assert [(found.class_, found.variance_minor, found.currency) for found in booked.breaks] == [
        ("summary_split", 10_000, None)
    ]
    assert "as if in_2 were missing from it" in booked.breaks[0].reason


def test_a_batch_is_the_same_whatever_the_order() -> None:
    facts = [*DAY[:300], journal("29995.00"), *told(OF_INVOICE_3, VOIDED, revision=2)]
    verdicts = set()
    for seed in range(5):
        random.Random(seed).shuffle(facts)
        case = Case(BATCH)
        for fact in facts:
            case.add(fact)
        verdicts.add(str(judge(case, POLICY, after("2d"))))
    assert len(verdicts) == 1


def test_a_day_in_files_is_one_break_on_its_batch_and_none_on_its_1200_invoices() -> None:
    """Through `tieout reconcile`: members are told between the records' passes, in whatever order they lie."""
    day = [member(number) for number in range(1, 1_201)]
    lines = [msgspec.json.encode(event) for event in (journal("119995.00"), *day)]
    random.Random(7).shuffle(lines)
    verdicts = [decode(raw) for raw in reconcile(lines, POLICY, after("1h"))]
    assert len(verdicts) == 1_201
    found = [(verdict.kind, each.class_, each.variance_minor) for verdict in verdicts for each in verdict.breaks]
    assert found == [("summary", "summary_split", 500)]
