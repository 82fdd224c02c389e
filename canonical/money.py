"""Money as integers.

- An amount is an `int` of minor units of an ISO 4217 currency; its range is that of a signed 64-bit integer.
- The number of decimals comes from ISO 4217 (JPY and KRW none, KWD and BHD three), never from habit.
- No float is ever accepted. Rounding happens only in functions whose name says so, half away from zero.

Source of EXPONENTS: ISO 4217 list one (currencies and funds; codes without a minor unit, such as metals, left out) and
list three as far back as 2012, and what the euro replaced: old books keep the codes they were written in. The decimals of the
latter are those that Java's and SAP's currency tables give: no pesetas, escudos or lire were ever divided in books.
"""

from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, InvalidOperation, localcontext

MAX_MINOR = 2**63 - 1

_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN "
    "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_FUNDS_TWO = "BOV CHE CHW COU MXV USN XAD"
_WITHDRAWN_NONE = "BYR BEF ESP GRD ITL LUF PTE"
_WITHDRAWN_TWO = "ANG BGN CUC HRK LTL LVL MRO SLL STD VEF ZMK ZWL ATS CYP DEM EEK FIM FRF IEP MTL NLG SIT SKK"

EXPONENTS: dict[str, int] = {
    code: exponent
    for codes, exponent in (
        (f"{_NONE} {_WITHDRAWN_NONE}", 0),
        (f"{_TWO} {_FUNDS_TWO} {_WITHDRAWN_TWO}", 2),
        (_THREE, 3),
        (_FOUR, 4),
    )
    for code in codes.split()
}
# Wide enough that no amount is rounded on the way to being checked.
_EXACT = Context(prec=2_000, Emax=MAX_EMAX, Emin=MIN_EMIN)
_MAX_CHARS = 1_000


class MoneyError(ValueError):
    """An amount or currency that cannot be represented exactly; the message names what and why."""


def exponent(currency: str) -> int:
    """Decimals of a currency. Raises MoneyError for a code that ISO 4217 does not list."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise MoneyError(f"unknown currency {currency!r}: not an ISO 4217 code") from None


def to_minor(amount: str | int | Decimal, currency: str) -> int:
    """Major units ("12.50", 12, Decimal) to minor units, exactly.

    Raises MoneyError where the amount is no number, has more decimals than the currency, or leaves 64 bits.
    """
    scaled = _decimal(amount).scaleb(exponent(currency), _EXACT)
    if scaled.copy_abs() > MAX_MINOR:
        raise MoneyError(f"amount {amount} {currency} is outside 64-bit minor units")
    if scaled != scaled.to_integral_value():
        raise MoneyError(f"amount {amount} has more decimals than {currency} has ({exponent(currency)})")
    return int(scaled)


def to_major(amount_minor: int, currency: str) -> Decimal:
    """Minor units to an exact Decimal of major units."""
    return Decimal(amount_minor).scaleb(-exponent(currency))


def text(amount_minor: int, currency: str) -> str:
    """For people: "1,234.50 USD"."""
    return f"{to_major(amount_minor, currency):,} {currency}"


def round_minor(value: Decimal) -> int:
    """Half away from zero, as ledgers do."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def convert(amount_minor: int, currency: str, base_currency: str, rate: Decimal, *, per_base: bool) -> Decimal:
    """Amount in base minor units, unrounded.

    per_base: the rate is document currency per one base unit (base = amount / rate, Xero's way); otherwise base
    currency per one document unit (base = amount * rate). Raises MoneyError for a rate of zero or less.
    """
    if not rate.is_finite() or rate <= 0:
        raise MoneyError(f"exchange rate {rate} is not a positive number")
    with localcontext(prec=50):
        scaled = Decimal(amount_minor).scaleb(exponent(base_currency) - exponent(currency))
        return scaled / rate if per_base else scaled * rate


def _decimal(amount: str | int | Decimal) -> Decimal:
    if isinstance(amount, bool) or not isinstance(amount, (str, int, Decimal)):
        raise MoneyError(f"amount {amount!r} is not a decimal string or integer")
    if isinstance(amount, int) and abs(amount) > MAX_MINOR:
        raise MoneyError("amount is outside 64-bit minor units")
    if isinstance(amount, str) and (len(amount) > _MAX_CHARS or "_" in amount or not amount.isascii()):
        raise MoneyError(f"amount {amount[:40]!r} is not a plain decimal number")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise MoneyError(f"amount {amount!r} is not a number") from None
    if not value.is_finite():
        raise MoneyError(f"amount {amount!r} is not finite")
    return value
