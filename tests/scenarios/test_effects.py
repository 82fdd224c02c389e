"""What one case means for another: a receipt over two invoices, a credit memo of its own, what was taken back.

Effects are told as a live stream tells them: `told(...)` are those of the home case's facts, under a revision.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.events import Event
from matching.case import Case
from matching.effects import as_event, effects
from matching.policy import load
from tests.scenarios.books import INVOICE, Row, applied, case_of, check, invoice, payment, posting, tell

SECOND = "invoice:acme-us:billing:INV-2"
RECEIPT = "receipt:acme-us:bank:py_1"
CREDIT = "credit:acme-us:billing:CN-1"


def over_two(first: int = 10_000, second: int = 5_000, **more: object) -> Event:
    parts = [{"target": INVOICE, "amount_minor": first}, {"target": SECOND, "amount_minor": second}]
    return payment("150.00", case=RECEIPT, allocations=[part for part in parts if part["amount_minor"]], **more)  # type: ignore[arg-type]


def from_receipt(amount: str, to: str, document: str) -> Event:
    return applied(amount, document=document, case=RECEIPT, invoice_key=to)


def told(*facts: Event, to: str = INVOICE, revision: int = 1) -> tuple[Event, ...]:
    home = case_of(*facts)
    events = [as_event(home.key, effect, revision) for effect in effects(home, load(None))]
    return tuple(event for event in events if event.correlationid == to)


SOLD = (invoice("100.00"), posting("100.00"))
BOTH = (over_two(), from_receipt("100.00", INVOICE, "ap_1"), from_receipt("50.00", SECOND, "ap_2"))
SENT_BACK = (*BOTH, payment("150.00", "3d", event="payment.returned", case=RECEIPT))
CREDITED = tell("credit_memo.issued", "cn_1", "2d", case=CREDIT, currency="USD", total_minor=4_000, direction="sales", invoice_key=INVOICE)  # fmt: skip
CREDIT_VOIDED = tell("credit_memo.voided", "cn_1", "3d", case=CREDIT)

ROWS = (
    Row("one transfer pays two invoices, and each is settled", (*SOLD, *told(*BOTH)), "40d", "ok",
        hops={"invoice_to_payment": "met", "payment_to_application": "met"}),
    Row("its part came, and nobody applied it", (*SOLD, *told(over_two())), "4d", "break", "missing_application", "100.00"),
    Row("its part is short of the invoice", (*SOLD, *told(over_two(first=9_000), from_receipt("90.00", INVOICE, "ap_1"))),
        "40d", "break", "short_payment", "10.00"),
    Row("its part is more than the invoice", (*SOLD, *told(over_two(first=11_000), from_receipt("110.00", INVOICE, "ap_1"))),
        "40d", "break", "overpayment", "10.00"),
    Row("the bank took the transfer back: revised to nothing", (*SOLD, *told(*BOTH), *told(*SENT_BACK, revision=2)),
        "62d", "break", "missing_payment", "100.00"),
    Row("a credit memo with a case of its own pays the rest", (*SOLD, *told(CREDITED), payment("60.00"), applied("60.00")), "40d", "ok"),
    Row("that credit memo was voided", (*SOLD, *told(CREDITED), *told(CREDITED, CREDIT_VOIDED, revision=2), payment("60.00"), applied("60.00")),
        "40d", "break", "short_payment", "40.00"),
    Row("all of the receipt is applied, each part told in its own case", BOTH, "40d", "ok"),
    Row("applied in the invoice's case, and the receipt knows", (payment("100.00", case=RECEIPT),
        *told(*SOLD, applied("100.00", payment_key=RECEIPT), to=RECEIPT)), "40d", "ok"),
    Row("applied in the invoice's case in part", (payment("100.00", case=RECEIPT),
        *told(*SOLD, applied("70.00", payment_key=RECEIPT), to=RECEIPT)), "40d", "break", "unapplied_cash", "30.00"),
    Row("a part for an invoice that nobody issued", told(*BOTH), "3d", "break", "orphan_payment", "100.00"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_effect(row: Row) -> None:
    check(row)


def test_a_target_named_no_longer_is_told_so() -> None:
    moved = over_two(first=0, version=2, id="bank:py_1:2")
    amounts = {e.target: e.amount_minor for e in effects(case_of(over_two(version=1), moved), load(None))}
    assert amounts == {INVOICE: 0, SECOND: 5_000}


def test_what_a_case_says_of_itself_is_no_effect() -> None:
    own = payment("100.00", allocations=[{"target": INVOICE, "amount_minor": 10_000}])
    assert effects(case_of(own), load(None)) == []


def test_effects_received_have_no_effects() -> None:
    assert effects(case_of(*told(*BOTH)), load(None)) == []


REVISIONS = (
    *told(over_two(), revision=1),
    *told(over_two(first=9_000), revision=3),
    *told(over_two(first=1), revision=2),
)


@given(st.lists(st.sampled_from((*SOLD, *REVISIONS)), min_size=1), st.randoms(use_true_random=False))
def test_the_highest_revision_holds_whatever_the_order(drawn: list[Event], dice: random.Random) -> None:
    shuffled = list(drawn) + drawn[:2]
    dice.shuffle(shuffled)
    one, other = Case(INVOICE), Case(INVOICE)
    for fact in drawn:
        one.add(fact)
    for fact in shuffled:
        other.add(fact)
    assert one.facts() == other.facts() and one.count == other.count and not one.conflicts()
    held = {fact.data.version for fact in one.facts() if fact.type == "allocation.set"}
    told_of = [fact.data.version or 0 for fact in drawn if fact.type == "allocation.set"]
    assert held == ({max(told_of)} if told_of else set())


FACTS = (over_two(version=1), over_two(first=0, version=2, id="bank:py_1:2"), *BOTH[1:], SENT_BACK[-1])


@given(st.permutations(FACTS), st.integers(1, len(FACTS)))
def test_effects_do_not_depend_on_order_or_duplicates(facts: list[Event], upto: int) -> None:
    policy, known = load(None), facts[:upto]
    one, other = case_of(*known), case_of(*reversed(known), *known)
    assert [as_event(RECEIPT, e, 1) for e in effects(one, policy)] == [
        as_event(RECEIPT, e, 1) for e in effects(other, policy)
    ]
    before = {(e.target, e.kind, e.document_id) for e in effects(case_of(*known[:1]), policy)}
    assert before <= {(e.target, e.kind, e.document_id) for e in effects(one, policy)}, "a target was forgotten"
