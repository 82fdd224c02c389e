"""Tie-out over the store: the same as over files, kept for the dashboard, and signed through the stream's own door."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical import records
from matching.policy import load
from matching.tieout.basis import Basis, months_until, period_of
from matching.tieout.close import Signature, sign
from matching.tieout.report import digest
from sinks.client import Store
from sinks.rows import DeadLetterRow, FactBatch
from sinks.tieouts import TieOutStore
from streams.tie_outs import CannotTieOut, Done, from_lines, from_store, store_row, tie_out, tie_out_all
from tests.scenarios.books import START, after, invoice, posting
from tests.scenarios.test_tie_out import reported

MARCH = Basis("acme-us", "", period_of("2026-03"))
FACTS = [
    invoice("100"),
    posting("90"),
    posting("7", document="je_2", case="invoice:acme-us:billing:INV-2"),
    reported("97", "32d"),
]
LATE = [
    invoice(
        "50", "36d", document="in_3", case="invoice:acme-us:billing:INV-3", accounting_date="2026-03-31", number="INV-3"
    )
]


@pytest.fixture
def kept(store: Store) -> TieOutStore:
    tie_outs = TieOutStore(store.client)
    write(tie_outs, FACTS)
    return tie_outs


def write(kept: TieOutStore, facts: list[Any], offset: int = 0) -> None:
    raws = [msgspec.json.encode(fact) for fact in facts]
    kept.write_facts([FactBatch("postings", 0, range(offset, offset + len(raws)), raws)])


def done(kept: TieOutStore, basis: Basis = MARCH) -> Done:
    return tie_out(from_store(kept, basis.entity), basis, load())


def save(kept: TieOutStore, found: Done) -> None:
    kept.write_tie_out(store_row(found, datetime.now(UTC)))


def rows(kept: TieOutStore, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in kept.client.query(query).result_rows]


def signed(kept: TieOutStore, found: Done) -> Any:
    """As the stream stores it: a record of its own."""
    event = sign(found.made, Signature("ada", "bob", "one open item", after("34d"), "p1", "1.0", (("postings", 0, 4),)))
    kept.write_facts([FactBatch("decisions", 0, [0], [records.encode(event)])])
    return event


def test_the_store_and_a_file_of_the_same_facts_give_one_tie_out(kept: TieOutStore, tmp_path: Path) -> None:
    lines = [msgspec.json.encode(fact) for fact in FACTS]
    of_file = tie_out(from_lines(lines, "acme-us", tmp_path, lambda _: None), MARCH, load())
    assert done(kept).record == of_file.record
    assert of_file.made.state == "explained"


def test_all_entities_and_months_at_once_are_what_each_is_alone(kept: TieOutStore) -> None:
    write(kept, [posting("5", document="je_3", case="invoice:acme-de:billing:INV-1", entity="acme-de")], offset=20)
    months = months_until(date(2026, 4, 2), 2)
    found = [each.record for each in tie_out_all(kept, months, load())]
    alone = [done(kept, Basis(entity, "main", month)).record for entity in ("acme-de", "acme-us") for month in months]
    assert found == alone


def test_what_is_kept_is_read_back_by_the_views_to_the_last_cent(kept: TieOutStore) -> None:
    found = done(kept)
    save(kept, found)
    (receivable, _payable) = found.made.balances
    balances = rows(
        kept,
        "SELECT position, state, documents_minor, ledger_minor, reported_minor, lines FROM tie_out_balances ORDER BY place",
    )
    assert balances == [("receivable", "explained", 10000, 9700, 9700, 2), ("payable", "tied_out", 0, 0, None, 0)]
    lines = rows(kept, "SELECT name, amount_minor, documents, cases, day FROM tie_out_lines ORDER BY place")
    assert lines == [
        (line.name, line.amount_minor, list(line.documents), list(line.cases), line.day) for line in receivable.lines
    ]
    movements = rows(
        kept,
        "SELECT kind, documents_minor, ledger_minor FROM tie_out_rows WHERE position = 'receivable' ORDER BY place",
    )
    assert movements == [("opening", 0, 0), ("invoices", 10000, 9700), ("closing", 10000, 9700)]
    assert rows(kept, "SELECT account, ledger_minor, reported_minor FROM tie_out_accounts") == [
        ("receivable", 9700, 9700)
    ]


def test_after_a_close_was_signed_what_comes_in_is_a_post_close_line(kept: TieOutStore) -> None:
    event = signed(kept, done(kept))
    write(kept, LATE, offset=10)
    found = done(kept)
    save(kept, found)
    assert found.restated == []
    assert found.made.basis.signed_at == event.data.known_until
    late = rows(kept, "SELECT position, documents_minor, ledger_minor, documents, case_key FROM tie_out_post_close")
    assert late == [("receivable", 5000, 0, ["INV-3"], "invoice:acme-us:billing:INV-3")]
    close = rows(kept, "SELECT signed_by, reviewed_by, signed_state, signed_digest FROM tie_outs FINAL")
    assert close == [("ada", "bob", "explained", event.data.digest)]


def test_what_was_recorded_before_the_close_and_came_in_after_it_is_restated(kept: TieOutStore) -> None:
    signed(kept, done(kept))
    write(kept, [posting("3", "2d", document="je_9", case="invoice:acme-us:billing:INV-9")], offset=10)
    found = done(kept)
    save(kept, found)
    (line,) = found.restated
    assert (line.name, line.position, line.amount_minor) == ("restated", "receivable", 300)
    assert ("restated", 300) in rows(kept, "SELECT name, amount_minor FROM tie_out_lines")


def test_a_signed_close_is_made_again_with_the_same_digest(kept: TieOutStore) -> None:
    event = signed(kept, done(kept))
    write(kept, LATE, offset=10)
    again = done(kept, MARCH._replace(known_until=event.data.known_until))
    assert digest(again.made) == event.data.digest
    assert digest(done(kept).made) != event.data.digest


def test_the_signature_holds_how_far_the_log_had_been_read(kept: TieOutStore) -> None:
    (position,) = signed(kept, done(kept)).data.positions
    assert (position.topic, position.partition, position.offset) == ("postings", 0, 4)


@pytest.mark.parametrize(
    ("basis", "said"),
    [
        (MARCH._replace(entity="nobody"), "there are no postings of entity nobody"),
        (MARCH._replace(ledger="ifrs"), "has no ledger ifrs; known are main"),
    ],
)
def test_a_ledger_that_is_not_there_is_said(kept: TieOutStore, basis: Basis, said: str) -> None:
    with pytest.raises(CannotTieOut, match=said):
        done(kept, basis)


def test_two_ledgers_need_a_choice(kept: TieOutStore) -> None:
    write(kept, [posting("100", ledger="ifrs", document="je_i")], offset=20)
    with pytest.raises(CannotTieOut, match="several ledgers, say which one with --ledger: ifrs, main"):
        done(kept)
    assert done(kept, MARCH._replace(ledger="ifrs")).made.balances[0].ledger_minor == 10000


def test_what_was_refused_and_is_open_makes_the_books_incomplete(kept: TieOutStore) -> None:
    letter = DeadLetterRow("raw.erp", 0, 7, START, "mapping", "a field is missing", "map", "erp", "", b"k", "[]", b"{}")
    kept.write_dead_letters([letter, letter._replace(offset=8, failure_class="policy", reason="a draft")])
    made = done(kept).made
    assert made.missing == ("1 dead letters of erp are open: what they say is not in the books",)
    assert made.state == "incomplete"
