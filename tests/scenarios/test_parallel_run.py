"""Two ledgers in parallel: differences planted into a new ledger are all found, each under its kind, and none is invented."""

import random
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from canonical.events import Event
from matching.parallel import Found, Outcome, Parallel, Scope
from matching.policy import load
from matching.tieout.basis import period_of
from tests.scenarios.books import after, posting, reversal, tell

ENTRIES = 300
PLANTED_OF_EACH = 5
KINDS = ("missing_in_new", "missing_in_old", "duplicate_in_new", "amount", "tax", "rounding", "base_amount", "account", "role", "period", "customer", "currency")  # fmt: skip
SCOPE = Scope("legacy", "new", "acme-us")


def key(number: int) -> str:
    return f"invoice:acme-us:billing:INV-{number}"


def entry(number: int, ledger: str, **changes: Any) -> dict[str, Any]:
    """A posting's data: 100.00 and its tax, in euros every third time."""
    total, tax = 10_000 + number * 7, 1_000 + number
    rate = 125 if number % 3 == 0 else 100
    roles = {"receivable": total, "tax": -tax, "revenue": tax - total}
    accounts = {"receivable": "1200", "tax": "2200", "revenue": "4000"}
    data = {
        "ledger": ledger, "document_type": "invoice", "posting_kind": "document", "base_currency": "USD",
        "currency": "EUR" if rate != 100 else "USD", "customer": {"sold_to": f"C-{number % 17}"},
        "accounting_date": (date(2026, 3, 2) + timedelta(days=number % 25)).isoformat(),
    }  # fmt: skip
    data["lines"] = [
        {"role": role, "account": accounts[role], "amount_minor": amount, "base_minor": amount * rate // 100}
        for role, amount in roles.items()
    ]
    data["lines"][2]["base_minor"] = -sum(line["base_minor"] for line in data["lines"][:2])
    return data | changes


def booked(number: int, data: dict[str, Any], document: str | None = None) -> Event:
    ledger = data["ledger"]
    return tell("posting.recorded", document or f"{ledger}-{number}", "1h", case=key(number), system=ledger, **data)


def move(data: dict[str, Any], moved: dict[int, int], field: str | None = None) -> dict[str, Any]:
    lines = [dict(line) for line in data["lines"]]
    for at, minor in moved.items():
        for name in (field,) if field else ("amount_minor", "base_minor"):
            lines[at][name] += minor
    return data | {"lines": lines}


def renamed(data: dict[str, Any], at: int, **changes: Any) -> dict[str, Any]:
    lines = [dict(line) for line in data["lines"]]
    lines[at] |= changes
    return data | {"lines": lines}


PLANT = {
    "amount": lambda data: move(data, {0: 500, 2: -500}),
    "tax": lambda data: move(data, {1: 300, 2: -300}),
    "rounding": lambda data: move(data, {0: 1, 2: -1}),
    "base_amount": lambda data: move(data, {0: 250, 2: -250}, "base_minor"),
    "account": lambda data: renamed(data, 2, account="4999"),
    "role": lambda data: renamed(data, 2, role="deferred"),
    "period": lambda data: data | {"accounting_date": "2026-04-01"},
    "customer": lambda data: data | {"customer": {"sold_to": "C-99"}},
    "currency": lambda data: data | {"currency": "GBP"},
}


def two_ledgers(seed: int) -> tuple[dict[str, list[Event]], dict[int, str]]:
    """(facts by case, the kind planted in each entry)."""
    chance = random.Random(seed)
    numbers = chance.sample(range(ENTRIES), PLANTED_OF_EACH * len(KINDS))
    planted = {number: KINDS[at % len(KINDS)] for at, number in enumerate(numbers)}
    cases: dict[str, list[Event]] = {}
    for number in range(ENTRIES):
        kind = planted.get(number, "")
        old, new = entry(number, "legacy"), entry(number, "new")
        facts = []
        if kind != "missing_in_old":
            facts.append(booked(number, old))
        if kind != "missing_in_new":
            facts.append(booked(number, PLANT[kind](new) if kind in PLANT else new))
        if kind == "duplicate_in_new":
            facts.append(booked(number, new, f"again-{number}"))
        chance.shuffle(facts)
        cases[key(number)] = facts
    return cases, planted


def run(cases: dict[str, list[Event]], policy: str = "", now: datetime | None = None, scope: Scope = SCOPE) -> tuple[list[Found], Outcome]:  # fmt: skip
    parallel = Parallel(scope, load(policy), now or after("60d"))
    found = [difference for name, facts in cases.items() for difference in parallel.found(name, facts)]
    return found, parallel.outcome()


@pytest.mark.parametrize("seed", range(5))
def test_every_planted_difference_is_found_and_none_is_invented(seed: int) -> None:
    cases, planted = two_ledgers(seed)
    found, outcome = run(cases)
    assert sorted((difference.case_key, difference.kind) for difference in found) == sorted((key(number), kind) for number, kind in planted.items())  # fmt: skip
    assert outcome.counts == Counter(planted.values())
    assert (outcome.documents, outcome.agreeing) == (
        ENTRIES + PLANTED_OF_EACH,
        ENTRIES - len(planted) + PLANTED_OF_EACH,
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_differences_explain_every_role_to_the_last_cent(seed: int) -> None:
    _, outcome = run(two_ledgers(seed)[0])
    assert {role.residual_minor for role in outcome.roles} == {0}
    assert any(role.new_minor != role.old_minor for role in outcome.roles)


def test_two_equal_ledgers_are_ready() -> None:
    cases = {
        key(number): [booked(number, entry(number, "legacy")), booked(number, entry(number, "new"))]
        for number in range(100)
    }
    found, outcome = run(cases)
    assert (found, outcome.is_ready, outcome.agreeing) == ([], True, 100)


def test_policy_decides_what_a_cut_over_bears() -> None:
    cases, _ = two_ledgers(1)
    kinds = "".join(f"{kind} = {PLANTED_OF_EACH}\n" for kind in KINDS)
    assert run(cases, f"[cutover.most]\n{kinds}")[1].is_ready
    _, outcome = run(cases, f"[cutover.most]\n{kinds}amount = 4\n".replace(f"amount = {PLANTED_OF_EACH}\n", "", 1))
    assert outcome.reasons == ("amount: 5, policy allows 4",)
    assert run({}, "")[1].reasons == ("0 entries compared, policy wants 1",)


def test_accounts_are_compared_through_the_map_of_the_new_chart() -> None:
    new = renamed(renamed(entry(1, "new"), 2, account="400000"), 0, account="120000")
    cases = {key(1): [booked(1, entry(1, "legacy")), booked(1, new)]}
    assert [difference.kind for difference in run(cases)[0]] == ["account", "account"]
    assert run(cases, '[cutover.accounts]\n4000 = "400000"\n1200 = "120000"\n')[0] == []


def test_what_one_ledger_took_back_and_booked_again_is_what_the_other_booked_once() -> None:
    old = [
        posting("100", ledger="legacy"),
        reversal("100", "2m", ledger="legacy"),
        posting("80", "3m", document="je_2", ledger="legacy"),
    ]
    assert run({"": [*old, posting("80", document="je_n", ledger="new")]})[0] == []


def test_an_entry_that_is_not_yet_in_the_other_ledger_is_waited_for() -> None:
    cases = {key(1): [booked(1, entry(1, "legacy"))]}
    found, outcome = run(cases, now=after("2h"))
    assert (found, outcome.waiting, outcome.documents) == ([], 1, 0)
    assert [difference.kind for difference in run(cases, now=after("2d"))[0]] == ["missing_in_new"]


def test_only_what_is_asked_for_is_compared() -> None:
    cases, _ = two_ledgers(2)
    assert run(cases, scope=SCOPE._replace(entity="acme-jp"))[1].documents == 0
    assert run(cases, scope=SCOPE._replace(period=period_of("2026-02")))[1].documents == 0
    assert run(cases, scope=SCOPE._replace(period=period_of("2026-03")))[1].documents == ENTRIES + PLANTED_OF_EACH


def test_order_and_repeated_deliveries_change_nothing() -> None:
    cases, _ = two_ledgers(3)
    again = {name: [*reversed(facts), *facts] for name, facts in reversed(cases.items())}
    found, outcome = run(cases)
    found_again, outcome_again = run(again)
    assert (sorted(found), outcome) == (sorted(found_again), outcome_again)


def test_a_ledger_with_base_amounts_alone_is_compared_in_base() -> None:
    bare = entry(3, "new")
    bare["lines"] = [{name: value for name, value in line.items() if name != "amount_minor"} for line in bare["lines"]]
    del bare["currency"]
    cases = {key(3): [booked(3, entry(3, "legacy")), booked(3, bare)]}
    assert run(cases)[0] == []
    assert [
        f.kind
        for f in run({key(3): [booked(3, entry(3, "legacy")), booked(3, move(bare, {0: 500, 2: -500}, "base_minor"))]})[
            0
        ]
    ] == ["amount"]


def test_a_difference_is_a_record_that_can_be_written() -> None:
    cases, _ = two_ledgers(4)
    found, _ = run(cases)
    assert all(msgspec.json.decode(msgspec.json.encode(difference._asdict())) for difference in found)
