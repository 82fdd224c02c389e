"""Bank statements: what camt and MT940 say of the same things, and why a damaged one is refused."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from canonical.dead_letters import DeadLetter
from canonical.records import MAX_RECORD_BYTES
from sources.records import Mapped, Rejected, map_paths
from sources.registry import SOURCES, map_record

FOLDER = Path(__file__).parent / "fixtures" / "bank"
STATEMENT = (FOLDER / "statement.xml").read_bytes()


def told(source: str, *names: str) -> Iterator[Any]:
    for outcome in map_paths(source, [str(FOLDER / name) for name in names]):
        assert isinstance(outcome, Mapped), outcome
        yield from outcome.events


def cases_of(events: Any) -> dict[str, list[Any]]:
    cases: dict[str, list[Any]] = {}
    for event in events:
        cases.setdefault(event.correlationid, []).append(event)
    return cases


def refs_of(line: Any) -> set[tuple[str, str]]:
    return {(ref.kind, ref.value) for ref in line.data.refs or ()}


CAMT = cases_of(told("camt", "statement.xml"))
(STATED, *LINES), (SECOND,) = CAMT.values()
MT = cases_of(told("mt940", "pages.sta"))
(MT_STATED, *MT_LINES), (MT_SECOND,) = MT.values()


def test_opening_and_lines_come_to_the_closing_balance() -> None:
    for stated, lines in ((STATED, LINES), (MT_STATED, MT_LINES)):
        own = sum(line.data.amount_minor for line in lines if line.data.statement_id == stated.data.document_id)
        assert stated.data.opening_minor == -10_000
        assert stated.data.opening_minor + own == stated.data.closing_minor


def test_a_statement_and_its_lines_are_one_case_named_by_account_and_statement() -> None:
    assert list(CAMT) == [
        "summary:main:bank:DE02100100100006820101/S-2025-03-03",
        "summary:main:bank:0012/S-2025-03-04/2",
    ]
    assert [(event.data.sequence, event.time) for event in (STATED, SECOND)] == [
        (42, datetime(2025, 3, 3, tzinfo=UTC)), (None, datetime(2025, 3, 4, tzinfo=UTC)),
    ]  # fmt: skip
    assert list(MT) == [f"summary:main:bank:10010010/6820101/STARTUMS/00042/{page}/20250103" for page in ("001", "002")]
    assert MT_STATED.data.sequence == 42


def test_a_payment_is_found_by_any_of_its_references() -> None:
    camt, mt = LINES[0], MT_LINES[0]
    assert camt.data.amount_minor == mt.data.amount_minor == 120_050
    assert camt.data.reference == "RF18539007547034 Invoice INV-7"
    assert refs_of(camt) == {
        ("end_to_end", "INV-7"), ("instruction", "I-7"), ("uetr", "255ae394-9965-4438-ac86-f406feada396"),
        ("bank_reference", "B-1"), ("creditor_reference", "RF18539007547034"),
    }  # fmt: skip
    assert mt.data.reference == "Invoice INV-7 of December"
    assert refs_of(mt) == {("end_to_end", "INV-7"), ("customer_reference", "K-7"), ("bank_reference", "B-1")}
    assert (camt.data.counterparty, mt.data.counterparty) == ("Ada & Co", "Ada Lovelace")


def test_a_line_has_the_day_it_was_booked_and_the_day_it_counts_from() -> None:
    assert [(line.data.accounting_date, line.data.value_date) for line in (LINES[0], MT_LINES[0])] == [
        (date(2025, 3, 3), date(2025, 3, 4)), (date(2025, 1, 2), date(2024, 12, 31)),
    ]  # fmt: skip
    assert LINES[1].time == datetime(2025, 3, 3, 15, 20, tzinfo=UTC)


def test_what_goes_out_is_negative_and_charges_are_told_beside_it() -> None:
    camt, mt = LINES[1], MT_LINES[1]
    assert (camt.data.amount_minor, camt.data.charges_minor, camt.data.counterparty) == (-10_030, 30, "Supplier")
    assert camt.data.reference == "Transfer abroad", "NOTPROVIDED is no reference"
    assert (mt.data.amount_minor, mt.data.counterparty) == (-10_030, "Supplier")
    assert mt.data.reference == "Order 9, thank you for your long lasting trust"
    assert refs_of(mt) == {("customer_reference", "OUR-9"), ("end_to_end", "E-9")}


def test_a_reversal_has_the_sign_of_its_booking() -> None:
    assert [(line.data.amount_minor, line.data.is_reversal) for line in (LINES[2], *MT_LINES[2:])] == [
        (3_000, True), (3_000, True), (-100, True),
    ]  # fmt: skip
    assert LINES[2].data.counterparty == "Returned to us"
    assert MT_LINES[2].data.reference == "Return of a debit"


def test_a_batch_is_told_by_its_details_where_they_add_up() -> None:
    first, second = LINES[3:5]
    assert [(line.data.amount_minor, line.data.reference) for line in (first, second)] == [(1_000, "A"), (600, "B")]
    assert first.data.batch_id == second.data.batch_id == "DE02100100100006820101/S-2025-03-03/4"
    assert ("message", "BATCH-1") in refs_of(first)


def test_a_pending_entry_is_not_on_the_statement_and_its_details_do_not_add_up() -> None:
    (pending,) = LINES[5:]
    assert (pending.data.amount_minor, pending.data.statement_id, pending.data.batch_id) == (500, None, None)


def test_a_report_says_before_the_statement_what_is_not_on_one_yet() -> None:
    (camt,), (mt,) = told("camt", "report.xml"), told("mt940", "interim.mt942")
    assert (camt.type, camt.data.amount_minor, camt.data.currency, camt.data.statement_id) == ("bank.line", -1_234, "KWD", None)  # fmt: skip
    assert (mt.type, mt.data.amount_minor, mt.data.currency, mt.data.statement_id) == ("bank.line", 1, "PLN", None)
    assert camt.correlationid == "summary:main:bank:0012/R1"


def test_damaged_messages_say_what_is_wrong_and_harm_no_other() -> None:
    refused = [(row.line, row.failure, row.reason) for row in map_paths("mt940", [str(FOLDER / "damaged.sta")]) if isinstance(row, Rejected)]  # fmt: skip
    assert refused == [
        (1, "mapping", "mt940 'CUT': tag :62F: is missing: the message was cut off or is of another kind"),
        (6, "mapping", "mt940 'OUT OF PLACE': tag :25: comes again; the message is damaged"),
        (13, "mapping", "mt940 'UNREADABLE': '251303' is no date YYMMDD"),
        (19, "mapping", "mt940 'TWO CURRENCIES': opening is in EUR and closing in USD: an account has one currency"),
        (24, "mapping", "mt940 'HALF A YEN': amount 1.50 has more decimals than JPY has (0)"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"<CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK", b"<CdtDbtInd>C</CdtDbtInd><Sts><Cd>BOOK", "CdtDbtInd is 'C', expected CRDT or DBIT"),
        (b"<Cd>BOOK</Cd>", b"<Cd>DONE</Cd>", "Sts of entry 1 is 'DONE', expected BOOK, PDNG, INFO or FUTR"),
        (b'<Amt Ccy="EUR">1200.50', b'<Amt Ccy="EUR">1,200.50', "Amt is '1,200.50', expected a decimal amount"),
        (b'<Amt Ccy="EUR">1200.50', b'<Amt Ccy="EUR">1200.505', "amount 1200.505 has more decimals than EUR has (2)"),
        (b'<Amt Ccy="EUR">1200.50', b'<Amt Ccy="SEK">1200.50', "balances and entries are in EUR and SEK: an account has one currency"),
        (b'<Amt Ccy="EUR">1200.50', b'<Amt Ccy="XZZ">1200.50', "currency 'XZZ' is not in ISO 4217; correct it in the source or have the code added"),
        (b"<Dt>2025-03-03</Dt></BookgDt>", b"<Dt>2025-02-30</Dt></BookgDt>", "BookgDt is '2025-02-30', no date or date-time of ISO 8601"),
        (b"<IBAN>DE02100100100006820101</IBAN>", b"", "Acct/Id is missing: whose account it is"),
        (b"<ElctrncSeqNb>42", b"<ElctrncSeqNb>4a", "ElctrncSeqNb is '4a', expected a number"),
        (b"<RvslInd>true", b"<RvslInd>maybe", "RvslInd is 'maybe', expected true or false"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_is_named(old: bytes, new: bytes, reason: str) -> None:
    assert old in STATEMENT
    letter = map_record("camt", STATEMENT.replace(old, new))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == f"camt Stmt 'S-2025-03-03': {reason}"


def test_no_entity_is_ever_expanded() -> None:
    laughs = b'<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    letter = map_record("camt", STATEMENT.replace(b"?>", b"?>" + laughs, 1).replace(b"Supplier", b"&b;&c;"))
    assert isinstance(letter, DeadLetter)
    assert "document type" in letter.reason
    deep = map_record("camt", b"<a>" * 100_000)
    assert isinstance(deep, DeadLetter)
    assert "nested deeper" in deep.reason


def test_a_message_of_another_kind_is_refused() -> None:
    assert "holds no camt" in map_record("camt", b"<Document><CstmrCdtTrfInitn/></Document>").reason  # type: ignore[union-attr]
    assert "no tag :20:" in map_record("mt940", b"hello").reason  # type: ignore[union-attr]


def test_a_statement_larger_than_a_record_is_read_in_parts_that_say_the_same(tmp_path: Path) -> None:
    head, rest = STATEMENT.split(b"<Ntry>", 1)
    _, tail = rest.rsplit(b"</Ntry>", 1)
    entry = b'<Ntry><Amt Ccy="EUR">0.01</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><AddtlNtryInf>%d</AddtlNtryInf></Ntry>'
    (tmp_path / "large.xml").write_bytes(head + b"".join(entry % n for n in range(1, 30_001)) + tail)
    bodies = [record.body for record in SOURCES["camt"].read([str(tmp_path)])]
    assert len(bodies) > 2
    assert max(map(len, bodies)) <= MAX_RECORD_BYTES
    events: list[Any] = []
    for body in bodies:
        mapped = map_record("camt", body)
        assert not isinstance(mapped, DeadLetter), mapped
        events += mapped
    lines = {event.id: event for event in events if event.type == "bank.line"}
    assert len(lines) == 30_000
    assert all(event.data.document_id.endswith(f"/{event.data.reference}") for event in lines.values())
    assert len({(event.id, event.data) for event in events if event.type == "bank.statement"}) == 2


def test_the_key_of_a_record_is_its_account() -> None:
    assert SOURCES["camt"].key(STATEMENT) == b"DE02100100100006820101"
    assert SOURCES["mt940"].key((FOLDER / "pages.sta").read_bytes()) == b"10010010/6820101"
