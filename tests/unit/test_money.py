"""Money as integers: the right decimals for each currency, and nothing rounded unseen."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical import money


def _codes(text: str) -> list[str]:
    return text.split()


# ISO 4217 list one of 1 January 2026, written down by hand a second time, by number of decimals.
NO_DECIMALS = _codes("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF")
THREE_DECIMALS = _codes("BHD IQD JOD KWD LYD OMR TND")
FOUR_DECIMALS = _codes("CLF UYW")
TWO_DECIMALS = _codes("""
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP
    COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
    JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN
    NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
    THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
""")
WITHDRAWN = {"ANG", "BGN", "BYR", "CUC", "HRK", "LTL", "LVL", "MRO", "SLL", "STD", "VEF", "ZMK", "ZWL"}
BEFORE_THE_EURO = {"BEF": 0, "ESP": 0, "GRD": 0, "ITL": 0, "LUF": 0, "PTE": 0} | dict.fromkeys(_codes("ATS CYP DEM EEK FIM FRF IEP MTL NLG SIT SKK"), 2)  # fmt: skip


@pytest.mark.parametrize(
    ("decimals", "codes"), [(0, NO_DECIMALS), (2, TWO_DECIMALS), (3, THREE_DECIMALS), (4, FOUR_DECIMALS)]
)
def test_every_currency_has_the_decimals_of_iso_4217(decimals: int, codes: list[str]) -> None:
    assert {code: money.exponent(code) for code in codes} == dict.fromkeys(codes, decimals)


def test_no_currency_is_known_that_iso_4217_does_not_list() -> None:
    listed = {*NO_DECIMALS, *TWO_DECIMALS, *THREE_DECIMALS, *FOUR_DECIMALS}
    assert set(money.EXPONENTS) == listed | WITHDRAWN | BEFORE_THE_EURO.keys()
    assert {code: money.exponent(code) for code in BEFORE_THE_EURO} == BEFORE_THE_EURO
    assert len(listed) == len(NO_DECIMALS) + len(TWO_DECIMALS) + len(THREE_DECIMALS) + len(FOUR_DECIMALS)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("1234", "JPY", 1234),
        ("1234", "KRW", 1234),
        ("1.234", "KWD", 1234),
        ("0.001", "BHD", 1),
        ("37000.1234", "CLF", 370001234),
        ("1.2345", "UYW", 12345),
        ("12.50", "USD", 1250),
        ("12.5", "USD", 1250),
        ("12.5000", "USD", 1250),
        ("1.25e1", "USD", 1250),
        (" 12.50 ", "USD", 1250),
        ("-0.01", "EUR", -1),
        (12, "USD", 1200),
        (Decimal("12.50"), "USD", 1250),
        ("92233720368547758.07", "USD", 2**63 - 1),
        ("-92233720368547758.07", "USD", -(2**63) + 1),
    ],
)
def test_major_units_become_exact_minor_units(amount: str | int | Decimal, currency: str, minor: int) -> None:
    assert money.to_minor(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        pytest.param(10**5000, "USD", id="5001 digits"), ("0.5", "JPY"), ("0.0001", "KWD"), ("0.001", "USD"), ("92233720368547758.08", "USD"),
        ("1.000000000000000000000000000000000000000001", "USD"), ("1e-999999", "USD"), ("1e999999999", "USD"),
        ("1e99999999999999999999", "USD"), ("", "USD"), ("1,234.50", "USD"), ("1_000", "USD"), ("١٢", "USD"),
        ("９", "USD"), ("NaN", "USD"), ("sNaN", "USD"), ("-Infinity", "USD"), ("0x10", "USD"), ("12 USD", "USD"),
        (True, "USD"), (1.5, "USD"), (None, "USD"), ("9" * 5000, "USD"), (Decimal("NaN"), "USD"),
        ("1", "usd"), ("1", "XAU"), ("1", "XXX"), ("1", ""), ("1", "BTC"),
    ],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused_with_a_reason(amount: object, currency: str) -> None:
    with pytest.raises(money.MoneyError) as refused:
        money.to_minor(amount, currency)  # type: ignore[arg-type]
    assert 0 < len(str(refused.value)) < 1200


@given(st.integers(-money.MAX_MINOR, money.MAX_MINOR), st.sampled_from(sorted(money.EXPONENTS)))
def test_minor_to_major_and_back_is_the_same_amount(amount_minor: int, currency: str) -> None:
    assert money.to_minor(money.to_major(amount_minor, currency), currency) == amount_minor
    assert money.to_minor(str(money.to_major(amount_minor, currency)), currency) == amount_minor


@pytest.mark.parametrize(
    ("value", "rounded"), [("0.5", 1), ("-0.5", -1), ("1.5", 2), ("2.5", 3), ("2.4999999999", 2), ("-2.5", -3)]
)
def test_rounding_is_half_away_from_zero_as_ledgers_round(value: str, rounded: int) -> None:
    assert money.round_minor(Decimal(value)) == rounded


def test_a_rate_converts_in_the_direction_it_is_stated() -> None:
    assert money.convert(12000, "EUR", "USD", Decimal("1.25"), per_base=False) == 15000
    assert money.convert(12000, "EUR", "USD", Decimal("0.8"), per_base=True) == 15000


def test_conversion_between_currencies_of_different_decimals_keeps_the_value() -> None:
    assert money.convert(10_000, "USD", "JPY", Decimal(150), per_base=False) == 15_000
    assert money.convert(15_000, "JPY", "KWD", Decimal("0.002"), per_base=False) == 30_000


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity", "-Infinity"])
def test_a_rate_that_is_no_positive_number_is_refused(rate: str) -> None:
    with pytest.raises(money.MoneyError, match="not a positive number"):
        money.convert(1, "USD", "EUR", Decimal(rate), per_base=True)


def test_people_read_amounts_with_separators_and_the_currencys_decimals() -> None:
    assert [money.text(123450, code) for code in ("USD", "JPY", "KWD")] == [
        "1,234.50 USD",
        "123,450 JPY",
        "123.450 KWD",
    ]
