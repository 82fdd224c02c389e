"""What cases made of many cost: a payout over many charges, a receipt over many invoices: `python -m benchmarks.many [--parts 10000]`.

Two ways for each: as `tieout reconcile` does it, all records in, every case's verdict out, effects between them included;
and as the worker does, one verdict over the case when all of it is in memory. The end is checked: every case is ok; with one
part of 5.00 taken away exactly the one case is broken that is short, by 5.00. CPU is that of this process, memory its peak.
"""

import resource
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import process_time

import msgspec

from benchmarks.report import publish, settings
from canonical import records, structs
from canonical.events import Event
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import load
from streams.batch import reconcile

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATE = START + timedelta(days=40)
PAYOUT, RECEIPT = "payout:acme-us:stripe:po_1", "receipt:acme-us:bank:py_1"
PART_MINOR, FEE_MINOR = 500, 15
POLICY = load()


def main() -> None:
    given, rows = settings(__doc__, parts=10_000), []
    count = given.parts
    for name, made, key, class_ in (
        ("payout", payout, PAYOUT, "payout"),
        ("receipt", receipt, RECEIPT, "unapplied_cash"),
    ):
        lines = [records.encode(event) for event in made(count, count)]
        started = process_time()
        verdicts = [msgspec.json.decode(raw) for raw in reconcile(lines, POLICY, LATE)]
        took_s = process_time() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
        _check(verdicts, count, None)
        short = [records.encode(event) for event in made(count, count - 1)]
        _check([msgspec.json.decode(raw) for raw in reconcile(short, POLICY, LATE)], count, (key, class_))
        whole = {"case": name, "records": len(lines), "cases": len(verdicts), "reconcile_cpu_s": round(took_s, 2), "process_mb": round(peak_mb)}  # fmt: skip
        rows.append(whole | _one(key, lines))
    publish("many", given, rows)


def _check(verdicts: list[dict[str, object]], count: int, broken: tuple[str, str] | None) -> None:
    found = {
        (str(verdict["correlation_id"]), each["class"], each["variance_minor"])
        for verdict in verdicts
        for each in verdict["breaks"]  # type: ignore[attr-defined]
    }
    variance_minor = PART_MINOR - FEE_MINOR if broken and broken[0] == PAYOUT else PART_MINOR
    expected = {(*broken, variance_minor)} if broken else set()
    if found != expected or len(verdicts) != count + 1 or (not broken and {v["outcome"] for v in verdicts} != {"ok"}):
        raise SystemExit(f"wrong: {sorted(found)[:3]}, {len(verdicts)} cases")


def _one(key: str, lines: list[bytes]) -> dict[str, float]:
    """The case alone, with what the others tell it."""
    tracemalloc.start()
    case = Case(key, POLICY.limits.facts_of(key))
    for event in map(structs.decode, lines):
        if event.correlationid == key:
            case.add(event)
        else:
            home = Case(event.correlationid)
            home.add(event)
            for effect in effects(home, POLICY):
                if effect.target == key:
                    case.add(as_event(home.key, effect, 1))
    held_mb = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    started = process_time()
    verdict = judge(case, POLICY, LATE)
    judged_ms = (process_time() - started) * 1e3
    started = process_time()
    told = len(effects(case, POLICY))
    told_ms = (process_time() - started) * 1e3
    if verdict.outcome != "ok":
        raise SystemExit(f"wrong: the case alone is {verdict.outcome}")
    return {
        "facts": case.count, "held_mb": round(held_mb, 1), "verdict_ms": round(judged_ms), "effects": told,
        "effects_ms": round(told_ms),
    }  # fmt: skip


def payout(count: int, listed: int) -> Iterator[Event]:
    """A payout of charges; of `listed` of them it has the line."""
    yield _event(
        "payout.paid", "po_1", PAYOUT, "stripe", 1, currency="USD", amount_minor=count * (PART_MINOR - FEE_MINOR)
    )
    for number in range(count):
        charge = f"receipt:acme-us:stripe:ch_{number}"
        yield _event("payment.received", f"ch_{number}", charge, "stripe", 0, currency="USD", amount_minor=PART_MINOR)
        if number < listed:
            yield _event(
                "settlement.line", f"txn_{number}", PAYOUT, "stripe", 1, kind="charge", currency="USD", gross_minor=PART_MINOR,
                fee_minor=FEE_MINOR, net_minor=PART_MINOR - FEE_MINOR, payment_key=charge,
            )  # fmt: skip


def receipt(count: int, applied: int) -> Iterator[Event]:
    """A transfer that pays invoices; to `applied` of them it was applied, in their own cases."""
    keys = [f"invoice:acme-us:billing:INV-{number}" for number in range(count)]
    parts = [{"target": key, "amount_minor": PART_MINOR} for key in keys[:applied]]
    yield _event("payment.received", "py_1", RECEIPT, "bank", 1, currency="USD", amount_minor=count * PART_MINOR, allocations=parts)  # fmt: skip
    for number, key in enumerate(keys):
        if number >= applied:
            yield _event("customer.changed", f"in_{number}", key, "billing", 0)
            continue
        priced = {"currency": "USD", "total_minor": PART_MINOR, "direction": "sales"}
        yield _event("invoice.issued", f"in_{number}", key, "billing", 0, **priced)
        lines = [{"role": "receivable", "amount_minor": PART_MINOR}, {"role": "revenue", "amount_minor": -PART_MINOR}]
        yield _event("posting.recorded", f"je_{number}", key, "erp", 0, ledger="main", document_type="invoice",
            posting_kind="document", currency="USD", base_currency="USD", lines=lines)  # fmt: skip
        yield _event("cash.applied", f"ap_{number}", key, "erp", 1, from_kind="payment", currency="USD",
            amount_minor=PART_MINOR, payment_key=RECEIPT)  # fmt: skip


def _event(event_type: str, document: str, key: str, system: str, days: int, **data: object) -> Event:
    return records.make(
        event_type, id=f"{system}:{document}:{event_type}", source=f"{system}/acme-us", subject=document,
        time=START + timedelta(days=days), correlationid=key, data={"entity": "acme-us", "document_id": document} | data,
    )  # fmt: skip


if __name__ == "__main__":
    main()
