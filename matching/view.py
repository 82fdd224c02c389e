"""One case laid out for judging: facts grouped once, so that every control only reads.

What a control needs to know of more than its own facts (which version stands, what the ledger nets to, why it differs,
what has been paid) is worked out here and in the modules beside it, once, so that controls cannot disagree.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any
from urllib.parse import unquote

from canonical.events import EARLIEST, Event
from matching import documents, rounding
from matching.case import ALLOCATION, Case
from matching.clock import Clock
from matching.documents import moment
from matching.ledger import Cause, Conversion, Ledger
from matching.policy import Expectation, Policy
from matching.settlement import Settlement, settlement_of
from matching.terms import EntityHops
from matching.verdict import Hop

NOTHING: tuple[Event, ...] = ()
NO_LEDGERS: Mapping[str, str] = {}

# Which postings book a document of this kind; payments and applications move the same accounts on their own account.
_BOOKS: dict[str, frozenset[str]] = {
    "invoice": frozenset(("invoice", "void", "other")),
    "credit": frozenset(("credit", "void", "other")),
}
_DOCUMENT_TYPES = {
    "invoice": ("invoice.issued", "invoice.amended"),
    "credit": ("credit_memo.issued",),
    "order": ("quote.approved",),
}
_VOID_TYPES = {"invoice": "invoice.voided", "credit": "credit_memo.voided"}


class View:
    __slots__ = (
        "booked_in", "by_type", "cause", "causes", "changed_at", "clock", "conflicts", "conversions", "currency", "document", "entity",
        "expect", "extra_documents", "facts", "hops", "ident", "is_covered", "issued", "key", "kind", "ledgers", "policy", "postings",
        "settlement", "system", "terms", "total_minor", "void",
    )  # fmt: skip

    document: Any  # the standing version (an event) or None
    issued: Any  # its first version, which starts the clocks
    void: Any  # the event that voided it, or None
    is_covered: bool  # booked by a batch, which answers for it
    booked_in: Mapping[str, str]  # how each of the ledgers that policy names books it; none named: any ledger will do
    changed_at: datetime | None  # when the standing version was booked, where it is not the first
    currency: str | None
    total_minor: int

    def __init__(self, case: Case, policy: Policy, clock: Clock) -> None:
        self.key, self.clock = case.key, clock
        self.kind, self.entity, self.system, self.ident = split_key(case.key)
        facts = self.facts = case.facts()
        terms = policy.terms
        if terms.versions:
            policy = terms.version_at(starts_at(self.kind, facts)) or policy
            terms = policy.terms
        self.policy = policy
        self.expect: Expectation = terms.expect[self.system]
        if not self.entity and facts:
            self.entity = facts[0].data.entity
        self.terms: EntityHops = terms.hops[self.entity]
        by_type: dict[str, list[Any]] = {}
        for fact in facts:
            event_type = fact.type
            if event_type in by_type:
                by_type[event_type].append(fact)
            else:
                by_type[event_type] = [fact]
        self.by_type = by_type
        self.conflicts = list(case.conflicts())
        self.hops: dict[str, Hop] = {}
        self._lay_out_document()
        self._lay_out_postings()
        self.settlement: Settlement = settlement_of(self)
        self.causes: dict[str, Cause] = {}
        self.cause: Cause = "agrees" if self.ledgers else "nothing_posted"  # the first over all ledgers that differs
        for ledger in self.ledgers:
            cause = self.causes[ledger.name] = self._cause(ledger)
            if self.cause == "agrees":
                self.cause = cause

    def of(self, event_type: str) -> Sequence[Any]:
        return self.by_type.get(event_type, NOTHING)

    def standing(self, event_type: str) -> Sequence[Any]:
        """The standing versions of the documents that these events tell of."""
        events = self.by_type.get(event_type, NOTHING)
        return events if len(events) < 2 else documents.standing(events, self.conflicts)

    def _versions(self) -> Sequence[Any]:
        """Whatever tells of the case's own document, in order of time."""
        told = _DOCUMENT_TYPES.get(self.kind)
        if told is None:
            return NOTHING
        if told[-1] not in self.by_type:
            return self.of(told[0])
        return sorted(chain.from_iterable(map(self.of, told)), key=lambda event: (event.time, event.id))

    def target_passes_at(self, since: datetime) -> datetime:
        """When the ledger should have followed a change of the document."""
        return self.terms.invoice_to_posting.due_at(since)

    @property
    def expects_posting(self) -> bool:
        """By an entry of the document's own."""
        if not self.expect.posting or self.document is None or self.total_minor == 0 or self.is_covered:
            return False
        return not self.booked_in or "document" in self.booked_in.values()

    @property
    def names_no_batch(self) -> bool:
        """Though policy says that one books it."""
        is_unnamed = self.is_covered and self.document.data.summary_key is None
        return is_unnamed and self.total_minor != 0 and self.expect.posting

    def _lay_out_document(self) -> None:
        self.document = self.issued = self.void = self.changed_at = None
        self.is_covered, self.booked_in = False, NO_LEDGERS
        self.extra_documents: Sequence[Any] = NOTHING
        self.total_minor, self.currency = 0, None
        told = self._versions()
        if not told:
            return
        versions = documents.standing(told, self.conflicts)
        voids = self.of(_VOID_TYPES.get(self.kind, ""))
        live = versions if not voids and len(versions) == 1 else documents.not_replaced(versions) or versions
        if voids:
            live = [document for document in live if documents.voided(document, voids) is None] or live[:1]
            self.void = documents.voided(live[0], voids)
        self._settle_on(live, told)

    def _settle_on(self, live: Sequence[Any], told: Sequence[Any]) -> None:
        document = self.document = self.issued = live[0]
        data = document.data
        if len(live) > 1:
            self.extra_documents = [extra for extra in live[1:] if extra.source == document.source]
        self.currency = data.currency
        self.total_minor = 0 if self.void is not None else data.total_minor
        self.is_covered = self.kind in _BOOKS and (
            data.summary_key is not None
            or (self.expect.posting_mode == "summary" and "posting.recorded" not in self.by_type)
        )
        if self.policy.terms.bookings is not None and self.kind in _BOOKS:
            self._book_as_policy_says(self.policy.terms.bookings[self.entity][self.kind])
        if len(told) > 1:
            self.issued = next(version for version in told if version.data.document_id == data.document_id)
            self.changed_at = moment(document) if self.issued is not document else None

    def _book_as_policy_says(self, modes: Mapping[str, str]) -> None:
        self.booked_in = modes
        if modes:
            self.is_covered = "summary" in modes.values() and "document" not in modes.values()

    def _lay_out_postings(self) -> None:
        self.postings: Sequence[Any] = NOTHING
        self.ledgers: Sequence[Ledger] = ()
        self.conversions: dict[str, Conversion] = {}
        by_type = self.by_type
        if "posting.recorded" not in by_type and "posting.reversed" not in by_type:
            return
        postings = self.standing("posting.recorded")
        if "posting.reversed" in by_type:
            postings = [*postings, *self.standing("posting.reversed")]
        self.postings = postings
        books = _BOOKS.get(self.kind)
        if books is not None:
            booked = [p for p in postings if p.data.document_type in books and _books_a_document(p.data)]
            self.ledgers = self._net(booked)

    def _net(self, postings: Sequence[Any]) -> list[Ledger]:
        if not postings:
            return []
        direction = self.document.data.direction if self.document is not None else _direction(postings)
        role, sign = ("receivable", 1) if direction == "sales" else ("payable", -1)
        sign = -sign if self.kind == "credit" else sign
        currency = self.currency or postings[0].data.currency or postings[0].data.base_currency
        if len(postings) == 1:
            return [Ledger(postings[0].data.ledger, postings, role, sign, currency)]
        names = {posting.data.ledger for posting in postings}
        return [Ledger(n, [p for p in postings if p.data.ledger == n], role, sign, currency) for n in sorted(names)]

    def conversion(self, base_currency: str) -> Conversion:
        known = self.conversions.get(base_currency)
        if known is None:
            known = self.conversions[base_currency] = Conversion(self.document.data, base_currency)
        return known

    def _cause(self, ledger: Ledger) -> Cause:
        if self.document is None or self.is_covered:
            return "agrees"
        stated_base = self.document.data.base_currency
        if ledger.is_other_currency or (stated_base is not None and ledger.base_currency != stated_base):
            return "waiting" if self._ledger_may_still_follow(ledger) else "currency"
        if not ledger.control_lines and self.document.data.total_minor:
            return "no_control_line"  # a document that comes to nothing moves no balance, and its posting needs none
        if ledger.net_minor is None:
            return self._cause_in_base(ledger)
        if abs(ledger.net_minor - self.total_minor) > self.policy.tolerance.amount_minor:
            return self._why(ledger, ledger.net_minor, "amount")
        if ledger.tax_lines and self._tax_was_rounded(ledger):
            return "rounding"
        return "agrees" if ledger.base_currency == self.currency else self._cause_of_fx(ledger)

    def _cause_in_base(self, ledger: Ledger) -> Cause:
        base = ledger.base_minor
        if base is None:
            return "no_control_line"
        expected = self.conversion(ledger.base_currency).total(self.total_minor)
        if expected is None:
            return "no_rate"
        tolerance = self.conversion(ledger.base_currency).tolerance(expected, self.policy.tolerance.fx_minor)
        return "agrees" if abs(base - expected) <= tolerance else self._why(ledger, base, "fx")

    def _cause_of_fx(self, ledger: Ledger) -> Cause:
        """The document's amounts agree: do the base amounts?"""
        if ledger.base_minor is None:
            return "agrees"
        expected = self.conversion(ledger.base_currency).total(self.total_minor)
        if expected is None:
            return "agrees"
        tolerance = self.conversion(ledger.base_currency).tolerance(expected, self.policy.tolerance.fx_minor)
        return "agrees" if abs(ledger.base_minor - expected) <= tolerance else "fx"

    def _why(self, ledger: Ledger, net_minor: int, otherwise: Cause) -> Cause:
        """The root cause of a net that is not what the document says."""
        if self.void is not None:
            return "unreversed"
        if net_minor == 0:
            return "reversed"
        if self.extra_documents and self._covers_all_documents(ledger, net_minor):
            return "agrees"
        if self._is_multiple(ledger, net_minor):
            return "duplicate"
        if self._ledger_may_still_follow(ledger):
            return "waiting"
        if otherwise == "amount" and rounding.explains(self.document.data, net_minor - self.total_minor):
            return "rounding"
        if ledger.tax_lines and otherwise == "amount" and self._differs_by_tax(ledger, net_minor):
            return "tax"
        return otherwise

    def _covers_all_documents(self, ledger: Ledger, net_minor: int) -> bool:
        if ledger.net_minor is not None:
            extra_minor: int = sum(extra.data.total_minor for extra in self.extra_documents)
            return net_minor == self.total_minor + extra_minor
        rest, tolerance = Decimal(net_minor), Decimal(0)
        for document in (self.document, *self.extra_documents):
            conversion = Conversion(document.data, ledger.base_currency)
            base = conversion.total(document.data.total_minor)
            if base is None:
                return False
            rest -= base
            tolerance += conversion.tolerance(base, self.policy.tolerance.fx_minor)
        return abs(rest) <= tolerance

    def _is_multiple(self, ledger: Ledger, net_minor: int) -> bool:
        """The whole document booked twice or more, by postings of their own that nothing took back."""
        if ledger.net_minor is not None:
            times, rest = divmod(net_minor, self.total_minor) if self.total_minor else (0, 0)
            return times >= 2 and rest == 0 and len(ledger.standing_postings()) >= times
        conversion = self.conversion(ledger.base_currency)
        once = conversion.total(self.total_minor)
        times = round(net_minor / once) if once else 0
        if once is None or times < 2 or len(ledger.standing_postings()) < times:
            return False
        return abs(net_minor - times * once) <= times * conversion.tolerance(once, self.policy.tolerance.fx_minor)

    def _ledger_may_still_follow(self, ledger: Ledger) -> bool:
        changed_at = self.changed_at
        if changed_at is None or ledger.last_booked_at() >= changed_at:
            return False
        return self.clock.before(self.target_passes_at(changed_at))

    def _tax_was_rounded(self, ledger: Ledger) -> bool:
        """The totals agree and the tax does not, by no more than rounding."""
        tax_minor: int | None = self.document.data.tax_minor
        if tax_minor is None or ledger.tax_minor is None or ledger.tax_minor == tax_minor or self.void is not None:
            return False
        variance_minor = ledger.tax_minor - tax_minor
        is_tolerated = abs(variance_minor) <= self.policy.tolerance.tax_minor
        return not is_tolerated and rounding.explains_tax(self.document.data, variance_minor)

    def _differs_by_tax(self, ledger: Ledger, net_minor: int) -> bool:
        tax_minor: int | None = self.document.data.tax_minor
        if tax_minor is None or ledger.tax_minor is None:
            return False
        tax_variance_minor: int = ledger.tax_minor - tax_minor
        return tax_variance_minor == net_minor - self.total_minor


def starts_at(kind: str, facts: Sequence[Event]) -> datetime:
    """When the case starts, which says which version of policy it is judged by (rule E16).

    When its own document was first booked, since clocks run from there; until one has come, the first of its other facts.
    What other cases told of theirs does not count: they may be of another time.
    """
    own_types = _DOCUMENT_TYPES.get(kind, ())
    own = [fact for fact in facts if fact.type in own_types] or [fact for fact in facts if fact.type != ALLOCATION]
    return min(map(moment, own), default=EARLIEST)


def split_key(key: str) -> tuple[str, str, str, str]:
    """(kind, entity, system, id), decoded. A correlation ID of another make has a kind and an id and nothing between."""
    parts = key.split(":", 3)
    if len(parts) != 4:
        kind, _, ident = key.partition(":")
        return kind, "", "", unquote(ident)
    if "%" in key:
        parts = [unquote(part) for part in parts]
    return parts[0], parts[1], parts[2], parts[3]


def _books_a_document(posting: Any) -> bool:
    """Not a revaluation, and not a manual journal that happens to name the document."""
    if posting.posting_kind == "manual":
        return bool(posting.document_type != "other")
    return bool(posting.posting_kind != "revaluation")


def _direction(postings: Sequence[Any]) -> str:
    """Of postings without their document: as stated, else by the control account they move."""
    for posting in postings:
        if posting.data.direction is not None:
            return str(posting.data.direction)
    roles = {line.role for posting in postings for line in posting.data.lines}
    return "purchase" if "payable" in roles and "receivable" not in roles else "sales"
