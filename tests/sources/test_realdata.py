"""Real material beside the repository, where it is there: what these adapters were made for has to come out of it."""

import csv
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import chdb
import pytest
import yaml

from canonical.money import convert, to_minor
from canonical.records import encode
from matching.case import Case
from matching.identify import Book, Match, Receipt, identify_all
from matching.judge import judge
from matching.policy import load
from matching.unidentified import item_of, receipts_of
from matching.verdict import decode as decode_verdict
from sources.records import Mapped, Rejected, map_paths
from streams.batch import reconcile

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


def test_every_chargebee_record_is_mapped_or_says_why_not() -> None:
    """Counted beside the adapter: which objects each file holds, and in which state."""
    found = outcomes("chargebee", "chargebee")
    silent = [Path(outcome.path).name for outcome in found if isinstance(outcome, Rejected)]
    assert {outcome.failure for outcome in found if isinstance(outcome, Rejected)} == {"policy"}
    expected = []
    for path in sorted((DATA / "chargebee").rglob("*.json")):
        body = json.loads(path.read_text())
        held = body["content"] if "content" in body else {body["object"]: body} if "object" in body else body
        telling = [
            name for name, item in held.items()
            if name in ("subscriptions", "credit_notes") or (name in ("customer", "subscription", "credit_note", "invoice", "transaction") and item.get("status") not in ("pending", "future", "in_progress") and item.get("type") != "authorization" and not (name == "customer" and item.get("deleted")))
        ]  # fmt: skip
        expected += [] if telling else [path.name]
    assert (len(found), len(silent)) == (50, 20)
    assert sorted(silent) == sorted(expected)
    types = Counter(event.type for outcome in found if isinstance(outcome, Mapped) for event in outcome.events)
    assert types == {
        "customer.changed": 22, "subscription.activated": 17, "invoice.issued": 5, "credit_memo.issued": 3, "subscription.cancelled": 3,
        "refund.issued": 2, "cash.applied": 2, "subscription.paused": 2, "payment.received": 2, "subscription.renewed": 1,
        "subscription.resumed": 1, "refund.failed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "folder", "records", "types", "refused"),
    [
        ("salesforce_tables", "salesforce", 111, {"document.recorded": 10, "customer.changed": 1, "customer.merged": 1}, {"policy": 89, "mapping": 10}),
        ("hubspot_tables", "hubspot", 2643, {"customer.changed": 96}, {"policy": 2545, "mapping": 2}),
        ("netsuite_tables", "netsuite/table_extracts", 294, {"customer.changed": 9}, {"policy": 272, "mapping": 7, "master_data": 3}),
        ("zuora_tables", "zuora", 103, {"cash.applied": 6, "invoice.issued": 5, "payment.received": 5, "customer.changed": 4, "subscription.activated": 2}, {"policy": 74, "master_data": 1}),
    ],
)  # fmt: skip
def test_every_row_of_every_table_is_an_event_or_says_why_not(source: str, folder: str, records: int, types: dict[str, int], refused: dict[str, int]) -> None:  # fmt: skip
    """All samples of opportunities are deleted ones; rows are counted with the csv module."""
    found = outcomes(source, folder)
    rows = sum(len(rows_of(str(path.relative_to(DATA)))) for path in (DATA / folder).rglob("*.csv"))
    joined = {"zuora_tables": 6, "netsuite_tables": 3}.get(source, 0)  # items and entries, told with their headers
    assert len(found) + joined == rows == records
    assert Counter(event.type for outcome in found if isinstance(outcome, Mapped) for event in outcome.events) == types
    assert Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected)) == refused
    assert not [o for o in found if isinstance(o, Rejected) and ("cannot read" in o.reason or "unknown" in o.reason)]


def test_every_quickbooks_record_is_an_event_or_says_why_not() -> None:
    """Totals by stream, and what payments leave unapplied, counted over the file itself."""
    found = outcomes("quickbooks", "quickbooks")
    lines = [json.loads(line) for line in (DATA / "quickbooks/records.jsonl").read_text().splitlines()]
    streams = Counter(line["stream"] for line in lines)
    events = [event for outcome in found if isinstance(outcome, Mapped) for event in outcome.events]
    types = Counter(event.type for event in events)
    assert types["invoice.issued"] == streams["invoices"] + streams["bills"] + streams["sales_receipts"] == 14
    assert types["payment.received"] == streams["payments"] + streams["bill_payments"] + streams["sales_receipts"] == 14
    assert len(found) == len(lines) == 85
    assert Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected)) == {"policy": 47}
    stated = sum(
        Decimal(str(line["data"]["TotalAmt"]))
        for line in lines
        if line["stream"] in ("invoices", "bills", "sales_receipts")
    )
    assert sum(event.data.total_minor for event in events if event.type == "invoice.issued") == stated * 100
    for line in (line["data"] for line in lines if line["stream"] == "payments"):
        (received,) = [
            event for event in events if event.type == "payment.received" and event.data.document_id == line["Id"]
        ]
        rest = received.data.amount_minor - sum(part.amount_minor for part in received.data.allocations or ())
        assert rest == Decimal(str(line["UnappliedAmt"])) * 100


def test_every_odata_body_is_an_event_or_says_why_not() -> None:
    found = outcomes("sap_odata", "sap/odata")
    types = Counter(event.type for outcome in found if isinstance(outcome, Mapped) for event in outcome.events)
    assert len(found) == len(list((DATA / "sap/odata").rglob("*.json"))) == 40
    assert types == {"invoice.issued": 2, "invoice.voided": 1, "document.recorded": 1, "posting.recorded": 1}
    assert Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected)) == {
        "policy": 35,
        "mapping": 1,
    }
    (posted,) = [
        event
        for outcome in found
        if isinstance(outcome, Mapped)
        for event in outcome.events
        if event.type == "posting.recorded"
    ]
    assert [line.base_minor for line in posted.data.lines] == [99_900, -99_900]


def test_every_killbill_body_is_an_event_or_says_why_not() -> None:
    found = outcomes("killbill", "killbill")
    bodies = [body for path in (DATA / "killbill").glob("*.json") for body in json.loads(path.read_text())]
    types = Counter(event.type for outcome in found if isinstance(outcome, Mapped) for event in outcome.events)
    assert len(found) == len(bodies) == 110
    assert Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected)) == {"policy": 87}
    assert (types["invoice.issued"], types["payment.received"], types["subscription.activated"]) == (18, 8, 8)


def test_every_business_central_body_is_an_event_or_says_why_not() -> None:
    found = outcomes("business_central", "dynamics_bc")
    types = Counter(event.type for outcome in found if isinstance(outcome, Mapped) for event in outcome.events)
    assert len(found) == len(list((DATA / "dynamics_bc").glob("*.json"))) == 54
    assert types == {"customer.changed": 2, "invoice.issued": 1}
    assert Counter(outcome.failure for outcome in found if isinstance(outcome, Rejected)) == {
        "policy": 49,
        "master_data": 2,
    }


# --- Bank statements against the oracles beside them --------------------------------------------------------------------


def events_by_file(source: str, folder: str) -> dict[str, list[Any]]:
    files: dict[str, list[Any]] = defaultdict(list)
    for outcome in outcomes(source, folder):
        if isinstance(outcome, Mapped):
            files[Path(outcome.raw.path).stem] += outcome.events
    return files


def refused_files(source: str, folder: str) -> dict[str, str]:
    found = [outcome for outcome in outcomes(source, folder) if isinstance(outcome, Rejected)]
    return {Path(outcome.path).name: outcome.reason.split(": ", 1)[1] for outcome in found}


def lines_of(events: list[Any]) -> list[Any]:
    return [event for event in events if event.type == "bank.line"]


def test_camt_files_say_what_their_oracles_say() -> None:
    """Each oracle is another parser's reading: account, statement, balances, and the last entry in full."""
    files, refused = events_by_file("camt", "bank/camt"), refused_files("camt", "bank/camt")
    assert (len(files), len(refused), sum(len(lines_of(events)) for events in files.values())) == (18, 8, 19)
    for name, events in files.items():
        (entry,) = json.loads((DATA / "bank/camt" / f"{name}.json").read_text())["getEntries"]
        record, line = entry["getRecord"], lines_of(events)[-1].data
        assert (line.amount_minor, line.currency) == (int(entry["getAmount"]["getAmount"]), entry["getAmount"]["getCurrency"]["getCode"])  # fmt: skip
        assert line.account == record["getAccount"]["getIdentification"]
        assert f"/{record['getId']}" in lines_of(events)[-1].correlationid
        end_to_end = ((entry["getTransactionDetail"] or {}).get("getReference") or {}).get("getEndToEndId")
        assert end_to_end in (None, *(ref.value for ref in line.refs or () if ref.kind == "end_to_end")), name
        booked = entry["getBookingDate"]
        assert booked is None or line.accounting_date.isoformat() == booked["0"][:10]
        balances: dict[str, int] = {}
        for balance in record.get("getBalances") or []:  # it calls the previous closing (PRCD) an opening too
            balances.setdefault(balance["getType"], int(balance["getAmount"]["getAmount"]))
        stated = [event.data for event in events if event.type == "bank.statement" and event.data.document_id == line.statement_id]  # fmt: skip
        assert [(data.opening_minor, data.closing_minor) for data in stated] == ([(balances["opening"], balances["closing"])] if stated else [])  # fmt: skip
        assert bool(stated) == (name.startswith("camt053") and balances.keys() >= {"opening", "closing"})


def test_camt_files_that_contradict_themselves_are_refused() -> None:
    """Six of the samples have balances in two currencies on one account, one holds no statement, one nothing to tell."""
    refused = refused_files("camt", "bank/camt")
    assert sum("an account has one currency" in reason for reason in refused.values()) == 6
    for name in (name for name, reason in refused.items() if "one currency" in reason):
        (entry,) = json.loads((DATA / "bank/camt" / name.replace(".xml", ".json")).read_text())["getEntries"]
        balances = entry["getRecord"]["getBalances"]
        assert len({balance["getAmount"]["getCurrency"]["getCode"] for balance in balances}) > 1, name
    assert "holds no Stmt" in refused["camt053.v2.wrong.xml"]
    assert "nothing to tell" in refused["camt53.only-Dt-with-DtTm.xml"]


class _Oracle(yaml.SafeLoader):
    """The oracles are pickled Python objects; their values are enough."""


def _value(loader: Any, _: str, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else loader.construct_scalar(node)  # fmt: skip


_Oracle.add_multi_constructor("tag:yaml.org,2002:python/", _value)  # type: ignore[no-untyped-call]


def oracle_of(name: str) -> list[dict[str, Any]]:
    text = re.sub(
        r"(transactions: )\*id[0-9]+", r"\1null", (DATA / "bank/mt940" / f"{name}.yml").read_text()
    )  # each names its whole
    whole = yaml.load(text, _Oracle)
    return [transaction["data"] for transaction in whole["transactions"]]


def test_mt940_files_say_what_their_oracles_say() -> None:
    """Per line: amount, currency, day, and the references of :61:, as another parser read them."""
    files, compared = events_by_file("mt940", "bank/mt940"), 0
    for name, events in files.items():
        if not (DATA / "bank/mt940" / f"{name}.yml").is_file():
            continue
        lines, expected = lines_of(events), oracle_of(name)
        assert len(lines) == len(expected), name
        for line, other in zip(lines, expected, strict=True):
            amount = other["amount"]
            if other["status"] == "RC":  # it leaves out that this takes a credit back; the balances prove that it does
                amount["amount"][0] = f"-{amount['amount'][0]}"
            assert (line.data.amount_minor, line.data.currency) == (to_minor(amount["amount"][0], amount["currency"]), amount["currency"])  # fmt: skip
            names = {"", "NONREF", "EREF", "KREF+", *(ref.value for ref in line.data.refs or ())}
            for told in (other["customer_reference"], other.get("bank_reference")):
                assert (told or "").removeprefix("KREF+\n").strip() in names, (name, told)
            compared += 1
    assert compared == 178


def test_mt940_openings_and_lines_come_to_their_closings_but_where_the_samples_were_cut() -> None:
    apart: Counter[str] = Counter()
    statements = 0
    for outcome in outcomes("mt940", "bank/mt940"):
        events = outcome.events if isinstance(outcome, Mapped) else ()
        for stated in (event.data for event in events if event.type == "bank.statement"):
            moved = sum(line.data.amount_minor for line in lines_of(list(events)))
            apart[Path(outcome.raw.path).name] += stated.opening_minor + moved != stated.closing_minor
            statements += 1
    assert (statements, {name: count for name, count in apart.items() if count}) == (117, {
        "betterplace.sepa_snippet.sta": 1, "jejik.abnamro.sta": 2, "jejik.ing.sta": 1, "jejik.knab.sta": 1,
        "jejik.postfinance.sta": 1, "jejik.rabobank.sta": 2, "jejik.triodos.sta": 1, "mBank.with_newline_in_tnr.sta": 1,
    })  # fmt: skip


def test_real_statements_are_judged_as_they_add_up_and_follow_on_one_another() -> None:
    """What does not add up is what the samples cut off; what does not follow is a day or a number that they leave out."""
    lines = [
        encode(event)
        for outcome in outcomes("mt940", "bank/mt940")
        if isinstance(outcome, Mapped)
        for event in outcome.events
    ]
    verdicts = [decode_verdict(raw) for raw in reconcile(lines, load(), datetime(2026, 1, 1, tzinfo=UTC))]
    broken = Counter(v.kind for v in verdicts if any(found.class_ == "bank" for found in v.breaks))
    assert (broken, Counter(v.kind for v in verdicts)) == ({"summary": 10, "index": 4}, {"summary": 85, "index": 37})
    gap = next(
        found
        for v in verdicts
        if "PL29114010810000267002001002" in v.correlation_id and v.kind == "index"
        for found in v.breaks
    )
    assert "number 2 is missing" in gap.reason


# --- SAP's document flow against plain SQL over the file ----------------------------------------------------------------

FLOW = f"(SELECT * FROM file('{DATA}/sap_document_flow/vbfa.csv.gz', 'CSVWithNames', '{', '.join(f'{name} String' for name in ('VBELV', 'POSNV', 'VBELN', 'POSNN', 'VBTYP_N', 'VBTYP_V', 'RFMNG', 'MEINS', 'RFWRT', 'WAERS', 'ERDAT', 'ERZET', 'MATNR', 'BWART', 'AEDAT', 'FKTYP'))}'))"


@pytest.fixture(scope="module")
def flow() -> list[Any]:
    found = outcomes("sap_document_flow", "sap_document_flow")
    refused = [outcome.reason.split(": ", 1)[1] for outcome in found if isinstance(outcome, Rejected)]
    assert Counter(refused) == {
        "its items are in DEM and PTE: an invoice has one currency": 6,
        "item 000010 is worth one thing by its delivery and another by its order": 1,
    }
    return [event for outcome in found if isinstance(outcome, Mapped) for event in outcome.events]


def sql(query: str) -> list[tuple[Any, ...]]:
    rows = chdb.query(query.replace("flow", FLOW), "JSONCompact").bytes()
    return [tuple(row) for row in json.loads(rows)["data"]]


def told_by(events: list[Any], *types: str) -> Counter[str]:
    return Counter(event.data.document_id for event in events if event.type in types)


def test_every_document_of_the_flow_is_told_once_in_a_case_of_its_own(flow: list[Any]) -> None:
    documents = dict(
        sql(
            "SELECT category, toInt32(uniqExact(ident)) FROM (SELECT trim(VBELN) AS ident, VBTYP_N AS category FROM flow UNION ALL SELECT trim(VBELV), VBTYP_V FROM flow) WHERE ident <> '' GROUP BY category"
        )
    )
    kinds = Counter(event.data.kind for event in flow if event.type == "document.recorded")
    assert {"C": kinds["order"], "J": kinds["delivery"], "R": kinds["goods movement"], "Q": kinds["transfer order"], "2": kinds["external transaction"]} == {category: documents[category] for category in "CJRQ2"}  # fmt: skip
    billed = told_by(flow, "invoice.issued", "credit_memo.issued")
    unmatched = 2  # cancellations that could mean more than one invoice
    assert sum(billed.values()) == documents["M"] + documents["P"] + documents["5"] - 7 + unmatched
    assert len(flow) == sum(documents.values()) - 7
    cases = Counter(event.correlationid for event in flow)
    assert Counter(cases.values()) == {1: len(flow) - 2 * 26, 2: 26}, "two events only where an invoice was cancelled"


def test_following_all_links_would_make_one_case_of_a_thousand_documents() -> None:
    """What the cases above are protected from: numbers joined by whatever links them."""
    above: dict[str, str] = {}

    def top(node: str) -> str:
        while above.setdefault(node, node) != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for before, follows in sql("SELECT DISTINCT trim(VBELV), trim(VBELN) FROM flow WHERE trim(VBELV) <> ''"):
        above[top(before)] = top(follows)
    assert max(Counter(top(node) for node in list(above)).values()) == 1_089


def test_every_link_of_the_flow_is_told_by_what_follows(flow: list[Any]) -> None:
    refused = {f"009000000{number}" for number in range(7)}
    ((links,),) = sql(
        f"SELECT toInt32(uniqExact(VBELV, VBTYP_V, VBELN, VBTYP_N)) FROM flow WHERE trim(VBELV) <> '' AND NOT (VBTYP_N = 'M' AND VBELN IN {tuple(sorted(refused))})"
    )
    assert sum(1 for event in flow for ref in event.data.refs or () if ref.kind != "cancellation") == links


def test_invoices_come_to_what_the_file_says_and_cancelled_ones_to_what_cancels_them(flow: list[Any]) -> None:
    worth = dict(
        sql(
            "SELECT VBELN, toInt64(sum(item)) FROM (SELECT VBELN, POSNN, any(worth) AS item FROM (SELECT VBELN, POSNN, VBTYP_V, round(sum(toFloat64(RFWRT)) * 100) AS worth FROM flow WHERE VBTYP_N IN ('M', 'N', 'P', '5') GROUP BY VBELN, POSNN, VBTYP_V) GROUP BY VBELN, POSNN) GROUP BY VBELN"
        )
    )
    worth = {ident: int(minor) for ident, minor in worth.items()}
    told = {
        event.data.document_id: event.data.total_minor * (1 if event.type == "invoice.issued" else -1)
        for event in flow
        if event.type in ("invoice.issued", "credit_memo.issued")
    }
    assert len(told) > 26_000
    unmatched = {"0090005262", "0090005263"}
    assert {ident for ident, minor in told.items() if minor != worth[ident]} == unmatched, "a cancellation gives back"
    voided = {event.data.document_id: event.data.refs[0].value for event in flow if event.type.endswith(".voided")}
    assert len(voided) == 26
    assert all(worth[ident] == worth[cancellation] for ident, cancellation in voided.items())
    assert set(voided.values()) | unmatched == {
        ident for (ident,) in sql("SELECT DISTINCT VBELN FROM flow WHERE VBTYP_N = 'N'")
    }


def test_orders_that_were_never_invoiced_are_the_ones_of_the_file(flow: list[Any]) -> None:
    orders = {
        event.data.document_id for event in flow if event.type == "document.recorded" and event.data.kind == "order"
    }
    invoiced = {
        ref.value
        for event in flow
        if event.type in ("invoice.issued", "credit_memo.issued")
        for ref in event.data.refs or ()
        if ref.kind == "order"
    }
    never = {
        ident
        for (ident,) in sql(
            "SELECT DISTINCT VBELV FROM flow WHERE VBTYP_V = 'C' AND VBELV NOT IN (SELECT VBELV FROM flow WHERE VBTYP_V = 'C' AND VBTYP_N IN ('M', 'N', 'P', '5')) UNION DISTINCT SELECT DISTINCT VBELN FROM flow WHERE VBTYP_N = 'C' AND VBELN NOT IN (SELECT VBELV FROM flow WHERE VBTYP_V = 'C' AND VBTYP_N IN ('M', 'N', 'P', '5'))"
        )
    }
    refused = {
        ref
        for (ref,) in sql(
            "SELECT DISTINCT VBELV FROM flow WHERE VBTYP_V = 'C' AND VBTYP_N = 'M' AND VBELN < '0090000007'"
        )
    }
    assert orders - invoiced - refused == never
    assert (len(orders), len(never)) == (2406, 48)


# --- Identification: payments that name no invoice ----------------------------------------------------------------------


def test_every_real_payment_that_is_matched_is_matched_to_the_invoice_it_paid(books: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """The truth is what no rule looks at: Xero updates an invoice in the moment in which it journals its payment."""
    policy, cases = load(), [case_of(key, events) for key, events in books.items()]
    book = Book(policy.identification, filter(None, (item_of(case, policy) for case in cases)))
    asking = [receipt for case in cases for receipt in receipts_of(case, policy)]
    decided = identify_all(book, asking)
    matches = [each for each in decided if isinstance(each, Match)]
    updated = {row["invoice_id"]: seconds(row["updated_date_utc"]) for row in rows_of("xero_books/invoices.csv")}
    journaled: dict[str, list[float]] = defaultdict(list)
    for row in rows_of("xero_books/journals.csv"):
        journaled[row["source_id"]].append(seconds(row["created_date_utc"]))
    apart_s = [
        min(abs(updated[part.target.rpartition(":")[2]] - at) for at in journaled[match.receipt.payment_id])
        for match in matches
        for part in match.parts
    ]
    ties = [each.receipt.payment_id for each in decided if not isinstance(each, Match) and each.is_ambiguous]
    with capsys.disabled():
        print(
            f"\nxero payments: {len(asking)} name no invoice, {len(matches)} matched ({len(matches) / len(asking):.1%}), near ties {ties}"
        )
    assert (
        len(asking) == 304
        and len(matches) >= 282
        and len({part.target for m in matches for part in m.parts}) == len(matches)
    )
    assert max(apart_s) < 1, "some payment was matched to an invoice that was not touched when it was booked"


def test_real_receivables_find_their_payments_by_customer_and_amount_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Each payment with its invoice's number struck out; the number is the truth. Without the customer too, nothing is found."""
    policy, cases = load(), by_case(outcomes("receivables_csv", "accounts_receivable"))
    paid = [event for events in cases.values() for event in events if event.type == "payment.received"]
    sold = [case_of(key, [e for e in events if e.type != "payment.received"]) for key, events in cases.items()]
    items = [item for case in sold if (item := item_of(case, policy)) is not None]
    found: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for has_customer, entity in itertools.product((True, False), {item.entity for item in items}):
        book = Book(policy.identification, [item for item in items if item.entity == entity])
        asking = [struck_out(event, has_customer) for event in paid if event.data.entity == entity]
        for decision in identify_all(book, asking):
            targets = [part.target for part in decision.parts] if isinstance(decision, Match) else []
            assert targets in ([], [decision.receipt.payment_id]), "paid another invoice"
            found[has_customer]["matched" if targets else "near tie" if decision.candidates else "nothing"] += 1  # type: ignore[union-attr]
    with capsys.disabled():
        print(
            f"\nreceivables, payments without a number: {dict(found[True])}; without a customer too: {dict(found[False])}"
        )
    assert found[True] == {"matched": 2456, "near tie": 10} and found[False] == {"nothing": 2428, "near tie": 38}


def struck_out(event: Any, has_customer: bool) -> Receipt:
    data = event.data
    customers = (data.customer.payer,) if has_customer else ()
    return Receipt(
        f"receipt:{data.entity}:bank:{event.id}", event.correlationid, data.entity, "sales", data.currency, data.amount_minor,
        event.time, event.time.date(), customers=customers,
    )  # fmt: skip


def case_of(key: str, events: list[Any]) -> Case:
    case = Case(key)
    for event in events:
        case.add(event)
    return case


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp()
