"""By when is a leg due, where offices close, ledgers run at night and each entity and ledger has its own clock?"""

import pytest

from tests.scenarios.books import Row, after, applied, check, invoice, payment, posting

# 1 March 2026 is a Sunday; Berlin is an hour ahead of UTC.
BERLIN = """
[calendars.berlin]
kind = "business"
zone = "Europe/Berlin"
weekend = ["saturday", "sunday"]
holidays = [2026-04-03, 2026-04-06]
opens = "09:00"
closes = "17:00"
[calendars.nightly]
kind = "batch"
zone = "Europe/Berlin"
runs = ["02:00", "04:00"]
days = ["tuesday", "wednesday", "thursday", "friday", "saturday"]
takes_s = 3_600
"""
OFFICE = BERLIN + "[hops.invoice_to_posting]\ncalendar = 'berlin'\n"
NIGHTLY = BERLIN + "[hops.invoice_to_posting]\ncalendar = 'nightly'\n"
OTHERS_NIGHTLY = BERLIN + "[hops.invoice_to_posting.entities.acme-de]\ncalendar = 'nightly'\n"
LOCAL_NIGHTLY = BERLIN + "[hops.invoice_to_posting.ledgers.local]\ncalendar = 'nightly'\n"
OURS_LOCALLY = LOCAL_NIGHTLY + "[hops.invoice_to_posting.entities.acme-us.ledgers.local]\ncalendar = 'elapsed'\n"
DUE_DAYS = BERLIN + "[hops.invoice_to_payment]\ncalendar = 'berlin'\n"
BOUGHT = {"due_date": "2026-04-03"}  # Good Friday; after the weekend and Easter Monday comes Tuesday 7 April
# From the day after START a document is late after an hour, no longer after a quarter of one; by April a cent may differ.
SINCE_MONDAY = """
[[version]]
valid_from = 2026-03-02
[version.hops.invoice_to_posting]
target_s = 3_600
[[version]]
valid_from = 2026-04-01
[version.tolerance]
amount_minor = 1
"""
# Two ledgers, one of them of acme-de alone, one in batches.
LEDGERS = """
[ledgers.main]
[ledgers.local]
[ledgers.group]
invoice = "summary"
[ledgers.tax_de]
entities = ["acme-de"]
"""
NOWHERE = '[ledgers.main]\ninvoice = "none"'
GROUPED = '[ledgers.group]\ninvoice = "summary"'
WORKING_DAYS = BERLIN + "[cutoff]\nis_break = true\n[cutoff.entities.acme-us]\ncalendar = 'berlin'\ngrace_days = 3\n"
PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))
TWO_LEDGERS = (invoice("120.00"), posting("120.00", "5m", ledger="main", document="p1"))

ROWS = (
    Row("business hours: nothing is late on a Sunday",
        (invoice("120.00"),), "20h+14m", "pending", policy=OFFICE, hops={"invoice_to_posting": "waiting"},
        next_deadline="20h+15m"),
    Row("business hours: late a quarter of an hour after the office opened",
        (invoice("120.00"),), "20h+15m", "break", "sla", policy=OFFICE, hops={"invoice_to_posting": "late"}),
    Row("business hours: missing after three working days of eight hours, not after one day",
        (invoice("120.00"),), "3d+3h+59m", "break", "sla", policy=OFFICE, hops={"invoice_to_posting": "late"},
        next_deadline="3d+4h"),
    Row("business hours: missing after three working days",
        (invoice("120.00"),), "3d+4h", "break", "missing_posting", policy=OFFICE),
    Row("business hours: posted before the office opened is met, with nothing late",
        (invoice("120.00"), posting("120.00", "19h"), *PAID), "40d", "ok", policy=OFFICE, hops={"invoice_to_posting": "met"}),
    Row("nightly run: waiting until the end of the first run and the grace",
        (invoice("120.00"),), "1d+14h+14m", "pending", policy=NIGHTLY, hops={"invoice_to_posting": "waiting"},
        next_deadline="1d+14h+15m"),
    Row("nightly run: what the run did not bring is late",
        (invoice("120.00"),), "1d+14h+15m", "break", "sla", policy=NIGHTLY),
    Row("nightly run: booked while a run is under way, due with the next",
        (invoice("120.00", "1d+13h+1m"),), "1d+15h", "pending", policy=NIGHTLY, next_deadline="1d+16h+15m"),
    Row("another entity's clock is not ours",
        (invoice("120.00"),), "15m", "break", "sla", policy=OTHERS_NIGHTLY),
    Row("a ledger of its own clock: posted there by the end of its run",
        (*TWO_LEDGERS, posting("120.00", "1d+14h", ledger="local", document="p2"), *PAID), "40d", "ok",
        policy=LOCAL_NIGHTLY, hops={"invoice_to_posting": "met"}),
    Row("the same hour is late where that ledger has the clock of the others",
        (*TWO_LEDGERS, posting("120.00", "1d+14h", ledger="local", document="p2"), *PAID), "40d", "ok",
        hops={"invoice_to_posting": "met_late"}),
    Row("an entity's word on a ledger holds before the ledger's own",
        (*TWO_LEDGERS, posting("120.00", "1d+14h", ledger="local", document="p2"), *PAID), "40d", "ok",
        policy=OURS_LOCALLY, hops={"invoice_to_posting": "met_late"}),
    Row("due on a holiday: the next working day will do, to its end in Berlin",
        (invoice("120.00", **BOUGHT), posting("120.00", "1m")), "37d+9h+59m", "pending", policy=DUE_DAYS,
        hops={"invoice_to_payment": "waiting"}, next_deadline="37d+10h"),
    Row("due on a holiday, and nobody works on: as stated",
        (invoice("120.00", **BOUGHT), posting("120.00", "1m")), "33d+12h", "pending", hops={"invoice_to_payment": "late"}),
    Row("due on a holiday, paid on the next working day: in time",
        (invoice("120.00", **BOUGHT), posting("120.00", "1m"), payment("120.00", "37d+1h"), applied("120.00", "37d+2h")),
        "40d", "ok", policy=DUE_DAYS, hops={"invoice_to_payment": "met"}),
    Row("due on a holiday, paid a day after the next working day: late",
        (invoice("120.00", **BOUGHT), posting("120.00", "1m"), payment("120.00", "38d"), applied("120.00", "38d+1h")),
        "40d", "ok", policy=DUE_DAYS, hops={"invoice_to_payment": "met_late"}),
    Row("two ledgers expected: in both, tied out",
        (*TWO_LEDGERS, posting("120.00", "10m", ledger="local", document="p2"), *PAID), "40d", "ok", policy=LEDGERS,
        hops={"invoice_to_posting": "met"}),
    Row("two ledgers expected: one of them waits",
        (*TWO_LEDGERS, *PAID), "14m", "pending", policy=LEDGERS, hops={"invoice_to_posting": "waiting"}),
    Row("two ledgers expected: one of them never had it",
        (*TWO_LEDGERS, *PAID), "40d", "break", "missing_posting", "120.00", policy=LEDGERS,
        hops={"invoice_to_posting": "missing"}, controls={"amount": "pass"}),
    Row("one ledger will do where none is named", (*TWO_LEDGERS, *PAID), "40d", "ok"),
    Row("two ledgers expected, and late in one of them",
        (*TWO_LEDGERS, posting("120.00", "20m", ledger="local", document="p2"), *PAID), "40d", "ok", policy=LEDGERS,
        hops={"invoice_to_posting": "met_late"}),
    Row("booked in no ledger, by policy", (invoice("120.00"), *PAID), "40d", "ok", policy=NOWHERE,
        hops={"invoice_to_posting": "not_expected"}),
    Row("booked by batches alone, and it names none", (invoice("120.00"), *PAID), "40d", "pending", policy=GROUPED,
        hops={"invoice_to_posting": "not_expected"}, controls={"missing_posting": "not_assessed"}),
    Row("booked by batches alone: the batch answers for it", (invoice("120.00", summary_key="summary:acme-us:erp:D-1"), *PAID), "40d", "ok", policy=GROUPED,
        hops={"invoice_to_posting": "not_expected"}, controls={"missing_posting": "not_applicable"}),
    Row("it names a batch, and policy wants an entry of its own beside",
        (invoice("120.00", summary_key="summary:acme-us:erp:D-1"), *PAID), "40d", "break", "missing_posting", policy=LEDGERS),
    Row("an entity's books close on its third working day: booked that evening",
        (invoice("120.00"), posting("120.00", "37d+9h", accounting_date="2026-03-31"), *PAID), "40d", "ok", policy=WORKING_DAYS, controls={"cutoff": "pass"}),
    Row("an entity's books close on its third working day: booked the day after",
        (invoice("120.00"), posting("120.00", "37d+11h", accounting_date="2026-03-31"), *PAID), "40d", "break", "cutoff", policy=WORKING_DAYS),
    Row("booked before a new policy holds: the old target, whenever it is looked at",
        (invoice("120.00"), posting("120.00", "30m"), *PAID), "40d", "ok", policy=SINCE_MONDAY,
        hops={"invoice_to_posting": "met_late"}),
    Row("booked since a new policy holds: its target",
        (invoice("120.00", "1d"), posting("120.00", "1d+30m"), *PAID), "40d", "ok", policy=SINCE_MONDAY,
        hops={"invoice_to_posting": "met"}),
    Row("dated before and booked since: when it was booked counts, for clocks run from there",
        (invoice("120.00", recorded_at=after("1d")), posting("120.00", "1d+30m"), *PAID), "40d", "ok", policy=SINCE_MONDAY,
        hops={"invoice_to_posting": "met"}),
    Row("amended after a new policy holds: the case started before",
        (invoice("120.00"), invoice("120.01", "32d", event="invoice.amended", document="in_1", version=2), posting("120.00", "30m"),
         payment("120.01", "33d"), applied("120.01", "33d+1h")), "40d", "break", "amount", policy=SINCE_MONDAY),
    Row("of a version, what the one before it said still holds",
        (invoice("120.01", "32d"), posting("120.00", "32d+30m"), payment("120.01", "33d"), applied("120.01", "33d+1h")),
        "60d", "ok", policy=SINCE_MONDAY, hops={"invoice_to_posting": "met"}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_a_leg_is_due_by_its_own_clock(row: Row) -> None:
    check(row)
