"""A case's facts as entries: what each moves on which balance, on which day, and since when that was known.

- Both sides are told in one form: `documents` are what the business systems say (invoices, credits, applications ...),
  `ledger` is what the postings book, line by line.
- Entries are deltas in two times. A later version of a document takes the earlier one back and books itself, both known
  from when it was recorded: the balance of any day as known at any moment is a sum, and nothing is ever changed in place.
- Amounts are minor units in the balance's natural sign; `base_minor` is in the ledger's currency: a document's by its own
  rate, half away from zero; None where no rate is known, which makes the tie-out incomplete and is never guessed.
- `home` is where both sides meet: the document's case, the batch that books it (`summary_key`), or the payment it takes from.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from canonical.events import Event
from canonical.money import round_minor
from matching.case import content
from matching.documents import moment
from matching.ledger import Conversion
from matching.tieout.basis import SIGNS, Kind, Position, Side

Group = str  # "document", "settlement" or "other": what is compared with what at one home

_GROUPS: dict[str, Group] = {
    "invoices": "document", "voids": "document", "credits": "document", "schedules": "document", "received": "document",
    "settled": "document", "applications": "settlement", "write_offs": "settlement", "recognised": "settlement",
    "refunds": "settlement", "fees": "document", "payouts": "settlement", "fx": "other", "manual": "other", "other": "other",
}  # fmt: skip
_CONTROL: dict[str, Position] = {"sales": "receivable", "purchase": "payable"}
_LEDGER_KINDS: dict[str, Kind] = {
    "invoice": "invoices", "void": "voids", "credit": "credits", "payment": "applications", "application": "applications",
    "refund": "refunds", "fee": "fees", "payout": "payouts", "other": "other",
}  # fmt: skip
_OF_POSITION: dict[tuple[str, Kind], Kind] = {
    ("unapplied", "applications"): "received", ("clearing", "applications"): "settled", ("receivable", "refunds"): "applications",
    ("payable", "refunds"): "applications",
}  # fmt: skip


POSTINGS = ("posting.recorded", "posting.reversed")


class Entry(NamedTuple):
    """`is_stated`: the source says when it was recorded. `rate_minor`: how far the rate alone may take a posting off.

    `rate_of`: the case of the invoice whose rate `base_minor` waits for.
    """

    side: Side
    position: Position
    kind: Kind
    home: str
    case_key: str
    document: str
    fact_id: str
    day: date
    known_at: datetime
    is_stated: bool
    source: str
    currency: str | None
    amount_minor: int | None
    base_minor: int | None
    account: str | None = None
    rate_minor: Decimal = Decimal(0)
    rate_of: str | None = None

    @property
    def group(self) -> Group:
        return _GROUPS[self.kind]


class Books(NamedTuple):
    """What a case's entries are made for: postings and schedules of other ledgers, and of other entities, are left out."""

    entity: str
    ledger: str
    base_currency: str | None


def entries(key: str, facts: Iterable[Event], books: Books, takes_payments: bool) -> list[Entry]:
    """All entries of a case, each content of a fact given once. `takes_payments`: its system tells no applications, so that
    payments settle its invoice."""
    told: dict[str, list[Any]] = defaultdict(list)
    for event in facts:
        if event.data.entity == books.entity and getattr(event.data, "ledger", books.ledger) == books.ledger:
            told[event.type].append(event)
    made = [*_postings(key, told, books)]
    first_booked = _first_booked(told)
    for build in _BUILDERS:
        made += (_since_booked(entry, first_booked) for entry in build(key, told, books))
    if takes_payments and told["invoice.issued"] and not told["cash.applied"]:
        made += _payments_as_applications(key, told, books)
    return made


def once(facts: Sequence[Event]) -> Iterable[Event]:
    """Each content of a fact once, however often it was delivered; of its deliveries the one of the earliest time."""
    if len({event.id for event in facts}) == len(facts):
        return facts
    told: dict[tuple[str, bytes], Event] = {}
    for event in facts:
        known = told.setdefault((event.id, content(event)), event)
        if event.time < known.time:
            told[event.id, content(event)] = event
    return told.values()


def _first_booked(told: dict[str, list[Any]]) -> dict[str, datetime]:
    """By system: when its ledger first booked a document of this case."""
    first: dict[str, datetime] = {}
    for posting in told["posting.recorded"]:
        if posting.data.posting_kind == "document" and posting.data.document_type in ("invoice", "credit"):
            at = moment(posting)
            first[posting.source] = min(at, first.get(posting.source, at))
    return first


def _since_booked(entry: Entry, first_booked: dict[str, datetime]) -> Entry:
    at = first_booked.get(entry.source)
    if entry.is_stated or at is None or entry.group != "document" or entry.known_at >= at:
        return entry
    return entry._replace(known_at=at)


# --- Documents --------------------------------------------------------------------------------------------------------


def _versions(events: Sequence[Any]) -> Iterator[tuple[Any, Any | None]]:
    """(version that came to hold, the one it replaced), by document, in order of becoming known.

    Of two contents at one version the first known holds, of those known together the smaller: never the one that came last.
    """
    standing: dict[str, Any] = {}
    for event in sorted(events, key=lambda each: (moment(each), _rank(each), content(each))):
        before = standing.get(event.data.document_id)
        if before is None or _rank(event) > _rank(before):
            standing[event.data.document_id] = event
            yield event, before


def _rank(event: Any) -> tuple[int, datetime]:
    return (-1 if event.data.version is None else event.data.version, event.time)


def _invoices(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    yield from _priced(
        key, told["invoice.issued"] + told["invoice.amended"], told["invoice.voided"], "invoices", 1, books
    )


def _credits(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    yield from _priced(key, told["credit_memo.issued"], told["credit_memo.voided"], "credits", -1, books)


def _priced(key: str, events: Sequence[Any], voids: Sequence[Any], kind: Kind, sign: int, books: Books) -> Iterator[Entry]:  # fmt: skip
    steps: dict[str, list[tuple[Any, Any | None]]] = {}
    for event, before in _versions(events):
        if before is not None:
            yield from _document(key, before, event, kind, -sign, books)
        yield from _document(key, event, event, kind, sign, books)
        steps.setdefault(event.data.document_id, []).append((event, before))
    for void, before in _versions(voids):
        if before is None:
            yield from _voided(key, void, steps.get(void.data.document_id, []), -sign, books)


def _voided(key: str, void: Any, steps: Sequence[tuple[Any, Any | None]], sign: int, books: Books) -> Iterator[Entry]:
    """What stood when the void became known; a version that became known after it is taken back from then on."""
    day = day_of(void)
    stood = [event for event, _ in steps if moment(event) <= moment(void)]
    if stood:
        yield from _document(key, stood[-1], void, "voids", sign, books, day=day)
    for event, before in steps[len(stood) :]:
        if before is not None:
            yield from _document(key, before, event, "voids", -sign, books, day=day)
        yield from _document(key, event, event, "voids", sign, books, day=day)


def _document(key: str, event: Any, because: Any, kind: Kind, sign: int, books: Books, day: date | None = None) -> Iterator[Entry]:  # fmt: skip
    """The document's total on its control account and its tax, known because of `because`."""
    data = event.data
    home = data.summary_key or key
    amounts: list[tuple[Position, int]] = [(_CONTROL[data.direction], sign * data.total_minor)]
    if data.tax_minor:
        amounts.append(("tax", sign * data.tax_minor * (1 if data.direction == "sales" else -1)))
    conversion = Conversion(data, books.base_currency or "") if _needs_rate(data.currency, books) else None
    for position, amount_minor in amounts:
        base, rate_minor = _converted(data, amount_minor, conversion)
        yield _entry(key, because, position, kind, home, day or day_of(event), data.currency, amount_minor, base,
                     document=data.number or data.document_id, rate_minor=rate_minor)  # fmt: skip


def _needs_rate(currency: str, books: Books) -> bool:
    return books.base_currency is not None and currency != books.base_currency


def _converted(data: Any, amount_minor: int, conversion: Conversion | None) -> tuple[int | None, Decimal]:
    if conversion is None:
        return amount_minor, Decimal(0)
    if conversion.is_known:
        base = conversion.base(amount_minor)
        return round_minor(base), 1 + conversion.tolerance(base, 0)
    if data.base_total_minor is None or not data.total_minor:
        return (None if amount_minor else 0), Decimal(0)
    share = Decimal(data.base_total_minor) * amount_minor / data.total_minor
    return round_minor(share), Decimal(1)


def _applications(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    """What reduces an invoice. A credit does not: the credit memo did when it was issued."""
    invoices = told["invoice.issued"] + told["invoice.amended"]
    invoice = max(invoices, key=_rank) if invoices else None
    payments = told["payment.received"] + told["payment.initiated"]
    direction = (
        invoice.data.direction if invoice else next((p.data.direction for p in payments if p.data.direction), "sales")
    )
    position = _CONTROL[direction]
    for event_type, sign in (("cash.applied", -1), ("cash.unapplied", 1)):
        for event, before in _versions(told[event_type]):
            for told_of, times in ((before, -1), (event, 1)):
                if told_of is not None and told_of.data.from_kind != "credit":
                    yield from _application(key, told_of, event, invoice, position, sign * times, books)


def _application(key: str, event: Any, because: Any, invoice: Any, position: Position, sign: int, books: Books) -> Iterator[Entry]:  # fmt: skip
    data = event.data
    amount_minor = sign * data.amount_minor
    rated = invoice.data if invoice is not None and invoice.data.currency == data.currency else None
    base, rate_minor = _relieved(data, sign, books) or _at_rate_of(rated, data.currency, amount_minor, books)
    kind: Kind = "write_offs" if data.from_kind == "write_off" else "applications"
    named = (invoice.data.number or invoice.data.document_id) if invoice is not None else data.document_id
    home = data.payment_key or key
    yield _entry(key, because, position, kind, home, day_of(event), data.currency, amount_minor, base, document=named,
                 rate_minor=rate_minor, rate_of=data.invoice_key)  # fmt: skip
    if data.from_kind in ("payment", "deposit"):
        taken = data.from_amount_minor if data.from_amount_minor is not None else data.amount_minor
        currency = data.from_currency or data.currency
        base, _ = _taken(data, sign, books) or _at_rate_of(rated, currency, sign * taken, books)
        yield _entry(key, because, "unapplied", "applications", home, day_of(event), currency, sign * taken, base, document=named)  # fmt: skip


def _relieved(data: Any, sign: int, books: Books) -> tuple[int, Decimal] | None:
    """What the application says that the ledger was relieved of: what was taken, less the gain (a loss is negative)."""
    taken = _taken(data, sign, books)
    if taken is None or data.realised_fx_minor is None:
        return None
    return taken[0] - sign * data.realised_fx_minor, Decimal(0)


def _taken(data: Any, sign: int, books: Books) -> tuple[int, Decimal] | None:
    if data.from_base_minor is None or data.base_currency != books.base_currency:
        return None
    return sign * data.from_base_minor, Decimal(0)


def _at_rate_of(document: Any, currency: str, amount_minor: int, books: Books) -> tuple[int | None, Decimal]:
    """At the rate of the invoice: that is what the ledger relieves; the difference to the day's rate is no receivable."""
    if not _needs_rate(currency, books):
        return amount_minor, Decimal(0)
    if document is None or document.currency != currency:
        return None, Decimal(0)
    return _converted(document, amount_minor, Conversion(document, books.base_currency or ""))


def _payments_as_applications(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    invoice = max(told["invoice.issued"] + told["invoice.amended"], key=_rank)
    position = _CONTROL[invoice.data.direction]
    for event_type, sign in (("payment.received", -1), ("payment.returned", 1), ("refund.issued", 1)):
        for event, before in _versions(told[event_type]):
            for told_of, times in ((before, -1), (event, 1)):
                if told_of is not None:
                    amount_minor = sign * times * told_of.data.amount_minor
                    base, rate_minor = _at_rate_of(invoice.data, told_of.data.currency, amount_minor, books)
                    yield _entry(key, event, position, "applications", key, day_of(told_of), told_of.data.currency,
                                 amount_minor, base, document=invoice.data.number or key, rate_minor=rate_minor)  # fmt: skip


def _moved(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    """Unapplied cash, deferred revenue and clearing: one amount an event, at no rate but its own currency."""
    for event_type, (position, kind, sign, field) in _MOVES.items():
        for event, before in _versions(told[event_type]):
            for told_of, times in ((before, -1), (event, 1)):
                if told_of is not None:
                    amount_minor = sign * times * getattr(told_of.data, field)
                    base = None if _needs_rate(told_of.data.currency, books) else amount_minor
                    home = getattr(told_of.data, "payment_key", None) or key
                    yield _entry(key, event, position, kind, home, day_of(told_of), told_of.data.currency, amount_minor, base)  # fmt: skip


_MOVES: dict[str, tuple[Position, Kind, int, str]] = {
    "payment.received": ("unapplied", "received", 1, "amount_minor"),
    "payment.returned": ("unapplied", "refunds", -1, "amount_minor"),
    "refund.issued": ("unapplied", "refunds", -1, "amount_minor"),
    "revenue_schedule.set": ("deferred", "schedules", 1, "total_minor"),
    "revenue.recognised": ("deferred", "recognised", -1, "amount_minor"),
    "settlement.line": ("clearing", "settled", 1, "net_minor"),
    "payout.paid": ("clearing", "payouts", -1, "amount_minor"),
    "payout.failed": ("clearing", "payouts", 1, "amount_minor"),
}
_BUILDERS = (_invoices, _credits, _applications, _moved)


def _entry(key: str, because: Any, position: Position, kind: Kind, home: str, day: date, currency: str, amount_minor: int, base_minor: int | None, *, document: str | None = None, rate_minor: Decimal = Decimal(0), rate_of: str | None = None) -> Entry:  # fmt: skip
    data = because.data
    return Entry(
        "documents", position, kind, home, key, document or getattr(data, "number", None) or data.document_id,
        because.id, day, moment(because), data.recorded_at is not None, because.source, currency, amount_minor,
        base_minor, rate_minor=rate_minor, rate_of=rate_of if base_minor is None else None,
    )  # fmt: skip


def rates(facts: Iterable[Any], books: Books) -> Any | None:
    """The invoice of a case whose rate others may need: the version that holds, where it is in another currency."""
    invoices = [event for event in facts if event.type in ("invoice.issued", "invoice.amended")]
    invoice = max(invoices, key=_rank, default=None)
    return invoice.data if invoice is not None and _needs_rate(invoice.data.currency, books) else None


def rated(entry: Entry, invoice: Any, books: Books) -> Entry:
    """The entry at the rate of the invoice that it waited for."""
    base, rate_minor = _at_rate_of(invoice, entry.currency or "", entry.amount_minor or 0, books)
    return entry._replace(base_minor=base, rate_minor=rate_minor, rate_of=None)


def day_of(event: Any) -> date:
    day: date = event.data.accounting_date or event.time.date()
    return day


# --- Ledger -----------------------------------------------------------------------------------------------------------


def booked(postings: Sequence[Any]) -> Iterator[tuple[Any, Any, int]]:
    """(posting, because of which fact, 1 or -1): each version books itself and takes back the one before."""
    for event, before in _versions(postings):
        if before is not None:
            yield before, event, -1
        yield event, event, 1


def _postings(key: str, told: dict[str, list[Any]], books: Books) -> Iterator[Entry]:
    for event_type in POSTINGS:
        for posting, because, times in booked(told[event_type]):
            yield from _lines(key, posting, because, times, books)


def _lines(key: str, posting: Any, because: Any, times: int, books: Books) -> Iterator[Entry]:
    data = posting.data
    is_write_off = any(line.role == "write_off" for line in data.lines)
    for line in data.lines:
        position: Position | None = line.role if line.role in SIGNS else None
        if position is None:
            continue
        sign = times * SIGNS[position]
        base = base_of(data, line, books.base_currency)
        currency = data.currency or (data.base_currency if line.amount_minor is not None else None)
        yield Entry(
            "ledger", position, _ledger_kind(data, position, is_write_off), key, key, data.number or data.document_id,
            because.id, day_of(posting), moment(because), True, because.source, currency,
            None if line.amount_minor is None else sign * line.amount_minor,
            None if base is None else sign * base, line.account,
        )  # fmt: skip


def base_of(posting: Any, line: Any, base_currency: str | None) -> int | None:
    """A line's amount in the ledger's currency; None where it holds none, as in an entry that was kept in another one."""
    if posting.base_currency == base_currency and line.base_minor is not None:
        minor: int | None = line.base_minor
        return minor
    is_base = (posting.currency or posting.base_currency) == base_currency
    return line.amount_minor if is_base else None


def _ledger_kind(data: Any, position: Position, is_write_off: bool) -> Kind:
    if data.posting_kind == "revaluation":
        return "fx"
    if data.posting_kind == "release":
        return "recognised"
    if data.posting_kind == "manual" and data.document_type == "other":
        return "write_offs" if is_write_off else "manual"
    if is_write_off and position in ("receivable", "payable"):
        return "write_offs"
    kind = _LEDGER_KINDS[data.document_type]
    if position == "deferred" and kind == "invoices":
        return "schedules"
    return _OF_POSITION.get((position, kind), kind)
