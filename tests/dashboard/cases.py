"""A few dozen hand-made cases in the shape the worker writes them: facts, verdicts, positions, dead letters.

- `fill(client, now)` writes them all; times lie around `now`, so ages and latencies look like a living company's.
- One case is hostile: its texts try to be markup, its currency is unknown, and nothing of it may run or break a page.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

from clickhouse_connect.driver.client import Client

from canonical import records, structs
from matching.policy import load
from matching.tieout.basis import Basis, period_of
from matching.tieout.close import Signature, sign
from sinks.tieouts import TieOutStore
from streams.tie_outs import Facts, store_row, tie_out
from tests.scenarios import books

TOPICS = ("orders", "invoices", "postings", "payments")
HOSTILE = '<img src=x onerror="console.error(1)"><script>console.error(2)</script>'
TARGETS_S = {"subscription_to_invoice": 3600, "invoice_to_posting": 900, "payment_to_application": 14400}


class Fact(NamedTuple):
    type: str
    system: str
    subject: str
    at: datetime
    data: dict[str, Any]


class Case(NamedTuple):
    verdict: dict[str, Any]
    facts: tuple[Fact, ...]
    first_seen: datetime
    judged_at: datetime


def text(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def hop(name: str, start: datetime | None, end: datetime | None, state: str, target_s: int | None) -> dict[str, Any]:
    latency_s = (end - start).total_seconds() if start and end else None
    late_s = max(0.0, latency_s - target_s) if latency_s is not None and target_s is not None else 0.0
    due = start + timedelta(seconds=target_s) if start and target_s is not None else None
    return {"name": name, "started_at": text(start), "ended_at": text(end), "latency_s": latency_s, "target_s": target_s,
            "late_s": late_s, "state": state, "due_at": text(due)}  # fmt: skip


def broken(class_: str, expected: str, actual: str, variance_minor: int, currency: str, evidence: Sequence[str],
           reason: str, owner: str = "finance", severity: str = "high") -> dict[str, Any]:  # fmt: skip
    fingerprint = f"{crc32(f'{class_}{evidence}'.encode()):016x}"
    return {"class": class_, "control": class_, "expected": expected, "actual": actual, "variance_minor": variance_minor,
            "currency": currency, "evidence": list(evidence), "reason": reason, "owner": owner, "severity": severity,
            "fingerprint": fingerprint}  # fmt: skip


def fact_id(fact: Fact) -> str:
    return f"{fact.system}:{fact.subject}:{fact.type.partition('.')[2]}"


def controls(breaks: Sequence[dict[str, Any]], paid: bool) -> list[dict[str, str]]:
    failed = {item["class"]: item["reason"] for item in breaks}
    rows = [
        ("missing_posting", "pass", "posted to ledger main"),
        ("amount", "pass", "billing and ledger agree to the minor unit"),
        ("tax", "pass", "one tax line, one tax account"),
        ("currency", "pass", "same currency on every document"),
        ("fx", "not_applicable", "document and ledger share a currency"),
        ("customer", "not_assessed", "the ledger sent no customer"),
        ("entity", "pass", "same entity on every document"),
        ("missing_payment", "pass" if paid else "not_applicable", "paid in full" if paid else "not due yet"),
        ("duplicate_posting", "pass", "one posting"),
        ("sla", "pass", "every leg within its target"),
    ]
    shown = [(name, "fail" if name in failed else result, failed.get(name, why)) for name, result, why in rows]
    extra = [(name, "fail", why) for name, why in failed.items() if name not in {row[0] for row in rows}]
    return [{"name": name, "result": result, "reason": why} for name, result, why in shown + extra]


def invoice_case(number: str, entity: str, currency: str, total_minor: int, issued: datetime, *, customer: str = "C-17",
                 posted_s: float | None = 95, posted_minor: int | None = None, paid_s: float | None = 5400,
                 outcome: str = "ok", hop_states: Sequence[str] | None = None, breaks: Sequence[dict[str, Any]] = (),
                 failure: str | None = None, judged_after_s: float = 0.4) -> Case:  # fmt: skip
    """One invoice's life: issued, posted after `posted_s`, paid after `paid_s`, applied ten minutes later."""
    key = f"invoice:{entity}:billing:{number}"
    posted = issued + timedelta(seconds=posted_s) if posted_s is not None else None
    paid = issued + timedelta(seconds=paid_s) if paid_s is not None else None
    applied = paid + timedelta(minutes=10) if paid and outcome == "ok" else None
    money = {"entity": entity, "currency": currency}
    facts = [Fact("invoice.issued", "billing/main", number, issued,
                  {**money, "document_id": number, "number": number, "total_minor": total_minor,
                   "tax_minor": total_minor // 6, "direction": "sales", "customer": {"bill_to": customer}})]  # fmt: skip
    if posted:
        facts.append(
            Fact(
                "posting.recorded",
                "erp/main",
                f"JE-{number}",
                posted,
                _posting(money, number, posted_minor or total_minor),
            )
        )
    if failure:
        facts.append(Fact("delivery.failed", "integration/hub", f"DLV-{number}", issued + timedelta(seconds=40),
                          {**money, "document_id": number, "target": "erp", "operation": "post invoice", "failure": failure,
                           "reason": "no account mapped for tax code VAT-19"}))  # fmt: skip
    if paid:
        facts.append(Fact("payment.received", "payments/card", f"PAY-{number}", paid,
                          {**money, "document_id": f"PAY-{number}", "amount_minor": total_minor, "method": "card",
                           "invoice_id": number}))  # fmt: skip
    if applied:
        facts.append(Fact("cash.applied", "erp/main", f"APP-{number}", applied,
                          {**money, "document_id": f"APP-{number}", "amount_minor": total_minor, "from_kind": "payment"}))  # fmt: skip
    states = hop_states or ("met", "met" if paid else "waiting", "met" if applied else "not_expected")
    hops = [
        hop("invoice_to_posting", issued, posted, states[0], 900),
        hop("invoice_to_payment", issued, paid, states[1], 30 * 86400),
        hop("payment_to_application", paid, applied, states[2], 14400),
    ]
    exposure_minor = max((item["variance_minor"] for item in breaks), default=0)
    last = max(fact.at for fact in facts)
    verdict = {
        "correlation_id": key, "kind": "invoice", "entity": entity, "document": number, "customer": customer,
        "outcome": outcome, "currency": currency, "amount_minor": total_minor, "exposure_minor": exposure_minor,
        "controls": controls(breaks, paid is not None), "breaks": list(breaks), "hops": hops, "facts": len(facts),
        "first_event_at": text(issued), "last_event_at": text(last),
        "next_deadline": text(issued + timedelta(days=30)) if outcome != "ok" else None,
        "wait_for": None if outcome == "ok" else "erp", "failure": failure, "conflicts": [], "policy": "9f1c2ab47d3e",
    }  # fmt: skip
    return Case(verdict, tuple(facts), last, last + timedelta(seconds=judged_after_s))


def _posting(money: dict[str, Any], number: str, total_minor: int) -> dict[str, Any]:
    return {**money, "document_id": f"JE-{number}", "ledger": "main", "document_type": "invoice",
            "posting_kind": "document", "base_currency": money["currency"],
            "lines": [{"role": "receivable", "amount_minor": total_minor},
                      {"role": "revenue", "amount_minor": -(total_minor - total_minor // 6)},
                      {"role": "tax", "amount_minor": -(total_minor // 6)}]}  # fmt: skip


def company(now: datetime) -> list[Case]:
    """Thirty that tie out, eight in flight, ten in break."""
    return [*_tied_out(now), *_in_flight(now), *_in_break(now)]


BOOKS = (
    ("acme-us", "USD", 1_250_000),
    ("acme-de", "EUR", 418_770),
    ("acme-jp", "JPY", 96_800),
    ("acme-kw", "KWD", 1_204_500),
)
CUSTOMERS = (
    "Northwind Traders",
    "Halden & Sons",
    "Lumen Analytics",
    "Kestrel Freight",
    "Obara Seiki",
    "Al Noor Trading",
)


def _tied_out(now: datetime) -> list[Case]:
    cases = []
    for index in range(30):
        entity, currency, unit = BOOKS[index % 4]
        late = index % 9 == 5
        cases.append(
            invoice_case(
                f"INV-{2000 + index}",
                entity,
                currency,
                unit + 137 * index,
                now - timedelta(hours=4 + 7 * index),
                customer=CUSTOMERS[index % 6],
                posted_s=1320 + index if late else 40 + 17 * index,
                hop_states=("met_late" if late else "met", "met", "met"),
            )
        )
    return cases


def _in_flight(now: datetime) -> list[Case]:
    return [
        invoice_case(
            f"INV-{3000 + index}",
            *BOOKS[index % 4],
            now - timedelta(seconds=20 + 240 * index),
            customer=CUSTOMERS[index % 6],
            outcome="pending",
            paid_s=None,
            posted_s=None if index < 4 else 70,
            hop_states=("waiting" if index < 4 else "met", "waiting", "not_expected"),
        )
        for index in range(8)
    ]


def _in_break(now: datetime) -> list[Case]:
    def at(**ago: float) -> datetime:
        return now - timedelta(**ago)

    return [
        invoice_case("INV-1001", "acme-us", "USD", 1_234_500, at(hours=2), customer="Northwind Traders", outcome="break",
                     posted_minor=1_234_000, paid_s=None, judged_after_s=40,
                     breaks=[broken("amount", "12,345.00 USD", "12,340.00 USD", 500, "USD",
                                    ["billing/main:INV-1001:issued", "erp/main:JE-INV-1001:recorded"],
                                    "The posting JE-INV-1001 is 5.00 USD below its invoice; correct the journal entry.")]),
        invoice_case("INV-1002", "acme-de", "EUR", 88_000_00, at(days=2), customer="Halden & Sons", outcome="break",
                     posted_s=None, paid_s=None, hop_states=("missing", "waiting", "not_expected"), failure="mapping",
                     breaks=[broken("missing_posting", "88,000.00 EUR receivable in ledger main", "nothing", 88_000_00, "EUR",
                                    ["billing/main:INV-1002:issued", "integration/hub:DLV-INV-1002:failed"],
                                    "Delivery to the ERP failed: no account mapped for tax code VAT-19. Map it, then replay.",
                                    owner="integration")]),
        invoice_case("INV-1003", "acme-jp", "JPY", 1_980_000, at(hours=1), customer="Obara Seiki", outcome="break",
                     posted_s=None, paid_s=None, hop_states=("late", "waiting", "not_expected"),
                     breaks=[broken("sla", "posted within 900 s", "not posted yet", 1_980_000, "JPY",
                                    ["billing/main:INV-1003:issued"], "The posting is past its target of 15 minutes.",
                                    owner="platform", severity="medium")]),
        invoice_case("INV-1004", "acme-kw", "KWD", 5_750_250, at(hours=20), customer="Al Noor Trading", outcome="break",
                     breaks=[broken("duplicate_posting", "one posting of 5,750.250 KWD", "two: JE-INV-1004 and JE-INV-1004-B",
                                    5_750_250, "KWD", ["erp/main:JE-INV-1004:recorded"],
                                    "The ledger carries the invoice twice; reverse JE-INV-1004-B.", owner="integration")]),
        invoice_case("INV-1005", "acme-us", "USD", 420_000, at(days=6), customer="Kestrel Freight", outcome="break",
                     breaks=[broken("tax", "tax 700.00 USD", "tax 650.00 USD", 5_000, "USD",
                                    ["billing/main:INV-1005:issued", "erp/main:JE-INV-1005:recorded"],
                                    "Tax in the ledger is 50.00 USD lower than on the invoice."),
                             broken("amount", "4,200.00 USD", "4,150.00 USD", 5_000, "USD",
                                    ["erp/main:JE-INV-1005:recorded"], "The posting is 50.00 USD below its invoice.")]),
        invoice_case("INV-1006", "acme-de", "EUR", 129_900, at(days=3), customer="Lumen Analytics", outcome="break",
                     breaks=[broken("customer", "customer Lumen Analytics", "customer Lumen GmbH", 0, "EUR",
                                    ["erp/main:JE-INV-1006:recorded"], "Billing and ledger name different customers.",
                                    owner="crm", severity="medium")]),
        invoice_case("INV-1007", "acme-us", "USD", 3_600_000, at(days=9), customer="Northwind Traders", outcome="break",
                     breaks=[broken("short_payment", "36,000.00 USD", "35,100.00 USD", 90_000, "USD",
                                    ["payments/card:PAY-INV-1007:received"],
                                    "The customer paid 900.00 USD less than invoiced.", severity="medium")]),
        invoice_case("INV-1008", "acme-us", "USD", 77_000, at(hours=30), customer="Kestrel Freight", outcome="break",
                     hop_states=("met", "met", "late"),
                     breaks=[broken("sla", "applied within 4 h", "not applied yet", 77_000, "USD",
                                    ["payments/card:PAY-INV-1008:received"], "The payment waits to be applied.",
                                    owner="platform", severity="medium")]),
        invoice_case("INV-1009", "acme-us", "USD", 9_100_000_00, at(days=4), customer=HOSTILE, outcome="break", posted_s=None,
                     paid_s=None, hop_states=("missing", "waiting", "not_expected"),
                     breaks=[broken("missing_posting", HOSTILE, "nothing", 9_100_000_00, "USD",
                                    ["billing/main:INV-1009:issued"], f"Not posted. {HOSTILE}", owner="integration")]),
        invoice_case("INV-1010", "acme-uk", "XXX", 10_000, at(days=1), customer="Halden & Sons", outcome="break",
                     breaks=[broken("currency", "XXX", "GBP", 10_000, "XXX", ["erp/main:JE-INV-1010:recorded"],
                                    "The ledger booked another currency.", owner="integration")]),
    ]  # fmt: skip


def fill(client: Client, now: datetime) -> list[Case]:
    """Writes the whole company, its positions and its dead letters."""
    cases = company(now)
    write_cases(client, cases)
    client.insert("positions", [[topic, f"id-{topic}", partition, 120 + partition, 1, 90, now, 3 if partition == 2 else 0]
                                for topic in TOPICS for partition in range(4)],
                  column_names=["topic", "topic_id", "partition", "next_offset", "epoch", "seq", "flushed_at", "lag"])  # fmt: skip
    client.insert(
        "epochs", [[partition, 1, "worker-a"] for partition in range(4)], column_names=["partition", "epoch", "worker"]
    )
    write_sources(client, now)
    write_dead_letters(client, now)
    return cases


def write_tie_outs(client: Client, now: datetime) -> None:
    """March 2026 of acme-us, signed on 3 April with an entry after it, and May, which ties out."""
    late = books.posting(
        "20", "40d", document="je_late", case="invoice:acme-us:billing:INV-9", accounting_date="2026-03-31"
    )
    march = [
        books.invoice("100"),
        books.posting("90"),
        books.invoice("50", document="in_9", number=HOSTILE, case="invoice:acme-us:billing:INV-1009"),
    ]
    store = TieOutStore(client)
    signed: list[Any] = []
    for month, facts in (("2026-03", march), ("2026-03", [*march, late]), ("2026-05", [*march, late])):
        cases = defaultdict(list)
        for fact in facts:
            cases[fact.correlationid].append(fact)
        known = Facts({"main": "USD"}, signed, iter(cases.items()), [])
        done = tie_out(known, Basis("acme-us", "main", period_of(month)), load())
        signature = Signature("Ada Byron", "Grace Hopper", "one open item", books.after("33d"), "p1", "1.0", ())
        signed = signed or [structs.decode(records.encode(sign(done.made, signature)))]
        store.write_tie_out(store_row(done, now))


def write_sources(client: Client, now: datetime) -> None:
    """One that is read to its end, one that is behind, one that nobody reads any more, one whose log dropped records."""
    names = ["topic", "partition", "next_offset", "epoch", "seq", "flushed_at", "lag", "complete_to", "appended_at"]
    long_ago, fresh = now - timedelta(hours=3), now + timedelta(hours=1)
    never = datetime(1990, 1, 1, tzinfo=UTC)  # streams.positions.BEGINNING
    told = {
        "stripe": (0, fresh, long_ago),
        "billing": (7, long_ago, long_ago),
        "erp": (0, long_ago, now),
        "bank": (0, fresh, never),
    }
    rows = [
        [f"raw.{source}", partition, 10, 1, 91, now, lag, complete_to, last]
        for source, (lag, complete_to, last) in told.items()
        for partition in range(2)
    ]
    client.insert("positions", rows, column_names=names)
    client.insert("gaps", [["raw.bank", "id", 1, 3, 8, "worker-a", now]])


def write_cases(client: Client, cases: Sequence[Case], epoch: int = 1, first_seq: int = 1) -> None:
    facts = [
        row for index, case in enumerate(cases) for row in _fact_rows(case, 100 * (epoch * 1000 + first_seq + index))
    ]
    client.insert("facts", facts, column_names=["topic", "partition", "offset", "raw"])
    verdicts = [_verdict_row(case, epoch, first_seq + index) for index, case in enumerate(cases)]
    names = [
        "partition",
        "epoch",
        "seq",
        "judged_at",
        "first_seen",
        "digest",
        "changed",
        "progress",
        "raw",
        "controls",
        "visible_at",
    ]
    client.insert("verdicts", verdicts, column_names=names)


def _fact_rows(case: Case, first_offset: int) -> list[list[Any]]:
    rows = []
    for index, fact in enumerate(case.facts):
        topic = {"invoice": "invoices", "posting": "postings", "cash": "postings", "payment": "payments"}.get(
            fact.type.partition(".")[0], "controls"
        )
        event = {"specversion": "1.0", "id": fact_id(fact), "source": fact.system, "type": fact.type, "subject": fact.subject,
                 "time": text(fact.at), "dataschema": f"urn:tieout:{fact.type}:1",
                 "correlationid": case.verdict["correlation_id"], "data": fact.data}  # fmt: skip
        rows.append([topic, _partition(case), first_offset + index, json.dumps(event, separators=(",", ":"))])
    return rows


def _verdict_row(case: Case, epoch: int, seq: int) -> list[Any]:
    controls = json.dumps(case.verdict["controls"], separators=(",", ":"))
    raw = json.dumps(case.verdict | {"controls": "digest"}, separators=(",", ":"))
    visible = case.judged_at + timedelta(milliseconds=120)
    return [
        _partition(case),
        epoch,
        seq,
        case.judged_at,
        case.first_seen,
        crc32(raw.encode()),
        1,
        "{}",
        raw,
        controls,
        visible,
    ]


def _partition(case: Case) -> int:
    return crc32(str(case.verdict["correlation_id"]).encode()) % 4


def write_dead_letters(client: Client, now: datetime) -> None:
    rows = [
        ["raw.stripe", 1, 4711, now - timedelta(minutes=3), "malformed", "not JSON: unexpected end of data at byte 41", "intake",
         "stripe", "", "evt_1", "{}", b'{"id":"evt_1","type":"invoice.finalized",'],
        ["raw.canonical", 0, 12, now - timedelta(hours=5), "contract", "contract version 9 of invoice.issued is not accepted",
         "intake", "canonical", "invoice:acme-us:billing:INV-9", "k", "{}", b'{"dataschema":"urn:tieout:invoice.issued:9"}'],
        ["raw.canonical", 3, 99, now - timedelta(days=1), "malformed", "not UTF-8 at byte 2", "intake", "canonical", "", "k", "{}",
         b"\xff\xfe\x00\x01binary" + HOSTILE.encode()],
    ]  # fmt: skip
    names = ["topic", "partition", "offset", "failed_at", "class", "reason", "stage", "source", "correlation_id", "key",
             "headers", "original"]  # fmt: skip
    client.insert("dead_letters", rows, column_names=names, column_type_names=None)
    write_letter_actions(client, now)


REPLAYED_INTO = "invoice:acme-us:billing:INV-2000"


def write_letter_actions(client: Client, now: datetime) -> None:
    """One letter was replayed into a case that ties out, one is parked after three replays, by a hostile hand."""
    rows = [
        ["raw.canonical", 0, 12, "a", "replayed", now - timedelta(hours=3), "Ada Byron", "contract 9 is accepted now", "b1", 1,
         "raw.canonical", 2, 40, '{"to":"raw.canonical"}'],
        ["raw.canonical", 0, 12, "b", "resolved", now - timedelta(hours=3), "tieout", "mapped to 1 event", "", 1,
         "raw.canonical", 2, 40, json.dumps({"cases": [REPLAYED_INTO]})],
        ["raw.canonical", 3, 99, "c", "failed", now - timedelta(hours=9), "tieout", "still not UTF-8", "", 3,
         "raw.canonical", 2, 41, '{"class":"mapping"}'],
        ["raw.canonical", 3, 99, "d", "parked", now - timedelta(hours=8), HOSTILE, f"waits {HOSTILE}", "b2", 3, "", 0, 0, "{}"],
    ]  # fmt: skip
    names = ["topic", "partition", "offset", "id", "action", "at", "actor", "reason", "batch", "replay", "record_topic",
             "record_partition", "record_offset", "detail"]  # fmt: skip
    client.insert("dead_letter_actions", rows, column_names=names)


def many_breaks(now: datetime, number: int) -> list[Case]:
    """Enough of one class to fill several pages."""
    return [
        invoice_case(
            f"INV-{5000 + index}",
            "acme-us",
            "USD",
            50_000 + index,
            now - timedelta(days=12, minutes=index),
            customer=CUSTOMERS[index % 6],
            outcome="break",
            breaks=[
                broken(
                    "unapplied_cash",
                    "payment applied in full",
                    "not applied",
                    50_000 + index,
                    "USD",
                    [f"payments/card:PAY-INV-{5000 + index}:received"],
                    "The payment is not applied to any invoice.",
                )
            ],
        )
        for index in range(number)
    ]


UNDRAWABLE = "invoice:acme-us:billing:INV-0"


def write_undrawable(client: Client, now: datetime) -> None:
    """A tied-out verdict without the lists that a page draws, as no worker writes it."""
    raw = json.dumps(
        {"correlation_id": UNDRAWABLE, "kind": "invoice", "entity": "acme-us", "outcome": "ok", "currency": "USD"}
    )
    names = ["partition", "epoch", "seq", "judged_at", "first_seen", "digest", "changed", "progress", "raw", "controls"]
    client.insert("verdicts", [[0, 1, 9000, now, now - timedelta(days=400), 1, 1, "{}", raw, "[]"]], column_names=names)
