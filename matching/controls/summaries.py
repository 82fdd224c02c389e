"""Does a batch's journal book its members, each once? A summary posting over the documents that name it.

- Members are told by their own cases (`allocation.set` of kind member, rule E6): an invoice adds its total, a credit memo
  takes it off, a document that was voided or moved to another batch counts nothing.
- The journal is what all postings of the batch net to on receivable (sales) and payable (purchases), by ledger and currency.
- A break of a batch is counted here, once: its members say that they are covered and wait for nothing.
- What is short in the journal may still be booked within the target of postings; what it holds too much may belong to
  a document that billing still sends, within the grace of orphans.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_OF_DOCUMENTS = frozenset(("invoice", "credit", "void", "other"))
_CONTROL = {"receivable": ("sales", 1), "payable": ("purchase", -1)}

Sums = Counter[tuple[str, str]]  # by (currency, direction)


class Batch(NamedTuple):
    members: Sequence[Any]  # as told, those that were taken back too
    postings: Sequence[Any]
    expected: Sums
    booked: dict[str, Sums]  # by ledger


class Difference(NamedTuple):
    ledger: str
    currency: str
    direction: str
    expected_minor: int
    booked_minor: int

    @property
    def variance_minor(self) -> int:
        return self.booked_minor - self.expected_minor


def batch_of(view: View) -> Batch:
    members = [told for told in view.of(ALLOCATION) if told.data.kind == "member"]
    expected: Sums = Counter()
    for member in members:
        expected[member.data.currency or "", member.data.direction or "sales"] += member.data.amount_minor
    postings = [posting for posting in view.postings if _books_documents(posting.data)]
    booked: dict[str, Sums] = {}
    for posting in postings:
        sums = booked.setdefault(posting.data.ledger, Counter())
        for currency, direction, amount_minor in _control_lines(posting.data):
            sums[currency, direction] += amount_minor
    return Batch(members, postings, expected, booked)


def _books_documents(posting: Any) -> bool:
    return posting.posting_kind != "revaluation" and posting.document_type in _OF_DOCUMENTS


def _control_lines(posting: Any) -> Iterator[tuple[str, str, int]]:
    for line in posting.lines:
        if line.role in _CONTROL:
            direction, sign = _CONTROL[line.role]
            in_base = line.amount_minor is None or posting.currency is None
            amount_minor = line.base_minor if line.amount_minor is None else line.amount_minor
            yield (posting.base_currency if in_base else posting.currency), direction, sign * (amount_minor or 0)


_SPLIT_PASS = passed("summary_split", "the journal is the sum of the documents that name it, each once")
_SPLIT_NONE = not_applicable("summary_split", "no document names this batch, and no posting is a summary")
_SPLIT_NO_MEMBERS = not_assessed("summary_split", "no document names this batch")
_SPLIT_NO_JOURNAL = not_assessed("summary_split", "nothing stands in the ledger for this batch; see missing_posting")
_SPLIT_OTHER_CURRENCY = not_assessed(
    "summary_split", "the journal holds base amounts alone, its documents another currency"
)
_SPLIT_WAITING = not_assessed(
    "summary_split", "the journal is not the sum of its documents, and what is missing may still come"
)


def summary_split(view: View) -> Answer:
    """A summary posting is the sum of the documents that name it, each once, and of as many as it says it books.

    A failure misstates receivables and revenue by the variance, in a line of the ledger behind which no single document
    can be seen. It is one break on the batch; the documents themselves are covered by it.
    """
    batch = batch_of(view)
    if not any(posting.data.posting_kind == "summary" for posting in batch.postings) and not batch.members:
        return _SPLIT_NONE
    if not batch.members:
        return _SPLIT_NO_MEMBERS
    if not any(any(sums.values()) for sums in batch.booked.values()):
        return _SPLIT_NO_JOURNAL if any(batch.expected.values()) else _SPLIT_PASS
    twice = _member_twice(batch)
    if twice:
        return _told_twice(view, batch, twice)
    return _compared(view, batch)


def _compared(view: View, batch: Batch) -> Answer:
    differences = list(_differences(batch))
    if not differences:
        return _counted(view, batch)
    if _is_in_base_alone(batch):
        return _SPLIT_OTHER_CURRENCY
    last = max(moment(fact) for fact in (*batch.members, *batch.postings))
    if all(_may_still_come(view, difference.variance_minor, last) for difference in differences):
        return _SPLIT_WAITING
    return reduce(_both, [_differs(view, batch, difference) for difference in differences])


def _both(one: Failure, other: Failure) -> Failure:
    return Failure(one.result, one.breaks + other.breaks, max(one.exposure_minor, other.exposure_minor))


def _differences(batch: Batch) -> Iterator[Difference]:
    for ledger in sorted(batch.booked):
        booked = batch.booked[ledger]
        for currency, direction in sorted({*batch.expected, *booked}):
            expected_minor, booked_minor = batch.expected[currency, direction], booked[currency, direction]
            if expected_minor != booked_minor:
                yield Difference(ledger, currency, direction, expected_minor, booked_minor)


def _is_in_base_alone(batch: Batch) -> bool:
    """No rate is told with a member, so base amounts say nothing of documents in another currency."""
    bases = {posting.data.base_currency for posting in batch.postings}
    stated = {posting.data.currency for posting in batch.postings}
    return stated == {None} and any(currency not in bases for currency, _ in batch.expected)


def _may_still_come(view: View, variance_minor: int, last: datetime) -> bool:
    if variance_minor < 0:
        terms = view.terms.invoice_to_posting
        ends_at, awaits = terms.due_at(last), terms.awaits
    else:
        grace = view.policy.grace
        ends_at, awaits = last + grace.duration, grace.awaits
    return view.clock.before(ends_at) or view.clock.is_behind(awaits, ends_at)


def _differs(view: View, batch: Batch, difference: Difference) -> Failure:
    ledger, currency, direction, expected_minor, booked_minor = difference
    alike = _alone_explains(batch.members, difference)
    hint = ""
    if alike is not None:
        verb = "were missing from" if difference.variance_minor < 0 else "stood twice in"
        hint = f", as if {alike.subject} {verb} it"
    count = sum(1 for member in batch.members if member.data.amount_minor)
    return failed(
        view, "summary_split", "summary_split",
        f"the journal in ledger {ledger} is not the sum of its {count} documents{hint}; correct it by those that differ",
        expected=f"{major(expected_minor, currency)} from {count} documents", actual=f"{major(booked_minor, currency)} booked",
        amounts=(ledger, currency, direction, expected_minor, booked_minor), variance_minor=difference.variance_minor,
        currency=currency, evidence=(*batch.postings, *((alike,) if alike is not None else ())),
    )  # fmt: skip


def _alone_explains(members: Iterable[Any], difference: Difference) -> Any:
    """The one member whose amount is the difference; None where several are or none is."""
    amount_minor = abs(difference.variance_minor)
    alike = [
        member for member in members
        if abs(member.data.amount_minor) == amount_minor and (member.data.currency or "") == difference.currency
    ]  # fmt: skip
    return alike[0] if len(alike) == 1 else None


def _member_twice(batch: Batch) -> list[Any]:
    """What one document was told as by two cases."""
    told = Counter(member.data.document_id for member in batch.members if member.data.amount_minor)
    repeated = min((document for document, times in told.items() if times > 1), default=None)
    return [member for member in batch.members if member.data.document_id == repeated and member.data.amount_minor]


def _told_twice(view: View, batch: Batch, twice: Sequence[Any]) -> Failure:
    first, currency = twice[0], twice[0].data.currency
    extra_minor = sum(member.data.amount_minor for member in twice[1:])
    homes = ", ".join(sorted(member.data.home for member in twice))
    return failed(
        view, "summary_split", "summary_split", f"{first.subject} is a member of the batch twice: {homes}"[:1000],
        expected=f"{major(first.data.amount_minor, currency)} once", actual=f"{len(twice)} cases tell of it",
        amounts=(first.data.amount_minor, extra_minor), variance_minor=extra_minor, currency=currency,
        evidence=(*batch.postings, *twice),
    )  # fmt: skip


def _counted(view: View, batch: Batch) -> Answer:
    """The sums agree: does the number of documents, where the journal states one?"""
    stated = [posting.data.members for posting in batch.postings if posting.data.members is not None]
    count = sum(1 for member in batch.members if member.data.amount_minor)
    if not stated or sum(stated) == count:
        return _SPLIT_PASS
    last = max(moment(fact) for fact in (*batch.members, *batch.postings))
    if _may_still_come(view, sum(stated) - count, last):
        return _SPLIT_WAITING
    return failed(
        view, "summary_split", "summary_split", "the journal's amount is right and its number of documents is not; find who is missing",
        expected=f"{sum(stated)} documents", actual=f"{count} name the batch", amounts=(sum(stated), count),
        evidence=batch.postings,
    )  # fmt: skip


_MISSING_PASS = passed("missing_posting", "the batch has its journal")
_MISSING_NONE = not_applicable("missing_posting", "no document names this batch")
_MISSING_WAITING = not_assessed("missing_posting", "no journal yet, and its time has not passed")
_MISSING_UNPROVEN = not_assessed("missing_posting", "no journal yet, and the ledger's feed is itself behind")


def missing_journal(view: View) -> Answer:
    """Documents that name a batch are booked by it, once the last of them is past the target of postings."""
    batch = batch_of(view)
    if any(any(sums.values()) for sums in batch.booked.values()):
        return _MISSING_PASS
    if not any(batch.expected.values()):
        return _MISSING_NONE
    terms = view.terms.invoice_to_posting
    last = max(moment(fact) for fact in (*batch.members, *batch.postings))
    state = view.clock.open_state(terms.due_at(last), terms.missing_at(last), terms.awaits)
    if state != "missing":
        return _MISSING_UNPROVEN if state == "unproven" else _MISSING_WAITING
    (currency, _), total_minor = max(batch.expected.items(), key=lambda item: (abs(item[1]), item[0]))
    count = sum(1 for member in batch.members if member.data.amount_minor)
    return failed(
        view, "missing_posting", "missing_posting",
        "the journal was taken back and nothing booked in its place" if batch.postings else "the batch was never booked; run its posting",
        expected=f"{major(total_minor, currency)} from {count} documents in the ledger",
        actual="nothing stands" if batch.postings else "nothing", amounts=(currency, total_minor, 0),
        variance_minor=total_minor, currency=currency, evidence=batch.postings or batch.members[:1],
    )  # fmt: skip
