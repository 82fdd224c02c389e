"""The comparison of truth and verdicts sees every kind of difference; the figures the company computes are right."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from canonical.money import convert, round_minor
from company.catalogue import CURRENCIES, ENTITIES, PLANS, rate_on, round_half_up, seat_price_minor, tax_minor
from company.compare import compare
from company.faults import FaultRates
from company.truth import CaseTruth, Span

NOW = datetime(2026, 3, 2, tzinfo=UTC)
TRUTH = CaseTruth(
    correlation_id="invoice:acme-us:billing:INV-2026-000001", kind="invoice", entity="acme-us", document="INV-2026-000001",
    customer="C-1", currency="USD", amount_minor=12_000, fault="missing_posting", known_from=NOW - timedelta(days=2),
    hops={"invoice_to_posting": [(NOW - timedelta(days=2), "waiting"), (NOW - timedelta(days=1), "missing")]},
    breaks=[Span("missing_posting", NOW - timedelta(days=1), None, 12_000)],
    failures=[Span("mapping", NOW - timedelta(days=2))],
)  # fmt: skip


MISSING = {"class": "missing_posting", "owner": "integration"}


def verdict(**changes: Any) -> dict[str, Any]:
    return {
        "correlation_id": TRUTH.correlation_id, "outcome": "break", "currency": "USD", "exposure_minor": 12_000,
        "breaks": [MISSING], "hops": [{"name": "invoice_to_posting", "state": "missing"}],
        "failure": "mapping",
    } | changes  # fmt: skip


def differences(*verdicts: dict[str, Any], as_of: datetime = NOW) -> list[str]:
    return compare([TRUTH], map(msgspec.json.encode, verdicts), as_of).differences


def test_agreement_is_no_difference() -> None:
    assert differences(verdict()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"breaks": []}, "missing break missing_posting"),
        ({"breaks": [MISSING, {"class": "tax", "owner": "finance"}]}, "break tax that is none"),
        ({"breaks": [MISSING | {"owner": "platform"}]}, "is platform's, should be integration's"),
        ({"outcome": "ok"}, "outcome is ok, should be break"),
        ({"exposure_minor": 11_999}, "exposure_minor is 11999, should be 12000"),
        ({"currency": "EUR"}, "currency is EUR, should be USD"),
        ({"failure": None}, "failure is None, should be mapping"),
        ({"hops": [{"name": "invoice_to_posting", "state": "late"}]}, "is late, should be missing"),
        ({"hops": []}, "is None, should be missing"),
    ],
    ids=str,
)
def test_each_difference_is_told(changes: dict[str, Any], says: str) -> None:
    (told,) = differences(verdict(**changes))
    assert says in told
    assert "[missing_posting]" in told


def test_a_case_without_a_verdict_is_told() -> None:
    assert "no verdict" in differences()[0]


def test_a_verdict_on_a_case_that_never_was_is_told() -> None:
    assert "never was" in differences(verdict(), verdict(correlation_id="invoice:acme-us:billing:INV-9"))[0]


def test_truth_depends_on_the_moment() -> None:
    earlier = NOW - timedelta(hours=30)
    waiting = verdict(outcome="pending", breaks=[], exposure_minor=0, hops=[{"name": "invoice_to_posting", "state": "waiting"}])  # fmt: skip
    assert differences(waiting, as_of=earlier) == []
    assert differences(verdict(), as_of=earlier) != []


def test_nothing_is_expected_before_the_first_record() -> None:
    assert differences(as_of=NOW - timedelta(days=3)) == []
    assert "before any fact" in differences(verdict(), as_of=NOW - timedelta(days=3))[0]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_base_amounts_are_converted_and_rounded_as_ledgers_do(entity: Any) -> None:
    for currency in CURRENCIES:
        for amount in (1, 999, 12_345, 7_000_001):
            rate = rate_on(739_000 + amount, currency, entity)
            per_base = rate.direction == "document_per_base"
            exact = convert(amount, currency, entity.currency, Decimal(rate.text), per_base=per_base)
            assert rate.base(amount) == round_minor(exact)
            back = convert(amount, entity.currency, currency, Decimal(rate.text), per_base=not per_base)
            assert rate.document(amount) == round_minor(back)


@pytest.mark.parametrize(
    ("value", "unit", "rounded"), [(5, 2, 3), (-5, 2, -3), (4, 2, 2), (1, 3, 0), (2, 3, 1), (-1, 3, 0)]
)
def test_half_is_rounded_away_from_zero(value: int, unit: int, rounded: int) -> None:
    assert round_half_up(value, unit) == rounded


def test_tax_is_the_rate_of_the_net() -> None:
    assert tax_minor(10_000, 19_000) == 1_900
    assert tax_minor(333, 8_875) == 30


def test_prices_are_amounts_that_a_price_list_would_show() -> None:
    whole: Callable[[str], int] = {"JPY": 1, "KWD": 100}.get
    for plan in PLANS:
        for currency in CURRENCIES:
            price = seat_price_minor(plan, currency)
            assert price > 0
            assert price % (whole(currency) or 100) == 0


@pytest.mark.parametrize("rates", [{"wrong_tax": 1.1}, {"malformed": -0.1}, {"wrong_tax": 0.6, "short_payment": 0.6}])
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="rate"):
        FaultRates.only(**rates)
