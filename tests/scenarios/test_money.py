"""Receipts, refunds, disputes, payouts and the bank: does money go where it belongs, once, and in full?"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks import many
from canonical import records
from canonical.events import Event
from canonical.ids import account_key
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import load
from matching.verdict import decode
from streams.batch import reconcile
from tests.scenarios.books import (
    INVOICE,
    Row,
    after,
    applied,
    case_of,
    check,
    invoice,
    payment,
    posting,
    tell,
    verdict_of,
)

RECEIPT, CREDIT, PAYOUT = "receipt:acme-us:bank:py_1", "credit:acme-us:billing:CN-1", "payout:acme-us:stripe:po_1"
CHARGE, REBILL = "receipt:acme-us:stripe:ch_1", "invoice:acme-us:billing:INV-2"
STATEMENT, ACCOUNT = "summary:acme-us:bank:DE1/S5", account_key("acme-us", "DE1")
SOLD = (invoice("100.00"), posting("100.00"))
PAID = (*SOLD, payment("100.00"), applied("100.00"))


def told(*facts: Event, to: str = INVOICE, revision: int = 1) -> tuple[Event, ...]:
    """What the case of these facts means for another one."""
    home = case_of(*facts)
    events = [as_event(home.key, effect, revision) for effect in effects(home, load(None))]
    return tuple(event for event in events if event.correlationid == to)


def received(amount: str = "100.00", **more: Any) -> Event:
    return payment(amount, case=RECEIPT, **more)


def parts(*amounts: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"target": target, "amount_minor": amount_minor} for target, amount_minor in amounts]


def back(event: str, amount: str, at: str, document: str = "py_1", case: str = INVOICE, **more: Any) -> Event:
    return payment(amount, at, event=event, document=document, case=case, **more)


def unapplied(amount: str, at: str, **more: Any) -> Event:
    return applied(amount, at, event="cash.unapplied", document="un_1", **more)


def credit_memo(amount_minor: int, at: str = "5d", **more: Any) -> Event:
    return tell("credit_memo.issued", "cn_1", at, case=CREDIT, currency="USD", total_minor=amount_minor, direction="sales", **more)  # fmt: skip


def cash(amount: str, at: str, document: str, kind: str, case: str = INVOICE, **more: Any) -> Event:
    """An entry that takes money out (or brings it back, where the amount is negative) against the customer's account."""
    return posting(amount, at, document=document, document_type=kind, case=case, role="cash", rest_role="receivable", **more)  # fmt: skip


CREDITED = told(credit_memo(10_000, invoice_key=INVOICE))
MOVED = told(applied("100.00", "5d+2h", case=REBILL, payment_key=INVOICE), to=INVOICE)
TO_ANOTHER = {"customer": "C-2", "allocations": parts((INVOICE, 10_000))}

RECEIPTS = (
    # Misapplied: another customer, a document that was credited, beyond what is open, beyond what came in.
    Row("a receipt of another customer pays this invoice", (*SOLD, *told(received(**TO_ANOTHER))), "1d+1h", "break", "misapplied", "100.00", owner="finance"),
    Row("a receipt of the same customer", (*SOLD, *told(received(customer="C-1", allocations=parts((INVOICE, 10_000))),
        applied("100.00", case=RECEIPT, invoice_key=INVOICE))), "40d", "ok", controls={"misapplied": "pass"}),
    Row("the payer is an alias on the invoice", (invoice("100.00", refs=[{"kind": "customer", "system": "bank", "value": "C-2"}]), posting("100.00"),
        *told(received(**TO_ANOTHER), applied("100.00", case=RECEIPT, invoice_key=INVOICE))), "40d", "ok", controls={"misapplied": "pass"}),
    Row("applied on another customer, and the payment was not supplied", (*SOLD, applied("100.00", customer={"sold_to": "C-2"})), "2d", "break",
        "misapplied", "100.00"),
    Row("applied on another customer, and taken off again", (*SOLD, applied("100.00", customer={"sold_to": "C-2"}, payment_id="py_9"),
        unapplied("100.00", "1d+3h", payment_id="py_9")), "2d", "pending", controls={"misapplied": "pass"}),
    Row("applied on another customer, and taken off in part", (*SOLD, applied("100.00", customer={"sold_to": "C-2"}),
        unapplied("60.00", "1d+3h", customer={"sold_to": "C-2"})), "2d", "break", "misapplied", "40.00"),
    Row("a receipt of another customer was applied, and unapplied again", (*SOLD, *told(received(customer="C-2"),
        applied("100.00", case=RECEIPT, invoice_key=INVOICE, customer={"sold_to": "C-2"}),
        unapplied("100.00", "1d+3h", case=RECEIPT, invoice_key=INVOICE, customer={"sold_to": "C-2"}))), "2d", "pending", controls={"misapplied": "pass"}),
    Row("row 7: credited for a rebill, the payment still on the original", (*PAID, *CREDITED), "6d", "break", "misapplied", "100.00",
        controls={"overpayment": "not_assessed"}),
    Row("credited for a rebill an hour ago", (*PAID, *CREDITED), "5d+1h", "pending", next_deadline="5d+4h"),
    Row("row 7, moved: the rebill took the payment", (*PAID, *CREDITED, unapplied("100.00", "5d+2h"), *MOVED), "90d", "ok"),
    Row("credited, unapplied, and given back to nobody", (*PAID, *CREDITED, unapplied("100.00", "5d+2h")), "6d", "break", "overpayment", "100.00"),
    Row("credited in part, the rest paid", (*SOLD, *told(credit_memo(4_000, invoice_key=INVOICE)), payment("60.00"), applied("60.00")), "40d", "ok",
        controls={"misapplied": "pass"}),
    Row("the payment was applied twice", (*PAID, applied("100.00", "1d+2h", document="ap_2")), "2d", "break", "misapplied", "100.00"),
    Row("the receipt applied more than came in", (received(), applied("70.00", case=RECEIPT, invoice_key=INVOICE),
        applied("50.00", case=RECEIPT, invoice_key=REBILL, document="ap_2")), "3d", "break", "misapplied", "20.00"),
    Row("the receipt names more than it is", (received(allocations=parts((INVOICE, 7_000), (REBILL, 5_000))), applied("100.00", case=RECEIPT)), "3d",
        "break", "misapplied", "20.00"),
    Row("one receipt over two invoices, to the cent", (received(allocations=parts((INVOICE, 7_000), (REBILL, 3_000))),
        applied("70.00", case=RECEIPT, invoice_key=INVOICE), applied("30.00", case=RECEIPT, invoice_key=REBILL, document="ap_2")), "40d", "ok",
        controls={"misapplied": "pass"}),
    # Taken back after it was applied.
    Row("the debit came back, and the invoice still looks paid", (*PAID, back("payment.returned", "100.00", "5d", "ret_1")), "5d+4h", "break",
        "reversed_after_application", "100.00"),
    Row("the debit came back an hour ago", (*PAID, back("payment.returned", "100.00", "5d", "ret_1")), "5d+1h", "pending", next_deadline="5d+4h"),
    Row("the debit came back, and was unapplied", (*PAID, back("payment.returned", "100.00", "5d", "ret_1"), unapplied("100.00", "5d+1h")), "6d", "pending",
        controls={"reversed_after_application": "pass"}),
    Row("failed after it was applied, on the receipt itself", (received(), applied("100.00", case=RECEIPT), back("payment.failed", "100.00", "3d", case=RECEIPT)),
        "4d", "break", "reversed_after_application", "100.00"),
    Row("one of two payments came back, and its part stands", (*SOLD, payment("60.00"), payment("40.00", document="py_2"), applied("100.00"),
        back("payment.returned", "40.00", "5d", "ret_1")), "6d", "break", "reversed_after_application", "40.00"),
    Row("it came back and was paid again", (*PAID, back("payment.returned", "100.00", "5d", "ret_1"), payment("100.00", "6d", document="py_2")), "40d", "ok",
        controls={"reversed_after_application": "pass"}),
    Row("the ledger's feed is behind", (*PAID, back("payment.returned", "100.00", "5d", "ret_1")), "6d", "pending", behind={"erp": "5d"},
        controls={"reversed_after_application": "not_assessed"}),
    # On account, deposits, withholding.
    Row("kept on account by policy", (received(),), "90d", "ok", policy="[expect.bank]\non_account = true", controls={"unapplied_cash": "pass"}),
    Row("a deposit taken from the receipt", (received(), applied("100.00", kind="deposit", case=RECEIPT)), "90d", "ok"),
    Row("row 6: 100 paid as 90 and 10 withheld, told by the receipt", (*SOLD, *told(received("90.00", allocations=parts((INVOICE, 9_000))),
        applied("90.00", case=RECEIPT, invoice_key=INVOICE), applied("10.00", kind="withholding", case=RECEIPT, document="ap_2", invoice_key=INVOICE))),
        "40d", "ok"),
    Row("row 6, on the receipt itself", (received("90.00", allocations=parts((INVOICE, 9_000))), applied("90.00", case=RECEIPT, invoice_key=INVOICE),
        applied("10.00", kind="withholding", case=RECEIPT, document="ap_2", invoice_key=INVOICE)), "40d", "ok"),
    Row("a bill from a supplier, paid", (invoice("100.00", direction="purchase"), posting("100.00", role="payable", direction="purchase"),
        payment("100.00", direction="purchase"), applied("100.00")), "40d", "ok"),
    Row("a supplier was paid too much", (invoice("100.00", direction="purchase"), posting("100.00", role="payable", direction="purchase"),
        payment("105.00", direction="purchase"), applied("100.00")), "2d", "break", "overpayment", "5.00"),
    # In another currency: EUR 100 at 1.09 pays USD 108.
    Row("row 9: a receipt in euros pays in dollars, told by the receipt", (invoice("108.00"), posting("108.00"), *told(
        received(currency="EUR", allocations=parts((INVOICE, 10_000))),
        applied("108.00", case=RECEIPT, invoice_key=INVOICE, from_currency="EUR", from_amount_minor=10_000))), "40d", "ok"),
    Row("row 9: with the right gain", (invoice("108.00", base_currency="USD"), posting("108.00"), payment("100.00", currency="EUR"), applied("108.00",
        from_currency="EUR", from_amount_minor=10_000, from_base_minor=10_900, realised_fx_minor=100)), "40d", "ok"),
    Row("row 9: with the gain misbooked", (invoice("108.00", base_currency="USD"), posting("108.00"), payment("100.00", currency="EUR"), applied("108.00",
        from_currency="EUR", from_amount_minor=10_000, from_base_minor=10_900, realised_fx_minor=-100)), "40d", "break", "fx", "2.00"),
)  # fmt: skip

REFUNDED = (*PAID, back("refund.issued", "40.00", "5d", "re_1"))
REFUND_FAILED = (*REFUNDED, back("refund.failed", "40.00", "6d", "re_1"))

REFUNDS = (
    Row("a refund of what came in", (received(), back("refund.issued", "100.00", "5d", "re_1", RECEIPT)), "90d", "ok", controls={"refund_unmatched": "pass"}),
    Row("a refund of a payment that never came in", (back("refund.issued", "100.00", "5d", "re_1", RECEIPT),), "6d", "break", "refund_unmatched", "100.00"),
    Row("the same, and the payment may still be told", (back("refund.issued", "100.00", "5d", "re_1", RECEIPT),), "5d+23h", "pending", next_deadline="6d"),
    Row("the processor's feed is behind, and so may be the payment", (back("refund.issued", "100.00", "5d", "re_1", RECEIPT),), "8d", "pending",
        behind={"payments": "5d+12h"}, controls={"refund_unmatched": "not_assessed"}),
    Row("more was refunded than came in", (received(), back("refund.issued", "60.00", "5d", "re_1", RECEIPT),
        back("refund.issued", "60.00", "6d", "re_2", RECEIPT)), "8d", "break", "refund_unmatched", "20.00"),
    Row("one of two refunds failed", (received(), back("refund.issued", "60.00", "5d", "re_1", RECEIPT), back("refund.issued", "60.00", "6d", "re_2", RECEIPT),
        back("refund.failed", "60.00", "7d", "re_1", RECEIPT), applied("40.00", case=RECEIPT)), "9d", "ok", controls={"refund_unmatched": "pass"}),
    Row("a credit paid out", (credit_memo(5_000, "0"), posting("-50.00", case=CREDIT, document_type="credit"), back("refund.issued", "50.00", "5d", "re_1", CREDIT)),
        "8d", "ok", controls={"refund_unmatched": "pass"}),
    Row("a credit paid out twice", (credit_memo(5_000, "0"), posting("-50.00", case=CREDIT, document_type="credit"),
        back("refund.issued", "50.00", "5d", "re_1", CREDIT), back("refund.issued", "50.00", "6d", "re_2", CREDIT)), "8d", "break", "refund_unmatched", "50.00"),
    Row("a refund failed and the ledger books it", (*REFUND_FAILED, cash("40.00", "5d+1h", "je_5", "refund")), "8d", "break", "refund_unmatched", "40.00"),
    Row("a refund failed, its entry was reversed", (*REFUND_FAILED, cash("40.00", "5d+1h", "je_5", "refund"),
        cash("-40.00", "6d+1h", "je_6", "refund", event="posting.reversed", reverses="je_5")), "8d", "ok", controls={"refund_unmatched": "pass"}),
    Row("a refund of a charge that lies in its invoice's case", (back("refund.issued", "40.00", "5d", "re_1", CHARGE, payment_id="ch_1"),), "90d", "ok",
        controls={"refund_unmatched": "not_applicable"}),
)  # fmt: skip


BOOKS = "[expect.bank]\nreceipt_posting = true\non_account = true"
GIVEN_BACK = (
    received(),
    cash("-100.00", "1d+1m", "je_1", "payment", RECEIPT),
    back("refund.issued", "40.00", "5d", "re_1", RECEIPT),
)

ENTRIES = (
    Row("a payment and its refund are booked", (*GIVEN_BACK, cash("40.00", "5d+1m", "je_2", "refund", RECEIPT)), "9d", "ok", policy=BOOKS,
        controls={"missing_posting": "pass"}),
    Row("a refund that was never booked", GIVEN_BACK, "9d", "break", "missing_posting", "40.00", policy=BOOKS),
    Row("a refund of an hour ago is not booked", GIVEN_BACK, "5d+1h", "pending", policy=BOOKS),
    Row("a payment that was never booked", (received(),), "9d", "break", "missing_posting", "100.00", policy=BOOKS),
    Row("payments of this system are booked elsewhere", GIVEN_BACK, "9d", "ok", policy="[expect.bank]\non_account = true",
        controls={"missing_posting": "not_applicable"}),
)  # fmt: skip


def dispute(
    event: str, at: str, amount: str = "100.00", fee: int | None = None, case: str = CHARGE, **more: Any
) -> Event:
    return payment(amount, at, event=f"dispute.{event}", document="dp_1", case=case, payment_id="ch_1", fee_minor=fee, **more)  # fmt: skip


CHARGED = payment("100.00", document="ch_1", case=CHARGE)
LOST = (CHARGED, dispute("opened", "5d", fee=1_500), dispute("lost", "30d", fee=1_500))

DISPUTES = (
    Row("a charge is disputed", (CHARGED, dispute("opened", "5d", fee=1_500)), "6d", "break", "chargeback", "115.00", owner="finance"),
    Row("a part of it is disputed", (CHARGED, dispute("opened", "5d", "40.00")), "6d", "break", "chargeback", "40.00"),
    Row("the dispute was won", (CHARGED, dispute("opened", "5d"), dispute("won", "30d")), "90d", "ok", controls={"chargeback": "pass"}),
    Row("the dispute was lost and nobody booked it", LOST, "90d", "break", "chargeback", "115.00"),
    Row("the loss was booked out of clearing", (*LOST, posting("100.00", "30d+1h", document="je_5", document_type="other", case=CHARGE, role="clearing",
        rest_role="expense")), "90d", "ok", controls={"chargeback": "pass"}),
    Row("lost, and the invoice is open again", (*PAID, dispute("opened", "5d", case=INVOICE), dispute("lost", "20d", case=INVOICE), unapplied("100.00", "20d+1h")),
        "20d+2h", "pending", controls={"chargeback": "pass"}),
    Row("an inquiry takes no money", (CHARGED, dispute("opened", "5d", stage="inquiry")), "90d", "ok", controls={"chargeback": "pass"}),
    Row("the customer disputes the bill, not the charge", (*PAID, dispute("opened", "5d", stage="invoice", case=INVOICE)), "90d", "ok",
        controls={"chargeback": "pass"}),
)  # fmt: skip


def write_off(
    facts: tuple[Event, ...], as_of: str, at: str = "62d", action: str = "write_off", actor: str = "ana"
) -> Event:
    """A decision on the break that these facts have by then."""
    found = verdict_of(Row("", facts, as_of, "break")).breaks[0]
    return tell(
        "decision.made", f"d_{at}", at, case=facts[0].correlationid, system="tieout", action=action, break_class=found.class_,
        fingerprint=found.fingerprint, actor=actor, role="controller", reason_code="uncollectible",
    )  # fmt: skip


IN_PART = (*SOLD, payment("60.00"), applied("60.00"))

TWO_PEOPLE = "[write_off]\nalone_minor = 9_999"
WRITE_OFFS = (
    Row("a write-off is decided, and not booked yet", (*SOLD, write_off(SOLD, "61d")), "90d", "pending", controls={"missing_payment": "not_assessed"}),
    Row("a write-off is decided and booked", (*SOLD, write_off(SOLD, "61d"), applied("100.00", "63d", kind="write_off")), "90d", "ok"),
    Row("the rest is to be written off", (*IN_PART, write_off(IN_PART, "61d")), "90d", "pending", controls={"short_payment": "not_assessed"}),
    Row("the rest is written off", (*IN_PART, write_off(IN_PART, "61d"), applied("40.00", "63d", kind="write_off", document="ap_2")), "90d", "ok"),
    Row("it was decided about another amount", (*SOLD, write_off(SOLD, "61d"), payment("60.00", "70d"), applied("60.00", "70d")), "90d", "break",
        "short_payment", "40.00"),
    Row("decided otherwise a day later", (*SOLD, write_off(SOLD, "61d"), write_off(SOLD, "61d", "63d", "chase")), "90d", "break", "missing_payment", "100.00"),
    Row("as much as one person may give up", (*SOLD, write_off(SOLD, "61d")), "90d", "pending", policy="[write_off]\nalone_minor = 10_000"),
    Row("more than one person may give up", (*SOLD, write_off(SOLD, "61d"), write_off(SOLD, "61d", "63d")), "90d", "break", "missing_payment", "100.00",
        policy=TWO_PEOPLE),
    Row("two people gave it up", (*SOLD, write_off(SOLD, "61d"), write_off(SOLD, "61d", "63d", actor="cleo")), "90d", "pending", policy=TWO_PEOPLE,
        controls={"missing_payment": "not_assessed"}),
    Row("one of the two would rather chase it", (*SOLD, write_off(SOLD, "61d"), write_off(SOLD, "61d", "63d", "chase"),
        write_off(SOLD, "61d", "64d", actor="cleo")), "90d", "break", "missing_payment", "100.00", policy=TWO_PEOPLE),
    Row("nobody may give up what was posted wrong", (invoice("100.00"), posting("90.00"), write_off((invoice("100.00"), posting("90.00")), "1h", "2h")),
        "3h", "break", "amount", "10.00"),
    Row("a lost dispute is to be written off", (*LOST, write_off(LOST, "31d", "32d")), "90d", "pending", controls={"chargeback": "not_assessed"}),
)  # fmt: skip


def paid_out(amount: int, at: str = "3d", event: str = "payout.paid", **more: Any) -> Event:
    return tell(event, "po_1", at, case=PAYOUT, system="stripe", **({"currency": "USD", "amount_minor": amount} | more))


def line(document: str, kind: str, gross: int, fee: int = 0, case: str = PAYOUT, currency: str = "USD", net: int | None = None, **more: Any) -> Event:  # fmt: skip
    return tell(
        "settlement.line", document, "2d", case=case, system="stripe", kind=kind, currency=currency, gross_minor=gross, fee_minor=fee,
        net_minor=gross - fee if net is None else net, **more,
    )  # fmt: skip


LINES = (line("txn_1", "charge", 10_000, 320), line("txn_2", "refund", -200), line("txn_3", "dispute", -50, 18))
TOLD = (
    *told(line("txn_1", "charge", 10_000, 320, CHARGE, payout_key=PAYOUT), to=PAYOUT),
    *told(line("txn_2", "refund", -200, case="receipt:acme-us:stripe:re_1", payout_key=PAYOUT), to=PAYOUT),
    *told(line("txn_3", "dispute", -50, 18, "receipt:acme-us:stripe:dp_1", payout_key=PAYOUT), to=PAYOUT),
)
IN_PAYOUTS = "[expect.stripe]\npayout = true"
WIRED = tell("payment.received", "wire_1", "1d", system="bank", currency="USD", amount_minor=4_000)
HERE = (
    *SOLD,
    payment("60.00"),
    WIRED,
    applied("100.00"),
)  # 60.00 by card and 40.00 by wire, told in the invoice's case


def of_invoice(gross: int, document: str = "txn_1", payout: str = PAYOUT) -> tuple[Event, ...]:
    return told(line(document, "charge", gross, case=payout, payment_key=INVOICE))


SETTLED = told(line("txn_1", "charge", 10_000, 320, payment_key=CHARGE), to=CHARGE)
IN_EUROS = (line("txn_1", "charge", 10_000, 300, currency="EUR", rate="1.083456"), paid_out(10_510))
# Three lines of 10.00 at 1.08346, which prints as 1.0835: 10.83 each, and not 10.84.
EUROS_SMALL = tuple(line(f"txn_{n}", "charge", 1_000, currency="EUR", rate="1.0835") for n in range(3))
DECLARED = '[fees.stripe]\npercent = "2.9"\nfixed_minor = {USD = 30}'
BOOKED = posting(
    "96.80", "3d+1h", case=PAYOUT, document="je_7", document_type="payout", role="cash", rest_role="clearing"
)


def booked_payout(fee: int) -> Event:
    lines = [
        {"role": "cash", "amount_minor": 9_680},
        {"role": "fee", "amount_minor": fee},
        {"role": "clearing", "amount_minor": -9_680 - fee},
    ]
    return tell("posting.recorded", "je_7", "3d+1h", case=PAYOUT, system="erp", ledger="main", document_type="payout", posting_kind="document",
        currency="USD", base_currency="USD", lines=[each | {"base_minor": each["amount_minor"]} for each in lines])  # fmt: skip


PAYOUTS = (
    Row("row 2: charges, fees, a refund and a dispute, told by their own cases", (*TOLD, paid_out(9_412)), "4d", "ok"),
    Row("row 2, without the dispute's line", (*TOLD[:2], paid_out(9_412)), "4d", "break", "payout", "0.68"),
    Row("a line that was taken back by its charge", (*TOLD, paid_out(9_412), *told(line("txn_1", "charge", 10_000, 320, CHARGE, payout_key=PAYOUT, version=1),
        line("txn_1", "charge", 10_000, 320, CHARGE, version=2, id="stripe:txn_1:2"), to=PAYOUT, revision=2)), "4d", "break", "payout", "96.80"),
    Row("a payout the other way round", (line("txn_2", "refund", -5_000), paid_out(5_000, direction="purchase")), "4d", "ok"),
    Row("charges in euros, paid out in dollars at their rate", IN_EUROS, "4d", "ok", controls={"payout": "pass"}),
    Row("charges in euros, paid out at another rate", (IN_EUROS[0], paid_out(10_600)), "4d", "break", "payout", "0.90"),
    Row("charges in euros, and nobody says at what rate", (line("txn_1", "charge", 10_000, 300, currency="EUR"), paid_out(10_510)), "4d", "pending"),
    Row("charges in euros, told by their own cases", (*told(line("txn_1", "charge", 10_000, 300, CHARGE, currency="EUR", rate="1.083456", payout_key=PAYOUT),
        to=PAYOUT), paid_out(10_510)), "4d", "ok", controls={"payout": "pass"}),
    Row("converted at a rate of more decimals than it prints", (*EUROS_SMALL, paid_out(3_249)), "4d", "ok", controls={"payout": "pass"}),
    Row("a cent less than any rate of those decimals gives", (*EUROS_SMALL, paid_out(3_248)), "4d", "break", "payout", "0.04"),
    Row("the payout failed", (*LINES, paid_out(9_412), paid_out(9_412, "4d", "payout.failed")), "5d", "ok", controls={"payout": "not_applicable"}),
    Row("the charge knows that it was settled", (CHARGED, *told(line("txn_1", "charge", 10_000, 320, payment_key=CHARGE), to=CHARGE)), "5d", "ok",
        controls={"payout": "pass"}),
    Row("a charge settled in two payouts", (CHARGED, *told(line("txn_1", "charge", 10_000, 320, payment_key=CHARGE), to=CHARGE),
        *told(line("txn_9", "charge", 10_000, 320, "payout:acme-us:stripe:po_2", payment_key=CHARGE), to=CHARGE)), "5d", "break", "payout", "100.00"),
    # From the charge to its payout.
    Row("a charge is in its payout", (CHARGED, *SETTLED), "5d", "ok", policy=IN_PAYOUTS, hops={"payment_to_payout": "met"}),
    Row("timed though nobody expects it", (CHARGED, *SETTLED), "5d", "ok", hops={"payment_to_payout": "met"}),
    Row("a charge that waits for its payout", (CHARGED,), "5d", "pending", policy=IN_PAYOUTS, hops={"payment_to_payout": "waiting"}, next_deadline="8d"),
    Row("a charge that waits too long", (CHARGED,), "9d", "pending", policy=IN_PAYOUTS, hops={"payment_to_payout": "late"}),
    Row("a charge that waits too long, and policy minds", (CHARGED,), "9d", "break", "sla", "100.00",
        policy=IN_PAYOUTS + "\n[hops.payment_to_payout]\nlate_is_break = true"),
    Row("a charge in no payout at all", (CHARGED,), "16d", "break", "payout", "100.00", policy=IN_PAYOUTS, hops={"payment_to_payout": "missing"}),
    Row("a charge that was refunded before its payout", (CHARGED, back("refund.issued", "100.00", "2d", "re_1", CHARGE)), "16d", "ok", policy=IN_PAYOUTS),
    Row("the processor's feed is behind", (CHARGED,), "16d", "pending", policy=IN_PAYOUTS, hops={"payment_to_payout": "unproven"}, behind={"payments": "2d"}),
    # The same of payments that lie in their invoice's case.
    Row("a card payment in the invoice's case is in its payout, the wire beside it in none", (*HERE, *of_invoice(6_000)), "16d", "ok", policy=IN_PAYOUTS,
        hops={"payment_to_payout": "met"}, controls={"payout": "pass"}),
    Row("timed though nobody expects it, in the invoice's case", (*PAID, *of_invoice(10_000)), "16d", "ok", hops={"payment_to_payout": "met"}, controls={"payout": "pass"}),
    Row("policy expects no payout of it", HERE, "16d", "ok", hops={"payment_to_payout": None}, controls={"payout": "not_applicable"}),
    Row("policy expects payouts of another system", HERE, "16d", "ok", policy="[expect.adyen]\npayout = true", hops={"payment_to_payout": None}),
    Row("a card payment in the invoice's case waits for its payout", HERE, "5d", "pending", policy=IN_PAYOUTS, hops={"payment_to_payout": "waiting"},
        controls={"payout": "not_assessed"}, next_deadline="8d"),
    Row("a card payment in the invoice's case is in no payout", HERE, "16d", "break", "payout", "60.00", policy=IN_PAYOUTS, hops={"payment_to_payout": "missing"}),
    Row("a card payment in the invoice's case is in a payout in part", (*HERE, *of_invoice(5_000)), "16d", "break", "payout", "10.00", policy=IN_PAYOUTS),
    Row("a card payment in the invoice's case waits too long, and policy minds", HERE, "9d", "break", "sla", "60.00",
        policy=IN_PAYOUTS + "\n[hops.payment_to_payout]\nlate_is_break = true"),
    Row("a card payment in the invoice's case was settled twice", (*PAID, *of_invoice(10_000), *of_invoice(10_000, "txn_9", "payout:acme-us:stripe:po_2")), "5d",
        "break", "payout", "100.00"),
    Row("a card payment in the invoice's case was refunded before its payout", (*PAID[:3], back("refund.issued", "100.00", "2d", "re_1", payment_id="py_1")), "16d",
        "pending", policy=IN_PAYOUTS, hops={"payment_to_payout": None}),
    Row("a receipt's part of the invoice is in the receipt's payout, not asked for here", (*SOLD, *told(received(allocations=parts((INVOICE, 10_000)))), applied("100.00")),
        "16d", "ok", policy=IN_PAYOUTS, hops={"payment_to_payout": None}),
    Row("a card payment in euros of an invoice in dollars: its payout is not looked for, and that is said", (*SOLD, payment("92.00", currency="EUR")), "16d",
        "break", "missing_application", policy=IN_PAYOUTS, controls={"payout": "not_assessed"}),
    # Fees.
    Row("the fee is the declared rate", (line("txn_1", "charge", 10_000, 320), paid_out(9_680)), "4d", "ok", policy=DECLARED, controls={"fee": "pass"}),
    Row("the processor kept more than it declared", (line("txn_1", "charge", 10_000, 350), paid_out(9_650)), "4d", "break", "fee", "0.30", policy=DECLARED),
    Row("a cent of rounding is no fee", (line("txn_1", "charge", 10_050, 322), paid_out(9_728)), "4d", "ok", policy=DECLARED, controls={"fee": "pass"}),
    Row("gross less fee is not net", (line("txn_1", "charge", 10_000, 320, net=9_600), paid_out(9_600)), "4d", "break", "fee", "0.80"),
    Row("the charge said another fee than was kept", (payment("100.00", document="ch_1", case=CHARGE, fee_minor=320),
        line("txn_1", "charge", 10_000, 350, CHARGE, payment_id="ch_1")), "4d", "break", "fee", "0.30"),
    Row("the fee is booked with the payout", (LINES[0], paid_out(9_680), booked_payout(320)), "5d", "ok", controls={"fee": "pass"}),
    Row("the payout is booked and its fee is not", (LINES[0], paid_out(9_680), BOOKED), "5d", "break", "fee", "3.20"),
    Row("the payout was booked a minute ago", (LINES[0], paid_out(9_680), BOOKED), "3d+61m", "pending", controls={"fee": "not_assessed"}),
    Row("fees in euros, booked in dollars at their rate", (IN_EUROS[0], paid_out(10_510), booked_payout(325)), "5d", "ok", controls={"fee": "pass"}),
    Row("fees in euros, booked as if they were dollars", (IN_EUROS[0], paid_out(10_510), booked_payout(300)), "5d", "break", "fee", "0.25"),
    Row("fees in euros, and nobody says at what rate", (line("txn_1", "charge", 10_000, 300, currency="EUR"), paid_out(10_510), booked_payout(325)), "5d", "pending",
        controls={"fee": "not_assessed"}),
    Row("some lines lie with their payments, and so do their fees", (*TOLD, line("txn_4", "fee", -100, 0), paid_out(9_312), booked_payout(338)), "5d", "ok",
        controls={"fee": "not_applicable"}),
    Row("no declared rate, nothing booked", (LINES[0], paid_out(9_680)), "5d", "ok", controls={"fee": "not_applicable"}),
)  # fmt: skip


def statement(
    opening: int, closing: int, at: str = "4d", document: str = "S5", sequence: int | None = 5, **more: Any
) -> Event:
    case = more.pop("case", f"summary:acme-us:bank:DE1/{document}")
    return tell(
        "bank.statement", document, at, case=case, system="bank", account="DE1", currency="USD", opening_minor=opening,
        closing_minor=closing, sequence=sequence, **more,
    )  # fmt: skip


def entry(
    amount: int, document: str = "L1", at: str = "4d", case: str = STATEMENT, currency: str = "USD", **more: Any
) -> Event:
    more = {"statement_id": "S5"} | more
    return tell("bank.line", document, at, case=case, system="bank", account="DE1", currency=currency, amount_minor=amount, **more)  # fmt: skip


def arrived(amount: int, **more: Any) -> tuple[Event, ...]:
    return told(entry(amount, payout_key=PAYOUT, **more), to=PAYOUT)


def chosen(amount: int) -> Event:
    return tell("match.made", "m_1", "5d", case=STATEMENT, actor="ana", rule="by hand", payment_id="L1", invoice_ids=[], allocations=parts((PAYOUT, amount)))  # fmt: skip


def on_account(*statements: Event) -> tuple[Event, ...]:
    return tuple(event for each in statements for event in told(each, to=ACCOUNT))


FOURTH, FIFTH, SIXTH = (
    statement(0, 100, "3d", "S4", 4),
    statement(100, 350, "4d", "S5", 5),
    statement(350, 300, "5d", "S6", 6),
)
IN_BANK = "[expect.stripe]\nbank = true"
COUNTERPARTS = "[expect.bank]\ncounterpart = true"

BANK = (
    # Payouts on the statement.
    Row("the payout arrived", (*LINES, paid_out(9_412), *arrived(9_412)), "8d", "ok", controls={"bank": "pass"}),
    Row("the bank received less than was paid out", (*LINES, paid_out(9_412), *arrived(9_400)), "8d", "break", "bank", "0.12"),
    Row("less arrived an hour ago", (*LINES, paid_out(9_412), *arrived(9_400)), "4d+1h", "pending", next_deadline="5d"),
    Row("it arrived in two lines", (*LINES, paid_out(9_412), *arrived(9_000), *arrived(412, document="L2")), "8d", "ok", controls={"bank": "pass"}),
    Row("somebody said which line of the statement it is", (*LINES, paid_out(9_412), *told(entry(9_412), chosen(9_412), to=PAYOUT)), "8d", "ok",
        policy=IN_BANK, hops={"payout_to_bank": "met"}, controls={"bank": "pass"}),
    Row("somebody took a line for it that is too little", (*LINES, paid_out(9_412), *told(entry(9_000), chosen(9_000), to=PAYOUT)), "8d", "break", "bank", "4.12"),
    Row("the notification and the statement tell one arrival", (*LINES, paid_out(9_412), *arrived(9_412), *arrived(9_412, document="N1", statement_id=None)),
        "8d", "ok", controls={"bank": "pass"}),
    Row("the payout failed and the bank sent it back", (*LINES, paid_out(9_412), paid_out(9_412, "5d", "payout.failed"), *arrived(9_412),
        *arrived(-9_412, document="L2")), "8d", "ok", controls={"bank": "pass"}),
    Row("the payout failed and the money is in the bank", (*LINES, paid_out(9_412), paid_out(9_412, "5d", "payout.failed"), *arrived(9_412)), "8d", "break",
        "bank", "94.12"),
    Row("no bank is connected", (*LINES, paid_out(9_412)), "8d", "ok", controls={"bank": "not_applicable"}),
    Row("a payout that waits for the bank", (*LINES, paid_out(9_412)), "5d", "pending", policy=IN_BANK, hops={"payout_to_bank": "waiting"}, next_deadline="8d"),
    Row("a payout that never arrived", (*LINES, paid_out(9_412)), "14d", "break", "bank", "94.12", policy=IN_BANK, hops={"payout_to_bank": "missing"}),
    Row("a payout that arrived in time", (*LINES, paid_out(9_412), *arrived(9_412)), "14d", "ok", policy=IN_BANK, hops={"payout_to_bank": "met"}),
    # A statement in itself.
    Row("opening and lines come to closing", (statement(100, 350), entry(300), entry(-50, "L2")), "8d", "ok", controls={"bank": "pass"}),
    Row("a line of the statement was lost", (statement(100, 350), entry(300)), "8d", "break", "bank", "0.50"),
    Row("its lines are still coming", (statement(100, 350), entry(300)), "4d+1h", "pending", next_deadline="5d"),
    Row("the bank's feed is behind, and so may be its line", (statement(100, 350), entry(300)), "8d", "pending", behind={"bank": "4d+12h"},
        controls={"bank": "not_assessed"}),
    Row("a line that is only expected is not counted", (statement(100, 350), entry(250), entry(70, "L3", statement_id=None)), "8d", "ok"),
    Row("a line without counterpart", (statement(100, 350), entry(250)), "8d", "break", "bank", "2.50", policy=COUNTERPARTS),
    Row("a line that is a payout", (statement(100, 350), entry(250, payout_key=PAYOUT)), "8d", "ok", policy=COUNTERPARTS, controls={"bank": "pass"}),
    Row("a line that somebody matched", (statement(100, 350), entry(250), tell("match.made", "m_1", "5d", case=STATEMENT, actor="ana", rule="by hand",
        payment_id="L1", invoice_ids=["INV-1"])), "8d", "ok", policy=COUNTERPARTS, controls={"bank": "pass"}),
    # One after the other.
    Row("three statements in a row", on_account(FOURTH, FIFTH, SIXTH), "9d", "ok", controls={"bank": "pass"}),
    Row("the one in the middle is missing", on_account(FOURTH, SIXTH), "9d", "break", "bank", "2.50"),
    Row("it may still come", on_account(FOURTH, SIXTH), "5d+1h", "pending", next_deadline="6d"),
    Row("a number is left out, the balances agree", on_account(FOURTH, statement(100, 90, "5d", "S6", 6)), "9d", "break", "bank"),
    Row("opened with another balance than the last one closed with", on_account(FOURTH, statement(110, 350)), "9d", "break", "bank", "0.10"),
    Row("numbers begin anew in January", on_account(statement(0, 100, "3d", "S99", 99), statement(100, 120, "4d", "S1", 1)), "9d", "ok", controls={"bank": "pass"}),
    Row("pages of one day, whatever their names", on_account(statement(0, 100, "3d", "S4/9", 4), statement(100, 70, "3d", "S4/10", 4), 
        statement(70, 50, "4d", "S5", 5)), "9d", "ok", controls={"bank": "pass"}),
)  # fmt: skip

ROWS = (*RECEIPTS, *REFUNDS, *ENTRIES, *DISPUTES, *WRITE_OFFS, *PAYOUTS, *BANK)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_money(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("made", [many.payout, many.receipt], ids=["a payout of charges", "a receipt of invoices"])
def test_a_case_made_of_10_000_is_right_and_so_are_its_parts(made: Callable[[int, int], Iterator[Event]]) -> None:
    lines = [records.encode(event) for event in made(10_000, 10_000)]
    verdicts = [decode(raw) for raw in reconcile(lines, load(None), many.LATE)]
    assert ({verdict.outcome for verdict in verdicts}, len(verdicts)) == ({"ok"}, 10_001)
    short = [records.encode(event) for event in made(1_000, 999)]
    broken = [verdict for verdict in map(decode, reconcile(short, load(None), many.LATE)) if verdict.breaks]
    part_minor = many.PART_MINOR - (many.FEE_MINOR if made is many.payout else 0)
    assert [(found.variance_minor, len(verdict.breaks)) for verdict in broken for found in verdict.breaks] == [
        (part_minor, 1)
    ]


def test_a_case_made_of_many_may_have_more_facts_than_an_invoice() -> None:
    limits = load("[limits]\nfacts_per_case = 3\n[limits.facts_by_kind]\npayout = 5").limits
    assert [limits.facts_of(key) for key in (INVOICE, PAYOUT, RECEIPT)] == [3, 5, 50_000]
    case = Case(PAYOUT, limits.facts_of(PAYOUT))
    for number in range(6):
        case.add(line(f"txn_{number}", "charge", 100))
    assert case.is_over_limit and "more than 5 facts" in judge(case, load(None), after("4d")).controls[0].reason
