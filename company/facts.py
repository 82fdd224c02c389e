"""Facts of one case on their way: what a system tells, when it happened, when it was booked, when it is delivered.

`body` is a canonical event as JSON. It is built from plain values for speed; a test shows that every body passes the
door (canonical.records).
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from canonical.contracts import dataschema

_encoder = msgspec.json.Encoder()

# How long a system's records take to arrive, in milliseconds, least and most.
_TRANSIT_MS = {
    "crm": (300, 4_000), "billing": (200, 3_000), "erp": (500, 8_000), "payments": (200, 2_000),
    "bank": (1_000, 30_000), "integration": (200, 2_000), "tieout": (100, 1_000),
}  # fmt: skip


class Fact:
    """`at` is when it happened, `booked_at` when its system recorded it, `seen_at` when it is delivered first."""

    __slots__ = ("at", "booked_at", "data", "id", "is_delivered", "seen_at", "source", "subject", "type")

    def __init__(
        self, type: str, system: str, ident: str, subject: str, at: datetime, booked_at: datetime, transit: float,
        data: dict[str, Any],
    ) -> None:  # fmt: skip
        least, most = _TRANSIT_MS[system]
        self.type = type
        self.source = f"{system}/{data['entity']}"
        self.id = f"{system}:{ident}"
        self.subject = subject
        self.at = at
        self.booked_at = booked_at
        self.seen_at = booked_at + timedelta(milliseconds=int(least + (most - least) * transit))
        self.is_delivered = True
        self.data = data
        if booked_at != at:
            data["recorded_at"] = booked_at

    def envelope(self, key: str) -> dict[str, Any]:
        return {
            "specversion": "1.0", "id": self.id, "source": self.source, "type": self.type, "subject": self.subject,
            "time": self.at, "dataschema": _SCHEMAS[self.type], "correlationid": key, "data": self.data,
        }  # fmt: skip

    def body(self, key: str) -> bytes:
        return _encoder.encode(self.envelope(key))


_SCHEMAS = {
    name: dataschema(name)
    for name in (
        "quote.approved", "subscription.activated", "subscription.paused", "subscription.amended", "billing_schedule.set", "usage.rated", "invoice.issued", "invoice.voided", "posting.recorded",
        "posting.reversed", "payment.received", "payment.failed", "payment.returned", "cash.applied", "cash.unapplied", "delivery.failed",
        "delivery.succeeded", "revenue_schedule.set", "revenue.recognised", "refund.issued", "dispute.opened", "dispute.won", "dispute.lost",
        "settlement.line", "payout.paid", "bank.statement", "bank.line", "credit_memo.issued", "cash.unapplied", "decision.made",
    )
}  # fmt: skip
