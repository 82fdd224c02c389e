"""Choices between cases (rule E7): what money pays that names nothing, in files."""

import random
from typing import Any

import msgspec

from canonical import records
from canonical.events import Event
from matching.policy import load
from streams.batch import reconcile
from tests.simulation.shell import START, document

POLICY = load(None)


def money(number: int, amount_minor: int = 12_000, **data: Any) -> Event:
    stated = {
        "entity": "acme-us", "document_id": f"py-{number}", "currency": "USD", "amount_minor": amount_minor,
        "customer": {"payer": "C-1"},
    } | data  # fmt: skip
    return records.make(
        "payment.received", id=f"bank:py-{number}", source="bank/acme", subject=f"py-{number}", time=START,
        correlationid=f"receipt:acme-us:bank:py-{number}", data=stated,
    )  # fmt: skip


def sold(*numbers: int) -> list[Event]:
    return [document(kind, number) for number in numbers for kind in ("invoice", "posting")]


def verdicts(*events: Event, **options: Any) -> dict[str, Any]:
    found = reconcile([records.encode(event) for event in events], POLICY, **options)
    return {verdict["correlation_id"]: verdict for verdict in map(msgspec.json.decode, found)}


def paid(verdict: dict[str, Any]) -> str:
    return next(hop["state"] for hop in verdict["hops"] if hop["name"] == "invoice_to_payment")


def test_files_find_what_money_pays_that_names_it_in_words() -> None:
    found = verdicts(*sold(1, 2), money(1, reference="for INV-2, thank you"))
    assert paid(found["invoice:acme-us:billing:2"]) == "met"
    assert paid(found["invoice:acme-us:billing:1"]) == "waiting"


def test_files_leave_two_identical_invoices_to_a_person() -> None:
    found = verdicts(*sold(1, 2), money(1))
    assert [each["class"] for each in found["receipt:acme-us:bank:py-1"]["breaks"]] == ["ambiguous_match"]
    assert paid(found["invoice:acme-us:billing:1"]) == paid(found["invoice:acme-us:billing:2"]) == "waiting"


def test_a_choice_that_lies_among_the_files_is_kept() -> None:
    chosen = records.make(
        "match.made", id="dashboard:1", source="dashboard/acme", subject="py-1", time=START,
        correlationid="receipt:acme-us:bank:py-1",
        data={
            "entity": "acme-us", "document_id": "1", "actor": "mary", "rule": "person", "payment_id": "py-1",
            "invoice_ids": ["invoice-1"], "allocations": [{"target": "invoice:acme-us:billing:1", "amount_minor": 12_000}],
        },
    )  # fmt: skip
    found = verdicts(*sold(1, 2), money(1, reference="INV-2"), chosen)
    assert [paid(found[f"invoice:acme-us:billing:{number}"]) for number in (1, 2)] == ["met", "waiting"]


def test_choices_in_files_depend_neither_on_order_nor_on_how_many_runs_they_take() -> None:
    events = [*sold(*range(1, 9)), *(money(n, reference=f"INV-{n}") for n in (1, 3, 5)), money(6), money(7, 24_000)]
    expected = verdicts(*events)
    random.Random(7).shuffle(events)
    assert verdicts(*events, run_bytes=1) == expected
