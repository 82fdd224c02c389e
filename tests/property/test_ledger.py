"""What holds of every verdict about schedules, batches, periods, pairs and exchange, whatever came in, in whatever order."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from canonical.events import Event
from matching.clock import Progress
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, encode
from tests.property.test_judge import case_of
from tests.scenarios.books import after, applied, invoice, payment, posting, tell, void
from tests.scenarios.test_exchange import EUR, entry, revalued
from tests.scenarios.test_governance import copy
from tests.scenarios.test_intercompany import bought, sold
from tests.scenarios.test_intercompany import told as to_the_pair
from tests.scenarios.test_revenue import booked, closed, month, recognised, schedule
from tests.scenarios.test_summaries import journal, member, told

POLICY = load('[systems_of_record]\ninvoice = ["billing"]\n[contracts]\n"posting.recorded" = [1]')
spans = st.sampled_from(["0", "1m", "14m", "15m", "1h", "1d", "1d+15m", "10d", "31d", "35d", "41d", "70d", "71d", "102d", "130d"])  # fmt: skip
totals = st.sampled_from(["90.00", "100.00", "100.00", "120.00"])
parts = st.lists(st.tuples(st.sampled_from("3456"), st.sampled_from([0, 3_000, 4_000, 5_000])), max_size=4)


@st.composite
def of_an_invoice(draw: st.DrawFn) -> Event:
    at, total = draw(spans), draw(totals)
    service = draw(st.sampled_from([None, {"start": "2026-03-01", "end": "2026-05-31"}]))
    made = [
        lambda: invoice(total, at, service_period=service, tax=draw(st.sampled_from([None, "20.00"])), **draw(st.sampled_from([{}, EUR]))),
        lambda: invoice(total, at, event="invoice.amended", service_period=service),
        lambda: void(at),
        lambda: copy(total, at),
        lambda: posting(total, at, rest_role=draw(st.sampled_from([None, "cash", "deferred"]))),
        lambda: posting(total, at, currency="EUR", base="108.70", document="je_3"),
        lambda: schedule(*draw(parts), at=at, document=draw(st.sampled_from(["rs_1", "rs_2"]))),
        lambda: recognised(draw(st.sampled_from("3456")), draw(st.sampled_from([3_000, 4_000])), at),
        lambda: payment(total, at, currency=draw(st.sampled_from(["USD", "EUR"]))),
        lambda: applied(total, at, kind=draw(st.sampled_from(["payment", "write_off"])), base_currency="USD", from_base_minor=draw(st.sampled_from([None, 10_000])), realised_fx_minor=draw(st.sampled_from([None, 100]))),
        lambda: entry(("cash", 10_000, 11_000), ("receivable", -10_000, -10_870), ("fx", 0, -130), at=at),
        lambda: revalued(draw(st.sampled_from([100, -100])), at, draw(st.sampled_from(["rv_1", "rv_2"]))),
    ]  # fmt: skip
    return draw(st.sampled_from(made))()


@st.composite
def of_a_batch(draw: st.DrawFn) -> Event:
    if draw(st.integers(0, 2)) == 0:
        return journal(draw(totals), draw(spans), document=draw(st.sampled_from(["je_9", "je_10"])), members=draw(st.sampled_from([None, 1])))  # fmt: skip
    number, revision = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    facts = [member(number, draw(totals), draw(spans), **draw(st.sampled_from([{}, {"currency": "EUR"}])))]
    if draw(st.booleans()):
        facts.append(tell("invoice.voided", f"in_{number}", "1h", case=facts[0].correlationid))
    return told(*facts, revision=revision)[0]


@st.composite
def of_a_period(draw: st.DrawFn) -> Event:
    if draw(st.booleans()):
        return booked(draw(st.sampled_from(["31d", "35d", "41d"])), total=draw(totals))[0]
    made = closed(draw(spans), id=draw(st.sampled_from(["c_1", "c_2"])))
    return made if draw(st.booleans()) else tell("period.reopened", "r", draw(spans), case=made.correlationid, ledger="main", period=month("3"))  # fmt: skip


@st.composite
def of_a_pair(draw: st.DrawFn) -> Event:
    side = draw(st.sampled_from([sold, bought]))
    return to_the_pair(side(draw(totals), draw(spans)), revision=draw(st.integers(1, 2)))[0]


def some(kind: st.SearchStrategy[Event]) -> st.SearchStrategy[list[Event]]:
    return st.lists(kind, min_size=1, max_size=8)


cases = some(of_an_invoice()) | some(of_a_batch()) | some(of_a_period()) | some(of_a_pair())
progresses = st.builds(
    lambda ends: Progress({source: after(at) for source, at in ends.items()}),
    st.dictionaries(st.sampled_from(["erp", "payments", "billing"]), spans),
)


def verdict_of(events: list[Event], at: Any, progress: Progress) -> Verdict:
    return judge(case_of(events), POLICY, at, progress)


@given(cases, st.randoms(use_true_random=False), spans, progresses)
def test_order_and_duplicates_change_nothing(events: list[Event], dice: Any, at: str, progress: Progress) -> None:
    shuffled = [*events, dice.choice(events)]
    dice.shuffle(shuffled)
    assert encode(verdict_of(shuffled, after(at), progress)) == encode(verdict_of(events, after(at), progress))


@given(cases, spans, st.floats(0, 1, exclude_max=True), progresses)
def test_between_deadlines_nothing_changes_and_at_a_deadline_something_does(
    events: list[Event], at: str, share: float, progress: Progress
) -> None:
    verdict = verdict_of(events, after(at), progress)
    until = verdict.next_deadline
    between = after(at) + ((until or after(at) + timedelta(days=4_000)) - after(at)) * share
    if until is None or between < until:  # a share of almost all rounds to all
        assert encode(verdict_of(events, between, progress)) == encode(verdict)
    if until is not None:
        assert encode(verdict_of(events, until, progress)) != encode(verdict)


@given(cases, spans, progresses)
def test_what_ties_out_waits_for_nothing_and_what_breaks_is_shown(
    events: list[Event], at: str, progress: Progress
) -> None:
    verdict = verdict_of(events, after(at), progress)
    assert (verdict.outcome == "break") == bool(verdict.breaks)
    assert all(found.evidence and found.reason and found.variance_minor >= 0 for found in verdict.breaks)
    assert len({found.fingerprint for found in verdict.breaks}) == len(verdict.breaks)
    assert verdict.exposure_minor >= 0
    if verdict.outcome == "ok":
        assert verdict.next_deadline is None
        assert verdict.awaiting == ()
