"""What holds of every verdict, whatever came in, in whatever order and however often."""

import json
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical import records, structs
from canonical.events import Event
from matching.assessment import ask_all, assess
from matching.case import Case
from matching.clock import Clock, Progress
from matching.hops import OPEN_STATES, run
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, decode, encode
from matching.view import View
from tests.property.events import records as any_records
from tests.scenarios.books import (
    START,
    after,
    applied,
    delivery,
    invoice,
    payment,
    posting,
    reversal,
    void,
)

POLICY = load()
CUTOFF_BREAKS = load("[cutoff]\nis_break = true")
spans = st.sampled_from(
    ["-1d", "-1m", "0", "30s", "14m", "15m", "16m", "4h", "1d", "1d+1m", "2d", "3d", "30d+12h", "31d", "60d+12h", "61d"]
)
amounts = st.sampled_from(["0", "60.00", "100.00", "100.00", "120.00"])
documents = st.sampled_from(["d_1", "d_2", "d_3"])
customers = st.sampled_from([None, "C-1", "C-2"])
versions = st.sampled_from([None, 1, 2])


@st.composite
def facts(draw: st.DrawFn) -> list[Event]:
    """A handful of facts of one invoice, as they come from systems that make every mistake."""
    made = [draw(fact()) for _ in range(draw(st.integers(1, 7)))]
    return made + [draw(st.sampled_from(made)) for _ in range(draw(st.integers(0, 3)))]


@st.composite
def fact(draw: st.DrawFn) -> Event:
    at, amount, document = draw(spans), draw(amounts), draw(documents)
    currency = draw(st.sampled_from(["USD", "USD", "USD", "EUR"]))
    more: dict[str, Any] = {"currency": currency, "document": document, "customer": draw(customers)}
    if draw(st.booleans()):
        more["version"] = draw(versions)
    kind = draw(
        st.sampled_from(["invoice", "invoice", "posting", "posting", "reversal", "payment", "applied", "other"])
    )
    if kind == "invoice":
        event = draw(st.sampled_from(["invoice.issued", "invoice.amended"]))
        return invoice(amount, at, event=event, tax=draw(st.sampled_from([None, "0", "20.00"])), rate="0.92", **more)
    if kind == "posting":
        return posting(amount, at, base=draw(st.sampled_from([None, amount])), tax=draw(st.sampled_from([None, "20.00"])), **more)  # fmt: skip
    if kind == "reversal":
        return reversal("100.00", at, reverses=document, document=f"{document}_r", currency=currency)
    if kind == "payment":
        event = draw(st.sampled_from(["payment.received"] * 3 + ["payment.failed", "payment.returned", "refund.issued", "refund.failed"]))  # fmt: skip
        return payment(amount, at, event=event, **more)
    if kind == "applied":
        del more["customer"]
        kind = draw(st.sampled_from(["payment", "payment", "credit", "withholding"]))
        event = draw(st.sampled_from(["cash.applied", "cash.applied", "cash.unapplied"]))
        return applied(amount, at, kind=kind, event=event, **more)
    return draw(st.sampled_from([void(at, document), delivery(at, "mapping"), delivery(at, "transient"), delivery(at)]))


def case_of(events: list[Event], limit: int = 2_000) -> Case:
    case = Case(events[0].correlationid, limit)
    for event in events:
        case.add(event)
    return case


progresses = st.builds(
    lambda ends: Progress({source: after(at) for source, at in ends.items()}),
    st.dictionaries(st.sampled_from(["erp", "payments", "billing"]), spans),
)


@given(facts(), st.randoms(use_true_random=False), spans, progresses)
def test_order_and_duplicates_change_no_verdict(events: list[Event], random: Any, at: str, progress: Progress) -> None:
    shuffled = events + [random.choice(events) for _ in range(3)]
    random.shuffle(shuffled)
    assert _bytes(case_of(shuffled), at, progress) == _bytes(case_of(events), at, progress)


@given(facts(), st.data(), spans)
def test_a_later_delivery_of_the_same_fact_changes_nothing(events: list[Event], data: st.DataObject, at: str) -> None:
    again = data.draw(st.sampled_from(events))
    later = _object(again)
    later |= {"time": "2027-01-01T00:00:00Z", "traceparent": f"00-{'1' * 32}-{'1' * 16}-01"}
    delivered = structs.decode(json.dumps(later).encode())
    before, backwards = case_of([*events, delivered]), case_of([delivered, *events])
    assert _bytes(before, at) == _bytes(backwards, at) == _bytes(case_of(events), at)
    assert not before.add(delivered)


@given(facts(), spans)
def test_events_read_by_either_decoder_give_one_verdict(events: list[Event], at: str) -> None:
    slow = [records.decode(json.dumps(_object(event)).encode()) for event in events]
    assert _bytes(case_of(slow), at) == _bytes(case_of(events), at)


@given(facts(), spans, st.floats(0, 1, exclude_min=True, exclude_max=True), progresses)
def test_a_verdict_is_constant_between_deadlines(
    events: list[Event], at: str, share: float, progress: Progress
) -> None:
    case = case_of(events)
    verdict = judge(case, POLICY, after(at), progress)
    until = verdict.next_deadline or after(at) + timedelta(days=4_000)
    assert until > after(at)
    between = after(at) + (until - after(at)) * share
    if between < until:
        assert encode(judge(case, POLICY, between, progress)) == encode(verdict)


@given(facts(), spans)
def test_a_deadline_is_a_time_at_which_the_verdict_changes(events: list[Event], at: str) -> None:
    case = case_of(events)
    verdict = judge(case, POLICY, after(at))
    if verdict.next_deadline is not None:
        assert encode(judge(case, POLICY, verdict.next_deadline)) != encode(verdict)


@given(facts(), spans, progresses, st.floats(0, 1))
def test_a_verdict_is_constant_until_a_source_that_it_awaits_is_complete_to_where_it_says(
    events: list[Event], at: str, progress: Progress, share: float
) -> None:
    case = case_of(events)
    verdict = judge(case, POLICY, after(at), progress)
    awaited = {source: until for source, until in ((each.source, each.until) for each in verdict.awaiting)}
    further = {
        source: complete_to + (awaited.get(source, complete_to + timedelta(days=9_000)) - complete_to) * share
        for source, complete_to in progress.complete_to.items()
    }
    if all(further[source] < until for source, until in awaited.items()):
        assert encode(judge(case, POLICY, after(at), Progress(further))) == encode(verdict)


@given(facts(), spans, progresses)
def test_what_ties_out_waits_for_nothing(events: list[Event], at: str, progress: Progress) -> None:
    """Open cases alone are kept with their deadlines: one that is ok has none."""
    verdict = judge(case_of(events), POLICY, after(at), progress)
    if verdict.outcome == "ok":
        assert verdict.next_deadline is None
        assert verdict.awaiting == ()


@given(facts(), spans, progresses)
def test_outcome_follows_from_what_is_shown(events: list[Event], at: str, progress: Progress) -> None:
    verdict = judge(case_of(events), CUTOFF_BREAKS, after(at), progress)
    assert (verdict.outcome == "break") == bool(verdict.breaks)
    assert {found.control for found in verdict.breaks} <= _with(verdict, "fail")
    assert verdict.exposure_minor == 0 or verdict.breaks
    assert all(
        found.evidence and found.variance_minor >= 0 and len(found.fingerprint) == 16 for found in verdict.breaks
    )
    assert len({found.fingerprint for found in verdict.breaks}) == len(verdict.breaks)
    if verdict.outcome == "ok":
        assert not {hop.state for hop in verdict.hops} & OPEN_STATES
        assert not POLICY.terms.mandatory["invoice"] & (_with(verdict, "not_assessed") | _with(verdict, "fail"))
    assert decode(encode(verdict)) == verdict


@given(facts(), spans)
def test_fingerprints_do_not_depend_on_policy(events: list[Event], at: str) -> None:
    case = case_of(events)
    other = load('[owners]\namount = "crm"\n[severity]\namount = "low"\n')
    prints = [{found.fingerprint for found in judge(case, policy, after(at)).breaks} for policy in (POLICY, other)]
    assert prints[0] == prints[1]


@given(facts(), st.randoms(use_true_random=False), spans)
def test_over_the_limit_the_verdict_is_the_same_for_every_order(events: list[Event], random: Any, at: str) -> None:
    limit = case_of(events).count - 1
    shuffled = list(events)
    random.shuffle(shuffled)
    if limit > 0:
        over, other = case_of(events, limit), case_of(shuffled, limit)
        assert over.is_over_limit and not over.facts()
        assert _bytes(over, at) == _bytes(other, "61d")
        assert "facts_per_case" in judge(over, POLICY, START).controls[0].reason


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(any_records(), min_size=1, max_size=4),
    st.sampled_from(["order", "invoice", "credit", "receipt", "payout", "summary", "index"]),
    st.sampled_from(["acme:billing:1", "1", "a%20b:c:d:e", "::"]),
)
def test_no_valid_event_can_stop_the_judge(objects: list[dict[str, Any]], kind: str, ident: str) -> None:
    events = [structs.decode(json.dumps(each | {"correlationid": f"{kind}:{ident}"}).encode()) for each in objects]
    first, second = (encode(judge(case_of(order), POLICY, START)) for order in (events, events[::-1]))
    assert first == second
    assert decode(first).facts >= 1


def _bytes(case: Case, at: str, progress: Progress = Progress()) -> bytes:  # noqa: B008 (a constant)
    return encode(judge(case, POLICY, after(at), progress))


def _with(verdict: Verdict, result: str) -> set[str]:
    return {control.name for control in verdict.controls if control.result == result}


def _object(event: Event) -> dict[str, Any]:
    return _without_null(json.loads(msgspec.json.encode(event)))


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=1_000)
@given(facts(), spans, progresses)
def test_what_earlier_cases_were_told_is_what_this_one_would_be_told(
    events: list[Event], at: str, progress: Progress
) -> None:
    """The policy keeps what controls said of cases in one situation: never anything that they would not say again."""
    told, asked = (View(case_of(events), POLICY, Clock(after(at), progress)) for _ in range(2))
    hops = run(told)
    run(asked)
    assert assess(told, hops) == ask_all(asked)
    assert told.clock.next_deadline == asked.clock.next_deadline
    assert told.clock.awaiting == asked.clock.awaiting
    verdict = judge(case_of(events), POLICY, after(at), progress)
    assert encode(verdict) == msgspec.json.encode(verdict), "results that verdicts share are written as each one's own"
