"""A second opinion on tie-out: SQL over a generated company's events, written from docs/tie-out.md and not from matching/.

    python -m tests.oracle.tie_out_events --cases 20000 --seed 3

Compared are, for every entity and month, each balance's movements by kind on the documents' side and its movement in the
ledger, to the last minor unit. The exit code is 1 where any differs; the first differences are printed.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import chdb

from canonical import structs
from canonical.structs import RecordError
from matching.tieout.basis import Basis, period_of
from matching.tieout.bridge import Bridge, TieOut
from tests.simulation.books_of_truth import POLICY, lived
from tests.simulation.test_company_truth import TURMOIL

SQL = Path(__file__).with_suffix(".sql")
MONTHS = [f"{year}-{month:02d}" for year in (2025, 2026) for month in range(1, 13) if year == 2026 or month == 12]
LEDGER, SHOWN = "main", 20
Sums = dict[tuple[int, str, str, str], int]


def admitted(bodies: Iterable[bytes]) -> list[tuple[bytes, Any]]:
    """Records that are canonical events, with what they say."""
    found = []
    for body in bodies:
        try:
            found.append((body.replace(b"\n", b" "), structs.decode(body)))
        except RecordError:
            continue
    return found


def by_sql(sql: str, file: Path, entity: str, base: str) -> Sums:
    for name, value in (("FILE", str(file)), ("ENTITY", entity), ("LEDGER", LEDGER), ("BASE", base)):
        sql = sql.replace(name, value)
    rows = map(json.loads, str(chdb.query(sql, "JSONCompactEachRow")).splitlines())
    return {(month, position, side, kind): int(moved) for month, position, side, kind, moved in rows}


def by_tie_out(cases: dict[str, list[Any]], entity: str, base: str) -> Sums:
    sums: Counter[tuple[int, str, str, str]] = Counter()
    for month in MONTHS:
        bridge = Bridge(Basis(entity, LEDGER, period_of(month)), base, POLICY)
        for key, facts in cases.items():
            bridge.add(key, facts)
        sums.update(_moved(bridge.result(), int(month.replace("-", ""))))
    return {key: moved for key, moved in sums.items() if moved}


def _moved(made: TieOut, month: int) -> Counter[tuple[int, str, str, str]]:
    sums: Counter[tuple[int, str, str, str]] = Counter()
    for balance in made.balances:
        for row in (row for section in balance.sections for row in section.rows[1:-1]):
            sums[month, balance.position, "documents", row.kind] += row.documents_base_minor
            sums[month, balance.position, "ledger", ""] += row.ledger_base_minor
    return sums


def compare(seed: int, cases: int, *, turmoil: bool, sql: str) -> tuple[int, list[str]]:
    """(figures compared, those that differ)."""
    deliveries, _ = lived(seed, cases, faults=TURMOIL if turmoil else None)
    found = admitted(delivery.body for delivery in deliveries)
    by_entity: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    for _, event in found:
        by_entity[event.data.entity][event.correlationid].append(event)
        if event.type == "posting.recorded":
            kept[event.data.entity][event.data.base_currency] += 1
    figures, differing = 0, list[str]()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_bytes(b"".join(body + b"\n" for body, _ in found))
        for entity, currencies in sorted(kept.items()):
            ((base, _),) = currencies.most_common(1)
            ours, theirs = by_tie_out(by_entity[entity], entity, base), by_sql(sql, file, entity, base)
            figures += len(ours.keys() | theirs.keys())
            differing += [f"{entity} {key}: tie-out {ours.get(key, 0)}, SQL {theirs.get(key, 0)}" for key in sorted(ours.keys() | theirs.keys()) if ours.get(key, 0) != theirs.get(key, 0)]  # fmt: skip
    return figures, differing


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--cases", type=int, default=5_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--turmoil", action="store_true")
    options.add_argument("--sql", type=Path, default=SQL)
    given = options.parse_args()
    figures, differing = compare(
        given.seed, given.cases, turmoil=given.turmoil, sql=given.sql.read_text(encoding="utf-8")
    )
    sys.stdout.write(
        "".join(f"{line}\n" for line in [*differing[:SHOWN], f"{figures} figures compared, {len(differing)} differ"])
    )
    return 1 if differing or not figures else 0


if __name__ == "__main__":
    sys.exit(main())
