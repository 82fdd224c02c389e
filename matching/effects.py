"""Effects: what a case means for others (rule E6). One registry, by type of event.

- An effect is a function of the home's own facts and of policy: never of effects it received, of time or of progress. So
  effects have depth one and cannot loop.
- Facts only grow, and every target that any content of any fact ever named is named here, with amount 0 where it is named
  no longer: telling all of them again is always right, and nothing told before needs to be remembered.
- One effect a (target, kind, document). Amounts are signed: what is taken back is negative.
- A target is another case: what a case says of itself is no effect.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from canonical import records
from canonical.events import AllocationKind, Event
from canonical.ids import account_key, case_key, intercompany_key, key_or_none, kind_of, natural_key, period_key
from canonical.money import MAX_MINOR
from matching import crosswalk, documents
from matching.aliases import LINKED, alias_of, home_of, other_names
from matching.case import ALLOCATION, Case, content
from matching.matches import MADE, MONEY_IN, choices_among
from matching.policy import Policy
from matching.view import split_key


class Part(NamedTuple):
    """A target that a fact names, and how much of the fact is for it while the fact stands."""

    target: str
    kind: AllocationKind
    amount_minor: int
    currency: str | None


class Effect(NamedTuple):
    """`fact` is what it follows from: its number, customer, dates and period are the effect's."""

    target: str
    kind: AllocationKind
    amount_minor: int
    currency: str | None
    fact: Any

    @property
    def document_id(self) -> str:
        document_id: str = self.fact.data.document_id
        return document_id


def effects(case: Case, policy: Policy) -> list[Effect]:
    """Every effect of the case, in order of (target, kind, document); none for most cases."""
    told: dict[tuple[str, str, str], Effect] = {}
    chosen: list[Any] = []
    has_other_names = bool(policy.identity)
    for fact in case.everything():
        event_type = fact.type
        parts = PARTS.get(event_type)
        if parts is not None:
            for part in parts(fact, policy):
                _name(told, case.key, part, fact)
        elif event_type == MADE:
            chosen.append(fact)
        if has_other_names:
            _name_others(told, case.key, fact, policy)
    if policy.terms.crosswalks and policy.terms.expect[split_key(case.key)[2]].crosswalk:
        for target, fact in crosswalk.asked(case).items():
            told[target, "customer", fact.data.document_id] = Effect(target, "customer", 1, None, fact)
    facts = case.facts() if told or chosen else []
    choices = _name_chosen(told, case.key, chosen, facts) if chosen else {}
    if not told:
        return []
    if home_of(case) is not None:  # the case that it is an alias of tells what it meant
        return [told[identity] for identity in sorted(told)]
    for fact in _standing(facts):
        for part in PARTS[fact.type](fact, policy):
            _add(told, case.key, part, fact)
        if fact.type in MONEY_IN and fact.data.document_id in choices:
            for part in _of_choice(choices[fact.data.document_id], fact):
                _add(told, case.key, part, fact)
    for fact, part in _taken_back_elsewhere(facts, policy):
        _add(told, case.key, part, fact)
    return [told[identity] for identity in sorted(told)]


def _name_others(told: dict[tuple[str, str, str], Effect], home: str, fact: Any, policy: Policy) -> None:
    """Unlike other effects these hold when the document is void: what comes under its other names is still about it."""
    for key in other_names(fact, policy):
        _name(told, home, Part(key, "alias", 1, None), fact)
        if key != home:
            identity = (key, "alias", fact.data.document_id)
            told[identity] = told[identity]._replace(amount_minor=1)


def _name_chosen(told: dict[tuple[str, str, str], Effect], home: str, chosen: list[Any], facts: Sequence[Any]) -> Mapping[str, Any]:  # fmt: skip
    """What was ever chosen for a payment of the case (rule E7) is told as the payment's; returns the choices that hold."""
    payments = {fact.data.document_id: fact for fact in facts if fact.type in MONEY_IN}
    for choice in chosen:
        payment = payments.get(choice.data.payment_id)
        for part in _of_choice(choice, payment) if payment is not None else ():
            _name(told, home, part, payment)
    return choices_among(facts).holds


def _of_choice(choice: Any, payment: Any) -> Iterable[Part]:
    """A line of a bank that was chosen to be a payout is its arrival, signed as the line is."""
    allocations = choice.data.allocations
    return [_of_allocation(part, payment.data) for part in allocations] if allocations else ()


def _of_allocation(part: Any, payment: Any) -> Part:
    if kind_of(part.target) == "payout":
        sign = -1 if payment.amount_minor < 0 else 1
        return Part(part.target, "bank", sign * part.amount_minor, payment.currency)
    settled_minor = part.amount_minor if part.settled_minor is None else part.settled_minor
    return Part(part.target, "payment", settled_minor, part.settled_currency or payment.currency)


def names_others(event: Any, policy: Policy) -> bool:
    if event.type == MADE or (policy.terms.crosswalks and event.data.customer is not None):
        return True
    if policy.identity and any(other_names(event, policy)):
        return True
    parts = PARTS.get(event.type)
    return parts is not None and any(part.target != event.correlationid for part in parts(event, policy))


def as_event(home: str, effect: Effect, revision: int) -> Event:
    """The event that tells its target of an effect. Raises RecordError where no record can hold it."""
    fact, data = effect.fact, effect.fact.data
    identity = f"{home}|{effect.target}|{effect.kind}|{effect.document_id}".encode()
    period = getattr(data, "service_period", None) or getattr(data, "period", None)
    stated = {
        "entity": data.entity, "document_id": effect.document_id, "number": data.number, "version": revision,
        "recorded_at": data.recorded_at, "accounting_date": data.accounting_date, "customer": data.customer,
        "home": home, "kind": effect.kind, "currency": effect.currency,
        "amount_minor": min(MAX_MINOR, max(-MAX_MINOR, effect.amount_minor)),
        "direction": getattr(data, "direction", None), "period": period, "sequence": getattr(data, "sequence", None),
    }  # fmt: skip
    if effect.kind == "settled":
        stated["rate"] = data.rate
    if effect.kind in _BILLS and fact.type != "cash.applied" and fact.type != "cash.unapplied":
        stated |= _of_bill(fact)
    return records.make(
        ALLOCATION, id=f"tieout:{blake2b(identity, digest_size=16).hexdigest()}", source="tieout/effects",
        subject=fact.subject, time=fact.time, correlationid=effect.target, traceparent=fact.traceparent,
        data=msgspec.to_builtins(stated),
    )  # fmt: skip


def _name(told: dict[tuple[str, str, str], Effect], home: str, part: Part, fact: Any) -> None:
    """With amount 0, by the latest of the contents that name it."""
    if part.target == home:
        return
    identity = (part.target, part.kind, fact.data.document_id)
    known = told.get(identity)
    if known is None or (known.fact.time, content(known.fact)) < (fact.time, content(fact)):
        told[identity] = Effect(part.target, part.kind, 0, part.currency, fact)


def _add(told: dict[tuple[str, str, str], Effect], home: str, part: Part, fact: Any) -> None:
    if part.target == home:
        return
    identity = (part.target, part.kind, fact.data.document_id)
    known = told[identity]
    before_minor = known.amount_minor if known.fact is fact else 0
    told[identity] = Effect(part.target, part.kind, before_minor + part.amount_minor, part.currency, fact)


def _standing(facts: Sequence[Any]) -> Iterator[Any]:
    """Facts that name a target and still stand: latest versions, not voided, failed, returned or undone."""
    by_group: dict[str, list[Any]] = {}
    for fact in facts:
        by_group.setdefault(_GROUPS.get(fact.type, fact.type), []).append(fact)
    for group, told in by_group.items():
        if group not in PARTS or group in _TAKES_BACK:
            continue
        if group == LINKED:
            yield from told  # one document may go by several names
            continue
        ends = [end for kind in _ENDED_BY.get(group, ()) for end in by_group.get(kind, ())]
        for fact in documents.standing(told, []):
            if documents.voided(fact, [end for end in ends if _may_end(fact, end)]) is None:
                yield fact


def _taken_back_elsewhere(facts: Sequence[Any], policy: Policy) -> Iterator[tuple[Any, Part]]:
    """Of a document that another batch than its own takes back, its place in its own: there it was booked, and stays."""
    voids: Sequence[Any] = documents.standing([fact for fact in facts if fact.type in _TAKES_BACK], [])
    for void in voids:
        if not _is_by_batch(void.data):
            continue
        issued = [fact for fact in facts if _GROUPS.get(fact.type, fact.type) == _TAKES_BACK[void.type]]
        booked: Sequence[Any] = documents.standing(issued, [])
        for fact in booked:
            if documents.voided(fact, [void]) is not None and fact.data.summary_key not in (
                None,
                void.data.summary_key,
            ):
                yield from ((fact, part) for part in PARTS[fact.type](fact, policy) if part.kind == "member")
                yield from ((void, part) for part in PARTS[void.type](void, policy))


def _is_by_batch(void: Any) -> bool:
    return void.summary_key is not None and void.currency is not None and void.total_minor is not None


def _may_end(fact: Any, end: Any) -> bool:
    """An attempt that failed before the payment came in is history."""
    return end.type != "payment.failed" or bool(end.time >= fact.time)


# Types that tell of one document.
_GROUPS = {"invoice.amended": "invoice.issued"}
_ENDED_BY = {
    "invoice.issued": ("invoice.voided",),
    "credit_memo.issued": ("credit_memo.voided",),
    "payment.received": ("payment.failed", "payment.returned"),
    "refund.issued": ("refund.failed",),
}


# What a void takes back; those that are named by one alone are told nothing of it (`_taken_back_elsewhere`).
_TAKES_BACK = {"invoice.voided": "invoice.issued", "credit_memo.voided": "credit_memo.issued"}

_TOLD_AS: dict[str, AllocationKind] = {"payment": "application", "credit": "credit"}
_TAKEN_FROM_PAYMENT = frozenset(("payment", "deposit"))


def _of_payment(fact: Any, _: Policy) -> Iterable[Part]:
    """A payment that says which documents it pays."""
    return _of_choice(fact, fact)


def _of_refund(fact: Any, _: Policy) -> Iterable[Part]:
    data = fact.data
    return [Part(part.target, "payment", -part.amount_minor, data.currency) for part in data.allocations or ()]


def _of_application(fact: Any, _: Policy) -> Iterable[Part]:
    """Told in the payment's case it is the invoice's application; told in the invoice's, what it takes from the payment.

    Cash and deposits are taken from a payment. A credit, and what was withheld, written off or kept as a fee, reduces the
    invoice beside it and takes nothing.
    """
    data = fact.data
    sign = 1 if fact.type == "cash.applied" else -1
    if data.invoice_key is not None:
        yield Part(data.invoice_key, _TOLD_AS.get(data.from_kind, "reduction"), sign * data.amount_minor, data.currency)
    if data.payment_key is not None and data.from_kind in _TAKEN_FROM_PAYMENT:
        took_minor, currency = data.amount_minor, data.currency
        if data.from_amount_minor is not None and data.from_currency is not None:
            took_minor, currency = data.from_amount_minor, data.from_currency
        yield Part(data.payment_key, "applied_from", sign * took_minor, currency)


def _of_invoice(fact: Any, policy: Policy) -> Iterable[Part]:
    """Of the subscription it bills, of the batch that posts it, of the pair of companies that it lies between, and of the
    document that it replaces; without a subscription, of what else may be the same document."""
    data = fact.data
    order = data.order_key or (_order_of(fact, policy) if data.subscription_id is not None else None)
    parts = _by_natural_key(fact) if order is None else [Part(order, "bill", data.total_minor, data.currency)]
    if data.summary_key is not None:
        parts = [*parts, Part(data.summary_key, "member", data.total_minor, data.currency)]
    if data.counterparty is not None:
        parts = [*parts, *_between_companies(data, data.total_minor)]
    if data.replaces is not None:
        parts = [*parts, *_of_rebill(fact)]
    return parts


def _order_of(fact: Any, policy: Policy) -> str | None:
    """The case of its subscription, where policy says that the billing system's orders are named by it."""
    _, entity, system, _ = split_key(fact.correlationid)
    if policy.terms.expect[system].orders != "subscription":
        return None
    return key_or_none(partial(case_key, "order"), entity, system, fact.data.subscription_id)


def _by_natural_key(fact: Any) -> Sequence[Part]:
    """What makes two documents the same: customer and number, where the case is not named by the number already; without
    a number customer, amount and period."""
    data = fact.data
    number, customer = data.number, data.customer
    name = None if customer is None else customer.sold_to or customer.bill_to or customer.payer
    if name is None or (number is not None and fact.correlationid.endswith(f":{number}")):
        return ()
    _, entity, system, ident = split_key(fact.correlationid)
    if number is not None:
        key = None if ident == number else key_or_none(natural_key, entity, system, data.direction, name, number)
    elif data.service_period is not None:
        period, amount = data.service_period, f"{data.total_minor} {data.currency}"
        key = key_or_none(natural_key, entity, system, data.direction, name, amount, str(period.start), str(period.end))  # fmt: skip
    else:
        key = None
    return () if key is None else [Part(key, "natural_key", data.total_minor, data.currency)]


def _of_rebill(fact: Any) -> Iterator[Part]:
    """To the document that it replaces: its case as stated, else named like its own where that is by document."""
    data, original = fact.data, fact.data.replaces_key
    if original is None:
        _, entity, system, ident = split_key(fact.correlationid)
        if ident != data.document_id:
            return
        original = key_or_none(partial(case_key, "invoice"), entity, system, data.replaces)
    if original is not None:
        yield Part(original, "rebill", data.total_minor, data.currency)


# Kinds that say what a bill is made of.
_BILLS = frozenset(("bill", "rebill", "natural_key", "credit"))


def _of_bill(fact: Any) -> dict[str, Any]:
    data = fact.data
    reason, lines = "credit_memo" if fact.type == "credit_memo.issued" else data.reason, data.lines or ()
    net_minor = data.total_minor - (data.tax_minor or 0)
    usage, prorated = ([line for line in lines if line.reason == kind] for kind in ("usage", "proration"))
    usage_minor = net_minor if reason == "usage" else sum(line.amount_minor for line in usage)
    return {
        "tax_minor": data.tax_minor,
        "usage_minor": usage_minor or None,
        "usage_period": _span(usage),
        "proration_minor": (net_minor if reason == "proration" else sum(line.amount_minor for line in prorated)) or None,
        "reason": reason,
        "replaces": getattr(data, "replaces", None) or getattr(data, "invoice_id", None),
    }  # fmt: skip


def _span(lines: Iterable[Any]) -> Any:
    """From the first to the last day of the lines that have a period."""
    periods = [line.period for line in lines if line.period is not None]
    if not periods:
        return None
    return {"start": min(period.start for period in periods), "end": max(period.end for period in periods)}


def _of_credit_memo(fact: Any, _: Policy) -> Iterable[Part]:
    data = fact.data
    if data.invoice_key is not None:
        yield Part(data.invoice_key, "credit", data.total_minor, data.currency)
    if data.order_key is not None:
        yield Part(data.order_key, "bill", -data.total_minor, data.currency)
    if data.summary_key is not None:
        yield Part(data.summary_key, "member", -data.total_minor, data.currency)
    if data.counterparty is not None:
        yield from _between_companies(data, -data.total_minor)


def _of_void(fact: Any, _: Policy) -> Iterable[Part]:
    data = fact.data
    if not _is_by_batch(data):
        return ()
    sign = -1 if fact.type == "invoice.voided" else 1
    return (Part(data.summary_key, "member", sign * data.total_minor, data.currency),)


def _between_companies(data: Any, amount_minor: int) -> Iterator[Part]:
    """Plus for the one that sells, minus for the one that buys."""
    pair = key_or_none(intercompany_key, data.entity, data.counterparty, data.number or data.document_id)
    if pair is not None:
        yield Part(pair, "intercompany", amount_minor if data.direction == "sales" else -amount_minor, data.currency)


def _of_usage(fact: Any, _: Policy) -> Iterable[Part]:
    data = fact.data
    return [] if data.order_key is None else [Part(data.order_key, "usage", data.total_minor, data.currency)]


def _of_settlement(fact: Any, _: Policy) -> Iterable[Part]:
    """To the payment what of it was settled, gross; to the payout what the line adds to it, net."""
    data = fact.data
    if data.payment_key is not None:
        yield Part(data.payment_key, "settled", data.gross_minor, data.currency)
    if data.payout_key is not None:
        yield Part(data.payout_key, "settled", data.net_minor, data.currency)


def _of_bank_line(fact: Any, _: Policy) -> Iterable[Part]:
    """A line without its statement is what a notification says before the statement says it again."""
    data = fact.data
    is_booked = data.payout_key is not None and data.statement_id is not None
    return [Part(data.payout_key, "bank", data.amount_minor, data.currency)] if is_booked else []


def _of_statement(fact: Any, _: Policy) -> Iterable[Part]:
    """To the account, whose statements follow on one another."""
    data = fact.data
    account = key_or_none(account_key, data.entity, data.account)
    if account is not None:
        yield Part(account, "opening", data.opening_minor, data.currency)
        yield Part(account, "closing", data.closing_minor, data.currency)


def _of_link(fact: Any, _: Policy) -> Iterable[Part]:
    """To the alias: it is this case."""
    alias = alias_of(fact)
    return [] if alias is None else [Part(alias, "alias", 1, None)]


def _of_posting(fact: Any, _: Policy) -> Iterable[Part]:
    """Of the period it is booked into, where that was over by then: only such a period can have been closed."""
    data, own = fact.data, fact.data.accounting_date
    at = data.recorded_at or fact.time
    if own is None or (at.year, at.month) <= (own.year, own.month):
        return ()
    period = key_or_none(partial(period_key, year=own.year, month=own.month), data.entity, data.ledger)
    moved_minor = sum(max(0, line.base_minor or 0) for line in data.lines)
    return () if period is None else (Part(period, "booked", moved_minor, data.base_currency),)


PARTS: dict[str, Callable[[Any, Policy], Iterable[Part]]] = {
    "payment.received": _of_payment,
    "refund.issued": _of_refund,
    "cash.applied": _of_application,
    "cash.unapplied": _of_application,
    "invoice.issued": _of_invoice,
    "invoice.amended": _of_invoice,
    "invoice.voided": _of_void,
    "credit_memo.voided": _of_void,
    "credit_memo.issued": _of_credit_memo,
    LINKED: _of_link,
    "posting.recorded": _of_posting,
    "posting.reversed": _of_posting,
    "usage.rated": _of_usage,
    "settlement.line": _of_settlement,
    "bank.line": _of_bank_line,
    "bank.statement": _of_statement,
}
