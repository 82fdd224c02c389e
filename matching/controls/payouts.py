"""Is a payout the sum of what it pays, and is each payment in one? And the fees on the way.

- A payout's lines are its own and those told by the cases of their payments (`settled`, rule E6). Net amounts are signed:
  charges add, refunds, disputes and fees take off.
- A line in another currency than the payout's states the rate by which it is converted, each line rounded by itself: the
  sum is off by half a minor unit a line at the most, and by what the rate's printed decimals leave open.
- A receipt knows from its lines (its own, or told by the payout) how much of it the processor has settled.
- The declared rate of a system's fees is policy's (`[fees.<system>]`); each charge is held against it, within one minor unit.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from canonical import money
from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.rounding import rounded
from matching.settlement import gross_minor, held_by_processor, paid_out_signed_minor, settled_lines
from matching.view import View

_HALF = Decimal(1) / 2
_CHARGES = frozenset(("charge", "payment"))


class Parts(NamedTuple):
    """What the lines of a payout add up to: each rounded, and exactly, and how far rounding may take the sum from that."""

    net_minor: int
    exact_minor: Decimal
    tolerance_minor: Decimal

    def agrees(self, minor: int) -> bool:
        return abs(minor - self.exact_minor) <= self.tolerance_minor


_PAYOUT_PASS = passed("payout", "the payout is the sum of its lines")
_PAYOUT_NOT_YET = not_assessed("payout", "not paid out yet")
_PAYOUT_NO_LINES = not_assessed("payout", "the lines of this payout were not supplied")
_PAYOUT_NO_RATE = not_assessed("payout", "a line in another currency states no rate")
_PAYOUT_NONE = not_applicable("payout", "the payout failed; nothing was paid")


def payout(view: View) -> Answer:
    """What the processor paid is the sum of charges, fees, refunds and disputes that it lists for it; each payment once.

    A line too few or too many is money that belongs to somebody else, or that the processor still owes. On a payment: it
    was settled once, and not for more than it is.
    """
    if view.kind in ("receipt", "invoice"):
        return _settled(view)
    paid, lines = view.standing("payout.paid"), _lines(view)
    if not paid or view.of("payout.failed"):
        return _PAYOUT_NONE if view.of("payout.failed") else _PAYOUT_NOT_YET
    if not lines:
        return _PAYOUT_NO_LINES
    parts = _sum(lines, paid[0].data.currency)
    if parts is None:
        return _PAYOUT_NO_RATE
    paid_minor = paid_out_signed_minor(paid[0])
    if parts.agrees(paid_minor):
        return _PAYOUT_PASS
    return _not_the_sum(view, paid[0], lines, parts)


def _lines(view: View) -> Sequence[Any]:
    told = [event for event in view.of(ALLOCATION) if event.data.kind == "settled" and event.data.amount_minor]
    return [*view.standing("settlement.line"), *told]


def _net_minor(line: Any) -> int:
    net_minor: int = line.data.amount_minor if line.type == ALLOCATION else line.data.net_minor
    return net_minor


def _fee_minor(line: Any) -> int:
    fee_minor: int = line.data.fee_minor
    return fee_minor


def _sum(lines: Sequence[Any], currency: str, minor_of: Callable[[Any], int] = _net_minor) -> Parts | None:
    """None where a line cannot be converted. The processor rounded each line that it converted, by a rate of more decimals."""
    net_minor, exact_minor, tolerance_minor = 0, Decimal(0), Decimal(0)
    for line in lines:
        amount_minor = minor_of(line)
        if line.data.currency == currency:
            net_minor, exact_minor = net_minor + amount_minor, exact_minor + amount_minor
            continue
        rate = Decimal(line.data.rate or 0)
        if rate <= 0:
            return None
        exponent = rate.as_tuple().exponent
        converted = money.convert(amount_minor, line.data.currency, currency, rate, per_base=False)
        half_ulp = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0) / 2
        tolerance_minor += _HALF + abs(converted) * half_ulp / rate
        net_minor, exact_minor = net_minor + rounded(converted), exact_minor + converted
    return Parts(net_minor, exact_minor, tolerance_minor)


def _not_the_sum(view: View, paid: Any, lines: Sequence[Any], parts: Parts) -> Failure:
    currency, paid_minor = paid.data.currency, paid_out_signed_minor(paid)
    variance_minor = paid_minor - parts.net_minor
    alike = [line for line in lines if line.data.currency == currency and abs(_net_minor(line)) == abs(variance_minor)]
    hint = ""
    if len(alike) == 1:
        is_too_much = (_net_minor(alike[0]) > 0) == (variance_minor < 0)
        hint = f", as if {alike[0].subject} were {'not in it' if is_too_much else 'in it twice'}"
    did = "more" if variance_minor > 0 else "less"
    return failed(
        view, "payout", "payout",
        f"the payout is {major(abs(variance_minor), currency)} {did} than its lines{hint}; ask the processor for what is missing",
        expected=f"{major(parts.net_minor, currency)} from {len(lines)} lines", actual=major(paid_minor, currency),
        amounts=(parts.net_minor, paid_minor), variance_minor=variance_minor, currency=currency,
        evidence=(paid, *alike[:1]),
    )  # fmt: skip


_SETTLED_PASS = passed("payout", "settled once")
_SETTLED_NONE = not_applicable("payout", "no payout tells of this payment")
_SETTLED_WAITING = not_assessed("payout", "in no payout yet, and its time has not passed")
_SETTLED_UNSEEN = not_assessed(
    "payout", "paid in another currency than the document's: no payout of it is looked for here"
)
_SETTLED_FOREIGN = not_applicable("payout", "settled in another currency than it was paid in")


def _settled(view: View) -> Answer:
    """On payments of the case's own: what processors settled of them, gross, against what came in."""
    lines, payments = settled_lines(view), held_by_processor(view).payments
    hop = view.hops.get("payment_to_payout")
    if hop is not None and hop.ended_at is None and hop.state != "not_expected":
        return _in_no_payout(view) if hop.state == "missing" else _SETTLED_WAITING
    if not lines or not payments:
        is_unseen = view.kind == "invoice" and view.settlement.foreign and view.policy.terms.expects_payouts
        return _SETTLED_UNSEEN if is_unseen else _SETTLED_NONE
    currency = payments[0].data.currency
    if any(line.data.currency != currency for line in lines):
        return _SETTLED_FOREIGN
    settled_minor = sum(map(gross_minor, lines))
    received_minor = sum(payment.data.amount_minor for payment in payments)
    if settled_minor <= received_minor + view.policy.tolerance.payment_minor:
        return _SETTLED_PASS
    return failed(
        view, "payout", "payout", "the processor settled more of this payment than came in; it will want it back",
        expected=f"{major(received_minor, currency)} settled", currency=currency,
        actual=f"{major(settled_minor, currency)} in {len(lines)} lines", amounts=(received_minor, settled_minor),
        variance_minor=settled_minor - received_minor, evidence=(*payments[:1], *lines),
    )  # fmt: skip


def _in_no_payout(view: View) -> Failure:
    payments, received_minor, *_ = held_by_processor(view)
    currency = payments[0].data.currency
    settled_minor = sum(gross_minor(line) for line in settled_lines(view) if line.data.currency == currency)
    return failed(
        view, "payout", "payout", "the processor has this payment in no payout; ask where it is",
        expected=f"{major(received_minor, currency)} settled", actual=f"{major(settled_minor, currency)} settled",
        amounts=("unsettled", received_minor, settled_minor), variance_minor=received_minor - settled_minor,
        currency=currency, evidence=payments,
    )  # fmt: skip


_FEE_PASS = passed("fee", "fees are what was declared, and booked where the money is")
_FEE_NONE = not_applicable("fee", "no line with a fee in this case")
_FEE_NOT_DECLARED = not_applicable("fee", "policy declares no rate of fees for this system, and none is booked here")
_FEE_ELSEWHERE = not_applicable("fee", "lines of this payout, and their fees, lie with their payments")
_FEE_NO_RATE = not_assessed("fee", "a fee in another currency states no rate")
_FEE_WAITING = not_assessed("fee", "the entry books no fee yet, and its time has not passed")


def fee(view: View) -> Answer:
    """What the processor keeps is what its contract says, and it is booked as a cost.

    Held against each other: gross less fee and net; the fee and the declared rate; what the payment said and what was
    kept; the fees and what the entries of the case book on fee accounts. What nobody books is missing from clearing.
    """
    lines = view.standing("settlement.line")
    if not lines:
        return _FEE_NONE
    wrong = next((line for line in lines if line.data.gross_minor - line.data.fee_minor != line.data.net_minor), None)
    if wrong is not None:
        return _kept_other(view, wrong, wrong.data.gross_minor - wrong.data.net_minor, "its gross less its net")
    for line, expected_minor, tolerance_minor, by in _expected_fees(view, lines):
        if abs(line.data.fee_minor - expected_minor) > tolerance_minor:
            return _kept_other(view, line, expected_minor, by)
    booked = _booked_minor(view)
    if booked is None:
        return _FEE_PASS if view.system in view.policy.fees else _FEE_NOT_DECLARED
    return _held_against_books(view, lines, booked)


def _expected_fees(view: View, lines: Sequence[Any]) -> Iterator[tuple[Any, int, int, str]]:
    """(line, fee, tolerance, by what) of each charge of which a fee can be expected."""
    rate = view.policy.fees.get(view.system)
    stated = {payment.data.document_id: payment.data.fee_minor for payment in view.of("payment.received")}
    for line in lines:
        data = line.data
        if data.kind not in _CHARGES or data.gross_minor <= 0:
            continue
        said = stated.get(data.payment_id)
        if said is not None:
            yield line, said, 0, "what the payment said"
        if rate is not None:
            fixed_minor = rate.fixed_minor.get(data.currency, 0)
            yield line, rounded(data.gross_minor * Decimal(rate.percent) / 100) + fixed_minor, 1, "the declared rate"


def _kept_other(view: View, line: Any, expected_minor: int, by: str) -> Failure:
    data = line.data
    over_minor = data.fee_minor - expected_minor
    return failed(
        view, "fee", "fee", f"the fee of {line.subject} is not {by}; claim back what is too much, or correct the rate",
        expected=f"{major(expected_minor, data.currency)} by {by}", actual=f"{major(data.fee_minor, data.currency)} kept",
        amounts=(line.subject, expected_minor, data.fee_minor), variance_minor=over_minor, currency=data.currency,
        evidence=(line,),
    )  # fmt: skip


def _booked_minor(view: View) -> int | None:
    """What entries of this case book on fee accounts, where one books the money or its fee; None where none does."""
    entries = [posting for posting in view.postings if posting.data.document_type in ("payout", "payment", "fee")]
    if not entries:
        return None
    amounts = [
        line.base_minor if line.amount_minor is None else line.amount_minor
        for posting in entries
        for line in posting.data.lines
        if line.role == "fee"
    ]
    return sum(amount or 0 for amount in amounts)


def _held_against_books(view: View, lines: Sequence[Any], booked_minor: int) -> Answer:
    if view.kind == "payout" and any(event.data.kind == "settled" for event in view.of(ALLOCATION)):
        return _FEE_ELSEWHERE
    paid = view.standing("payout.paid")
    currency = paid[0].data.currency if paid else lines[0].data.currency
    kept = _sum(lines, currency, _fee_minor)
    if kept is None:
        return _FEE_NO_RATE
    if kept.agrees(booked_minor):
        return _FEE_PASS
    last = max(moment(event) for event in (*view.postings, *lines))
    terms = view.terms.invoice_to_posting
    due_at = terms.due_at(last)
    if view.clock.before(due_at) or view.clock.is_behind(terms.awaits, due_at):
        return _FEE_WAITING
    return failed(
        view, "fee", "fee", "the ledger books other fees than were kept; book the difference",
        expected=f"{major(kept.net_minor, currency)} booked as fees", actual=f"{major(booked_minor, currency)} booked",
        amounts=("booked", kept.net_minor, booked_minor), variance_minor=booked_minor - kept.net_minor, currency=currency,
        evidence=(*view.postings[:3], *lines[:3]),
    )  # fmt: skip
