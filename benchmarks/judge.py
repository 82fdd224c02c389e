"""What judging one case costs, by the shape of the case: `python -m benchmarks.judge`.

CPU time of this process (other work on the machine does not count), median of several runs over distinct cases. Each case
is judged when its last fact has just come in, as the worker does: clean, and nothing late. The last row is the made-up company as it comes, its faults among it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import process_time_ns

import msgspec

from benchmarks.report import publish, settings
from canonical import structs
from company.business import simulate
from company.faults import FaultRates
from company.truth import Truth
from matching.case import Case
from matching.judge import judge
from matching.policy import load
from matching.verdict import encode

RUNS = 9
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = load()
PARTS = {"invoice": 0, "posting": 45, "payment": 86_400, "application": 90_000}  # seconds after the invoice


def main() -> None:
    given, rows = settings(__doc__, cases=1_000), []
    for count in range(1, len(PARTS) + 1):
        parts = tuple(PARTS)[:count]
        as_of = START + timedelta(seconds=PARTS[parts[-1]] + 5)
        clean = [_clean_case(number, parts) for number in range(given.cases)]
        rows.append(_measured(" + ".join(parts), clean, as_of))
    rows.append(_measured("the company's cases", _company(given.cases), START + timedelta(days=60)))
    publish("judge", given, rows)


def _measured(shape: str, cases: list[Case], as_of: datetime) -> dict[str, str | float]:
    verdicts = [judge(case, POLICY, as_of) for case in cases]
    judging, encoding = [], []
    for _ in range(RUNS):
        started = process_time_ns()
        for case in cases:
            judge(case, POLICY, as_of)
        judged = process_time_ns()
        for verdict in verdicts:
            encode(verdict)
        judging.append(judged - started)
        encoding.append(process_time_ns() - judged)
    size = sum(len(encode(verdict)) for verdict in verdicts) // len(cases)
    each = 1_000 * len(cases)
    return {"case": shape, "judge_us": round(median(judging) / each, 1), "encode_us": round(median(encoding) / each, 1), "bytes": size}  # fmt: skip


def _clean_case(number: int, parts: Iterable[str]) -> Case:
    key = f"invoice:acme-us:billing:INV-{number:06d}"
    case = Case(key)
    for part in parts:
        case.add(structs.decode(msgspec.json.encode(_event(key, number, part))))
    return case


def _event(key: str, number: int, part: str) -> dict[str, object]:
    total = 10_000 + number
    kind, system, data = {
        "invoice": ("invoice.issued", "billing", {
            "total_minor": total, "tax_minor": 800, "direction": "sales", "due_date": "2026-03-31", "base_currency": "USD",
        }),
        "posting": ("posting.recorded", "erp", {
            "ledger": "main", "document_type": "invoice", "posting_kind": "document", "direction": "sales", "base_currency": "USD",
            "lines": _lines(("receivable", total), ("revenue", 800 - total), ("tax", -800)),
        }),
        "payment": ("payment.received", "payments", {"amount_minor": total, "method": "card"}),
        "application": ("cash.applied", "erp", {"amount_minor": total, "from_kind": "payment"}),
    }[part]  # fmt: skip
    at = START + timedelta(seconds=PARTS[part])
    data |= {
        "entity": "acme-us",
        "document_id": f"{part}-{number}",
        "currency": "USD",
        "recorded_at": at + timedelta(seconds=2),
    }
    if part != "application":
        data |= {"number": f"INV-{number:06d}", "customer": {"sold_to": f"C-{number % 97}"}}
    return {
        "specversion": "1.0", "id": f"{system}:{part}-{number}", "source": f"{system}/acme-us", "type": kind,
        "subject": f"{part}-{number}", "time": at, "dataschema": f"urn:tieout:{kind}:1", "correlationid": key, "data": data,
    }  # fmt: skip


def _lines(*amounts: tuple[str, int]) -> list[dict[str, object]]:
    return [{"role": role, "amount_minor": amount, "base_minor": amount} for role, amount in amounts]


def _company(count: int) -> list[Case]:
    cases: dict[str, Case] = {}
    for delivery in simulate(1, count, START, START + timedelta(days=60), FaultRates(), Truth()):
        try:
            event = structs.decode(delivery.body)
        except structs.RecordError:
            continue
        cases.setdefault(event.correlationid, Case(event.correlationid)).add(event)
    return list(cases.values())


if __name__ == "__main__":
    main()
