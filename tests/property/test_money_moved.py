"""Receipts, payouts and banks: the same verdict however their records come, and no cent made or lost by what splits or nets."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.events import Event
from matching.assessment import ask_all, assess
from matching.case import Case
from matching.clock import COMPLETE, Clock, Progress
from matching.effects import as_event, effects
from matching.hops import OPEN_STATES, run
from matching.judge import judge
from matching.policy import load
from matching.verdict import encode
from matching.view import View
from tests.scenarios.books import INVOICE, after, applied, case_of, invoice, payment, posting, tell
from tests.scenarios.test_money import (
    ACCOUNT,
    CHARGE,
    CREDIT,
    PAYOUT,
    RECEIPT,
    STATEMENT,
    booked_payout,
    cash,
    credit_memo,
    dispute,
    entry,
    line,
    on_account,
    paid_out,
    parts,
    statement,
    told,
)

DEFAULT = load()
STRICT = load("[expect.default]\npayout = true\nbank = true\nreceipt_posting = true\ncounterpart = true")
POLICIES = st.sampled_from([DEFAULT, STRICT])
spans = st.sampled_from(["0", "1h", "1d", "1d+4h", "2d", "5d", "8d", "15d", "61d"])
progresses = st.none() | st.builds(
    lambda erp, bank: Progress({"erp": after(erp), "bank": after(bank), "billing": after(erp), "payments": after(bank)}), spans, spans
)  # fmt: skip
minors = st.integers(-(10**9), 10**9)


def _money(key: str) -> tuple[Event, ...]:
    """What can happen to one payment, in the receipt's case or in its invoice's."""
    own: dict[str, Any] = {"case": key}
    return (
        payment("100.00", "1d", fee_minor=320, **own), payment("60.00", "2d", document="py_2", **own),
        payment("60.00", "2d", document="py_2", currency="EUR", id="stripe:py_2:eur", version=2, **own),
        payment("100.00", "4d", event="payment.failed", **own), payment("60.00", "5d", event="payment.returned", document="py_2", **own),
        payment("40.00", "5d", event="refund.issued", document="re_1", **own), payment("90.00", "5d", event="refund.issued", document="re_2", **own),
        payment("40.00", "6d", event="refund.failed", document="re_1", **own),
        dispute("opened", "5d", fee=1_500, case=key), dispute("won", "8d", case=key), dispute("lost", "8d", case=key),
        applied("100.00", "1d+1h", **own), applied("60.00", "2d", document="ap_2", customer={"sold_to": "C-2"}, **own),
        applied("10.00", "2d", document="ap_3", kind="withholding", **own), applied("100.00", "5d", event="cash.unapplied", document="un_1", **own),
        cash("-100.00", "1d+1h", "je_5", "payment", key), cash("40.00", "5d+1h", "je_6", "refund", key),
        line("txn_1", "charge", 10_000, 320, key, payment_id="py_1", payout_id="po_1"),
    )  # fmt: skip


def _told_to_invoice() -> tuple[Event, ...]:
    from_receipt = payment("100.00", case=RECEIPT, customer="C-2", allocations=parts((INVOICE, 10_000)))
    return (*told(from_receipt), *told(from_receipt, payment("100.00", "3d", event="payment.returned", case=RECEIPT), revision=2),
        *told(applied("100.00", case=RECEIPT, invoice_key=INVOICE)), *told(credit_memo(10_000, invoice_key=INVOICE)))  # fmt: skip


HAPPENINGS: dict[str, tuple[Event, ...]] = {
    RECEIPT: (*_money(RECEIPT), *told(line("txn_9", "charge", 10_000, 320, payment_key=RECEIPT), to=RECEIPT)),
    INVOICE: (invoice("100.00"), posting("100.00"), payment("100.00", "1d"), applied("100.00", "1d+1h"), *_money(INVOICE), *_told_to_invoice()),
    CREDIT: (credit_memo(5_000, "0"), posting("-50.00", case=CREDIT, document_type="credit"), payment("50.00", event="refund.issued", document="re_1", case=CREDIT),
        payment("50.00", "2d", event="refund.issued", document="re_2", case=CREDIT)),
    PAYOUT: (line("txn_1", "charge", 10_000, 320), line("txn_2", "refund", -200), line("txn_3", "dispute", -50, 18), paid_out(9_412),
        paid_out(9_412, "5d", "payout.failed"), line("txn_4", "charge", 100, 3, currency="EUR", rate="1.08"), line("txn_5", "charge", 1, currency="JPY"),
        *told(line("txn_6", "charge", 700, 20, CHARGE, payout_key=PAYOUT), to=PAYOUT), booked_payout(320),
        *told(entry(9_412, payout_key=PAYOUT), to=PAYOUT), *told(entry(-9_412, "L2", payout_key=PAYOUT), to=PAYOUT)),
    STATEMENT: (statement(100, 350), entry(300), entry(-50, "L2"), entry(7, "L3", statement_id=None), entry(250, payout_key=PAYOUT, version=2, id="bank:L1:2"),
        tell("match.made", "m_1", "5d", case=STATEMENT, actor="ana", rule="by hand", payment_id="L1", invoice_ids=["INV-1"])),
    ACCOUNT: on_account(statement(0, 100, "3d", "S4", 4), statement(100, 350), statement(350, 300, "5d", "S6", 6), statement(300, 0, "5d", "S6/2", 6)),
}  # fmt: skip


@st.composite
def happenings(draw: st.DrawFn) -> list[Event]:
    return draw(
        st.lists(st.sampled_from(HAPPENINGS[draw(st.sampled_from(sorted(HAPPENINGS)))]), min_size=1, max_size=9)
    )


@settings(max_examples=300)
@given(happenings(), st.randoms(use_true_random=False), spans, progresses, POLICIES)
def test_order_duplicates_and_batches_change_nothing(
    facts: list[Event], dice: Any, at: str, progress: Any, policy: Any
) -> None:
    now, known = after(at), progress or COMPLETE
    whole = encode(judge(case_of(*facts), policy, now, known))
    shuffled = facts + facts[: len(facts) // 2]
    dice.shuffle(shuffled)
    case = Case(facts[0].correlationid)
    for fact in shuffled:
        case.add(fact)
        judge(case, policy, now, known)  # a batch ends anywhere
    assert encode(judge(case, policy, now, known)) == whole


@settings(max_examples=300)
@given(happenings(), spans, progresses, POLICIES)
def test_a_verdict_waits_for_what_it_says_and_is_the_same_until_then(
    facts: list[Event], at: str, progress: Any, policy: Any
) -> None:
    now, known, case = after(at), progress or COMPLETE, case_of(*facts)
    verdict = judge(case, policy, now, known)
    if verdict.outcome == "ok":
        assert verdict.next_deadline is None and not verdict.awaiting
        assert not {hop.state for hop in verdict.hops} & OPEN_STATES
    if verdict.next_deadline is not None:
        before = verdict.next_deadline - (verdict.next_deadline - now) / 1_000
        assert encode(judge(case, policy, before, known)) == encode(verdict)
    elif verdict.outcome != "ok" and not verdict.awaiting:
        assert encode(judge(case, policy, after("900d"), known)) == encode(verdict)
    assert (verdict.outcome == "break") == bool(verdict.breaks)
    assert all(found.evidence for found in verdict.breaks)


@settings(max_examples=300)
@given(happenings(), spans, POLICIES)
def test_what_is_known_of_a_situation_is_what_the_controls_would_say(facts: list[Event], at: str, policy: Any) -> None:
    told_view, asked_view = (View(case_of(*facts), policy, Clock(after(at), COMPLETE)) for _ in range(2))
    hops = run(told_view)
    run(asked_view)
    assert assess(told_view, hops) == ask_all(asked_view)


@given(
    st.lists(st.tuples(minors, st.integers(-1_000, 1_000), st.booleans()), min_size=1, max_size=30),
    st.integers(-500, 500),
)
def test_a_payout_is_short_by_exactly_what_its_lines_are_not(drawn: list[tuple[int, int, bool]], short: int) -> None:
    """Whether a line lies in the payout's case or is told by its charge."""
    own = [line(f"txn_{n}", "charge", gross, fee) for n, (gross, fee, is_own) in enumerate(drawn) if is_own]
    elsewhere = [
        event
        for n, (gross, fee, is_own) in enumerate(drawn)
        if not is_own
        for event in told(
            line(f"txn_{n}", "charge", gross, fee, f"receipt:acme-us:stripe:ch_{n}", payout_key=PAYOUT), to=PAYOUT
        )
    ]
    net_minor = sum(gross - fee for gross, fee, _ in drawn) + short
    paid = paid_out(abs(net_minor), direction="sales" if net_minor >= 0 else "purchase")
    verdict = judge(case_of(paid, *own, *elsewhere), DEFAULT, after("4d"))
    found = [each.variance_minor for each in verdict.breaks if each.class_ == "payout"]
    if own or any(event.data.amount_minor for event in elsewhere):
        assert found == ([abs(short)] if short else [])


@given(st.lists(st.tuples(minors, st.integers(0, 1_000)), min_size=1, max_size=30))
def test_charges_are_told_together_what_the_payout_settled_gross(drawn: list[tuple[int, int]]) -> None:
    lines = [
        line(f"txn_{n}", "charge", gross, fee, payment_key=f"receipt:acme-us:stripe:ch_{n % 7}")
        for n, (gross, fee) in enumerate(drawn)
    ]
    amounts = [effect.amount_minor for effect in effects(case_of(paid_out(1), *lines), DEFAULT)]
    assert sum(amounts) == sum(gross for gross, _ in drawn)


@given(st.lists(minors, max_size=20), minors, st.integers(-500, 500))
def test_a_statement_is_off_by_exactly_what_its_lines_are(amounts: list[int], opening: int, off: int) -> None:
    facts = [
        statement(opening, opening + sum(amounts) + off),
        *(entry(amount, f"L{n}") for n, amount in enumerate(amounts)),
    ]
    found = [each.variance_minor for each in judge(case_of(*facts), DEFAULT, after("9d")).breaks]
    assert found == ([abs(off)] if off else [])


@given(st.lists(minors, min_size=1, max_size=12), st.integers(0, 11), st.randoms(use_true_random=False))
def test_statements_follow_on_one_another_unless_one_is_left_out(amounts: list[int], left_out: int, dice: Any) -> None:
    ends = [sum(amounts[:n]) for n in range(len(amounts) + 1)]
    made = [statement(ends[n], ends[n + 1], f"{n}d", f"S{n}", n) for n in range(len(amounts))]
    dice.shuffle(made)
    assert judge(case_of(*on_account(*made)), DEFAULT, after("90d")).outcome == "ok"
    if 0 < left_out < len(amounts) - 1:
        short = [each for each in made if each.data.sequence != left_out]
        found = judge(case_of(*on_account(*short)), DEFAULT, after("90d")).breaks
        assert [(each.class_, each.variance_minor) for each in found] == [("bank", abs(amounts[left_out]))]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.booleans()), min_size=1, max_size=20), st.integers(0, 10**6))
def test_parts_and_rest_of_a_receipt_are_the_whole(drawn: list[tuple[int, bool]], rest: int) -> None:
    """What its invoices are told and what is left unapplied come to what came in."""
    total = sum(amount for amount, _ in drawn) + rest
    keys = [f"invoice:acme-us:billing:INV-{n}" for n in range(len(drawn))]
    received = tell("payment.received", "py_1", "1d", case=RECEIPT, currency="USD", amount_minor=total)
    uses = [
        tell("cash.applied", f"ap_{n}", "1d", case=RECEIPT, from_kind="payment" if is_cash else "deposit", currency="USD", amount_minor=amount, invoice_key=key)
        for n, ((amount, is_cash), key) in enumerate(zip(drawn, keys, strict=True))
    ]  # fmt: skip
    home = case_of(received, *uses)
    told_minor = sum(effect.amount_minor for effect in effects(home, DEFAULT))
    left = [
        each.variance_minor for each in judge(home, DEFAULT, after("90d")).breaks if each.class_ == "unapplied_cash"
    ]
    assert told_minor + sum(left) == total
    assert not any(as_event(RECEIPT, effect, 1).data.amount_minor < 0 for effect in effects(home, DEFAULT))


@pytest.mark.parametrize("key", sorted(HAPPENINGS))
def test_every_kind_of_case_can_be_ok_and_can_break(key: str) -> None:
    """Or the properties above would look at nothing."""
    facts = HAPPENINGS[key]
    some = [facts[start:end] for start in range(len(facts)) for end in range(start + 1, len(facts) + 1)]
    some += [facts[:n] + facts[n + 1 :] for n in range(len(facts))]
    outcomes = {
        judge(case_of(*chosen), policy, after("40d")).outcome
        for chosen in some
        if chosen
        for policy in (DEFAULT, STRICT)
    }
    assert {"ok", "break"} <= outcomes
