"""What the company is: its entities, what it sells, the taxes it charges and the rates it converts at.

- Everything made up, everything integer: prices and tax in minor units, tax rates in 1/100,000, exchange rates in
  millionths. Rounding is half away from zero.
- Each entity keeps its ledger in its own base currency; some ledgers keep only that (`keeps_document_amounts` False).
"""

from typing import NamedTuple

from canonical.money import exponent

MICRO = 1_000_000
TAX_UNIT = 100_000


class Tax(NamedTuple):
    """`rate` in 1/100,000: 8_875 is 8.875 %."""

    jurisdiction: str
    code: str
    rate: int


class Entity(NamedTuple):
    name: str
    currency: str
    share: int  # of the company's documents, in percent
    taxes: tuple[Tax, ...]
    foreign: tuple[str, ...]
    suffix: str
    keeps_document_amounts: bool = True
    rate_direction: str = "document_per_base"


_US = (
    Tax("US-CA", "sales-ca", 7_250),
    Tax("US-NY", "sales-ny", 8_875),
    Tax("US-TX", "sales-tx", 8_250),
    Tax("US-WA", "sales-wa", 10_350),
    Tax("US-OR", "none", 0),
)
ENTITIES = (
    Entity("acme-us", "USD", 36, _US, ("CAD", "EUR"), "Inc"),
    Entity("acme-de", "EUR", 24, (Tax("DE", "vat-19", 19_000), Tax("FR", "reverse-charge", 0)), ("CHF", "USD"), "GmbH"),
    Entity("acme-uk", "GBP", 16, (Tax("GB", "vat-20", 20_000),), ("EUR", "USD"), "Ltd", True, "base_per_document"),
    Entity("acme-jp", "JPY", 12, (Tax("JP", "ct-10", 10_000),), ("USD",), "KK", False),
    Entity("acme-ch", "CHF", 7, (Tax("CH", "mwst-8.1", 8_100),), ("EUR",), "AG"),
    Entity("acme-kw", "KWD", 5, (Tax("KW", "none", 0),), ("USD",), "WLL"),
)
BASE_CURRENCY = {entity.name: entity.currency for entity in ENTITIES}


class Plan(NamedTuple):
    """`seat_price` in whole US dollars a month."""

    name: str
    seat_price: int
    most_seats: int


PLANS = (Plan("starter", 19, 12), Plan("team", 49, 60), Plan("business", 129, 250), Plan("enterprise", 390, 400))

# Units of a currency for one US dollar, in millionths; about right for 2026, and only that.
_PER_USD = {
    "USD": 1_000_000, "EUR": 921_400, "GBP": 788_300, "JPY": 150_260_000, "KWD": 307_150, "CHF": 879_900,
    "CAD": 1_361_200,
}  # fmt: skip
CURRENCIES = tuple(_PER_USD)


def seat_price_minor(plan: Plan, currency: str) -> int:
    """The list price: a whole amount of the currency, except where that would be coarse (KWD, to a tenth)."""
    step = MICRO // 10 if _PER_USD[currency] < MICRO // 2 else MICRO
    whole = round_half_up(plan.seat_price * _PER_USD[currency], step)
    return int(whole * 10 ** exponent(currency) * step // MICRO)


def tax_minor(net_minor: int, rate: int) -> int:
    return round_half_up(net_minor * rate, TAX_UNIT)


def rate_micro(numerator: str, denominator: str, day: int) -> int:
    """Units of `numerator` for one of `denominator` on a day (its ordinal); wanders by two per cent."""
    wander = (day * 7_919 + sum(map(ord, numerator + denominator)) * 104_729) % 401 - 200
    return _PER_USD[numerator] * MICRO // _PER_USD[denominator] * (10_000 + wander) // 10_000


def rate_text(micro: int) -> str:
    return f"{micro // MICRO}.{micro % MICRO:06d}"


class Rate(NamedTuple):
    """One document's rate to its entity's base currency, as printed: six decimals and no more."""

    currency: str
    base_currency: str
    direction: str
    micro: int

    @property
    def text(self) -> str:
        return rate_text(self.micro)

    def base(self, amount_minor: int) -> int:
        """Base minor units, rounded."""
        scaled = amount_minor * 10 ** exponent(self.base_currency)
        unit = 10 ** exponent(self.currency)
        if self.direction == "document_per_base":
            return round_half_up(scaled * MICRO, unit * self.micro)
        return round_half_up(scaled * self.micro, unit * MICRO)

    def document(self, base_minor: int) -> int:
        """Document minor units of a base amount, rounded."""
        scaled = base_minor * 10 ** exponent(self.currency)
        unit = 10 ** exponent(self.base_currency)
        if self.direction == "document_per_base":
            return round_half_up(scaled * self.micro, unit * MICRO)
        return round_half_up(scaled * MICRO, unit * self.micro)


def rate_on(day: int, currency: str, entity: Entity) -> Rate:
    pair = (currency, entity.currency) if entity.rate_direction == "document_per_base" else (entity.currency, currency)
    return Rate(currency, entity.currency, entity.rate_direction, rate_micro(*pair, day))


def round_half_up(value: int, unit: int) -> int:
    """value / unit to a whole number, half away from zero; unit is positive."""
    sign = -1 if value < 0 else 1
    return sign * ((2 * abs(value) + unit) // (2 * unit))
