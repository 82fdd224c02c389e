"""The life of one order: a quote approved in CRM, and the subscription that billing activates for it, or does not."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from company.bills import price_minor
from company.customers import Customer
from company.facts import Fact
from company.invoices import FAILURES
from company.legs import unsettled
from company.pace import Pace
from company.truth import TERMS, CaseTruth, Span, leg, spans

_HOP = "quote_to_subscription"


class OrderLife:
    def __init__(self, rng: Random, pace: Pace, customer: Customer, at: datetime, serial: int) -> None:
        self.rng, self.pace, self.customer, self.at, self.serial = rng, pace, customer, at, serial
        self.number = f"Q-{at.year}-{serial:06d}"
        self.key = f"order:{customer.entity.name}:crm:{self.number}"
        self.total_minor = price_minor(customer)
        self.facts: list[Fact] = []
        self.activated: Fact | None = None
        self.failed: tuple[str, Fact] | None = None
        self.quote = self.approve()

    def approve(self) -> Fact:
        data = self.data(self.number) | {
            "customer": {"sold_to": self.customer.id},
            "total_minor": self.total_minor,
            "subscription_id": self.customer.subscription_id,
        }
        return self.tell("quote.approved", "crm", f"{self.number}:approved", self.at, data)

    def activate(self, after: tuple[int, int]) -> None:
        document_id = f"{self.customer.subscription_id}-{self.serial}"
        data = self.data(document_id) | {
            "customer": {"sold_to": self.customer.id},
            "total_minor": self.total_minor,
            "quantity": str(self.customer.seats),
            "quote_id": self.number,
        }
        at = self.at + self.within(after)
        self.activated = self.tell("subscription.activated", "billing", f"{document_id}:activated", at, data)

    def fail(self, failure: str) -> None:
        reason = FAILURES[failure].format(plan=self.customer.plan.name, erp_id=self.customer.erp_id)
        data = {
            "entity": self.customer.entity.name, "document_id": self.number, "number": self.number,
            "target": "billing", "operation": "create_subscription", "attempt": 1, "failure": failure,
            "reason": reason.replace("erp", "billing"),
        }  # fmt: skip
        at = self.at + self.within((2, 60))
        fact = self.tell("delivery.failed", "integration", f"{self.number}:billing:failed-1", at, data)
        self.failed = (failure, fact)

    def data(self, document_id: str) -> dict[str, Any]:
        return {
            "entity": self.customer.entity.name, "document_id": document_id, "number": self.number,
            "currency": self.customer.currency, "plan": self.customer.plan.name,
        }  # fmt: skip

    def tell(self, type: str, system: str, ident: str, at: datetime, data: dict[str, Any]) -> Fact:
        fact = Fact(type, system, ident, self.number, at, at, self.rng.random(), data)
        self.facts.append(fact)
        return fact

    def within(self, seconds: tuple[int, int]) -> timedelta:
        return timedelta(milliseconds=self.rng.randrange(seconds[0] * 1_000, seconds[1] * 1_000))

    def truth(self, fault: str) -> CaseTruth:
        terms = TERMS[_HOP]
        ended = (self.activated.booked_at, self.activated.seen_at) if self.activated is not None else ()
        line = leg(self.quote.seen_at, self.at + terms.target, self.at + terms.missing_after, *ended)
        breaks = [
            Span(name, since, until, self.total_minor)
            for name, state in (("sla", "late"), (terms.missing_class, "missing"))
            for since, until in spans(line, state)
        ]
        known_from = min(fact.seen_at for fact in self.facts)
        return CaseTruth(
            correlation_id=self.key, kind="order", entity=self.customer.entity.name, document=self.number,
            customer=self.customer.id, currency=self.customer.currency, amount_minor=self.total_minor, fault=fault,
            known_from=known_from, hops={_HOP: line, "subscription_to_invoice": [(known_from, "not_expected")]}, breaks=breaks,
            failures=[Span(self.failed[0], self.failed[1].seen_at)] if self.failed else [],
            unsettled=unsettled(self.facts),
        )  # fmt: skip


def clean(life: OrderLife) -> None:
    life.activate(life.pace.subscription)


def missing_subscription(life: OrderLife) -> None:
    """Sold, and nobody started to bill it."""


def late_subscription(life: OrderLife) -> None:
    life.activate((4_000, 80_000) if life.rng.random() < 0.7 else (90_000, 250_000))


def subscription_api_failure(life: OrderLife) -> None:
    life.fail(life.rng.choice(tuple(FAILURES)))


STORIES: dict[str, Callable[[OrderLife], None]] = {
    story.__name__: story for story in (clean, missing_subscription, late_subscription, subscription_api_failure)
}
