"""Is the document in the ledger exactly once?"""

import pytest

from tests.scenarios.books import (
    Row, applied, check, delivery, invoice, payment, posting, reversal, void,
)  # fmt: skip

PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))

ROWS = (
    # what                                  facts                                          as of   outcome    breaks
    Row("invoice, posting, payment, application tie out",
        (invoice("120.00"), posting("120.00", "1m"), *PAID), "40d", "ok",
        hops={"invoice_to_posting": "met", "invoice_to_payment": "met", "payment_to_application": "met"}),
    Row("posting came before its invoice",
        (invoice("120.00"), posting("120.00", "-5m"), *PAID), "40d", "ok", hops={"invoice_to_posting": "met"}),
    Row("no posting yet, inside the target",
        (invoice("120.00"),), "14m", "pending", hops={"invoice_to_posting": "waiting"}, next_deadline="15m",
        controls={"amount": "not_assessed", "missing_posting": "not_assessed"}),
    Row("no posting at the target: late",
        (invoice("120.00"),), "15m", "break", "sla", "120.00", hops={"invoice_to_posting": "late"}, owner="platform",
        next_deadline="1d"),
    Row("no posting after a day: missing, and no longer merely late",
        (invoice("120.00"),), "1d", "break", "missing_posting", "120.00", hops={"invoice_to_posting": "missing"},
        owner="integration", controls={"sla": "pass", "amount": "not_assessed"}),
    Row("posting arrived late: history, no break",
        (invoice("120.00"), posting("120.00", "20m"), *PAID), "40d", "ok", hops={"invoice_to_posting": "met_late"}),
    Row("the ledger's feed is itself behind: unproven, no break",
        (invoice("120.00"),), "3d", "pending", hops={"invoice_to_posting": "unproven"}, behind={"erp": "10m"}),
    Row("the ledger's feed is behind the missing deadline: late is proven, missing is not",
        (invoice("120.00"),), "3d", "break", "sla", hops={"invoice_to_posting": "late"}, behind={"erp": "1h"}),
    Row("the feed of another source is behind: no excuse",
        (invoice("120.00"),), "3d", "break", "missing_posting", behind={"billing": "10m"}),
    Row("an invoice over nothing expects neither posting nor payment",
        (invoice("0"),), "90d", "ok", hops={"invoice_to_posting": "not_expected", "invoice_to_payment": "not_expected"}),
    # Why it is missing, and whose it is.
    Row("delivery refused for a mapping",
        (invoice("120.00"), delivery("1m", "mapping")), "2d", "break", "missing_posting", owner="integration", failure="mapping"),
    Row("delivery timed out", (invoice("120.00"), delivery("1m", "transient")), "2d", "break", "missing_posting",
        owner="platform", failure="transient"),
    Row("customer unknown in the ledger", (invoice("120.00"), delivery("1m", "master_data")), "2d", "break",
        "missing_posting", owner="finance", failure="master_data"),
    Row("period closed by policy", (invoice("120.00"), delivery("1m", "policy")), "2d", "break", "missing_posting",
        owner="finance", failure="policy"),
    Row("a failed delivery is known while the posting is still in time",
        (invoice("120.00"), delivery("1m", "mapping")), "5m", "pending", failure="mapping"),
    Row("delivered later and still not posted: the old failure is no reason",
        (invoice("120.00"), delivery("1m", "transient"), delivery("2m")), "2d", "break", "missing_posting", owner="integration"),
    Row("failed, then succeeded and posted", (invoice("120.00"), delivery("1m", "transient"), delivery("2m"),
        posting("120.00", "3m"), *PAID), "40d", "ok"),
    Row("a delivery to the payment processor says nothing about the ledger",
        (invoice("120.00"), delivery("1m", "mapping", target="payments"), posting("120.00")), "40d", "pending", failure="mapping",
        hops={"invoice_to_payment": "late"}),
    # Edits.
    Row("edit = reversal and new posting, in one go",
        (invoice("120.00"), posting("110.00"), reversal("110.00", "5m"), posting("120.00", "5m", document="je_2"), *PAID), "40d", "ok",
        hops={"invoice_to_posting": "met"}),
    Row("reversed, and the new posting still to come", (invoice("120.00"), posting("120.00"), reversal("120.00", "2d")),
        "2d+5m", "pending", hops={"invoice_to_posting": "waiting"}, next_deadline="2d+15m"),
    Row("reversed, and nothing booked in its place", (invoice("120.00"), posting("120.00"), reversal("120.00", "2d")),
        "4d", "break", "missing_posting", "120.00"),
    Row("taken back by a posting the other way round, without a link",
        (invoice("120.00"), posting("120.00"), posting("-120.00", "5m", document="je_2")), "4d", "break", "missing_posting"),
    Row("three entries net to one", (invoice("120.00"), posting("130.00"), posting("-130.00", "5m", document="je_2"),
        posting("120.00", "5m", document="je_3"), *PAID), "40d", "ok"),
    # Voids.
    Row("voided and reversed", (invoice("120.00"), posting("120.00"), void("1d"), reversal("120.00", "1d+1m")), "40d", "ok",
        hops={"invoice_to_payment": "not_expected"}),
    Row("voided before it was posted", (invoice("120.00"), void("1m")), "40d", "ok",
        hops={"invoice_to_posting": "not_expected"}),
    Row("voided, the reversal still in time", (invoice("120.00"), posting("120.00"), void("1d")), "1d+5m", "pending",
        next_deadline="1d+15m", controls={"missing_reversal": "not_assessed"}),
    Row("voided, and its posting stands", (invoice("120.00"), posting("120.00"), void("1d")), "2d", "break",
        "missing_reversal", "120.00", controls={"amount": "not_assessed"}),
    Row("voided, and the ledger's feed is behind", (invoice("120.00"), posting("120.00"), void("1d")), "2d", "pending",
        behind={"erp": "1d"}),
    # Duplicates.
    Row("booked twice", (invoice("120.00"), posting("120.00"), posting("120.00", "2m", document="je_2")), "1h", "break",
        "duplicate_posting", "120.00", controls={"amount": "not_assessed", "tax": "not_assessed"}),
    Row("booked three times", (invoice("120.00"), posting("120.00"), posting("120.00", "2m", document="je_2"),
        posting("120.00", "3m", document="je_3")), "1h", "break", "duplicate_posting", "240.00"),
    Row("booked twice, once taken back", (invoice("120.00"), posting("120.00"), posting("120.00", "2m", document="je_2"),
        reversal("120.00", "3m", reverses="je_2"), *PAID), "40d", "ok"),
    Row("one entry of twice the amount is a wrong amount, not a duplicate", (invoice("120.00"), posting("240.00")), "1h",
        "break", "amount", "120.00", controls={"duplicate_posting": "pass"}),
    Row("the same posting delivered twice", (invoice("120.00"), posting("120.00"), posting("120.00"), *PAID), "40d", "ok"),
    Row("one invoice, two document ids", (invoice("120.00"), invoice("120.00", "1h", document="in_2"), posting("120.00"), *PAID),
        "40d", "break", "duplicate_invoice", "120.00"),
    Row("both of two duplicate invoices were booked: one cause, one break", (invoice("120.00"), invoice("120.00", "1h", document="in_2"),
        posting("120.00"), posting("120.00", "2m", document="je_2")), "2h", "break", "duplicate_invoice", "120.00"),
    Row("the second was voided", (invoice("120.00"), invoice("120.00", "1h", document="in_2"), void("2h", "in_2"),
        posting("120.00"), *PAID), "40d", "ok"),
    Row("the second replaces the first", (invoice("110.00"), invoice("120.00", "1h", document="in_2", replaces="in_1"),
        posting("120.00", "1h+1m"), *PAID), "40d", "ok"),
    Row("one invoice told by billing and by the ledger is no duplicate",
        (invoice("120.00"), invoice("120.00", "1m", document="X-9", id="erp:X-9:issued", system="erp"), posting("120.00"), *PAID), "40d", "ok"),
    # Orphans.
    Row("posted, the invoice still to come", (posting("120.00"),), "2h", "pending", next_deadline="1d+1m"),
    Row("posted, and billing never sent an invoice", (posting("120.00"),), "2d", "break", "orphan_posting", "120.00"),
    Row("posted, and billing's feed is behind", (posting("120.00"),), "2d", "pending", behind={"billing": "0"}),
    Row("posted without an invoice and taken back", (posting("120.00"), reversal("120.00", "1h")), "2d", "ok"),
    Row("booked and paid without an invoice: one cause, one break", (posting("120.00"), payment("120.00")), "5d", "break",
        "orphan_posting", "120.00"),
    Row("a revaluation is no second booking", (invoice("120.00"), posting("120.00"),
        posting("5.00", "30d", document="je_2", posting_kind="revaluation"), *PAID), "40d", "ok"),
    Row("the entry of the payment is no second booking", (invoice("120.00"), posting("120.00"),
        posting("-120.00", "1d", document="je_2", document_type="payment"), *PAID), "40d", "ok"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_posting(row: Row) -> None:
    check(row)
