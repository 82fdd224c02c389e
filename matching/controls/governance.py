"""Did the right system say it, under a contract that policy accepts?

- A document is `invoice`, `credit_memo`, `quote`, `subscription`, `customer`: the first word of its events' types. Policy
  names the systems that master it (`[systems_of_record]`), for a field of it (`invoice.due_date`) other ones.
- What a master said last of a field holds. Another system's copy of the document, in its last version, says the same or
  says nothing of it; after either has changed there is the target of postings to follow.
- Ids, numbers, times and aliases are each system's own and are not compared.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matching import documents
from matching.case import ALLOCATION
from matching.documents import moment
from matching.door import version_of
from matching.findings import Answer, Failure, failed, not_applicable, not_assessed, passed
from matching.view import View

_OWN = frozenset(("document_id", "number", "version", "recorded_at", "accounting_date", "refs", "customer"))

_MASTERED = passed("system_of_record", "every field is as the system says that masters it")
_NO_MASTER = not_applicable("system_of_record", "policy names no system of record for what is in this case")
_FOLLOWING = not_assessed("system_of_record", "two systems differ, and one may still follow the other")


class Said(NamedTuple):
    field: str
    value: Any
    event: Any


def system_of_record(view: View) -> Answer:
    """A field is changed by the system that masters it. What another one changed is overwritten one day, or never was agreed.

    Policy: `[systems_of_record]`, by document or by field of one. A copy that says nothing of a field is no contradiction.
    """
    masters = view.policy.systems_of_record
    if not masters:
        return _NO_MASTER
    answer: Answer = _NO_MASTER
    for document, events in _documents(view):
        held = {said.field: said for said in _said(document, events, view, of_masters=True)}
        if held:
            answer = answer if answer is _FOLLOWING else _MASTERED
        for said in _said(document, events, view, of_masters=False):
            master = held.get(said.field)
            if master is None or master.value == said.value:
                continue
            if not view.clock.before(view.target_passes_at(max(moment(master.event), moment(said.event)))):
                return _changed_by_another(view, document, master, said)
            answer = _FOLLOWING
    return answer


def _documents(view: View) -> Iterator[tuple[str, list[Any]]]:
    """What each system last said of each document, in order of time."""
    by_document: dict[str, list[Any]] = {}
    for event_type, events in view.by_type.items():
        by_document.setdefault(event_type.partition(".")[0], []).extend(events)
    for document, events in sorted(by_document.items()):
        if any(name.partition(".")[0] == document for name in view.policy.systems_of_record):
            events.sort(key=lambda event: (event.time, event.id))
            yield document, events


def _said(document: str, events: Sequence[Any], view: View, of_masters: bool) -> Iterator[Said]:
    """Field by field what masters of it said, or the last of what each other system said, in order of time."""
    policy = view.policy.systems_of_record
    for source in dict.fromkeys(event.source for event in events):
        own: Sequence[Any] = documents.standing(
            [event for event in events if event.source == source and not _ends(event)], []
        )
        for event in own:
            for field in event.data.__struct_fields__:
                value = getattr(event.data, field)
                if value is None or field in _OWN:
                    continue
                masters = policy.get(f"{document}.{field}", policy.get(document, ()))
                if masters and (_system(source) in masters) == of_masters:
                    yield Said(field, value, event)


def _ends(event: Any) -> bool:
    return bool(event.type.endswith((".voided", ".cancelled")))


def _system(source: str) -> str:
    return source.partition("/")[0]


def _changed_by_another(view: View, document: str, master: Said, said: Said) -> Failure:
    field, system = said.field, _system(said.event.source)
    exposure_minor = abs(said.value - master.value) if field.endswith("_minor") else 0
    return failed(
        view, "system_of_record", "system_of_record",
        f"{system} says another {field} of {said.event.subject} than {_system(master.event.source)}, which masters it; undo it there",
        expected=f"{document}.{field} {_text(master.value)}", actual=_text(said.value), variance_minor=exposure_minor,
        amounts=(field, system, _text(master.value), _text(said.value)), evidence=(master.event, said.event),
    )  # fmt: skip


def _text(value: Any) -> str:
    return str(value)[:200]


_ACCEPTED = passed("contract", "every record came under a contract version that policy accepts")
_ANY_VERSION = not_applicable("contract", "policy names no contract for what is in this case")


def contract(view: View) -> Answer:
    """Every record came under a version of its contract that policy accepts; its fields may mean something else otherwise.

    A version that tieout itself does not know never comes this far: it is a dead letter, and so are all others where policy
    refuses them at the door (`[door]`). Policy: `[contracts]`, versions by type of event; a type that is not named may come
    under any version.
    """
    contracts = view.policy.contracts
    if not contracts:
        return _ANY_VERSION
    answer = _ANY_VERSION
    for fact in view.facts:
        accepted = contracts.get(fact.type)
        if accepted is None or fact.type == ALLOCATION:
            continue
        answer = _ACCEPTED
        if version_of(fact) not in accepted:
            return _outside_contract(view, fact, accepted)
    return answer


def _outside_contract(view: View, fact: Any, accepted: Sequence[int]) -> Failure:
    versions = ", ".join(map(str, accepted)) or "none"
    return failed(
        view, "contract", "contract", f"{fact.subject} came under {fact.dataschema}; have it sent under an accepted contract",
        expected=f"{fact.type} version {versions}", actual=fact.dataschema, amounts=(fact.type, fact.dataschema),
        exposure_minor=view.document.data.total_minor or 0 if view.document is not None else 0, evidence=(fact,),
    )  # fmt: skip
