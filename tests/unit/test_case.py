"""A case is a set: what changes it and what does not."""

import pytest

from matching.case import Case
from tests.scenarios.books import INVOICE, case_of, invoice, payment, posting


def test_the_same_fact_again_changes_nothing() -> None:
    case = case_of(invoice("120.00"))
    assert not case.add(invoice("120.00"))
    assert not case.add(invoice("120.00", "3d"))
    assert case.count == 1


def test_an_earlier_delivery_of_the_same_fact_is_kept() -> None:
    case = case_of(invoice("120.00", "1d"))
    assert case.add(invoice("120.00", "0"))
    assert (case.count, case.facts()[0].time) == (1, invoice("120.00", "0").time)


def test_one_id_with_two_contents_is_a_conflict_chosen_by_content() -> None:
    one, other = invoice("120.00"), invoice("130.00")
    first, second = case_of(one, other), case_of(other, one)
    assert first.facts() == second.facts()
    assert first.conflicts() == second.conflicts() == (one.id,)
    assert first.count == 2
    assert not first.add(other)


def test_three_contents_of_one_id_do_not_depend_on_order() -> None:
    contents = [invoice("1.00"), invoice("2.00"), invoice("3.00", "1d"), invoice("3.00", "0")]
    forward, backward = case_of(*contents), case_of(*contents[::-1])
    assert forward.facts() == backward.facts()
    assert forward.count == backward.count == 3


def test_the_higher_version_of_one_id_holds_without_a_conflict() -> None:
    old, new = invoice("120.00", version=1), invoice("130.00", version=2)
    for case in (case_of(old, new), case_of(new, old)):
        assert case.facts() == [new]
        assert case.conflicts() == ()


def test_facts_come_in_order_of_time_whatever_their_arrival() -> None:
    facts = [payment("120.00", "1d"), invoice("120.00", "0"), posting("120.00", "1m")]
    assert [fact.type for fact in case_of(*facts).facts()] == ["invoice.issued", "posting.recorded", "payment.received"]


def test_a_fact_of_another_case_is_a_broken_invariant() -> None:
    with pytest.raises(ValueError, match="belongs to case"):
        Case("invoice:acme-us:billing:INV-2").add(invoice("120.00"))


def test_beyond_its_limit_a_case_lets_its_facts_go_and_says_so() -> None:
    case = Case(INVOICE, 3)
    for number in range(10):
        case.add(payment("1.00", document=f"py_{number}"))
    assert case.is_over_limit
    assert case.facts() == []
    assert case.count == 4


def test_duplicates_do_not_count_towards_the_limit() -> None:
    case = Case(INVOICE, 3)
    for _ in range(10):
        case.add(payment("1.00"))
    assert not case.is_over_limit
