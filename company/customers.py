"""The company's customers: made up, the same ones for the same seed, each with its habits of paying.

A customer belongs to one entity, is billed in one currency, and has one plan, tax and way of paying. `Customers` draws
them when first asked for, so a company of a million invoices holds only those that were billed.
"""

from random import Random
from typing import NamedTuple

from company.catalogue import ENTITIES, PLANS, Entity, Plan, Tax

_FIRST = (
    "Alder", "Amber", "Anchor", "Arbor", "Aspen", "Beacon", "Birch", "Bluebell", "Bright", "Cairn", "Cedar", "Cinder",
    "Clover", "Cobalt", "Copper", "Coral", "Crane", "Delta", "Dune", "Ember", "Fable", "Falcon", "Fern", "Fjord",
    "Flint", "Foxglove", "Garnet", "Granite", "Harbor", "Hazel", "Heron", "Indigo", "Iris", "Ivory", "Juniper",
    "Kestrel", "Lantern", "Larch", "Larkspur", "Linden", "Lumen", "Maple", "Marble", "Meadow", "Meridian", "Mistral",
    "Nimbus", "North", "Oakfield", "Onyx", "Opal", "Orchard", "Osprey", "Pebble", "Pine", "Prairie", "Quartz", "Quill",
    "Raven", "Ridge", "River", "Rowan", "Saffron", "Sage", "Sierra", "Silver", "Slate", "Sparrow", "Summit",
    "Tamarind", "Teal", "Thistle", "Tidewater", "Umber", "Vale", "Verdant", "Vesper", "Walnut", "Willow", "Wren",
    "Zephyr",
)  # fmt: skip
_SECOND = (
    "Analytics", "Bakery", "Biotech", "Books", "Bridge", "Care", "Cargo", "Clinics", "Cloud", "Coffee", "Design",
    "Dynamics", "Energy", "Farms", "Fabrics", "Foods", "Freight", "Games", "Glass", "Health", "Homes", "Instruments",
    "Insurance", "Interiors", "Labs", "Learning", "Legal", "Lighting", "Logistics", "Marine", "Materials", "Media",
    "Mobility", "Motors", "Music", "Networks", "Optics", "Outdoor", "Packaging", "Partners", "Pharma", "Press",
    "Retail", "Robotics", "Schools", "Security", "Sensors", "Shipping", "Software", "Sports", "Staffing", "Studio",
    "Supply", "Systems", "Textiles", "Tools", "Travel", "Water", "Works",
)  # fmt: skip


class Customer(NamedTuple):
    """`terms_days` is None for customers whose card or account is charged when the invoice is issued."""

    id: str
    erp_id: str
    name: str
    entity: Entity
    currency: str
    tax: Tax
    plan: Plan
    seats: int
    method: str
    terms_days: int | None
    subscription_id: str
    pays_yearly: bool

    @property
    def is_foreign(self) -> bool:
        return self.currency != self.entity.currency


class Customers:
    """`count` customers, drawn on first use. The n-th is the same whoever asks and when."""

    def __init__(self, seed: int, count: int) -> None:
        self._seed = seed
        self.count = max(count, 40)
        self._known: dict[int, Customer] = {}
        self._entities = [entity for entity in ENTITIES for _ in range(entity.share)]

    def __getitem__(self, number: int) -> Customer:
        number %= self.count
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = self._draw(number)
        return known

    def _draw(self, number: int) -> Customer:
        rng = Random(f"{self._seed}:customer:{number}")
        entity = rng.choice(self._entities)
        is_foreign = rng.random() < 0.2
        plan = rng.choices(PLANS, (40, 30, 20, 10))[0]
        method, terms_days = _habits(rng, plan)
        return Customer(
            id=f"C-{10_000 + number}",
            erp_id=f"D{700_000 + number}",
            name=f"{rng.choice(_FIRST)} {rng.choice(_SECOND)} {entity.suffix}",
            entity=entity,
            currency=rng.choice(entity.foreign) if is_foreign else entity.currency,
            tax=Tax("export", "zero-rated", 0) if is_foreign else rng.choice(entity.taxes),
            plan=plan,
            seats=rng.randint(1, plan.most_seats),
            method=method,
            terms_days=terms_days,
            subscription_id=f"SUB-{40_000 + number}",
            pays_yearly=rng.random() < 0.1,
        )


def _habits(rng: Random, plan: Plan) -> tuple[str, int | None]:
    """Small customers pay by card at once, large ones transfer when the invoice is due."""
    if rng.random() < {"starter": 0.9, "team": 0.7, "business": 0.35, "enterprise": 0.05}[plan.name]:
        return rng.choices(("card", "direct_debit"), (8, 2))[0], None
    return "bank_transfer", rng.choice((14, 30, 30, 45))
