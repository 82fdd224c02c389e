"""Two ids of one customer, linked in the customer's own case: shown there, and taken for one where a document is compared."""

import msgspec
import pytest

from canonical.events import Event
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, decode
from streams.batch import reconcile
from tests.scenarios.books import INVOICE, after, applied, invoice, payment, posting, tell
from tests.scenarios.test_aliases import cases_of

ASKS = "[expect.billing]\ncrosswalk = true"
BILLING, ERP, CRM = "index:acme-us:billing:C-1", "index:acme-us:erp:4711", "index:acme-us:crm:001"
PAID = (payment("120.00"), applied("120.00"))
ELSEWHERE = (invoice("120.00"), posting("120.00", customer="4711"), *PAID)  # billing's C-1 is the ledger's 4711


def ids(*named: tuple[str, str]) -> list[dict[str, str]]:
    return [{"kind": "customer", "system": system, "value": value} for system, value in named]


def linked(system: str, customer: str, *others: tuple[str, str], at: str = "2d", event: str = "customer.linked", **more: str) -> Event:  # fmt: skip
    return tell(event, customer, at, case=f"index:acme-us:{system}:{customer}", system=system, refs=ids(*others) or None, **more)  # fmt: skip


IN_LEDGER = linked("billing", "C-1", ("erp", "4711"))
BY_CRM = linked("crm", "001", ("billing", "C-1"), ("erp", "4711"))
MERGED = linked("billing", "C-2", event="customer.merged", merged_into="C-1")

SETTLED = {
    "linked by the system that issues the invoice": (IN_LEDGER,),
    "linked by the ledger": (linked("erp", "4711", ("billing", "C-1")),),
    "linked by a third system": (BY_CRM,),
    "linked before the invoice was issued": (linked("billing", "C-1", ("erp", "4711"), at="-9d"),),
    "merged into the invoice's customer, and linked as it was": (MERGED, linked("billing", "C-2", ("erp", "4711"))),
}
NOT_SETTLED = {
    "nobody links them": (),
    "others are linked": (linked("billing", "C-9", ("erp", "4712")),),
    "one of the two is linked to another": (linked("billing", "C-1", ("erp", "4712")),),
    "a sister company links them": (
        tell(
            "customer.linked",
            "C-1",
            "2d",
            case="index:acme-de:billing:C-1",
            entity="acme-de",
            refs=ids(("erp", "4711")),
        ),
    ),
}


def verdicts(*facts: Event, policy: str = ASKS) -> dict[str, Verdict]:
    found = map(decode, reconcile([msgspec.json.encode(fact) for fact in facts], load(policy), after("40d")))
    return {verdict.correlation_id: verdict for verdict in found}


def outcome(verdict: Verdict) -> tuple[str, str]:
    return verdict.outcome, " ".join(found.class_ for found in verdict.breaks)


def customer(verdict: Verdict) -> str:
    return next(control.reason for control in verdict.controls if control.name == "customer")


@pytest.mark.parametrize("told", SETTLED.values(), ids=SETTLED)
def test_a_link_in_the_customers_own_case_settles_the_invoice(told: tuple[Event, ...]) -> None:
    found = verdicts(*ELSEWHERE, *told)
    assert outcome(found[INVOICE]) == ("ok", "")
    assert customer(found[INVOICE]) == "every side that names a customer names the same one"


@pytest.mark.parametrize("told", NOT_SETTLED.values(), ids=NOT_SETTLED)
def test_what_links_others_settles_nothing(told: tuple[Event, ...]) -> None:
    assert outcome(verdicts(*ELSEWHERE, *told)[INVOICE]) == ("break", "customer")


@pytest.mark.parametrize("told", (*SETTLED.values(), *NOT_SETTLED.values()), ids=(*SETTLED, *NOT_SETTLED))
def test_a_stream_settles_on_what_files_say(told: tuple[Event, ...]) -> None:
    policy = load(ASKS)
    streamed = {
        key: judge(case, policy, after("40d")) for key, case in cases_of(*told, *ELSEWHERE, policy=policy).items()
    }
    assert streamed == verdicts(*ELSEWHERE, *told)


def test_each_of_the_ids_shows_what_it_is_known_as() -> None:
    found = verdicts(BY_CRM, policy="")
    assert {key: (*outcome(verdict), customer(verdict)) for key, verdict in found.items()} == {
        CRM: ("ok", "", "the crosswalk joins 001 to 4711, C-1"),
        BILLING: ("ok", "", "the crosswalk joins C-1 to 001, 4711"),
        ERP: ("ok", "", "the crosswalk joins 4711 to 001, C-1"),
    }


def test_one_that_was_merged_is_shown_with_the_one_that_survives() -> None:
    found = verdicts(MERGED, policy="")
    assert customer(found[BILLING]) == "the crosswalk joins C-1 to C-2"
    assert customer(found["index:acme-us:billing:C-2"]) == "the crosswalk joins C-2 to C-1"


def test_nobody_is_asked_where_policy_does_not_say_so() -> None:
    found = verdicts(*ELSEWHERE, IN_LEDGER, policy="")
    assert outcome(found[INVOICE]) == ("break", "customer")
    assert set(verdicts(*ELSEWHERE, policy="")) == {INVOICE}


def test_nobody_is_asked_where_customers_agree() -> None:
    assert set(verdicts(invoice("120.00"), posting("120.00"), *PAID)) == {INVOICE}
