"""The catalogue of breaks: what each class means, whose it is, and what mends it. docs/breaks.md is made of it.

- A class is raised by the control of the same name; what it means is that control's docstring, said once.
- Owner, severity and where it is mandatory are policy's. What to do is written here, once a class.
"""

from typing import NamedTuple, get_args

from matching.controls import CONTROLS
from matching.findings import Control
from matching.policy import Policy
from matching.verdict import BreakClass, Owner, Severity

CLASSES: tuple[BreakClass, ...] = get_args(BreakClass)

WHAT_TO_DO: dict[BreakClass, str] = {
    "missing_invoice": "Issue the bill, or end or pause the subscription as of the day it stopped being delivered.",
    "missing_posting": "Send the document to the ledger again; where its delivery failed, mend the reason first.",
    "missing_reversal": "Reverse the posting, in the period in which the document was voided.",
    "missing_payment": "Chase the customer, or write the amount off and have that booked.",
    "missing_application": "Apply the money to the invoice in the ledger.",
    "missing_subscription": "Activate the subscription in billing, or withdraw the quote.",
    "orphan_posting": "Find the document in billing and have it sent; reverse the posting if there is none.",
    "orphan_payment": "Find what it pays and apply it there, or give it back.",
    "orphan_application": "Unapply it, and apply the money to the invoice that was meant.",
    "summary_split": "Compare the batch's members with its journal; correct the journal by the members that differ.",
    "amount": "Correct the posting, or the document where the ledger is right.",
    "rounding": "Nothing to one document; set the tolerance, or have both systems round alike.",
    "fee": "Book the fee that the processor kept, or claim back what exceeds the contract.",
    "tax": "Correct the tax line before the period is declared; where the code is wrong, correct it at its source.",
    "currency": "Reverse the posting and book it in the document's currency.",
    "fx": "Check the rate, and book the difference as a gain or a loss.",
    "customer": "Move it to the right customer, or link the two ids (in the customer's own case, where policy has `crosswalk`).",
    "entity": "Book it in the company that it belongs to.",
    "account": "Move the line to an account that policy allows for it, or allow it in policy.",
    "duplicate_invoice": "Void the document that is too many.",
    "duplicate_posting": "Reverse the posting that is too many.",
    "duplicate_payment": "Refund what is too much, or keep it on account with the customer's word.",
    "duplicate_period": "Void the bill that is too many, or correct its period.",
    "ambiguous_match": "Choose among the candidates; the choice is stored and kept by replays.",
    "conflict": "Ask the source which of the contents is true, and have it sent with a higher version.",
    "short_payment": "Chase the rest, or book it as withheld, credited or written off.",
    "overpayment": "Refund it, or keep it on account.",
    "unapplied_cash": "Identify what it pays and apply it, or refund it.",
    "misapplied": "Move the application to the document that is open.",
    "payout": "Ask the processor for the lines that are missing.",
    "bank": "Find the payout on the statement; ask the bank or the processor where it went.",
    "credit_rebill": "Credit the original in full before the rebill, and move its payments, tax and schedule.",
    "proration": "Recompute by the provider's method; correct the document by a credit and a new one.",
    "usage": "Rate the usage again, and correct the bill.",
    "unbilled_usage": "Bill the usage, or waive it on the record.",
    "quote_mismatch": "Correct the subscription to what was quoted, or have the change approved.",
    "revenue_schedule": "Correct the schedule to the document; book what was recognised too much or too little.",
    "cutoff": "Move the posting into the document's period, or accrue it there.",
    "closed_period": "Reverse it and book it into an open period, or have the period reopened and signed again.",
    "refund_unmatched": "Find the payment it gives back; if there is none, ask who approved it.",
    "chargeback": "Answer the dispute in time, or book its loss.",
    "reversed_after_application": "Unapply the cash, so that the invoice is open again.",
    "system_of_record": "Make the change in the system that masters the field; undo it in the other.",
    "contract": "Have the sender use an accepted contract, or accept the new one in policy.",
    "intercompany": "Have the missing side booked, or the wrong one corrected, before the group is consolidated.",
    "sla": "See why the leg is late; a failed delivery beside it says whose it is.",
}


class Entry(NamedTuple):
    """`kinds` are the cases that are asked, `mandatory` those that are not ok before it was answered."""

    class_: BreakClass
    meaning: str
    what_to_do: str
    owner: Owner
    severity: Severity
    kinds: tuple[str, ...]
    mandatory: tuple[str, ...]


def entries(policy: Policy) -> list[Entry]:
    """Every class that a control raises, in the order of BreakClass."""
    return [_entry(class_, policy) for class_ in CLASSES if _control(class_) is not None]


def _control(class_: BreakClass) -> Control | None:
    return next((control for asked in CONTROLS.values() for control in asked if control.__name__ == class_), None)


def _entry(class_: BreakClass, policy: Policy) -> Entry:
    kinds = tuple(kind for kind, asked in CONTROLS.items() if any(control.__name__ == class_ for control in asked))
    return Entry(
        class_,
        _meaning(_control(class_)),
        WHAT_TO_DO[class_],
        policy.owners.get(class_, "finance"),
        policy.severity.get(class_, "medium"),
        kinds,
        tuple(kind for kind in kinds if class_ in policy.terms.mandatory.get(kind, ())),
    )


def _meaning(control: Control | None) -> str:
    """The docstring as one paragraph."""
    return " ".join((getattr(control, "__doc__", None) or "").split())
