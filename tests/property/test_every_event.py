"""What holds of every type of event in canonical/events.py, in whatever case it lies; a new type is drawn as it is added.

- The set of facts is the verdict: order, duplicates, batches and replays of a case's history change nothing, also of what it
  tells to others.
- Between two deadlines the verdict is constant, until a source that it awaits has come to where it says.
- A fact more never leaves a control unassessed without a reason: what was proven is still answered, or says why not.
"""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical import structs
from canonical.events import EVENTS, Event
from canonical.ids import CASE_KINDS, is_case_key
from matching.case import Case
from matching.clock import COMPLETE, Progress
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, encode
from tests.property.events import record_of
from tests.scenarios.books import START, after

POLICY = load()
SOME = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
_spans = st.sampled_from(["-30d", "0", "16m", "4h", "1d+1m", "3d", "40d", "400d"])
_ENTITY = "acme-us"
# Small worlds, so that facts meet: names, amounts, days and currencies of which there are few.
_FEW: dict[str, Any] = {
    "document_id": ["d_1", "d_2"], "number": ["N-1", "N-2"], "version": [1, 2], "replaces": ["d_1"], "reverses": ["d_1"],
    "invoice_id": ["d_1"], "payment_id": ["d_2"], "subscription_id": ["s_1"], "ledger": ["main"], "currency": ["USD", "EUR"],
    "base_currency": ["USD"], "amount_minor": [0, 5_000, 10_000], "total_minor": [0, 5_000, 10_000], "entity": [_ENTITY],
}  # fmt: skip


@st.composite
def facts_of(draw: st.DrawFn, event_type: str) -> list[Event]:
    """A case of some kind with facts of this type, and of others beside them."""
    kind = draw(st.sampled_from(CASE_KINDS))
    types = [event_type, *draw(st.lists(st.sampled_from(sorted(EVENTS)), max_size=3)), event_type]
    return [draw(_fact(each, f"{kind}:{_ENTITY}:billing:1")) for each in types]


@st.composite
def _fact(draw: st.DrawFn, event_type: str, key: str) -> Event:
    record = draw(record_of(event_type))
    at = after(draw(_spans))
    record |= {
        "correlationid": key,
        "id": draw(st.sampled_from(["e_1", "e_2", "e_3", record["id"]])),
        "time": at.isoformat(),
    }
    data = record["data"]
    for name, values in _FEW.items():
        if name in data:
            data[name] = draw(st.sampled_from(values))
    if "recorded_at" in data:
        data["recorded_at"] = (at + timedelta(minutes=1)).isoformat()
    return structs.decode(json.dumps(record).encode())


def case_of(facts: list[Event]) -> Case:
    case = Case(facts[0].correlationid)
    for fact in facts:
        case.add(fact)
    return case


def _judged(facts: list[Event], at: datetime = START, progress: Progress = COMPLETE) -> bytes:
    return encode(judge(case_of(facts), POLICY, at, progress))


def _told(facts: list[Event]) -> list[Event]:
    case = case_of(facts)
    return [as_event(case.key, effect, 1) for effect in effects(case, POLICY)]


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@SOME
@given(data=st.data())
def test_order_duplicates_batches_and_replays_change_nothing(event_type: str, data: st.DataObject) -> None:
    facts, at = data.draw(facts_of(event_type)), after(data.draw(_spans))
    shuffled = data.draw(st.permutations([*facts, *facts[:2]]))
    assert _judged(facts, at) == _judged(shuffled, at) == _judged([*facts, *facts], at)
    assert _told(facts) == _told(shuffled)
    case = case_of(facts[:1])
    judge(case, POLICY, at)  # a batch was judged and what it means told before the next one came
    effects(case, POLICY)
    for fact in facts[1:]:
        case.add(fact)
    assert encode(judge(case, POLICY, at)) == _judged(facts, at)


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@SOME
@given(data=st.data(), share=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_between_deadlines_the_verdict_is_constant(event_type: str, data: st.DataObject, share: float) -> None:
    facts, at = data.draw(facts_of(event_type)), after(data.draw(_spans))
    verdict = judge(case_of(facts), POLICY, at)
    until = verdict.next_deadline or at + timedelta(days=9_000)
    assert until > at
    between = at + (until - at) * share
    if between < until:
        assert _judged(facts, between) == encode(verdict)
    if verdict.outcome == "ok":
        assert verdict.next_deadline is None


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@SOME
@given(data=st.data())
def test_a_fact_more_leaves_no_control_unassessed_without_a_reason(event_type: str, data: st.DataObject) -> None:
    facts, at = data.draw(facts_of(event_type)), after(data.draw(_spans))
    before, with_it = judge(case_of(facts[:-1]), POLICY, at), judge(case_of(facts), POLICY, at)
    assert [control.name for control in before.controls] == [control.name for control in with_it.controls]
    proven = {control.name: control.reason for control in before.controls if control.result in ("pass", "fail")}
    for control in with_it.controls:
        if control.result == "not_assessed" and control.name in proven:
            assert control.reason and control.reason != proven[control.name], (
                f"{control.name} was proven and says nothing"
            )
    _explained(with_it)


def _explained(verdict: Verdict) -> None:
    """Every answer has its reason, every failure its break and its evidence, every target is a case."""
    assert all(control.reason for control in verdict.controls)
    failed = {control.name for control in verdict.controls if control.result == "fail"}
    assert {found.control for found in verdict.breaks} <= failed
    assert all(found.evidence for found in verdict.breaks)


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@SOME
@given(data=st.data())
def test_what_a_case_tells_is_told_to_another_and_never_forgotten(event_type: str, data: st.DataObject) -> None:
    facts = data.draw(facts_of(event_type))
    told, before = _told(facts), _told(facts[:-1])
    assert all(is_case_key(event.correlationid) and event.correlationid != facts[0].correlationid for event in told)
    assert len({event.id for event in told}) == len(told)
    assert {event.id for event in before} <= {event.id for event in told}, "a target was forgotten"
