"""The language of the scenario tables: what happened, when, and what the verdict is to say.

Times are spans after Sunday 1 March 2026, 12:00 UTC: "0", "30s", "15m", "4h", "31d", "1d+2h". Amounts are texts in major
units of the case's currency. Facts are of case INV-1 of acme-us unless they say otherwise.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from canonical import records, structs
from canonical.events import Event
from canonical.money import to_minor
from matching.case import Case
from matching.clock import COMPLETE, Progress
from matching.judge import judge
from matching.policy import Policy, load
from matching.verdict import Verdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
INVOICE = "invoice:acme-us:billing:INV-1"
ORDER = "order:acme-us:crm:Q-1"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def after(span: str) -> datetime:
    moment = START
    for part in span.replace("-", "+-").split("+"):
        match = re.fullmatch(r"(-?[0-9.]+)([smhd])", part)
        if match:
            moment += timedelta(**{_UNITS[match[2]]: float(match[1])})
    return moment


def tell(event_type: str, document: str, at: str, *, case: str = INVOICE, id: str | None = None, system: str = "billing", **data: Any) -> Event:  # fmt: skip
    """One fact; fields given as None are left out."""
    entity = data.pop("entity", "acme-us")
    stated = {"entity": entity, "document_id": document} | {k: v for k, v in data.items() if v is not None}
    event = records.make(
        event_type, id=id or f"{system}:{document}:{event_type}", source=f"{system}/{entity}", subject=document,
        time=after(at), correlationid=case, data=stated,
    )  # fmt: skip
    return structs.decode(records.encode(event))


def minor(amount: str | None, currency: str) -> int | None:
    return None if amount is None else to_minor(amount, currency)


def party(customer: str | None) -> dict[str, str] | None:
    return None if customer is None else {"sold_to": customer}


def invoice(total: str, at: str = "0", *, currency: str = "USD", tax: str | None = None, customer: str | None = "C-1", document: str = "in_1", event: str = "invoice.issued", direction: str = "sales", **more: Any) -> Event:  # fmt: skip
    more = {"number": "INV-1"} | more
    return tell(
        event, document, at, currency=currency, total_minor=minor(total, currency), tax_minor=minor(tax, currency),
        customer=party(customer), direction=direction, **more,
    )  # fmt: skip


def void(at: str, document: str = "in_1", **more: Any) -> Event:
    return tell("invoice.voided", document, at, **more)


def posting(total: str, at: str = "1m", *, currency: str | None = "USD", base: str | None = None, base_currency: str = "USD", tax: str | None = None, customer: str | None = "C-1", document: str = "je_1", event: str = "posting.recorded", role: str = "receivable", rest: str | None = None, rest_role: str | None = None, **more: Any) -> Event:  # fmt: skip
    """A journal entry over the receivable, the tax and the rest. `base`: the base amount where it is not the total."""
    amounts_in = currency or base_currency
    total_minor, tax_minor = minor(total, amounts_in) or 0, minor(tax, amounts_in) or 0
    rest_minor = total_minor - tax_minor if rest is None else minor(rest, amounts_in)
    base_minor = minor(base, base_currency) if base is not None else (total_minor if amounts_in == base_currency else None)  # fmt: skip
    sign = 1 if role == "receivable" else -1
    lines = [(role, total_minor), (rest_role or ("revenue" if sign > 0 else "expense"), -(rest_minor or 0))]
    if tax is not None:
        lines.append(("tax", -tax_minor))
    data = {"ledger": "main", "document_type": "invoice", "posting_kind": "document", "base_currency": base_currency}
    return tell(
        event, document, at, system="erp", currency=currency, customer=party(customer),
        lines=[_line(line_role, sign * amount, currency, base_minor, total_minor) for line_role, amount in lines],
        **(data | more),
    )  # fmt: skip


def _line(role: str, amount: int, currency: str | None, base_minor: int | None, total_minor: int) -> dict[str, Any]:
    line: dict[str, Any] = {"role": role}
    if currency is not None:
        line["amount_minor"] = amount
    if base_minor is not None:
        line["base_minor"] = amount * base_minor // total_minor if total_minor else 0
    return line


def reversal(total: str, at: str, *, reverses: str = "je_1", document: str = "rev_1", **more: Any) -> Event:
    return posting(f"-{total}", at, event="posting.reversed", reverses=reverses, document=document, **more)


def payment(amount: str, at: str = "1d", *, currency: str = "USD", document: str = "py_1", event: str = "payment.received", customer: str | None = None, case: str = INVOICE, **more: Any) -> Event:  # fmt: skip
    return tell(
        event, document, at, system="stripe", case=case, currency=currency, amount_minor=minor(amount, currency),
        customer=party(customer), **more,
    )  # fmt: skip


def applied(amount: str, at: str = "1d+1h", *, kind: str = "payment", currency: str = "USD", document: str = "ap_1", event: str = "cash.applied", **more: Any) -> Event:  # fmt: skip
    return tell(
        event, document, at, system="erp", currency=currency, amount_minor=minor(amount, currency), from_kind=kind, **more
    )  # fmt: skip


def quote(total: str, at: str = "0", **more: Any) -> Event:
    return tell("quote.approved", "Q-1", at, case=ORDER, system="crm", currency="USD", total_minor=minor(total, "USD"), **more)  # fmt: skip


def subscription(at: str, event: str = "subscription.activated", **more: Any) -> Event:
    return tell(event, "sub_1", at, **({"case": ORDER} | more))


def delivery(at: str, failure: str | None = None, *, target: str = "erp", case: str = INVOICE, **more: Any) -> Event:
    event = "delivery.succeeded" if failure is None else "delivery.failed"
    more = {"operation": "create"} | more
    return tell(event, "in_1", at, case=case, id=f"ipaas:{at}:{event}", system="ipaas", target=target, failure=failure, **more)  # fmt: skip


def case_of(*facts: Event) -> Case:
    case = Case(facts[0].correlationid)
    for fact in facts:
        case.add(fact)
    return case


class Row(NamedTuple):
    """One line of a scenario table. What is left empty is not looked at, except `breaks`: none means none."""

    what: str
    facts: tuple[Event, ...]
    as_of: str
    outcome: str
    breaks: str = ""  # classes, in the order of the verdict
    exposure: str | None = None  # major units of the case's currency
    hops: Mapping[str, str] = {}
    controls: Mapping[str, str] = {}
    owner: str | None = None
    failure: str | None = None
    next_deadline: str | None = None
    policy: str = ""
    behind: Mapping[str, str] = {}  # source: complete up to


def verdict_of(row: Row) -> Verdict:
    return judge(case_of(*row.facts), policy_of(row.policy), after(row.as_of), progress_of(row))


def policy_of(text: str) -> Policy:
    return load(text or None)


def progress_of(row: Row) -> Progress:
    return Progress({source: after(at) for source, at in row.behind.items()}) if row.behind else COMPLETE


def check(row: Row) -> None:
    verdict = verdict_of(row)
    states = {hop.name: hop.state for hop in verdict.hops}
    results = {control.name: control.result for control in verdict.controls}
    assert (verdict.outcome, " ".join(found.class_ for found in verdict.breaks)) == (row.outcome, row.breaks), verdict
    assert {name: states.get(name) for name in row.hops} == row.hops
    assert {name: results.get(name) for name in row.controls} == row.controls
    if row.exposure is not None:
        assert verdict.exposure_minor == minor(row.exposure, verdict.currency or "USD")
    if row.owner is not None:
        assert {found.owner for found in verdict.breaks} == {row.owner}
    assert verdict.failure == row.failure
    if row.next_deadline is not None:
        assert verdict.next_deadline == after(row.next_deadline)
    if row.outcome == "ok":
        assert verdict.next_deadline is None and verdict.exposure_minor == 0 and verdict.wait_for is None
