"""Which invoice a receipt pays that does not say so, and what a person's choice means.

Each row of `FOUND` is one receipt in front of open items; of `ROWS` what the choice comes to in the receipt's own case.
Open items of `FOUND` are issued on 1 March and due on 31 March 2026 unless they say otherwise; amounts in major units.
"""

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.events import Event
from canonical.money import to_minor
from matching.effects import effects
from matching.identify import Book, Item, Match, Receipt, Refusal, identify_all
from matching.matches import as_event
from matching.policy import load
from tests.scenarios.books import INVOICE, Row, case_of, check, minor, payment, tell

POLICY = load()
SECOND = "invoice:acme-us:billing:INV-2"
RECEIPT = "receipt:acme-us:bank:py_1"


def item(number: str, amount: str, customer: str | None = "C-1", *, currency: str = "USD", direction: str = "sales", issued: str = "2026-03-01", due: str = "2026-03-31", applied: tuple[tuple[str, str], ...] = (), base: str | None = None) -> Item:  # fmt: skip
    return Item(
        f"invoice:acme-us:billing:{number}", "acme-us", direction, currency, to_minor(amount, currency),
        date.fromisoformat(issued), date.fromisoformat(due), number, (f"in_{number}",), () if customer is None else (customer,),
        tuple((date.fromisoformat(day), to_minor(minor_, currency)) for day, minor_ in applied),
        None if base is None else "CAD", None if base is None else to_minor(base, "CAD"),
    )  # fmt: skip


def receipt(amount: str, text: str | None = None, customer: str | None = None, *, named: str | None = None, currency: str = "USD", direction: str = "sales", on: str = "2026-03-20", home: str = RECEIPT, cleared: str | None = None, bank_line: bool = False) -> Receipt:  # fmt: skip
    day = date.fromisoformat(on)
    return Receipt(
        home, home.rpartition(":")[2], "acme-us", direction, currency, to_minor(amount, currency),
        datetime(day.year, day.month, day.day, tzinfo=UTC), day, () if named is None else (named,), () if text is None else (text,),
        () if customer is None else (customer,), None if cleared is None else "CAD",
        None if cleared is None else to_minor(cleared, "CAD"), bank_line,
    )  # fmt: skip


def payout(number: str, amount: str, *, direction: str = "sales", paid: str = "2026-03-18", missing: str = "2026-03-28") -> Item:  # fmt: skip
    """Paid on 18 March, and missing on the 28th."""
    return Item(
        f"payout:acme-us:stripe:{number}", "acme-us", direction, "USD", to_minor(amount, "USD"), date.fromisoformat(paid),
        date.fromisoformat(missing), number, (number,),
    )  # fmt: skip


class Found(NamedTuple):
    """`pays`: what of the receipt goes to which number; `rule`: who found it, or refused. Nothing and "none": nobody."""

    what: str
    receipt: Receipt
    items: tuple[Item, ...]
    rule: str
    pays: Mapping[str, str] = MappingProxyType({})
    candidates: str = ""


TWO = (item("INV-1", "100.00"), item("INV-2", "50.00"))
TWINS = (item("INV-1", "100.00"), item("INV-2", "100.00"))
PAYOUTS = (payout("po_8Kq", "4711.13"), payout("po_9Xv", "815.21"))
OTHERS = (item("INV-8", "4711.13", "C-8"), item("INV-9", "815.21", "C-9"))

FOUND = (
    Found("the reference is the number", receipt("100.00", "INV-1"), (*TWO, *OTHERS), "reference", {"INV-1": "100.00"}),
    Found("written another way", receipt("100.00", "inv 0001"), TWO, "reference", {"INV-1": "100.00"}),
    Found("a system names the document's id", receipt("30.00", named="in_INV-1"), TWO, "reference", {"INV-1": "30.00"}),
    Found("a part of the invoice, by its customer", receipt("40.00", "INV-1", "C-1"), TWO, "reference", {"INV-1": "40.00"}),
    Found("more than the invoice: the rest stays on account", receipt("140.00", "INV-1", "C-1"), TWO, "reference", {"INV-1": "100.00"}),
    Found("the number stands in a sentence", receipt("100.00", "thank you, paying INV-1 today"), TWO, "text", {"INV-1": "100.00"}),
    Found("two numbers in a sentence", receipt("150.00", "INV-1 and INV-2"), TWO, "text", {"INV-1": "100.00", "INV-2": "50.00"}),
    Found("only the digits, and the amount", receipt("100.00", "invoice 1 of March"), TWO, "text", {"INV-1": "100.00"}),
    Found("a number inside another number is none", receipt("100.00", "order INV-10017"), (item("INV-17", "100.00"),), "text"),
    Found("digits that belong to a date are no number", receipt("100.00", "paid 17.03.2026"), (item("INV-17", "100.00", None), *OTHERS), "amount_date"),
    Found("another entity's digits: INV-2026 is not INV-2026-17", receipt("60.00", "INV-2026-17", "C-1"), (item("INV-2026", "99.00"),), "text"),
    Found("a number mistyped into another customer's", receipt("100.00", "INV-8", "C-1"), (*TWO, *OTHERS), "text"),
    Found("a number mistyped into another one, with nothing beside it", receipt("100.00", "INV-8"), OTHERS, "text"),
    Found("it names what is not open, and an equal one is", receipt("100.00", "INV-7", "C-1"), TWO, "text"),
    Found("two numbers, and no saying how it is split", receipt("120.00", "INV-1, INV-2", "C-1"), TWO, "text", candidates="INV-1 INV-2"),
    Found("the customer and the amount", receipt("50.00", customer="C-1"), (*TWO, *OTHERS), "customer_amount", {"INV-2": "50.00"}),
    Found("two identical open items, one receipt", receipt("100.00", customer="C-1"), TWINS, "customer_amount", candidates="INV-1 INV-2"),
    Found("the same, and the text says which", receipt("100.00", "INV-2", "C-1"), TWINS, "reference", {"INV-2": "100.00"}),
    Found("another customer's amount", receipt("815.21", customer="C-1"), (*TWO, *OTHERS), "none"),
    Found("no customer, an amount like no other, in time", receipt("4711.13"), (*TWO, *OTHERS), "amount_date", {"INV-8": "4711.13"}),
    Found("the same amount long after it was due", receipt("4711.13", on="2026-09-01"), (*TWO, *OTHERS), "none"),
    Found("the same amount before it was issued", receipt("4711.13", on="2026-02-01"), (*TWO, *OTHERS), "none"),
    Found("a round amount proves nothing", receipt("5000.00"), (item("INV-1", "5000.00"),), "amount_date"),
    Found("a small amount proves nothing", receipt("1.23"), (item("INV-1", "1.23"),), "amount_date"),
    Found("all that is open of the customer", receipt("150.00", customer="C-1"), (*TWO, *OTHERS), "combination", {"INV-1": "100.00", "INV-2": "50.00"}),
    Found("all that was due", receipt("150.00", customer="C-1", on="2026-04-02"), (*TWO, item("INV-3", "70.00", due="2026-05-01")), "combination", {"INV-1": "100.00", "INV-2": "50.00"}),
    Found("one sum of many", receipt("9133.85", customer="C-1"), (item("INV-1", "4711.13"), item("INV-2", "4422.72"), item("INV-3", "9818.07"), item("INV-4", "8000.01")), "combination", {"INV-1": "4711.13", "INV-2": "4422.72"}),
    Found("one sum of round amounts may be chance", receipt("700.00", customer="C-1"), (item("INV-1", "500.00"), item("INV-2", "200.00"), item("INV-3", "900.00"), item("INV-4", "300.00")), "combination"),
    Found("two sums", receipt("9000.00", customer="C-1"), (item("INV-1", "4000.01"), item("INV-2", "4999.99"), item("INV-3", "3000.02"), item("INV-4", "5999.98"), item("INV-5", "1.07")), "combination", candidates="INV-1 INV-2 INV-3 INV-4"),
    Found("settled in the ledger that day by this amount", receipt("100.00"), (item("INV-1", "100.00", applied=(("2026-03-20", "100.00"),)), item("INV-2", "100.00", applied=(("2026-03-22", "100.00"),))), "application", {"INV-1": "100.00"}),
    Found("two settled that day by this amount", receipt("100.00"), tuple(item(n, "100.00", applied=(("2026-03-20", "100.00"),)) for n in ("INV-1", "INV-2")), "application", candidates="INV-1 INV-2"),
    Found("settled in the ledger by another payment", receipt("100.00", customer="C-1", on="2026-03-01"), (item("INV-1", "100.00", applied=(("2026-03-20", "100.00"),)),), "none"),
    Found("paid in the ledger's currency, cleared at what it was carried at", receipt("132.10", on="2026-03-20", currency="CAD", cleared="130.43"), (item("INV-1", "100.00", base="130.43", applied=(("2026-03-20", "100.00"),)),), "application", {"INV-1": "132.10"}),
    Found("cleared at another amount", receipt("132.10", "INV-1", on="2026-03-20", currency="CAD", cleared="130.44"), (item("INV-1", "100.00", base="130.43"),), "text"),
    Found("another currency, the same figure", receipt("100.00", "INV-1", currency="EUR"), TWO, "text"),
    Found("yen have no decimals", receipt("1234567", currency="JPY"), (item("INV-1", "1234567", currency="JPY"),), "amount_date", {"INV-1": "1234567"}),
    Found("dinars have three", receipt("4711.135", "INV-1", currency="KWD"), (item("INV-1", "4711.135", currency="KWD"),), "reference", {"INV-1": "4711.135"}),
    Found("what was paid out pays no sales invoice", receipt("100.00", "INV-1", direction="purchase"), TWO, "text"),
    Found("a payout by its amount, in time", receipt("4711.13", bank_line=True), PAYOUTS, "amount_date", {"po_8Kq": "4711.13"}),
    Found("a payout by its name in the text, and its amount", receipt("815.21", "STRIPE po_9Xv", bank_line=True), (*PAYOUTS, payout("po_7", "815.21")), "text", {"po_9Xv": "815.21"}),
    Found("a payout whose name is the reference", receipt("815.21", "po_9Xv", bank_line=True), (*PAYOUTS, payout("po_7", "815.21")), "reference", {"po_9Xv": "815.21"}),
    Found("two payouts of one amount", receipt("815.21", "STRIPE", bank_line=True), (*PAYOUTS, payout("po_7", "815.21")), "amount_date", candidates="po_7 po_9Xv"),
    Found("a payout and an invoice of one amount", receipt("4711.13", bank_line=True), (*PAYOUTS, *OTHERS), "amount_date", candidates="INV-8 po_8Kq"),
    Found("a line before the payout", receipt("4711.13", on="2026-03-17", bank_line=True), PAYOUTS, "none"),
    Found("a line after the payout counts as missing", receipt("4711.13", on="2026-03-29", bank_line=True), PAYOUTS, "none"),
    Found("a customer's payment is no payout", receipt("4711.13"), PAYOUTS, "none"),
    Found("a line of another amount that names a payout", receipt("800.00", "po_9Xv", bank_line=True), PAYOUTS, "text"),
    Found("a payout that takes money from the bank", receipt("4711.13", direction="purchase", bank_line=True), (payout("po_1", "4711.13", direction="purchase"), *PAYOUTS), "amount_date", {"po_1": "4711.13"}),
    Found("a purchase", receipt("100.00", "B-77", direction="purchase"), (item("B-77", "100.00", direction="purchase"),), "reference", {"B-77": "100.00"}),
)  # fmt: skip


def number(key: str) -> str:
    return key.rpartition(":")[2]


@pytest.mark.parametrize("row", FOUND, ids=lambda row: row.what)
def test_receipt_finds_what_it_pays(row: Found) -> None:
    (decided,) = identify_all(Book(POLICY.identification, row.items), [row.receipt])
    pays = decided.parts if isinstance(decided, Match) else ()
    assert (decided.rule, {number(p.target): p.amount_minor for p in pays}) == (
        row.rule, {name: to_minor(amount, row.receipt.currency) for name, amount in row.pays.items()},
    ), decided  # fmt: skip
    candidates = decided.candidates if isinstance(decided, Refusal) else ()
    assert " ".join(map(number, candidates)) == row.candidates
    assert len(decided.digest) == 32
    assert Book(POLICY.identification, row.items).identify(row.receipt) == decided, "alone it is decided alike"


def several(*receipts: Receipt, items: tuple[Item, ...]) -> dict[str, Any]:
    return {each.receipt.payment_id: each for each in identify_all(Book(POLICY.identification, items), receipts)}


def test_two_receipts_for_one_item_are_both_refused() -> None:
    found = several(
        receipt("100.00", customer="C-1", home="receipt:x:y:a"), receipt("100.00", customer="C-1", home="receipt:x:y:b"),
        items=TWO,
    )  # fmt: skip
    assert [each.is_ambiguous for each in found.values()] == [True, True]


def test_the_second_receipt_that_names_an_invoice_takes_nothing_of_it_and_no_other() -> None:
    found = several(
        receipt("100.00", "INV-1", "C-1", home="receipt:x:y:a"),
        receipt("100.00", "INV-1", "C-1", home="receipt:x:y:b", on="2026-03-21"), items=TWINS,
    )  # fmt: skip
    assert isinstance(found["a"], Match) and isinstance(found["b"], Refusal)


def test_what_one_takes_makes_the_others_choice_a_clear_one() -> None:
    found = several(
        receipt("100.00", customer="C-1", home="receipt:x:y:a"),
        receipt("100.00", "INV-2", "C-1", home="receipt:x:y:b"), items=TWINS,
    )  # fmt: skip
    assert {name: number(each.parts[0].target) for name, each in found.items()} == {"a": "INV-1", "b": "INV-2"}


def test_a_bank_line_does_not_take_what_a_receipt_pays() -> None:
    found = several(
        receipt("100.00", "INV-1", home="summary:x:y:a", bank_line=True), receipt("100.00", "INV-1", home="receipt:x:y:b"), items=TWO,
    )  # fmt: skip
    assert isinstance(found["b"], Match) and isinstance(found["a"], Refusal)


def test_split_payments_use_an_invoice_up_and_the_rest_stays_on_account() -> None:
    found = several(
        *(receipt("40.00", "INV-1", "C-1", home=f"receipt:x:y:{n}", on=f"2026-03-1{n}") for n in (1, 2, 3)), items=TWO,
    )  # fmt: skip
    assert [sum(part.amount_minor for part in getattr(each, "parts", ())) for each in found.values()] == [
        4000,
        4000,
        2000,
    ]


_ITEMS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["50.00", "100.00", "150.00", "4711.13"]), st.sampled_from(["C-1", "C-2", None])),
    max_size=6, unique_by=lambda drawn: drawn[0],
)  # fmt: skip
_RECEIPTS = st.lists(
    st.tuples(st.sampled_from(["50.00", "100.00", "150.00", "4711.13", "200.00"]), st.sampled_from([None, "INV-1", "for INV-2", "INV-1 INV-3"]), st.sampled_from(["C-1", "C-2", None])),
    max_size=6,
)  # fmt: skip


@given(_ITEMS, _RECEIPTS, st.randoms(use_true_random=False))
def test_choices_do_not_depend_on_order_and_take_no_more_than_there_is(
    drawn: list[Any], asked: list[Any], dice: random.Random
) -> None:
    items = [item(f"INV-{number_}", amount, customer) for number_, amount, customer in drawn]
    receipts = [receipt(a, t, c, home=f"receipt:x:y:{place}") for place, (a, t, c) in enumerate(asked)]
    decided = identify_all(Book(POLICY.identification, items), receipts)
    dice.shuffle(items)
    dice.shuffle(receipts)
    assert identify_all(Book(POLICY.identification, items), receipts) == decided
    open_minor = {each.key: each.open_minor for each in items}
    for match in (each for each in decided if isinstance(each, Match)):
        assert sum(part.amount_minor for part in match.parts) <= match.receipt.amount_minor
        for part in match.parts:
            open_minor[part.target] -= part.settled_minor
    assert min(open_minor.values(), default=0) >= 0


# --- What a choice comes to in the receipt's case -----------------------------------------------------------------------

MONEY = payment("100.00", case=RECEIPT, customer="C-1")


def tieout(items: tuple[Item, ...], revision: int = 1, amount: str = "100.00", **more: Any) -> Event:
    (decided,) = identify_all(Book(POLICY.identification, items), [receipt(amount, customer="C-1", **more)])
    return as_event(decided, POLICY.hash, revision)


def person(name: str, *targets: tuple[str, str], version: int | None = None, at: str = "2d", **more: Any) -> Event:
    parts = [{"target": target, "amount_minor": minor(amount, "USD")} for target, amount in targets]
    more = {"document": f"choice-{name}"} | more
    return tell(
        "match.made", more.pop("document"), at, case=RECEIPT, system="dashboard", actor=name, rule="person", payment_id="py_1",
        invoice_ids=[], allocations=parts, version=version, **more,
    )  # fmt: skip


ALIKE = tieout(TWINS)
ONE = tieout((TWINS[0],))
MARY, PAUL = person("mary", (INVOICE, "100.00"), version=1), person("paul", (SECOND, "100.00"), version=2)

ROWS = (
    Row("tieout found what it pays", (MONEY, ONE), "40d", "ok", controls={"ambiguous_match": "pass", "unapplied_cash": "pass"}),
    Row("nobody found what it pays", (MONEY,), "40d", "break", "unapplied_cash", "100.00", controls={"ambiguous_match": "not_applicable"}),
    Row("two identical open items, one receipt", (MONEY, ALIKE), "1d", "break", "ambiguous_match", "100.00", owner="finance"),
    Row("two identical open items, and nobody chose for long", (MONEY, ALIKE), "40d", "break", "ambiguous_match", "100.00"),
    Row("a person chose among them", (MONEY, ALIKE, MARY), "40d", "ok", controls={"ambiguous_match": "pass"}),
    Row("two people match at once, one wins", (MONEY, ALIKE, MARY, PAUL), "40d", "ok", controls={"ambiguous_match": "pass"}),
    Row("a person says it stays on account", (MONEY, ALIKE, person("mary")), "40d", "break", "unapplied_cash", "100.00"),
    Row("a person chose for a part of it", (MONEY, person("mary", (INVOICE, "60.00"))), "40d", "break", "unapplied_cash", "40.00"),
    Row("a choice of more than the payment does not hold", (MONEY, ALIKE, person("mary", (INVOICE, "100.01"))), "40d", "break", "ambiguous_match", "100.00"),
    Row("the bank took it back before anybody chose", (MONEY, ALIKE, payment("100.00", "2d", event="payment.returned", case=RECEIPT)), "40d", "ok",
        controls={"ambiguous_match": "pass"}),
    Row("a clear choice once the other item was paid", (MONEY, ALIKE, tieout((TWINS[0],), 2)), "40d", "ok"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_choice(row: Row) -> None:
    check(row)


def pays(*facts: Event) -> dict[str, int]:
    return {number(effect.target): effect.amount_minor for effect in effects(case_of(*facts), POLICY)}


def test_the_invoice_is_told_its_part() -> None:
    assert pays(MONEY, ONE) == {"INV-1": 10_000}
    assert pays(ONE) == {}, "a choice about money that is not there tells nothing"


def test_a_persons_choice_wins_over_tieouts_whenever_it_comes() -> None:
    assert pays(MONEY, ONE, PAUL) == pays(MONEY, PAUL, ONE) == {"INV-1": 0, "INV-2": 10_000}
    assert pays(MONEY, PAUL, tieout((TWINS[0],), 9)) == {"INV-1": 0, "INV-2": 10_000}


def test_of_two_people_the_first_wins_and_the_other_is_told_why() -> None:
    from matching.matches import choices_among

    assert pays(MONEY, PAUL, MARY) == {"INV-1": 10_000, "INV-2": 0}
    (refused,) = choices_among([MONEY, PAUL, MARY]).refused
    assert (refused.choice.data.actor, refused.reason) == ("paul", "mary had chosen already")


def test_who_changes_his_mind_says_so_at_a_higher_version() -> None:
    changed = person("mary", (SECOND, "100.00"), version=3)
    assert pays(MONEY, MARY, changed) == {"INV-1": 0, "INV-2": 10_000}


def test_money_that_was_taken_back_pays_nothing() -> None:
    assert pays(MONEY, ONE, payment("100.00", "2d", event="payment.returned", case=RECEIPT)) == {"INV-1": 0}


def test_of_tieouts_own_choices_the_higher_revision_holds() -> None:
    assert pays(MONEY, tieout((TWINS[1],), 2), ONE) == {"INV-1": 0, "INV-2": 10_000}
