"""A case that came in under another key: CRM calls the order by its quote, billing by its subscription.

`linked(...)` is what tells that both are one. The alias becomes a stub, its facts are sent on.
"""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical import structs
from canonical.events import Event
from canonical.records import encode
from matching.aliases import home_of, sent_on
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import Policy, load
from matching.verdict import decode
from streams.batch import reconcile
from tests.scenarios.books import (  # fmt: skip
    INVOICE,
    ORDER,
    after,
    applied,
    case_of,
    invoice,
    payment,
    posting,
    quote,
    reversal,
    subscription,
    tell,
    void,
)

UNDER_BILLING = "order:acme-us:billing:sub_1"
UNDER_ERP = "invoice:acme-us:erp:90001"
POLICY = load(None)


def linked(case: str, alias: str, document: str = "link_1", at: str = "2m") -> Event:
    return tell("case.linked", document, at, case=case, system="ipaas", alias=alias)


def cases_of(*facts: Event, policy: Policy = POLICY) -> dict[str, Case]:
    """As a stream settles them: effects are told and facts sent on until nothing is left to tell."""
    cases: dict[str, Case] = {}
    waiting = list(facts)
    while waiting:
        for fact in waiting:
            cases.setdefault(fact.correlationid, Case(fact.correlationid)).add(fact)
        told = [
            structs.decode(encode(as_event(case.key, effect, 1)))
            for case in cases.values()
            for effect in effects(case, policy)
        ]
        sent = [structs.decode(record.value) for case in cases.values() for record in sent_on(case)]
        waiting = [fact for fact in (*told, *sent) if _is_new(cases, fact)]
    return cases


def _is_new(cases: dict[str, Case], fact: Event) -> bool:
    case = cases.get(fact.correlationid)
    return case is None or fact not in case.everything()


def outcome(cases: dict[str, Case], key: str, at: str = "40d") -> tuple[str, str]:
    verdict = judge(cases[key], POLICY, after(at))
    return verdict.outcome, " ".join(found.class_ for found in verdict.breaks)


def test_the_subscription_that_billing_knows_by_its_own_id_is_that_of_the_quote() -> None:
    activated = subscription("10m", case=UNDER_BILLING)
    alone = cases_of(quote("100.00"), activated)
    assert outcome(alone, ORDER) == ("break", "missing_subscription")
    together = cases_of(quote("100.00"), activated, linked(ORDER, UNDER_BILLING))
    assert outcome(together, ORDER) == ("ok", "")
    assert outcome(together, UNDER_BILLING) == ("ok", "")


def test_a_stub_says_where_its_facts_are_judged() -> None:
    cases = cases_of(quote("100.00"), subscription("10m", case=UNDER_BILLING), linked(ORDER, UNDER_BILLING))
    verdict = judge(cases[UNDER_BILLING], POLICY, after("40d"))
    assert all(ORDER in control.reason for control in verdict.controls)
    assert (verdict.hops, verdict.exposure_minor, verdict.next_deadline) == ((), 0, None)


def test_a_posting_under_the_ledgers_own_number_finds_its_invoice() -> None:
    booked = posting("100.00", case=UNDER_ERP)
    paid = (payment("100.00"), applied("100.00"))
    assert outcome(cases_of(invoice("100.00"), *paid, booked), INVOICE) == ("break", "missing_posting")
    cases = cases_of(invoice("100.00"), *paid, booked, linked(INVOICE, UNDER_ERP))
    assert outcome(cases, INVOICE) == ("ok", "")
    assert outcome(cases, UNDER_ERP) == ("ok", ""), "its posting was an orphan, and is none now"


def test_a_link_never_merges_two_documents() -> None:
    other = invoice("70.00", case=UNDER_ERP, document="in_2", number="90001")
    cases = cases_of(invoice("100.00"), posting("100.00"), other, linked(INVOICE, UNDER_ERP))
    assert home_of(cases[UNDER_ERP]) is None
    assert outcome(cases, UNDER_ERP, "2d") == ("break", "missing_posting")
    assert judge(cases[INVOICE], POLICY, after("2d")).amount_minor == 10_000


def test_the_document_that_the_link_is_about_is_one_document() -> None:
    """A checkout tells the quote before anybody knows the subscription, and again once it is known."""
    before = tell(
        "quote.approved",
        "Q-1",
        "0",
        case="order:acme-us:stripe:cs_1",
        system="stripe",
        currency="USD",
        total_minor=10_000,
    )
    again = tell("quote.approved", "Q-1", "0", case=UNDER_BILLING, system="stripe", currency="USD", total_minor=10_000)
    link = linked(UNDER_BILLING, "order:acme-us:stripe:cs_1", document="Q-1")
    cases = cases_of(before, again, link, subscription("10m", case=UNDER_BILLING))
    assert outcome(cases, UNDER_BILLING) == ("ok", "")
    assert outcome(cases, "order:acme-us:stripe:cs_1") == ("ok", "")


def test_a_key_that_two_cases_claim_stays_where_it_is() -> None:
    second = "invoice:acme-us:billing:INV-2"
    cases = cases_of(
        invoice("100.00"),
        posting("100.00", case=UNDER_ERP),
        linked(INVOICE, UNDER_ERP),
        linked(second, UNDER_ERP, "link_2"),
    )
    assert home_of(cases[UNDER_ERP]) is None


def test_another_kind_of_case_is_no_alias() -> None:
    receipt = "receipt:acme-us:stripe:py_1"
    cases = cases_of(invoice("100.00"), payment("100.00", case=receipt), linked(INVOICE, receipt))
    assert home_of(cases[receipt]) is None
    assert [fact.type for fact in cases[INVOICE].facts()] == ["invoice.issued", "case.linked"]


def test_two_keys_that_name_each_other_are_one_case() -> None:
    one, two = sorted((ORDER, UNDER_BILLING))
    cases = cases_of(subscription("10m", case=two), linked(one, two), linked(two, one, "link_2"))
    assert [home_of(cases[one]), home_of(cases[two])] == [None, one]
    assert "subscription.activated" in {fact.type for fact in cases[one].facts()}


def test_an_alias_of_an_alias_comes_home() -> None:
    third = "order:acme-us:erp:SO-1"
    cases = cases_of(
        quote("100.00"),
        subscription("10m", case=third),
        linked(ORDER, UNDER_BILLING),
        linked(UNDER_BILLING, third, "link_2"),
    )
    assert outcome(cases, ORDER) == ("ok", "")


def test_what_a_stub_meant_for_others_is_told_by_its_home_alone() -> None:
    """A posting batch whose members came in under an alias of their invoice is not counted twice."""
    memo = tell(
        "credit_memo.issued",
        "cn_1",
        "2d",
        case="credit:acme-us:erp:7",
        currency="USD",
        total_minor=4_000,
        direction="sales",
        invoice_key=INVOICE,
    )
    home = tell(
        "case.linked", "cn_1", "2d", case="credit:acme-us:billing:CN-1", system="ipaas", alias="credit:acme-us:erp:7"
    )
    cases = cases_of(invoice("100.00"), posting("100.00"), payment("60.00"), applied("60.00"), memo, home)
    told = [fact.data for fact in cases[INVOICE].facts() if fact.type == "allocation.set"]
    amounts = {data.home: data.amount_minor for data in told}  # type: ignore[attr-defined]
    assert amounts == {"credit:acme-us:erp:7": 0, "credit:acme-us:billing:CN-1": 4_000}


BY_NUMBER = load('[identity.acme-us]\ninvoice = [{ system = "erp", by = "number" }]')
BY_REF = load('[identity.default]\ninvoice = [{ system = "erp", by = "ref" }]')
BY_ID_ELSEWHERE = load('[identity.default]\ninvoice = [{ system = "erp", by = "id" }]\n[identity.acme-us]')
UNDER_NUMBER = "invoice:acme-us:erp:INV-1"
NAMED = {"refs": [{"kind": "invoice", "system": "erp", "value": "90001"}]}


@pytest.mark.parametrize(
    ("policy", "key", "stated", "expected"),
    [
        (BY_NUMBER, UNDER_NUMBER, {}, ("ok", "")),
        (BY_REF, UNDER_ERP, NAMED, ("ok", "")),
        (BY_REF, UNDER_NUMBER, NAMED, ("break", "missing_posting")),
        (BY_NUMBER, UNDER_NUMBER, {"number": "INV-2"}, ("break", "missing_posting")),
        (BY_ID_ELSEWHERE, "invoice:acme-us:erp:in_1", {}, ("break", "missing_posting")),
        (POLICY, UNDER_NUMBER, {}, ("break", "missing_posting")),
    ],
)
def test_policy_says_by_which_name_the_ledger_knows_an_invoice(
    policy: Policy, key: str, stated: dict[str, Any], expected: tuple[str, str]
) -> None:
    facts = (invoice("100.00", **stated), posting("100.00", case=key), payment("100.00"), applied("100.00"))
    cases = cases_of(*facts, policy=policy)
    assert outcome(cases, INVOICE) == expected
    assert outcome(cases, key)[0] == expected[0], "an orphan where it is not brought home, and none where it is"
    lines = [msgspec.json.encode(fact) for fact in facts]
    in_files = {
        verdict.correlation_id: verdict.outcome for verdict in map(decode, reconcile(lines, policy, after("40d")))
    }
    assert (in_files[INVOICE], in_files[key]) == (expected[0], expected[0]), "files say otherwise than the stream"


def test_a_void_document_keeps_what_came_under_its_other_name() -> None:
    booked, taken_back = posting("100.00", case=UNDER_NUMBER), reversal("100.00", "1d+5m", case=UNDER_NUMBER)
    cases = cases_of(invoice("100.00"), booked, void("1d"), taken_back, policy=BY_NUMBER)
    assert outcome(cases, INVOICE) == ("ok", "")
    assert outcome(cases, UNDER_NUMBER) == ("ok", "")


@given(order=st.randoms(use_true_random=False))
def test_order_does_not_matter(order: random.Random) -> None:
    facts = [quote("100.00"), subscription("10m", case=UNDER_BILLING), linked(ORDER, UNDER_BILLING)]
    shuffled = order.sample(facts, len(facts))
    assert outcome(cases_of(*shuffled), ORDER) == ("ok", "")


@pytest.mark.parametrize("key", [ORDER, UNDER_BILLING])
def test_a_case_that_nobody_links_is_no_alias(key: str) -> None:
    assert home_of(case_of(subscription("10m", case=key))) is None
