"""Who may say what: systems of record, and the versions of contracts that policy accepts."""

import msgspec
import pytest

from canonical import structs
from canonical.dead_letters import DeadLetter
from canonical.events import Event
from matching.policy import PolicyError, load
from matching.verdict import decode
from streams.batch import reconcile
from tests.scenarios.books import Row, after, applied, check, invoice, payment, posting, subscription, tell

PAID = (posting("120.00"), payment("120.00"), applied("120.00"))
BILLING = '[systems_of_record]\ninvoice = ["billing"]\n"invoice.due_date" = ["erp", "billing"]'
CRM = '[systems_of_record]\nsubscription = ["crm"]\ncustomer = ["crm"]'
VERSION_1 = '[contracts]\n"invoice.issued" = [1]'
VERSION_2 = '[contracts]\n"invoice.issued" = [2]\n"posting.recorded" = [1]'


def copy(total: str, at: str = "1h", **more: object) -> Event:
    """The ledger's copy of the invoice."""
    return invoice(total, at, document="X-9", id=f"erp:X-9:{at}", system="erp", **more)  # type: ignore[arg-type]


CUSTOMER = "index:acme-us:crm:C-1"


def named(name: str, system: str, at: str = "0") -> Event:
    return tell("customer.changed", "C-1", at, case=CUSTOMER, system=system, id=f"{system}:C-1:{at}", name=name)


ROWS = (
    Row("billing alone speaks of its invoice", (invoice("120.00"), *PAID), "40d", "ok", policy=BILLING, controls={"system_of_record": "pass"}),
    Row("policy names no system of record", (invoice("120.00"), copy("130.00"), *PAID), "40d", "ok", controls={"system_of_record": "not_applicable"}),
    Row("the ledger's copy says the same", (invoice("120.00"), copy("120.00"), *PAID), "40d", "ok", policy=BILLING, controls={"system_of_record": "pass"}),
    Row("the ledger's copy has another total", (invoice("120.00"), copy("130.00"), *PAID), "40d", "break", "system_of_record", "10.00", owner="integration",
        policy=BILLING),
    Row("the copy was corrected since", (invoice("120.00"), copy("130.00"), copy("120.00", "2h", version=1), *PAID), "40d", "ok", policy=BILLING),
    Row("the invoice was amended, and the copy may still follow", (invoice("120.00"), posting("120.00"), copy("120.00"), invoice("130.00", "1d", event="invoice.amended")), "1d+10m",
        "pending", policy=BILLING, controls={"system_of_record": "not_assessed"}),
    Row("the ledger may set the due date", (invoice("120.00", due_date="2026-03-31"), copy("120.00", due_date="2026-04-15"), *PAID), "40d", "ok", policy=BILLING),
    Row("the ledger moved the due date, which billing masters", (invoice("120.00", due_date="2026-03-31"), copy("120.00", due_date="2026-04-15"), *PAID), "40d",
        "break", "system_of_record", "0.00", policy='[systems_of_record]\ninvoice = ["billing"]'),
    Row("the copy says less than the invoice", (invoice("120.00", tax="20.00"), copy("120.00"), *PAID), "40d", "ok", policy=BILLING),
    Row("billing renamed a customer that the CRM masters", (named("Example Ltd", "crm"), named("Exempel AB", "billing", "1d")), "2d", "break", "system_of_record",
        policy=CRM),
    Row("the CRM renamed it as well", (named("Example Ltd", "crm"), named("Exempel AB", "billing", "1d"), named("Exempel AB", "crm", "1d+1h")), "2d", "ok",
        policy=CRM),
    Row("nobody who masters it has said anything", (subscription("0", plan="team"),), "2d", "ok", policy=CRM, controls={"system_of_record": "not_applicable"}),
    # Contracts.
    Row("invoices under version 1, which policy accepts", (invoice("120.00"), *PAID), "40d", "ok", policy=VERSION_1, controls={"contract": "pass"}),
    Row("invoices under version 1, and policy accepts version 2 alone", (invoice("120.00"), *PAID), "40d", "break", "contract", "120.00", policy=VERSION_2),
    Row("payments alone, of which policy says nothing", (payment("100.00", case="receipt:acme-us:stripe:py_1"),), "90d", "ok", policy=VERSION_2,
        controls={"contract": "not_applicable"}),
    Row("postings under version 1, which policy accepts", (posting("120.00"),), "2h", "pending", policy=VERSION_2, controls={"contract": "pass"}),
    Row("no version of a type is accepted any more", (subscription("0"),), "2d", "break", "contract", policy='[contracts]\n"subscription.activated" = []'),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_governance(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[contracts]\n"invoice.sent" = [1]', "no such type of event"),
        ('[systems_of_record]\nbill = ["billing"]', "no such document or field"),
        ('[systems_of_record]\n"invoice.total" = ["billing"]', "no such document or field"),
    ],
)
def test_policy_names_documents_and_contracts_that_there_are(text: str, wrong: str) -> None:
    with pytest.raises(PolicyError, match=wrong):
        load(text)


REFUSE = '[door]\ncontracts = "refuse"\n'
REFUSED = {
    "invoices of version 2 alone are accepted": (VERSION_2, invoice("120.00")),
    "no version of a type is accepted": ('[contracts]\n"subscription.activated" = []', subscription("0")),
    "from the day on which version 1 ends": ("[[version]]\nvalid_from = 2026-03-01\n[version.contracts]\n'invoice.issued' = [2]", invoice("120.00")),
}  # fmt: skip
LET_IN = {
    "version 1 is accepted": (VERSION_1, invoice("120.00")),
    "policy says nothing of the type": (VERSION_2, payment("120.00")),
    "before the day on which version 1 ends": ("[[version]]\nvalid_from = 2026-03-02\n[version.contracts]\n'invoice.issued' = [2]", invoice("120.00")),
}  # fmt: skip


@pytest.mark.parametrize(("contracts", "event"), REFUSED.values(), ids=REFUSED)
def test_a_contract_that_policy_refuses_at_the_door_is_a_dead_letter(contracts: str, event: Event) -> None:
    (letter,), cases = at_the_door(event, REFUSE + contracts)
    assert (letter.failure, cases) == ("policy", [])
    assert f"{event.type} came under urn:tieout:{event.type}:1, policy accepts version" in letter.reason
    assert at_the_door(event, contracts) == ([], [event.correlationid]), "let in where policy does not refuse it"


@pytest.mark.parametrize(("contracts", "event"), LET_IN.values(), ids=LET_IN)
def test_what_policy_accepts_passes_the_door(contracts: str, event: Event) -> None:
    assert at_the_door(event, REFUSE + contracts) == ([], [event.correlationid])


def at_the_door(event: Event, policy: str) -> tuple[list[DeadLetter], list[str]]:
    """Dead letters and cases."""
    letters: list[DeadLetter] = []
    lines = [msgspec.json.encode(event)]
    found = reconcile(lines, load(policy), after("1m"), lambda _line, _original, letter: letters.append(letter))
    return letters, [decode(verdict).correlation_id for verdict in found]


def test_a_contract_version_that_nobody_knows_is_no_fact() -> None:
    known = msgspec.json.encode(invoice("120.00"))
    with pytest.raises(structs.RecordError, match=r"invoice.issued:2 is not one that policy accepts"):
        structs.decode(known.replace(b"urn:tieout:invoice.issued:1", b"urn:tieout:invoice.issued:2"))
