"""Does the ledger say what the document says? Amount, rounding, balance, tax, currency and FX.

The root cause of a difference is decided once (`matching.ledger`); each control fails for its own and refers to the
one that does for any other, so that one mistake is one break.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

from matching.case import ALLOCATION
from matching.controls.exchange import exchange
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.ledger import Cause, Ledger
from matching.rounding import exact_tax, rounded
from matching.verdict import ControlResult
from matching.view import View

_NO_DOCUMENT = "no document in this case to compare with"
_SEE: dict[Cause, str] = {
    "currency": "posted in another currency; see currency",
    "no_control_line": "no posting line is marked as receivable or payable, so the net cannot be told",
    "no_rate": "the document states neither an exchange rate nor a base total",
    "unreversed": "the document is void and its posting stands; see missing_reversal",
    "reversed": "the posting was reversed and nothing stands; see missing_posting",
    "duplicate": "booked more than once; see duplicate_posting",
    "waiting": "waiting for the ledger to follow the amended document",
    "rounding": "differs by rounding alone; see rounding",
    "tax": "differs by the tax alone; see tax",
    "amount": "the amounts differ; see amount",
    "fx": "the base amounts differ; see fx",
}


def _referring(name: str) -> dict[Cause, ControlResult]:
    return {cause: not_assessed(name, reason) for cause, reason in _SEE.items()}


_AMOUNT_PASS = passed("amount", "the ledger's net is the document's total")
_AMOUNT_BASE_ONLY = not_applicable("amount", "ledger holds base amounts only; see fx")
_AMOUNT_NO_DOCUMENT = not_applicable("amount", _NO_DOCUMENT)
_AMOUNT_NOT_EXPECTED = not_applicable("amount", "no posting is expected")
_AMOUNT_NOT_YET = not_assessed("amount", "no posting yet")
_AMOUNT_SEE = _referring("amount")


def amount(view: View) -> Answer:
    """The net booked on the receivable (or payable) account is the standing version's total, nothing if it is void.

    Finance reads a failure as receivables, revenue or expense misstated by the variance.
    """
    if view.document is None:
        return _AMOUNT_NO_DOCUMENT
    if not view.ledgers or view.is_covered:
        return _AMOUNT_NOT_YET if view.expects_posting else _AMOUNT_NOT_EXPECTED
    cause = view.cause
    if cause == "agrees" and view.ledgers[0].net_minor is not None:
        return _AMOUNT_PASS
    if cause == "amount":
        return _amount_differs(view, _ledger_with(view, "amount"))
    if all(ledger.net_minor is None for ledger in view.ledgers) and cause not in ("currency", "no_control_line"):
        return _AMOUNT_BASE_ONLY
    if cause in ("agrees", "fx") or (cause == "rounding" and view.ledgers[0].net_minor == view.total_minor):
        return _AMOUNT_PASS
    return _AMOUNT_SEE[cause]


def _amount_differs(view: View, ledger: Ledger) -> Failure:
    net, total = ledger.net_minor or 0, view.total_minor
    over = "more" if net > total else "less"
    return failed(
        view, "amount", "amount",
        f"ledger {ledger.name} holds {major(abs(net - total), view.currency)} {over} than the document; correct the posting",
        expected=f"{major(total, view.currency)} net in ledger {ledger.name}",
        actual=f"{major(net, view.currency)} net of {len(ledger.postings)} postings",
        amounts=(total, net), variance_minor=net - total, evidence=(view.document, *ledger.postings),
    )  # fmt: skip


_ROUNDING_PASS = passed("rounding", "no difference that rounding explains")
_ROUNDING_NONE = not_applicable("rounding", "nothing booked to compare with a document")


def rounding(view: View) -> Answer:
    """Document and ledger round alike. One that rounds each line and one that rounds the document differ by some cents.

    Told apart from amount and tax, and only within what the document's own lines and tax lines can explain: half a minor
    unit for each, or exactly the difference between the two ways where rates and bases are stated. One by one these are
    nothing; over a million documents they are money.
    """
    if view.document is None or not view.ledgers or view.is_covered:
        return _ROUNDING_NONE
    if "rounding" not in view.causes.values():
        return _ROUNDING_PASS
    return _rounded_otherwise(view, _ledger_with(view, "rounding"))


def _rounded_otherwise(view: View, ledger: Ledger) -> Failure:
    what, ours, theirs = "net", view.total_minor, ledger.net_minor or 0
    if ours == theirs:
        what, ours, theirs = "tax", view.document.data.tax_minor or 0, ledger.tax_minor or 0
    return failed(
        view, "rounding", "rounding",
        f"ledger {ledger.name} rounded otherwise than the document; round alike, or tolerate it in policy",
        expected=f"{major(ours, view.currency)} {what}", actual=f"{major(theirs, view.currency)} {what} in ledger {ledger.name}",
        amounts=(what, ours, theirs), variance_minor=theirs - ours, evidence=(view.document, *ledger.postings),
    )  # fmt: skip


_BALANCE_PASS = passed("balance", "every posting's lines sum to zero")
_BALANCE_NONE = not_applicable("balance", "no posting in this case")
_BALANCE_UNKNOWN = not_assessed("balance", "a posting's lines do not all carry an amount in one currency")


def balance(view: View) -> Answer:
    """Every journal entry sums to zero: one that does not was cut off or altered on its way out of the ledger.

    A failure is of class amount; where the amount control fails as well, the break is that one's.
    """
    if not view.postings:
        return _BALANCE_NONE
    answer: Answer = _BALANCE_PASS
    for posting in view.postings:
        rest = _rest(posting.data.lines)
        if rest is None:
            answer = _BALANCE_UNKNOWN
        elif rest:
            return _unbalanced(view, posting, rest)
    return answer


def _rest(lines: Any) -> int | None:
    """What the lines fail to sum to; None where they do not all carry a base amount, nor all a document amount."""
    rest = 0
    for line in lines:
        base_minor = line.base_minor
        if base_minor is None:
            return _rest_of_document(lines)
        rest += base_minor
    return rest


def _rest_of_document(lines: Any) -> int | None:
    rest = 0
    for line in lines:
        amount_minor = line.amount_minor
        if amount_minor is None:
            return None
        rest += amount_minor
    return rest


def _unbalanced(view: View, posting: Any, rest: int) -> Answer:
    reason = f"posting {posting.subject} does not sum to zero; have it sent again or corrected"
    if not {"amount", "rounding"}.isdisjoint(view.causes.values()):
        return ControlResult("balance", "fail", reason)
    currency = posting.data.base_currency
    return failed(
        view, "balance", "amount", reason,
        expected="debits equal to credits", actual=f"{major(rest, currency)} between them", currency=currency,
        amounts=(0, rest), variance_minor=rest, exposure_minor=_unbalanced_minor(view, currency, rest), evidence=(posting,),
    )  # fmt: skip


def _unbalanced_minor(view: View, base_currency: str, rest: int) -> int:
    """In the case's currency, as every exposure; the whole document where no rate tells what the rest is worth."""
    if view.document is None or base_currency == view.currency:
        return abs(rest)
    conversion = view.conversion(base_currency)
    if not conversion.is_known:
        return view.document.data.total_minor or 0
    return abs(rounded(Decimal(rest) / conversion.base(1)))


_CURRENCY_PASS = passed("currency", "document, postings and payments agree")
_CURRENCY_NO_DOCUMENT = not_applicable("currency", _NO_DOCUMENT)
_CURRENCY_WAITING = not_assessed("currency", _SEE["waiting"])
_CURRENCY_ALONE = not_applicable("currency", "nothing beside the document yet")


def currency(view: View) -> Answer:
    """The document was booked and paid in its own currency, or in another one by a stated conversion.

    Finance reads a failure as an amount that looks right and is worth something else.
    """
    if view.document is None:
        return _CURRENCY_NO_DOCUMENT
    for ledger in view.ledgers:
        if view.causes[ledger.name] == "currency":
            return _booked_in_another(view, ledger)
        if ledger.is_other_currency and view.causes[ledger.name] == "waiting":
            return _CURRENCY_WAITING
    if view.settlement.foreign and not _is_converted(view):
        return _paid_in_another(view)
    return _CURRENCY_PASS if view.ledgers or view.settlement.payments else _CURRENCY_ALONE


def _booked_in_another(view: View, ledger: Ledger) -> Failure:
    posting = next((p for p in ledger.postings if p.data.currency not in (None, view.currency)), ledger.postings[0])
    booked = posting.data.currency or posting.data.base_currency
    if booked == view.currency:
        booked = f"{booked} with base {posting.data.base_currency}"
    base = view.document.data.base_currency
    stated = f"{view.currency} with base {base}" if base else f"{view.currency}"
    return failed(
        view, "currency", "currency", f"posting {posting.subject} is not in the document's currency; correct the posting",
        expected=stated, actual=booked, amounts=(stated, booked), exposure_minor=view.document.data.total_minor,
        evidence=(view.document, posting),
    )  # fmt: skip


def _is_converted(view: View) -> bool:
    """By an application that says what it took of the foreign money, or the receipt's own; or one is still due and may."""
    converted = {event.data.from_currency for event in view.of("cash.applied")}
    homes = {event.data.home for event in view.settlement.applications if event.type == ALLOCATION}
    if all(p.data.currency in converted or getattr(p.data, "home", None) in homes for p in view.settlement.foreign):
        return True
    hop = view.hops.get("payment_to_application")
    return hop is not None and hop.state in ("waiting", "late", "unproven", "missing")


def _paid_in_another(view: View) -> Failure:
    payment = view.settlement.foreign[0]
    return failed(
        view, "currency", "currency",
        f"payment {payment.subject} is in {payment.data.currency} and no application states its conversion",
        expected=f"payment in {view.currency}", actual=major(payment.data.amount_minor, payment.data.currency),
        amounts=(f"{view.currency}", payment.data.currency, payment.data.amount_minor),
        exposure_minor=view.total_minor, evidence=(view.document, payment),
    )  # fmt: skip


_TAX_PASS = passed("tax", "tax of document and postings agree")
_TAX_NO_DOCUMENT = not_applicable("tax", _NO_DOCUMENT)
_TAX_VOID = not_applicable("tax", "the document is void")
_TAX_NOT_EXPECTED = not_applicable("tax", "no posting is expected")
_TAX_NOT_YET = not_assessed("tax", "no posting yet")
_TAX_NOT_STATED = not_assessed("tax", "the document states no tax amount and no tax lines")
_TAX_NO_LINES = not_assessed("tax", "no posting line is marked as tax")
_TAX_NO_RATE = not_assessed("tax", "tax is booked in base currency and the document states no exchange rate")
_TAX_SEE = _referring("tax")


def tax(view: View) -> Answer:
    """The tax on the document is the sum of its own tax lines and the tax booked, code by code: what will be declared.

    Each tax line is its base at its rate (per cent), on top of it or inside it, within a minor unit of rounding. A code
    that the document does not name nets to nothing in the ledger, as the two legs of a reverse charge do. Assessed only
    where both sides supply tax: silence on one side is no proof of the other.
    """
    if view.document is None:
        return _TAX_NO_DOCUMENT
    if view.void is not None:
        return _TAX_VOID
    stated, lines = view.document.data.tax_minor, view.document.data.tax_lines if view.kind != "order" else None
    of_lines = sum(line.amount_minor for line in lines) if lines else None
    if stated is not None and of_lines is not None and abs(stated - of_lines) > view.policy.tolerance.tax_minor:
        return _tax_lines_differ(view, stated, of_lines)
    for line in lines or ():
        if line.rate is not None and not _is_at_its_rate(view, line):
            return _tax_line_is_wrong(view, line)
    tax_minor = of_lines if stated is None else stated
    if tax_minor is None:
        return _TAX_NOT_STATED
    if not view.ledgers or view.is_covered:
        return _TAX_NOT_YET if view.expects_posting else _TAX_NOT_EXPECTED
    return _tax_booked(view, tax_minor)


def _tax_lines_differ(view: View, stated: int, of_lines: int) -> Failure:
    return failed(
        view, "tax", "tax", "the document's tax is not the sum of its tax lines; correct it in billing",
        expected=f"{major(of_lines, view.currency)} in tax lines", actual=f"{major(stated, view.currency)} in total",
        amounts=(of_lines, stated), variance_minor=stated - of_lines, evidence=(view.document,),
    )  # fmt: skip


def _is_at_its_rate(view: View, line: Any) -> bool:
    exact = exact_tax(line, view.document.data.total_minor)
    return exact is None or abs(exact - line.amount_minor) <= 1 + view.policy.tolerance.tax_minor


def _tax_line_is_wrong(view: View, line: Any) -> Failure:
    of_rate = rounded(exact_tax(line, view.document.data.total_minor) or Decimal(0))
    return failed(
        view, "tax", "tax", f"a tax line is not its base at {line.rate} %; correct the rate, the base or the tax in billing",
        expected=f"{major(of_rate, view.currency)} on {major(line.base_minor, view.currency)}",
        actual=major(line.amount_minor, view.currency), amounts=(line.code or "", of_rate, line.amount_minor),
        variance_minor=line.amount_minor - of_rate, evidence=(view.document,),
    )  # fmt: skip


def _tax_booked(view: View, tax_minor: int) -> Answer:
    cause = view.cause
    if cause not in ("agrees", "tax") and not (cause == "fx" and view.ledgers[0].tax_minor is not None):
        return _TAX_SEE[cause]
    if view.extra_documents:
        return _TAX_SEE["duplicate"]
    for ledger in view.ledgers:
        if not ledger.tax_lines:
            return _TAX_NO_LINES if tax_minor else _TAX_PASS
        answer = _tax_of(view, ledger, tax_minor)
        if answer is not None:
            return answer
    return _TAX_PASS


def _tax_of(view: View, ledger: Ledger, tax_minor: int) -> Answer | None:
    """None where the ledger's tax agrees."""
    if ledger.tax_minor is not None:
        if abs(ledger.tax_minor - tax_minor) <= view.policy.tolerance.tax_minor:
            return _tax_by_code(view, ledger) if ledger.tax_lines > 1 else None
        return _tax_differs(view, ledger, tax_minor, ledger.tax_minor, view.currency)
    conversion = view.conversion(ledger.base_currency)
    if ledger.base_tax_minor is None or not conversion.is_known:
        return _TAX_NO_RATE
    expected = conversion.base(tax_minor)
    taxed = sum(
        1 for posting in ledger.postings for line in posting.data.lines if line.role not in (ledger.role, "tax")
    )
    rounding = max(ledger.tax_lines, taxed) * max(
        1, view.policy.tolerance.fx_minor
    )  # each line's was rounded on its own
    if abs(ledger.base_tax_minor - expected) <= conversion.tolerance(expected, rounding):
        return None
    return _tax_differs(view, ledger, rounded(expected), ledger.base_tax_minor, ledger.base_currency)


def _tax_by_code(view: View, ledger: Ledger) -> Answer | None:
    """The sums agree: does each code, where both sides name them? None where it does or cannot be told."""
    stated = view.document.data.tax_lines or ()
    booked = [line for posting in ledger.postings for line in posting.data.lines if line.role == "tax"]
    if not stated or None in [line.tax_code for line in booked] or None in [line.code for line in stated]:
        return None
    ours, theirs = Counter[str](), Counter[str]()
    for line in stated:
        ours[line.code] += line.amount_minor
    for line in booked:
        amount_minor = line.base_minor if line.amount_minor is None else line.amount_minor
        theirs[line.tax_code] -= ledger.sign * amount_minor
    for code in sorted(ours):
        if abs(theirs[code] - ours[code]) > view.policy.tolerance.tax_minor:
            return _code_differs(view, ledger, code, ours[code], theirs[code])
    return None


def _code_differs(view: View, ledger: Ledger, code: str, expected: int, booked: int) -> Failure:
    return failed(
        view, "tax", "tax", f"the tax is right as a sum and wrong by code in ledger {ledger.name}; move it to its code",
        expected=f"{major(expected, view.currency)} under {code}", actual=f"{major(booked, view.currency)} under {code}",
        amounts=(code, expected, booked), variance_minor=booked - expected, evidence=(view.document, *ledger.postings),
    )  # fmt: skip


def _tax_differs(view: View, ledger: Ledger, expected: int, booked: int, shown: str | None) -> Failure:
    variance = booked - expected
    exposure = variance if shown == view.currency else _in_document_currency(view, ledger, variance)
    return failed(
        view, "tax", "tax", f"ledger {ledger.name} booked another tax than the document's; correct the tax line",
        expected=f"{major(expected, shown)} tax", actual=f"{major(booked, shown)} tax in ledger {ledger.name}",
        currency=shown, amounts=(expected, booked), variance_minor=variance, exposure_minor=abs(exposure),
        evidence=(view.document, *ledger.postings),
    )  # fmt: skip


_FX_PASS = passed("fx", "the base amount is the total at the stated rate, within rounding")
_FX_NO_DOCUMENT = not_applicable("fx", _NO_DOCUMENT)
_FX_NOT_EXPECTED = not_applicable("fx", "no posting is expected")
_FX_SAME = not_applicable("fx", "document and ledger have one currency")
_FX_NOT_YET = not_assessed("fx", "no posting yet")
_FX_NO_RATE = not_assessed("fx", _SEE["no_rate"])
_FX_NO_BASE = not_assessed("fx", "the ledger's lines carry no base amount")
_FX_SEE = _referring("fx")


def fx(view: View) -> Answer:
    """The base amount booked is the total at the document's rate, and gains and losses are what paying it comes to.

    Payments relieve the account at the document's rate, the rest is the realised gain or loss; once it is settled no
    revaluation stands. Tolerance: one minor unit plus what the rate's printed decimals leave open. A failure misstates
    gains and losses.
    """
    if view.document is None:
        return _FX_NO_DOCUMENT
    if not view.ledgers or view.is_covered:
        return _FX_NOT_YET if view.expects_posting else _FX_NOT_EXPECTED
    answer: Answer = _FX_SAME
    for ledger in view.ledgers:
        if ledger.base_currency == view.currency:
            continue
        answer = _FX_PASS
        cause = view.causes[ledger.name]
        if cause == "fx":
            return _fx_differs(view, ledger)
        if cause != "agrees":
            return _FX_SEE[cause]
        if ledger.base_minor is None:
            return _FX_NO_BASE
        if view.conversion(ledger.base_currency).total(view.total_minor) is None:
            return _FX_NO_RATE
    return exchange(view) or answer


def _fx_differs(view: View, ledger: Ledger) -> Failure:
    expected = rounded(view.conversion(ledger.base_currency).total(view.total_minor) or Decimal(0))
    booked = ledger.base_minor or 0
    base, rate = ledger.base_currency, view.document.data.rate
    return failed(
        view, "fx", "fx", f"the base amount in ledger {ledger.name} is not the total at the stated rate; check the rate",
        expected=f"{major(expected, base)} at rate {rate}" if rate else f"{major(expected, base)}",
        actual=f"{major(booked, base)} in ledger {ledger.name}", currency=base, amounts=(expected, booked),
        variance_minor=booked - expected, exposure_minor=abs(_in_document_currency(view, ledger, booked - expected)),
        evidence=(view.document, *ledger.postings),
    )  # fmt: skip


def _in_document_currency(view: View, ledger: Ledger, base_minor: int) -> int:
    """An amount in base currency, by the proportion of the totals."""
    total = view.conversion(ledger.base_currency).total(view.total_minor)
    return rounded(Decimal(base_minor) * view.total_minor / total) if total else 0


def _ledger_with(view: View, cause: Cause) -> Ledger:
    return next(ledger for ledger in view.ledgers if view.causes[ledger.name] == cause)
