"""Was the invoice paid once, in full, and was the money applied?"""

import pytest

from tests.scenarios.books import INVOICE, Row, applied, check, invoice, payment, posting, tell, verdict_of, void

SOLD = (invoice("100.00"), posting("100.00"))
AHEAD = (payment("100.00", "1d"), invoice("100.00", "5d"), posting("100.00", "5d"))
RECEIPT = "receipt:acme-us:bank:py_1"
STRIPE = "invoice:acme-us:stripe:in_1"
NO_APPLICATION = "[expect.billing]\napplication = false"


def back(event: str, amount: str, at: str, document: str = "py_1"):
    return payment(amount, at, event=event, document=document)


ROWS = (
    # The invoice's clock: due 31 March, missing 30 days after.
    Row("unpaid inside its terms", SOLD, "20d", "pending", hops={"invoice_to_payment": "waiting"}, next_deadline="30d+12h"),
    Row("unpaid after the due date: late, and no break", SOLD, "31d", "pending", hops={"invoice_to_payment": "late"}),
    Row("unpaid a month after the due date", SOLD, "61d", "break", "missing_payment", "100.00", hops={"invoice_to_payment": "missing"}),
    Row("unpaid, and policy wants to know of lateness", SOLD, "31d", "break", "sla", "100.00",
        policy="[hops.invoice_to_payment]\nlate_is_break = true"),
    Row("the invoice's own due date holds", (invoice("100.00", due_date="2026-03-11"), posting("100.00")), "10d+12h", "pending",
        hops={"invoice_to_payment": "late"}),
    Row("paid on the due date, late in the evening", (*SOLD, payment("100.00", "30d+11h"), applied("100.00", "31d")), "40d", "ok",
        hops={"invoice_to_payment": "met"}),
    Row("paid a day late: history", (*SOLD, payment("100.00", "30d+12h"), applied("100.00", "31d")), "40d", "ok", hops={"invoice_to_payment": "met_late"}),
    Row("the processor's feed is behind", SOLD, "61d", "pending", hops={"invoice_to_payment": "unproven"}, behind={"payments": "10d"}),
    # Short, over, twice.
    Row("paid in part, inside the terms", (*SOLD, payment("60.00"), applied("60.00")), "20d", "pending"),
    Row("paid in part, overdue", (*SOLD, payment("60.00"), applied("60.00")), "31d", "break", "short_payment", "40.00"),
    Row("paid in part, long overdue: still one break", (*SOLD, payment("60.00"), applied("60.00")), "90d", "break", "short_payment", "40.00",
        hops={"invoice_to_payment": "missing"}, controls={"missing_payment": "not_assessed"}),
    Row("paid in two parts", (*SOLD, payment("60.00"), payment("40.00", "5d", document="py_2"), applied("60.00"),
        applied("40.00", "5d+1h", document="ap_2")), "40d", "ok", hops={"invoice_to_payment": "met"}),
    Row("paid too much", (*SOLD, payment("105.00"), applied("100.00")), "2d", "break", "overpayment", "5.00"),
    Row("charged twice", (*SOLD, payment("100.00"), payment("100.00", "2d", document="py_2"), applied("100.00")), "3d", "break",
        "duplicate_payment", "100.00", controls={"overpayment": "not_assessed"}),
    Row("charged twice, one refunded", (*SOLD, payment("100.00"), payment("100.00", "2d", document="py_2"),
        back("refund.issued", "100.00", "3d", "re_1"), applied("100.00")), "4d", "ok"),
    Row("charged twice, the refund failed", (*SOLD, payment("100.00"), payment("100.00", "2d", document="py_2"),
        back("refund.issued", "100.00", "3d", "re_1"), back("refund.failed", "100.00", "4d", "re_1"), applied("100.00")), "5d", "break",
        "duplicate_payment"),
    Row("three halves are too much, not twice", (*SOLD, payment("50.00"), payment("50.00", document="py_2"), payment("50.00", document="py_3"),
        applied("100.00")), "2d", "break", "overpayment", "50.00"),
    Row("the webhook told the payment twice", (*SOLD, payment("100.00"), payment("100.00", "1d+1m"), applied("100.00")), "40d", "ok"),
    Row("the debit came back", (*SOLD, payment("100.00"), back("payment.returned", "100.00", "5d", "ret_1"), applied("100.00"),
        applied("100.00", "5d", event="cash.unapplied", document="un_1")), "61d", "break", "missing_payment", "100.00"),
    Row("the payment failed after it had been reported", (*SOLD, payment("100.00"), back("payment.failed", "100.00", "2d")), "61d", "break",
        "missing_payment"),
    Row("failed first, then paid", (*SOLD, back("payment.failed", "100.00", "12h"), payment("100.00"), applied("100.00")), "40d", "ok"),
    Row("only attempts, none came through", (*SOLD, back("payment.failed", "100.00", "12h", "py_1"), back("payment.failed", "100.00", "2d", "py_2")),
        "61d", "break", "missing_payment"),
    Row("paid, and the invoice was voided", (invoice("100.00"), void("2d"), payment("100.00")), "5d", "break", "overpayment", "100.00"),
    Row("money the other way is not a payment of this", (*SOLD, payment("100.00", direction="purchase")), "61d", "break", "missing_payment"),
    # What reduces the open amount.
    Row("the rest was withheld as tax", (*SOLD, payment("90.00"), applied("90.00"), applied("10.00", kind="withholding", document="ap_2")), "40d", "ok"),
    Row("the rest was credited", (*SOLD, payment("90.00"), applied("90.00"), applied("10.00", kind="credit", document="ap_2")), "40d", "ok"),
    Row("the rest was written off", (*SOLD, payment("90.00"), applied("90.00"), applied("10.00", "35d", kind="write_off", document="ap_2")), "40d", "ok"),
    Row("the bank kept its fee", (*SOLD, payment("97.00"), applied("97.00"), applied("3.00", kind="fee", document="ap_2")), "40d", "ok"),
    Row("settled by a deposit alone", (*SOLD, applied("100.00", kind="deposit")), "40d", "ok"),
    Row("settled by a credit alone", (*SOLD, applied("100.00", kind="credit")), "40d", "ok"),
    Row("a credit for a part, nothing paid", (*SOLD, applied("10.00", kind="credit")), "61d", "break", "missing_payment", "90.00"),
    Row("a write-off beside a full payment is too much", (*SOLD, payment("100.00"), applied("90.00"),
        applied("10.00", kind="write_off", document="ap_2")), "2d", "break", "overpayment", "10.00"),
    Row("books that keep applications and no payments", (*SOLD, applied("100.00")), "40d", "ok",
        hops={"invoice_to_payment": "met", "payment_to_application": "not_expected"}),
    # Application.
    Row("paid, not applied yet", (*SOLD, payment("100.00")), "1d+3h", "pending", hops={"payment_to_application": "waiting"}, next_deadline="1d+4h"),
    Row("paid, not applied after four hours", (*SOLD, payment("100.00")), "1d+4h", "break", "sla", "100.00", hops={"payment_to_application": "late"}),
    Row("paid, never applied", (*SOLD, payment("100.00")), "3d", "break", "missing_application", "100.00", owner="finance"),
    Row("applied late: history", (*SOLD, payment("100.00"), applied("100.00", "1d+5h")), "3d", "ok", hops={"payment_to_application": "met_late"}),
    Row("applied in part, and the rest forgotten", (*SOLD, payment("100.00"), applied("70.00")), "4d", "break", "unapplied_cash", "30.00"),
    Row("applied, then unapplied", (*SOLD, payment("100.00"), applied("100.00"), applied("100.00", "2d", event="cash.unapplied", document="un_1")),
        "4d", "break", "missing_application", "100.00"),
    Row("paid ahead: there is an invoice to apply it to since the fifth day", AHEAD, "5d+3h", "pending",
        hops={"payment_to_application": "waiting"}, next_deadline="5d+4h"),
    Row("paid ahead, and not applied in time", AHEAD, "5d+4h", "break", "sla", hops={"payment_to_application": "late"}),
    Row("paid ahead, never applied", AHEAD, "7d", "break", "missing_application", "100.00"),
    Row("paid ahead, applied in time", (*AHEAD, applied("100.00", "5d+1h")), "5d+1h", "ok",
        hops={"payment_to_application": "met", "invoice_to_payment": "met"}),
    Row("no applications expected of this system", (*SOLD, payment("100.00")), "4d", "ok", policy=NO_APPLICATION),
    # Orphans.
    Row("paid, the invoice still to come", (payment("100.00"),), "1d+5h", "pending", next_deadline="2d"),
    Row("paid, and nobody issued it", (payment("100.00"),), "2d", "break", "orphan_payment", "100.00"),
    Row("paid and refunded, and nobody issued it", (payment("100.00"), back("refund.issued", "100.00", "1d+1h", "re_1")), "3d", "ok"),
    Row("applied to an invoice nobody issued", (applied("100.00"),), "3d", "break", "orphan_application", "100.00"),
    Row("nothing but a note that billing was reached", (tell("delivery.succeeded", "in_1", "0", target="crm", operation="create"),), "90d", "pending"),
    # Receipts: payments that name no invoice.
    Row("a receipt that names no invoice", (payment("100.00", case="receipt:acme-us:bank:py_1"),), "2d", "pending", next_deadline="3d"),
    Row("a receipt that nobody identified", (payment("100.00", case="receipt:acme-us:bank:py_1"),), "3d", "break", "unapplied_cash", "100.00"),
    Row("a receipt of a system that does not apply", (payment("100.00", case="receipt:acme-us:xero:py_1"),), "90d", "ok"),
    Row("a card payment of Stripe, which applies its own", (payment("100.00", case="receipt:acme-us:stripe:py_1"),), "90d", "ok",
        controls={"unapplied_cash": "not_applicable"}),
    Row("a card payment of Stripe that was refunded in part", (payment("100.00", case="receipt:acme-us:stripe:py_1"),
        payment("40.00", "2d", event="refund.issued", document="re_1", case="receipt:acme-us:stripe:py_1")), "90d", "ok"),
    Row("Stripe says paid, its charge lies in a case of its own", (invoice("100.00", case=STRIPE), posting("100.00", case=STRIPE),
        applied("100.00", case=STRIPE)), "40d", "ok", hops={"invoice_to_payment": "met", "payment_to_application": "not_expected"},
        controls={"orphan_application": "pass", "orphan_payment": "not_applicable", "duplicate_payment": "not_applicable"}),
    Row("Stripe's payment names its invoice and is applied by Stripe itself", (invoice("100.00", case=STRIPE), posting("100.00", case=STRIPE),
        payment("100.00", case=STRIPE)), "40d", "ok", hops={"invoice_to_payment": "met", "payment_to_application": "not_expected"}),
    Row("a receipt in yen applied to an invoice in dollars", (payment("15000", case=RECEIPT, currency="JPY"),
        applied("100.00", case=RECEIPT, from_currency="JPY", from_amount_minor=15000)), "90d", "ok"),
    Row("a receipt in euros, half of it applied to an invoice in dollars", (payment("100.00", case=RECEIPT, currency="EUR"),
        applied("108.00", case=RECEIPT, from_currency="EUR", from_amount_minor=5000)), "90d", "break", "unapplied_cash", "50.00"),
    Row("a receipt applied in another currency that does not say what it took", (payment("100.00", case=RECEIPT, currency="EUR"),
        applied("108.00", case=RECEIPT)), "90d", "break", "unapplied_cash", "100.00"),
    Row("a receipt that was refunded", (payment("100.00", case="receipt:acme-us:bank:py_1"),
        payment("100.00", "2d", event="refund.issued", document="re_1", case="receipt:acme-us:bank:py_1")), "90d", "ok"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_payment(row: Row) -> None:
    assert all(
        fact.correlationid in (INVOICE, STRIPE) or fact.correlationid.startswith("receipt:") for fact in row.facts
    )
    check(row)


def test_cash_applied_without_its_payment_is_not_called_nothing_received() -> None:
    row = Row("books that keep applications and no payments", (*SOLD, applied("100.00")), "40d", "ok")
    reasons = {control.name: control.reason for control in verdict_of(row).controls}
    assert reasons["duplicate_payment"] == "cash was applied; the payments behind it were not supplied"


def test_nobody_waited_for_a_payment_that_came_ahead_of_its_invoice() -> None:
    hops = {hop.name: hop for hop in verdict_of(Row("", (*AHEAD, applied("100.00", "5d+1h")), "6d", "ok")).hops}
    assert hops["invoice_to_payment"].latency_s == 0
