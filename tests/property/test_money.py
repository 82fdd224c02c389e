"""Money is neither created nor lost by what splits it among cases or nets it within one.

Each property says the sum a second time, in plain integers over what happened, and compares.
"""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from canonical.events import Event
from matching.case import Case
from matching.clock import COMPLETE, Clock
from matching.controls.summaries import batch_of, summary_split
from matching.effects import as_event, effects
from matching.findings import Failure
from matching.judge import judge
from matching.policy import load
from matching.view import View
from tests.scenarios.books import after, case_of, invoice, payment, posting, reversal, tell
from tests.scenarios.test_intercompany import PAIR, bought, sold

POLICY = load(None)
LATE = after("400d")
BATCHES = [f"summary:acme-us:erp:JE-{number}" for number in range(3)]
RECEIPT = "receipt:acme-us:bank:py_1"
INVOICES = [f"invoice:acme-us:billing:INV-{number}" for number in range(4)]
minors = st.integers(0, 10**12)
currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD"])


class Told(dict[str, Case]):
    """The cases that effects of some homes come to; each home tells twice: half of what it knows, then all of it."""

    def __init__(self, homes: list[list[Event]]) -> None:
        super().__init__()
        for facts in homes:
            for revision, known in enumerate((facts[: (len(facts) + 1) // 2], facts), 1):
                self.take(case_of(*known), revision)

    def take(self, home: Case, revision: int) -> None:
        for effect in effects(home, POLICY):
            event = as_event(home.key, effect, revision)
            self.setdefault(effect.target, Case(effect.target)).add(event)

    def amounts(self, key: str, kind: str) -> Counter[str]:
        sums: Counter[str] = Counter()
        for fact in self[key].facts() if key in self else ():
            if getattr(fact.data, "kind", None) == kind:
                sums[fact.data.currency] += fact.data.amount_minor
        return sums


@st.composite
def billed(draw: st.DrawFn, number: int) -> tuple[list[Event], int, str | None, str]:
    """An invoice's versions, perhaps a void: its facts, what it comes to, the batch that it ends in, its currency."""
    currency, version = draw(currencies), 0
    facts, total_minor, batch = [], 0, None
    for version in range(1, draw(st.integers(1, 4)) + 1):
        total_minor, batch = draw(minors), draw(st.sampled_from([None, *BATCHES]))
        facts.append(tell(
            "invoice.issued", f"in_{number}", "0", case=INVOICES[number], id=f"billing:in_{number}:{version}", version=version,
            currency=currency, total_minor=total_minor, direction="sales", summary_key=batch,
        ))  # fmt: skip
    if draw(st.integers(0, 4)) == 0:
        facts.append(tell("invoice.voided", f"in_{number}", "1h", case=INVOICES[number], version=version))
        total_minor = 0
    return draw(st.permutations(facts)), total_minor, batch, currency


def a_day() -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*[billed(number) for number in range(4)])


@given(a_day())
def test_batches_together_hold_what_their_documents_come_to_and_each_its_own(day: tuple[Any, ...]) -> None:
    told = Told([facts for facts, *_ in day])
    for batch in BATCHES:
        expected: Counter[str] = Counter()
        for _, total_minor, ends_in, currency in day:
            if ends_in == batch:
                expected[currency] += total_minor
        assert +told.amounts(batch, "member") == +expected


@given(a_day(), st.lists(st.tuples(minors, currencies, st.sampled_from(["main", "local"]), st.booleans()), max_size=5))
def test_what_a_batch_says_is_the_difference_to_the_last_minor_unit(
    day: tuple[Any, ...], entries: list[tuple[int, str, str, bool]]
) -> None:
    told = Told([facts for facts, *_ in day])
    case = told.get(BATCHES[0], Case(BATCHES[0]))
    booked: Counter[tuple[str, str]] = Counter()
    for index, (amount_minor, currency, ledger, is_reversal) in enumerate(entries):
        case.add(_entry(index, amount_minor, currency, ledger, is_reversal))
        booked[ledger, currency] += -amount_minor if is_reversal else amount_minor
    members = told.amounts(BATCHES[0], "member")
    view = View(case, POLICY, Clock(LATE, COMPLETE))
    assert {(ledger, currency): minor for ledger, sums in batch_of(view).booked.items() for (currency, _), minor in sums.items() if minor} == {key: minor for key, minor in booked.items() if minor}  # fmt: skip
    answer = summary_split(view)
    ledgers = {ledger for ledger, _ in booked}
    differences = sorted(
        abs(booked[ledger, currency] - members[currency])
        for ledger in ledgers for currency in {*members, *(each for _, each in booked)}
        if booked[ledger, currency] != members[currency]
    )  # fmt: skip
    if isinstance(answer, Failure):
        assert sorted(found.variance_minor for found in answer.breaks) == differences
    elif answer.result == "pass":
        assert not differences


def _entry(index: int, amount_minor: int, currency: str, ledger: str, is_reversal: bool) -> Event:
    sign = -1 if is_reversal else 1
    lines = [{"role": "receivable", "amount_minor": sign * amount_minor}, {"role": "revenue", "amount_minor": -sign * amount_minor}]  # fmt: skip
    return tell(
        "posting.reversed" if is_reversal else "posting.recorded", f"je_{index}", "1h", case=BATCHES[0], system="erp",
        ledger=ledger, document_type="invoice", posting_kind="summary", currency=currency, base_currency="USD", lines=lines,
    )  # fmt: skip


parts = st.lists(st.tuples(st.sampled_from(INVOICES), minors), max_size=6)


@given(st.lists(parts, min_size=1, max_size=3), st.booleans())
def test_a_payment_split_among_invoices_tells_them_what_it_says_and_no_more(
    versions: list[Any], is_returned: bool
) -> None:
    facts = [
        payment("10.00", case=RECEIPT, version=number, id=f"bank:py_1:{number}",
            allocations=[{"target": target, "amount_minor": minor} for target, minor in split])
        for number, split in enumerate(versions, 1)
    ]  # fmt: skip
    if is_returned:
        facts.append(payment("10.00", "9d", event="payment.returned", case=RECEIPT))
    told = Told([facts])
    expected: Counter[str] = Counter()
    for target, minor in [] if is_returned else versions[-1]:
        expected[target] += minor
    assert {key: told.amounts(key, "payment")["USD"] for key in told} | expected == {key: 0 for key in told} | expected


@given(st.lists(st.tuples(st.sampled_from(INVOICES), minors, st.booleans()), max_size=6))
def test_applications_of_a_receipt_are_what_its_invoices_are_told(moves: list[tuple[str, int, bool]]) -> None:
    facts = [
        tell("cash.applied" if is_applied else "cash.unapplied", f"ap_{index}", "1d", case=RECEIPT, system="erp", currency="USD",
            amount_minor=minor, from_kind="payment", invoice_key=target)
        for index, (target, minor, is_applied) in enumerate(moves)
    ]  # fmt: skip
    told = Told([facts]) if facts else Told([])
    net_minor = sum(minor if is_applied else -minor for _, minor, is_applied in moves)
    assert sum(told.amounts(key, "application")["USD"] for key in told) == net_minor
    view = View(case_of(payment("10.00", case=RECEIPT), *facts), POLICY, Clock(LATE, COMPLETE))
    assert view.settlement.applied_minor == net_minor


@given(minors, minors)
def test_what_is_left_between_two_companies_is_what_they_differ_by(ours: int, theirs: int) -> None:
    told = Told([
        [tell("invoice.issued", "in_7", "0", case=side.correlationid, currency="USD", total_minor=minor, number="IC-7",
            entity=side.data.entity, counterparty=side.data.counterparty, direction=side.data.direction)]
        for side, minor in ((sold(), ours), (bought(), theirs))
    ])  # fmt: skip
    verdict = judge(told[PAIR], POLICY, LATE)
    assert sum(found.variance_minor for found in verdict.breaks) == abs(ours - theirs)
    assert (verdict.outcome == "ok") == (ours == theirs)


cents = st.integers(1, 10**6)


@given(st.lists(cents, min_size=1, max_size=5), st.lists(cents, max_size=3))
def test_what_a_ledger_nets_to_is_what_was_booked_less_what_was_taken_back(books: list[int], back: list[int]) -> None:
    facts = [posting(_major(minor), document=f"je_{index}") for index, minor in enumerate(books)]
    facts += [
        reversal(_major(minor), "1h", document=f"rev_{index}", reverses="none") for index, minor in enumerate(back)
    ]
    view = View(case_of(*facts, invoice("1.00")), POLICY, Clock(LATE, COMPLETE))
    assert view.ledgers[0].net_minor == sum(books) - sum(back)


def _major(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"
