"""Identification over anything that the door lets in: it answers, takes no more than there is, and its answer is a record."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical import records, structs
from matching.case import Case
from matching.effects import effects
from matching.identify import Book, Match, identify_all
from matching.matches import as_event
from matching.policy import load
from matching.references import name_of, names_in, runs
from matching.unidentified import item_of, receipts_of
from tests.property.events import record_of

POLICY = load()
INVOICE, MONEY = "invoice:acme:billing:1", ("receipt:acme:bank:1", "receipt:acme:bank:2", "summary:acme:bank:3")
SAID = st.sampled_from(["INV-1", "pays INV-1", "17", "1", "INV-2"])


@st.composite
def told(draw: st.DrawFn, event_type: str, case: str, **data: Any) -> Any:
    """Whatever the model allows, near enough to the others to meet them."""
    record = draw(record_of(event_type))
    shared = {"entity": "acme", "currency": "USD", "direction": "sales"} | data
    record["data"] |= {name: value for name, value in shared.items() if draw(st.integers(0, 9))}
    return structs.decode(json.dumps(record | {"correlationid": case}).encode())


INVOICES = st.lists(
    st.one_of(*(told(kind, INVOICE, number="INV-1", total_minor=12_345) for kind in ("invoice.issued", "invoice.voided")),
              told("cash.applied", INVOICE, from_kind="payment", amount_minor=12_345)), max_size=2,
)  # fmt: skip
PAID = st.lists(
    st.one_of(
        *(told("payment.received", case, amount_minor=12_345, reference=said) for case in MONEY[:2] for said in ("INV-1", "for INV-1", None)),
        told("posting.recorded", MONEY[0]), told("match.made", MONEY[0]), told("match.refused", MONEY[1]),
        told("bank.line", MONEY[2], amount_minor=12_345, statement_id="s", reference="INV-1"),
    ), max_size=3,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(INVOICES, PAID)
def test_whatever_the_door_lets_in_is_answered(invoices: list[Any], paid: list[Any]) -> None:
    cases: dict[str, Case] = {}
    for event in (*invoices, *paid):
        cases.setdefault(event.correlationid, Case(event.correlationid)).add(event)
    items = [item for case in cases.values() if (item := item_of(case, POLICY)) is not None]
    asking = [receipt for case in cases.values() for receipt in receipts_of(case, POLICY)]
    decided = identify_all(Book(POLICY.identification, items), asking)
    assert [each.receipt.ident for each in decided] == sorted({receipt.ident for receipt in asking})
    taken = sum(part.settled_minor for match in decided if isinstance(match, Match) for part in match.parts)
    assert taken <= sum(item.open_minor for item in items)
    for decision in decided:
        event = as_event(decision, POLICY.hash, 7)
        raw = records.encode(event)
        assert structs.encode(structs.decode(raw)) == raw
        case = cases[event.correlationid]
        case.add(event)
        if isinstance(decision, Match):
            assert {part.target for part in decision.parts} <= {effect.target for effect in effects(case, POLICY)}
            assert decision.receipt.ident not in {receipt.ident for receipt in receipts_of(case, POLICY)}


@given(st.text(max_size=40))
def test_any_text_has_its_runs_and_a_name_is_found_in_itself(text: str) -> None:
    assert all(run.text for run in runs(text))
    name = name_of(text)
    assert not name or len(name) > 8 or name in set(names_in(text))
