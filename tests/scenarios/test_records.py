"""Do the records hold together: customers, entities, conflicting versions, orders, payouts, journals, cut-off?"""

from typing import Any

import pytest

from tests.scenarios.books import (  # fmt: skip
    Row,
    applied,
    check,
    delivery,
    invoice,
    payment,
    posting,
    quote,
    reversal,
    subscription,
    tell,
)

PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))
ALIAS = ({"kind": "customer", "system": "erp", "value": "4711"},)
CUTOFF = "[cutoff]\nis_break = true"
PAYOUT, JOURNAL = "payout:acme-us:stripe:po_1", "summary:acme-us:erp:je_9"


def payout(amount: int):
    return tell("payout.paid", "po_1", "2d", case=PAYOUT, currency="USD", amount_minor=amount)


def line(document: str, kind: str, gross: int, fee: int = 0):
    return tell("settlement.line", document, "1d", case=PAYOUT, kind=kind, currency="USD", gross_minor=gross, fee_minor=fee, net_minor=gross - fee)  # fmt: skip


def journal(rest: str):
    return posting("50.00", case=JOURNAL, document="je_9", document_type="other", posting_kind="manual", rest=rest)


def crosswalk(event: str, customer: str, **more: Any):
    return tell(event, customer, "0", system="crm", **more)


LINES = (line("ch_1", "charge", 10000, 320), line("re_1", "refund", -200), line("dp_1", "dispute", -50, 18))

ROWS = (
    # Customer.
    Row("posted to another customer", (invoice("120.00"), posting("120.00", customer="C-2")), "1h", "break", "customer", "120.00", owner="crm"),
    Row("paid by another customer", (invoice("120.00"), posting("120.00"), payment("120.00", customer="C-2")), "1d+1h", "break", "customer", "120.00"),
    Row("the bill-to of the invoice is the posting's customer", (
        tell("invoice.issued", "in_1", "0", currency="USD", total_minor=12000, direction="sales", customer={"sold_to": "C-9", "bill_to": "C-1"}),
        posting("120.00"), *PAID), "40d", "ok", controls={"customer": "pass"}),
    Row("the ledger's number is an alias on the invoice", (invoice("120.00", refs=ALIAS), posting("120.00", customer="4711"), *PAID), "40d", "ok",
        controls={"customer": "pass"}),
    Row("the posting names no customer: not assessed", (invoice("120.00"), posting("120.00", customer=None), *PAID), "40d", "ok",
        controls={"customer": "not_assessed"}),
    Row("the invoice names no customer: not assessed", (invoice("120.00", customer=None), posting("120.00"), *PAID), "40d", "ok",
        controls={"customer": "not_assessed"}),
    Row("posted to a customer that the crosswalk links", (invoice("120.00"), posting("120.00", customer="4711"), crosswalk("customer.linked", "C-1", refs=ALIAS), *PAID), "40d",
        "ok", controls={"customer": "pass"}),
    Row("posted to a customer that was merged into this one, under its number in the ledger", (invoice("120.00"), posting("120.00", customer="4711"),
        crosswalk("customer.merged", "C-2", merged_into="C-1"), crosswalk("customer.linked", "C-2", refs=ALIAS), *PAID), "40d", "ok", controls={"customer": "pass"}),
    Row("the crosswalk links other customers", (invoice("120.00"), posting("120.00", customer="4711"), crosswalk("customer.linked", "C-9", refs=ALIAS)), "1h", "break",
        "customer", "120.00"),
    # Entity.
    Row("booked in a sister company", (invoice("120.00"), posting("120.00", entity="acme-de")), "1h", "break", "entity", "120.00"),
    Row("a sister company was paid", (invoice("120.00"), posting("120.00"), payment("120.00", entity="acme-de")), "1d+1h", "break", "entity", "120.00"),
    # Conflict.
    Row("one record, two contents", (invoice("120.00"), invoice("130.00"), posting("120.00"), *PAID), "40d", "break", "conflict",
        controls={"conflict": "fail"}),
    Row("one version by two deliveries, two contents", (invoice("120.00", version=3, id="a"), invoice("130.00", version=3, id="b"), posting("120.00"), *PAID),
        "40d", "break", "conflict"),
    Row("one record, sent again with a higher version", (invoice("110.00", version=1), invoice("120.00", version=2), posting("120.00"), *PAID), "40d", "ok"),
    Row("one record, delivered again later", (invoice("120.00"), invoice("120.00", "3d"), posting("120.00"), *PAID), "40d", "ok"),
    # Orders.
    Row("a quote became a subscription", (quote("1200.00"), subscription("10m")), "2d", "ok", hops={"quote_to_subscription": "met"}),
    Row("a quote inside the hour", (quote("1200.00"),), "59m", "pending", hops={"quote_to_subscription": "waiting"}, next_deadline="1h"),
    Row("a quote after the hour", (quote("1200.00"),), "1h", "break", "sla", "1200.00", hops={"quote_to_subscription": "late"}),
    Row("a quote nobody provisioned", (quote("1200.00"),), "1d", "break", "missing_subscription", "1200.00"),
    Row("a quote that billing refused", (quote("1200.00"), delivery("1m", "master_data", target="billing", case="order:acme-us:crm:Q-1")), "1d", "break",
        "missing_subscription", owner="finance", failure="master_data"),
    Row("activated late: history", (quote("1200.00"), subscription("2h")), "2d", "ok", hops={"quote_to_subscription": "met_late"}),
    Row("cancelled before it began", (quote("1200.00"), subscription("2h", "subscription.cancelled")), "2d", "ok"),
    Row("a subscription without a quote", (subscription("0"),), "2d", "ok"),
    Row("an entity with an hour of its own", (quote("1200.00"),), "90m", "pending",
        policy="[hops.quote_to_subscription.entities.acme-us]\ntarget_s = 7200"),
    Row("another entity's hour", (quote("1200.00"),), "90m", "break", "sla", policy="[hops.quote_to_subscription.entities.acme-de]\ntarget_s = 7200"),
    # Payouts, journals.
    Row("a payout of charges, fees, a refund, a dispute", (*LINES, payout(9412)), "3d", "ok"),
    Row("a payout of one charge less its fee", (LINES[0], payout(9680)), "3d", "ok"),
    Row("the same without one line", (*LINES[:2], payout(9412)), "3d", "break", "payout", "0.68"),
    Row("a payout that lists a charge it did not pay", (*LINES, line("ch_2", "charge", 5000), payout(9412)), "3d", "break", "payout", "50.00"),
    Row("a payout whose lines were not supplied", (payout(9412),), "3d", "pending"),
    Row("a manual journal in balance", (journal("50.00"),), "3d", "ok"),
    Row("a manual journal out of balance", (journal("45.00"),), "3d", "break", "amount", "5.00"),
    Row("a customer record", (tell("customer.changed", "C-1", "0", case="index:acme-us:crm:C-1", name="Example Ltd"),), "3d", "ok"),
    # Cut-off: the period of the invoice is March.
    Row("booked on 10 April, inside the grace", (invoice("120.00"), posting("120.00", "40d", accounting_date="2026-03-01"), *PAID), "50d", "ok",
        controls={"cutoff": "pass"}),
    Row("booked into March on 11 April: seen, and no break by default", (invoice("120.00"), posting("120.00", "41d", accounting_date="2026-03-01"), *PAID), "50d", "ok",
        controls={"cutoff": "fail"}),
    Row("booked into March on 11 April, and policy minds", (invoice("120.00"), posting("120.00", "41d", accounting_date="2026-03-01"), *PAID), "50d", "break",
        "cutoff", "120.00", policy=CUTOFF),
    Row("booked into April", (invoice("120.00"), posting("120.00", "1m", accounting_date="2026-04-01"), *PAID), "40d", "break", "cutoff", policy=CUTOFF),
    Row("row 4: booked late, reversed and booked back into its period", (
        invoice("7500.00", accounting_date="2026-02-28"),
        posting("7500.00", "8d", accounting_date="2026-03-09"),
        reversal("7500.00", "8d+1m", accounting_date="2026-03-09"),
        posting("7500.00", "8d+1m", accounting_date="2026-02-28", document="je_2"),
        payment("7500.00"), applied("7500.00")), "40d", "break", "cutoff", "7500.00", policy=CUTOFF),
    # Credits.
    Row("a credit memo booked", (tell("credit_memo.issued", "cn_1", "0", case="credit:acme-us:billing:CN-1", currency="USD", total_minor=5000, direction="sales"),
        posting("-50.00", case="credit:acme-us:billing:CN-1", document_type="credit")), "3d", "ok"),
    Row("a credit memo never booked", (tell("credit_memo.issued", "cn_1", "0", case="credit:acme-us:billing:CN-1", currency="USD", total_minor=5000, direction="sales"),),
        "3d", "break", "missing_posting", "50.00"),
    Row("a credit memo booked as an invoice", (tell("credit_memo.issued", "cn_1", "0", case="credit:acme-us:billing:CN-1", currency="USD", total_minor=5000, direction="sales"),
        posting("50.00", case="credit:acme-us:billing:CN-1", document_type="credit")), "3d", "break", "amount", "100.00"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_record(row: Row) -> None:
    check(row)
