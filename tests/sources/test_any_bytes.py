"""Whatever the bytes: one outcome, never an exception, and no amount that was not in the record."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.records import decode, encode
from sources.registry import SOURCES, map_record

FIXTURES = Path(__file__).parent / "fixtures"
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,3})?([eE][0-9]{1,2})?\Z")
FAILURES = {"transient", "mapping", "master_data", "policy"}

EVENT = {
    "specversion": "1.0", "id": "b:1:issued", "source": "b/e", "type": "invoice.issued", "subject": "1",
    "time": "2026-01-05T10:00:00Z", "dataschema": "urn:tieout:invoice.issued:1", "correlationid": "invoice:e:b:1",
    "data": {"entity": "e", "document_id": "1", "currency": "USD", "total_minor": 12000, "direction": "sales"},
}  # fmt: skip
FOLDERS = {
    "xero_tables": "books", "receivables_csv": "receivables", "shop_tables": "shop", "sap_document_flow": "sap_flow",
    "chargebee": "chargebee", "salesforce_tables": "salesforce", "hubspot_tables": "hubspot",
    "quickbooks": "quickbooks",
    "zuora_tables": "zuora",
    "sap_odata": "sap_odata",
    "killbill": "killbill",
    "netsuite_tables": "netsuite",
    "business_central": "business_central",
}  # fmt: skip
CONVERTED = {"invoice_isk", "invoice_isk_fraction", "invoice_mga"}  # their units are not the record's: test_stripe
VALID: list[tuple[str, dict[str, Any]]] = [
    *(
        ("stripe", json.loads(path.read_text())["body"])
        for path in sorted((FIXTURES / "stripe").glob("*.json"))
        if path.stem not in CONVERTED
    ),
    *(
        (source, json.loads(record.body))
        for source, folder in FOLDERS.items()
        for record in SOURCES[source].read([str(FIXTURES / folder)])
    ),
    ("canonical", EVENT),
]
BANK = [
    (source, record.body) for source in ("camt", "mt940") for record in SOURCES[source].read([str(FIXTURES / "bank")])
]
IN_MAJOR_UNITS = {
    "quickbooks",
    "killbill",
    "business_central",
}  # whose JSON numbers are major units; those of other sources are minor ones
IN_MINOR_UNITS = {"shop_tables"}  # whose texts are minor units; those of other sources are major ones

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["", "0", "-1", "1e3", "NaN", "usd", "XZZ", "invoice", "paid", "\x00", "é" * 300, 2**63, -1, 0])
)  # fmt: skip
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12)  # fmt: skip


def outcome_of(source: str, body: bytes) -> tuple[Event, ...]:
    """The events, or none; fails unless it is exactly one of the two and each event is valid to the byte."""
    outcome = map_record(source, body)
    SOURCES[source].key(body)
    if isinstance(outcome, DeadLetter):
        assert outcome.failure in FAILURES
        assert outcome.reason
        assert "cannot read this shape" not in outcome.reason, f"an unforeseen shape: {outcome.reason}"
        return ()
    assert outcome
    assert all(encode(decode(encode(event))) == encode(event) for event in outcome)
    return outcome


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(place for name, value in inner for place in places(value, (*at, name)))]


def replaced(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[place[0]] = replaced(tree[place[0]], place[1:], value)
    return copy


def amounts(tree: Any) -> set[int]:
    """Every amount an event states, unsigned."""
    if isinstance(tree, dict):
        own = {abs(value) for name, value in tree.items() if name.endswith("_minor")}
        return own.union(*(amounts(value) for value in tree.values()))
    return set().union(*(amounts(value) for value in tree)) if isinstance(tree, list) else set()


def numbers(tree: Any, units: int = 100) -> set[int]:
    """Every whole number of a record, unsigned; a decimal text as hundredths, also one with an exponent or commas between thousands."""
    if isinstance(tree, dict | list):
        return set().union(*(numbers(value, units) for value in (tree.values() if isinstance(tree, dict) else tree)))
    if isinstance(tree, str):
        text = tree.replace(",", "")
        hundredths = abs(Decimal(text)) * units if NUMBER.match(text) else Decimal("0.5")
        return {int(hundredths)} if hundredths == int(hundredths) else set()
    return {abs(tree)} if isinstance(tree, int) else set()


@pytest.mark.parametrize("source", sorted(SOURCES))
@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=300))
def test_no_bytes_stop_the_stream(source: str, body: bytes) -> None:
    outcome_of(source, body)


@pytest.mark.parametrize("source", sorted(SOURCES))
@settings(max_examples=100, deadline=None)
@given(tree=trees)
def test_no_json_stops_the_stream(source: str, tree: Any) -> None:
    outcome_of(source, msgspec.json.encode(tree))


@settings(max_examples=800, deadline=None)
@given(data=st.data())
def test_a_changed_value_is_mapped_as_it_stands_or_refused(data: st.DataObject) -> None:
    source, body = data.draw(st.sampled_from(VALID))
    place = data.draw(st.sampled_from(places(body)))
    changed = replaced(body, place, data.draw(trees))
    raw = msgspec.json.encode(changed)
    values = _texts(changed) if source in IN_MAJOR_UNITS else changed
    known = numbers(values, 1 if source in IN_MINOR_UNITS else 100)
    for code, units in ((b"JPY", 1), (b"KWD", 1_000)):  # which have no decimals, and three
        known |= numbers(values, units) if code in raw else set()
    for event in outcome_of(source, raw):
        stated = amounts(json.loads(encode(event))["data"])
        assert all(_comes_from(amount, known) for amount in stated), (place, stated)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_record_cut_off_anywhere_is_a_dead_letter(data: st.DataObject) -> None:
    source, body = data.draw(st.sampled_from(VALID))
    raw = msgspec.json.encode(body)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    assert isinstance(map_record(source, cut), DeadLetter)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_bank_message_that_was_cut_or_damaged_stops_nothing(data: st.DataObject) -> None:
    source, body = data.draw(st.sampled_from(BANK))
    at, end = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, len(body)))
    damaged = data.draw(st.sampled_from([body[:at], body[:at] + data.draw(st.binary(max_size=8)) + body[at + 1 :], body[:at] + body[end:]]))  # fmt: skip
    outcome_of(source, damaged)
    if source == "camt" and damaged == body[: len(damaged)] and len(damaged) < len(body.rstrip()):
        assert isinstance(map_record(source, damaged), DeadLetter)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_is_never_more_than_one_record(data: st.DataObject) -> None:
    source, body = data.draw(st.sampled_from(VALID))
    raw = bytearray(msgspec.json.encode(body))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    outcome_of(source, bytes(raw))


def _texts(tree: Any) -> Any:
    """Numbers as texts, as far as they can be amounts."""
    if isinstance(tree, dict):
        return {name: _texts(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_texts(value) for value in tree]
    return tree if isinstance(tree, bool) or not isinstance(tree, int | float) else str(tree)


def _comes_from(amount: int, known: set[int]) -> bool:
    """An amount is a number of the record, or the sum, difference (tax, balances) or product (price) of two of them."""
    if amount == 0 or amount in known:
        return True
    return any(abs(amount - one) in known or amount + one in known or (one and amount % one == 0 and amount // one in known) for one in known)  # fmt: skip
