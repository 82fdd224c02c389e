"""What one invoice is for: customer, lines, tax, total and rate. All values; nothing has happened yet."""

from datetime import date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from company.catalogue import Rate, rate_on, seat_price_minor, tax_minor
from company.customers import Customer


class Bill(NamedTuple):
    customer: Customer
    currency: str
    net_minor: int
    discount_minor: int
    tax_minor: int
    rate: Rate | None
    issued_on: date
    due_on: date

    @property
    def total_minor(self) -> int:
        return self.net_minor + self.tax_minor

    def base(self, amount_minor: int) -> int:
        return self.rate.base(amount_minor) if self.rate is not None else amount_minor

    @property
    def ledger_keeps_document_amounts(self) -> bool:
        return self.rate is None or self.customer.entity.keeps_document_amounts


def price_minor(customer: Customer) -> int:
    """One billing period of the customer's subscription, before discount and tax."""
    return seat_price_minor(customer.plan, customer.currency) * customer.seats * (12 if customer.pays_yearly else 1)


def draw_bill(rng: Random, customer: Customer, at: datetime, is_free: bool) -> Bill:
    list_minor = 0 if is_free else price_minor(customer)
    discount_minor = list_minor * rng.choice((5, 10, 15)) // 100 if rng.random() < 0.25 else 0
    net_minor = list_minor - discount_minor
    day = at.date()
    return Bill(
        customer=customer,
        currency=customer.currency,
        net_minor=net_minor,
        discount_minor=discount_minor,
        tax_minor=tax_minor(net_minor, customer.tax.rate),
        rate=rate_on(day.toordinal(), customer.currency, customer.entity) if customer.is_foreign else None,
        issued_on=day,
        due_on=day + timedelta(days=customer.terms_days or 0),
    )


def invoice_data(bill: Bill, number: str, document_id: str) -> dict[str, Any]:
    customer = bill.customer
    data: dict[str, Any] = {
        "entity": customer.entity.name,
        "document_id": document_id,
        "number": number,
        "version": 1,
        "accounting_date": bill.issued_on,
        "customer": {"sold_to": customer.id, "bill_to": customer.id},
        "refs": [{"kind": "customer", "system": "erp", "value": customer.erp_id}],
        "currency": bill.currency,
        "total_minor": bill.total_minor,
        "tax_minor": bill.tax_minor,
        "direction": "sales",
        "due_date": bill.due_on,
        "subscription_id": customer.subscription_id,
        "reason": "recurring",
        "service_period": {"start": bill.issued_on, "end": _period_end(bill)},
        "lines": _lines(bill),
        "tax_lines": [_tax_line(bill)],
    }
    if bill.rate is not None:
        data["base_currency"] = bill.rate.base_currency
        data["base_total_minor"] = bill.base(bill.total_minor)
        data["rate"] = bill.rate.text
        data["rate_direction"] = bill.rate.direction
    return data


def _period_end(bill: Bill) -> date:
    return bill.issued_on + timedelta(days=364 if bill.customer.pays_yearly else 29)


def _lines(bill: Bill) -> list[dict[str, Any]]:
    customer = bill.customer
    lines = [
        {
            "amount_minor": bill.net_minor + bill.discount_minor,
            "description": f"{customer.plan.name} plan, {customer.seats} seats",
            "product": customer.plan.name,
            "quantity": str(customer.seats),
            "tax_code": customer.tax.code,
        }
    ]
    if bill.discount_minor:
        lines.append({"amount_minor": -bill.discount_minor, "description": "discount", "tax_code": customer.tax.code})
    return lines


def _tax_line(bill: Bill) -> dict[str, Any]:
    tax = bill.customer.tax
    return {
        "amount_minor": bill.tax_minor,
        "code": tax.code,
        "jurisdiction": tax.jurisdiction,
        "rate": f"{tax.rate // 1_000}.{tax.rate % 1_000:03d}",
        "base_minor": bill.net_minor,
    }
