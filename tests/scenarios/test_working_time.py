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
