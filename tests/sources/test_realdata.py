"""Real material beside the repository, where it is there: what these adapters were made for has to come out of it."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.money import convert
from matching.case import Case
from matching.judge import judge
from matching.policy import load
from sources.records import Mapped, Rejected, map_paths

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data at ../shared/data beside the repository"),
]


def outcomes(source: str, folder: str) -> list[Mapped | Rejected]:
    return list(map_paths(source, [str(DATA / folder)]))


def by_case(found: list[Mapped | Rejected]) -> dict[str, list[Any]]:
    cases = defaultdict(list)
    for outcome in found:
        for event in outcome.events if isinstance(outcome, Mapped) else ():
            cases[event.correlationid].append(event)
    return cases


@pytest.fixture(scope="module")
def books() -> dict[str, list[Any]]:
    found = outcomes("xero_tables", "xero_books")
    assert not [outcome for outcome in found if isinstance(outcome, Rejected)]
    return by_case(found)


def invoices(books: dict[str, list[Any]]) -> Iterator[tuple[Any, list[Any]]]:
    for events in books.values():
        issued = next((event for event in events if event.type == "invoice.issued"), None)
        if issued is not None:
            yield issued, events


def control_net(issued: Any, events: list[Any]) -> int:
    role, sign = ("receivable", 1) if issued.data.direction == "sales" else ("payable", -1)
    postings = [event for event in events if event.type == "posting.recorded"]
    return sign * sum(line.base_minor for event in postings for line in event.data.lines if line.role == role)


def test_every_stripe_payload_is_mapped_or_refused_for_a_true_reason(capsys: pytest.CaptureFixture[str]) -> None:
    found = outcomes("stripe", "stripe")
    mapped = [outcome for outcome in found if isinstance(outcome, Mapped)]
    refused = Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected))
    types = Counter(event.type for outcome in mapped for event in outcome.events)
    with capsys.disabled():
        print(f"\nstripe: {len(found)} records, {len(mapped)} mapped to {dict(types)}, refused {dict(refused)}")
    assert len({outcome.raw.path if isinstance(outcome, Mapped) else outcome.path for outcome in found}) == 134
    assert not [o for o in found if isinstance(o, Rejected) and ("cannot read" in o.reason or "unknown" in o.reason)]
    assert types.keys() >= {"invoice.issued", "invoice.voided", "payment.received", "payment.failed", "refund.issued", "dispute.opened", "credit_memo.issued", "cash.applied", "settlement.line", "subscription.activated", "subscription.cancelled", "customer.changed"}  # fmt: skip


def test_stripe_payloads_that_contradict_themselves_are_refused() -> None:
    """The captured material has hand-edited bodies: an event of success about a payment that did not succeed."""
    reasons = [o.reason for o in outcomes("stripe", "stripe") if isinstance(o, Rejected) and o.failure == "mapping"]
    assert len(reasons) == 13, reasons
    assert sum("the event" in reason for reason in reasons) == 8
    assert sum("(text), expected an integer" in reason for reason in reasons) == 3


def test_every_real_invoice_ties_to_its_posting(books: dict[str, list[Any]]) -> None:
    """Net of the control account in base currency = total / rate, within one minor unit and half a unit of the rate's
    last printed place."""
    residuals = Counter()
    for issued, events in invoices(books):
        if any(event.type == "invoice.voided" for event in events):
            continue
        data, net = issued.data, control_net(issued, events)
        rate = Decimal(data.rate or 1)
        expected = convert(data.total_minor, data.currency, "CAD", rate, per_base=True)
        half_place = Decimal(1).scaleb(int(rate.as_tuple().exponent)) / 2
        assert abs(net - expected) <= 1 + expected * half_place / rate, issued.data.number
        residuals["exact" if net == expected.quantize(Decimal(1)) else "rounding"] += 1
    assert sum(residuals.values()) == 298


def test_every_real_voided_invoice_nets_to_nothing(books: dict[str, list[Any]]) -> None:
    voided = [(issued, events) for issued, events in invoices(books) if any(e.type == "invoice.voided" for e in events)]
    assert [control_net(issued, events) for issued, events in voided] == [0, 0, 0, 0]


def test_the_real_edit_that_crosses_its_period_is_seen(books: dict[str, list[Any]]) -> None:
    """INV-0017: dated in February, posted in March, taken back, and posted again into February 194.93 lower."""
    (events,) = [events for issued, events in invoices(books) if issued.data.number == "INV-0017"]
    booked = [
        (event.data.accounting_date, event.data.recorded_at.date(), sum(line.base_minor for line in event.data.lines if line.role == "receivable"))
        for event in sorted((event for event in events if event.type == "posting.recorded"), key=lambda event: event.data.number)
    ]  # fmt: skip
    march, february = date(2020, 3, 9), date(2020, 2, 29)
    assert [(period, net) for period, _, net in booked] == [
        (march, 1025505), (march, -1025505), (march, 1025505), (march, -1025505), (february, 1006012),
    ]  # fmt: skip
    assert {recorded for _, recorded, _ in booked} == {march}, "February's posting was made in March"
    assert sum(net for _, _, net in booked) - 1025505 == 1006012 - 1025505 == -19493


def test_real_postings_balance_and_every_account_has_a_role(books: dict[str, list[Any]]) -> None:
    postings = [event for events in books.values() for event in events if event.type == "posting.recorded"]
    assert len(postings) == 873
    assert all(sum(line.base_minor for line in event.data.lines) == 0 for event in postings)
    roles = Counter(line.role for event in postings for line in event.data.lines)
    assert (roles["receivable"], roles["payable"], roles["tax"], roles["fx"]) == (176, 622, 110, 195)
    assert "other" not in roles


def test_real_control_accounts_are_found_without_names_or_types(tmp_path: Path) -> None:
    """The same books with every account's name and type struck out, columns turned round: the totals are the same."""
    for source in (DATA / "xero_books").glob("*.csv"):
        with source.open(newline="") as file:
            rows = list(csv.DictReader(file))
        struck = (
            {"account_name", "account_type", "name", "type", "class"}
            if source.stem in ("accounts", "journal_lines")
            else set()
        )
        columns = list(reversed([column for column in rows[0] if column not in struck]))
        with (tmp_path / source.name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    bare = by_case(list(map_paths("xero_tables", [str(tmp_path)])))
    known = by_case(outcomes("xero_tables", "xero_books"))
    nets = {issued.id: control_net(issued, events) for issued, events in invoices(known)}
    assert {issued.id: control_net(issued, events) for issued, events in invoices(bare)} == nets


def test_real_payments_are_told_once_and_name_no_invoice(books: dict[str, list[Any]]) -> None:
    with (DATA / "xero_books" / "journals.csv").open(newline="") as file:
        payments = {row["source_id"] for row in csv.DictReader(file) if row["source_type"].endswith("PAYMENT")}
    received = [event for events in books.values() for event in events if event.type == "payment.received"]
    assert {event.data.document_id for event in received} == payments
    assert all(event.correlationid.startswith("receipt:") and event.data.invoice_id is None for event in received)


def test_days_to_settle_and_days_late_come_out_of_the_facts() -> None:
    cases = by_case(outcomes("receivables_csv", "accounts_receivable"))
    with (DATA / "accounts_receivable" / "invoices_settled.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    agreeing = 0
    for row in rows:
        issued, received, *_ = cases[f"invoice:{row['countryCode']}:receivables_csv:{row['invoiceNumber']}"]
        due = datetime.combine(issued.data.due_date, datetime.min.time(), UTC)
        days, late = (received.time - issued.time).days, max(0, (received.time - due).days)
        agreeing += (days, late) == (int(row["DaysToSettle"]), int(row["DaysLate"]))
    assert agreeing == len(rows) == 2466


def test_every_order_of_the_shop_ties_out_or_says_why_not() -> None:
    found = outcomes("shop_tables", "jaffle_shop")
    assert not [outcome for outcome in found if isinstance(outcome, Rejected)]
    cases = {key: events for key, events in by_case(found).items() if key.startswith("invoice:")}
    verdicts = {key: judged(key, events) for key, events in cases.items()}
    orders, payments = rows_of("jaffle_shop/raw_orders.csv"), rows_of("jaffle_shop/raw_payments.csv")
    paid = Counter({order["id"]: 0 for order in orders})
    for payment in payments:
        paid[payment["order_id"]] += int(payment["amount"])
    broken = {
        (f"invoice:main:shop:{order['id']}", "overpayment", paid[order["id"]])
        for order in orders
        if order["status"] == "returned"
    }
    assert (len(cases), len(payments), len(broken)) == (len(orders), 113, 4)
    assert {(key, found.class_, found.variance_minor) for key, verdict in verdicts.items() for found in verdict.breaks} == broken  # fmt: skip
    assert Counter(verdict.outcome for verdict in verdicts.values()) == {"ok": 95, "break": 4}
    assert {key: events[0].data.total_minor for key, events in cases.items()} == {f"invoice:main:shop:{ident}": minor for ident, minor in paid.items()}  # fmt: skip


def rows_of(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def judged(key: str, events: list[Any]) -> Any:
    case = Case(key)
    for event in events:
        case.add(event)
    return judge(case, load(), datetime(2026, 1, 1, tzinfo=UTC))
