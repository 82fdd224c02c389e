"""What a summary journal over many invoices costs: `python -m benchmarks.summary [--members 10000]`.

The members are told by their invoices' cases, as records; the batch takes them in and is judged as the worker does it: once
a flush of 500 records, and once more when the journal has come. The end state is checked: right, then one member short by
5.00. Memory is what the case's facts hold, CPU that of this process.
"""

import tracemalloc
from datetime import UTC, datetime, timedelta
from time import process_time

from benchmarks.report import publish, settings
from canonical import records, structs
from canonical.events import Event
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, encode

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BATCH = "summary:acme-us:erp:JE-9"
FLUSH_RECORDS = 500
TOTAL_MINOR = 10_000
POLICY = load()


def main() -> None:
    given = settings(__doc__, members=10_000)
    count = given.members
    told = [records.encode(event) for number in range(count) for event in _told_by(number)]
    tracemalloc.start()
    case = Case(BATCH, 2 * count)
    started = process_time()
    for number, record in enumerate(told, 1):
        case.add(structs.decode(record))
        if number % FLUSH_RECORDS == 0:
            _verdict(case)
    taken_in_s = process_time() - started
    held_mb = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    case.add(_journal(count * TOTAL_MINOR - 500, version=1))
    short = _verdict(case)
    started = process_time()
    case.add(_journal(count * TOTAL_MINOR, version=2))
    right = _verdict(case)
    judged_ms = (process_time() - started) * 1e3
    _check(short, right)
    row = {
        "members": count, "judged": count // FLUSH_RECORDS, "taken_in_traced_cpu_s": round(taken_in_s, 2), "held_mb": round(held_mb, 1),
        "verdict_ms": round(judged_ms, 1), "verdict_bytes": len(encode(right)), "with_a_break_bytes": len(encode(short)),
    }  # fmt: skip
    publish("summary", given, [row])


def _verdict(case: Case) -> Verdict:
    return judge(case, POLICY, START + timedelta(days=2))


def _check(short: Verdict, right: Verdict) -> None:
    found = [(each.class_, each.variance_minor) for each in short.breaks]
    if found != [("summary_split", 500)] or right.outcome != "ok":
        raise SystemExit(f"wrong: {found}, then {right.outcome}")


def _told_by(number: int) -> list[Event]:
    home = Case(f"invoice:acme-us:billing:INV-{number}")
    home.add(_event("invoice.issued", f"in_{number}", home.key, "billing", {
        "number": f"INV-{number}", "currency": "USD", "total_minor": TOTAL_MINOR, "direction": "sales", "summary_key": BATCH,
        "customer": {"sold_to": f"C-{number % 97}"},
    }))  # fmt: skip
    return [as_event(home.key, effect, 1) for effect in effects(home, POLICY)]


def _journal(total_minor: int, version: int) -> Event:
    lines = [{"role": "receivable", "amount_minor": total_minor}, {"role": "revenue", "amount_minor": -total_minor}]
    return _event("posting.recorded", "je_9", BATCH, "erp", {
        "version": version, "ledger": "main", "document_type": "invoice", "posting_kind": "summary", "currency": "USD",
        "base_currency": "USD", "lines": lines,
    })  # fmt: skip


def _event(event_type: str, document: str, key: str, system: str, data: dict[str, object]) -> Event:
    return records.make(
        event_type, id=f"{system}:{document}", source=f"{system}/acme-us", subject=document, time=START, correlationid=key,
        data={"entity": "acme-us", "document_id": document} | data,
    )  # fmt: skip


if __name__ == "__main__":
    main()
