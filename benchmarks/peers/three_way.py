"""The job: what a case of three parts comes to. Standard library alone, for it runs inside every peer's environment.

A case is a dict of its events' `data` by event type; a part that comes again replaces itself.
"""

from typing import Any

TOPICS = ("invoices", "postings", "payments")
RESULTS, PARTITIONS = "peer-results", 8
PARTS = ("invoice.issued", "posting.recorded", "payment.received")


def add(case: dict[str, Any], event: dict[str, Any]) -> None:
    case[event["type"]] = event["data"]


def result(key: str, case: dict[str, Any]) -> dict[str, Any]:
    """`variance_minor` is what was posted beyond what was invoiced, 0 while a part is missing."""
    if len(case) < len(PARTS):
        return {"case": key, "outcome": "pending", "variance_minor": 0}
    invoice, posting, payment = (case[part] for part in PARTS)
    posted = sum(line["amount_minor"] for line in posting["lines"] if line["role"] == "receivable")
    same = invoice["total_minor"] == posted == payment["amount_minor"]
    return {"case": key, "outcome": "ok" if same else "break", "variance_minor": posted - invoice["total_minor"]}
