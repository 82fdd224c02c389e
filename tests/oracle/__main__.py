"""A second opinion on every verdict: SQL over the records, written from docs/verdicts.md and not from matching/.

    python -m tests.oracle --cases 1000000      # about 50,000 cases a company, each with its own seed
    python -m tests.oracle --cases 1000000 --money      # card payments, their payouts and the bank (money.sql)
    python -m tests.oracle --cases 100000 --billed      # subscriptions billed by a schedule; --ledger: batches, revenue, gains
    python -m tests.oracle --cases 100000 --cash      # cash that comes back, comes short or lies on another invoice

Of each company the verdicts are compared at three moments: in the middle of its life, when it ends, and when every
deadline has passed. What is compared of a verdict: number of facts, outcome, classes of its breaks, exposure, states of
its legs, and why the open one failed. The exit code is 1 where any differs; the first differences are printed.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import chdb

from company.faults import FaultRates
from company.malformed import digest
from matching.judge import judge
from matching.verdict import Verdict
from tests.simulation.books_of_truth import LONG_AFTER, POLICY, START, Ledger, lived
from tests.simulation.test_company_cash import MOVED
from tests.simulation.test_company_credits import CORRECTED
from tests.simulation.test_company_ledger import WIDER
from tests.simulation.test_company_money import CARDS
from tests.simulation.test_company_orders import BILLED
from tests.simulation.test_company_truth import TURMOIL
from tests.simulation.test_company_write_offs import GIVEN_UP

SQL = Path(__file__).with_name("verdicts.sql")
SHOWN = 20
CASES_PER_COMPANY = 50_000
DAYS = 60
# Of which cases the rules of a file speak.
_ABOUT = {
    "verdicts.sql": re.compile("(invoice|order|credit):|summary:[^:]*:erp:|index:[^:]*:intercompany:"),
    "money.sql": re.compile("(receipt|payout):|(summary|index):[^:]*:bank:"),
}


class Opinion(NamedTuple):
    """What is compared of a verdict."""

    facts: int
    outcome: str
    classes: tuple[str, ...]
    exposure_minor: int
    hops: dict[str, str]
    failure: str | None


class Oracle:
    """One database; one process can have one."""

    def __init__(self, sql: Path) -> None:
        self._store = chdb.connect(":memory:")
        chdb.create_function("blake2b", _blake2b)
        self._store.query("SET enable_named_columns_in_function_tuple = 1")
        statements = [text.strip() for text in _without_comments(sql.read_text(encoding="utf-8")).split(";")]
        self._questions = [text for text in statements if text.startswith("CREATE TABLE")]
        self._tables = [text.split()[2] for text in self._questions]
        for statement in statements:
            if statement.startswith("CREATE FUNCTION"):
                self._store.query(statement)

    def take(self, records: Iterable[tuple[datetime, bytes]]) -> None:
        """The records of one company: when each arrived, and its bytes."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "records.jsonl")
            with path.open("w", encoding="utf-8") as file:
                for seen_at, body in records:
                    file.write(json.dumps({"seen_at": micros(seen_at), "body": body.decode()}) + "\n")
            self._store.query("DROP TABLE IF EXISTS records")
            self._store.query(
                f"CREATE TABLE records ENGINE = Memory AS SELECT seen_at::Int64 AS seen_at, body FROM file('{path}', JSONEachRow)"
            )

    def opinions(self, as_of: datetime) -> Iterator[tuple[str, Opinion]]:
        for statement in self._questions:
            self._store.query(statement.replace("{as_of:Int64}", str(micros(as_of))))
        shown = "SELECT key, facts, outcome, classes, exposure_minor, hops, failure FROM"
        asked = " UNION ALL ".join(f"{shown} {name}" for name in ("verdicts", "shared") if name in self._tables)
        rows = str(
            self._store.query(f"{asked} SETTINGS output_format_json_quote_64bit_integers = 0", "JSONCompactEachRow")
        )
        for name in self._tables:
            self._store.query(f"DROP TABLE {name}")
        for line in rows.splitlines():
            key, facts, outcome, classes, exposure_minor, hops, failure = json.loads(line)
            yield key, Opinion(facts, outcome, tuple(classes), exposure_minor, hops, failure)


def opinion_of(verdict: Verdict) -> Opinion:
    return Opinion(
        verdict.facts, verdict.outcome, tuple(sorted(found.class_ for found in verdict.breaks)), verdict.exposure_minor,
        {hop.name: hop.state for hop in verdict.hops}, verdict.failure,
    )  # fmt: skip


class Comparison:
    """Verdicts compared so far, and what differed."""

    def __init__(self, about: re.Pattern[str]) -> None:
        self.about = about
        self.compared = 0
        self.differences: list[str] = []
        self.classes: Counter[str] = Counter()

    def company(self, oracle: Oracle, seed: int, cases: int, faults: FaultRates | None) -> None:
        deliveries, truth = lived(seed, cases, DAYS, faults)
        malformed = {letter.digest for letter in truth.dead_letters}
        records = [(each.deliver_at, each.body) for each in deliveries if digest(each.body) not in malformed]
        oracle.take(records)
        end = START + timedelta(days=DAYS)
        ledger, waiting = Ledger(), iter(records)
        record = next(waiting, None)
        for as_of in (START + timedelta(days=DAYS / 2), end, end + LONG_AFTER):
            while record is not None and record[0] <= as_of:
                ledger.take(record[1])
                record = next(waiting, None)
            ledger.tell()
            self._compare(oracle, ledger, as_of, f"seed {seed}, {as_of:%Y-%m-%d}")

    def _compare(self, oracle: Oracle, ledger: Ledger, as_of: datetime, where: str) -> None:
        expected = dict(oracle.opinions(as_of))
        ledger.tell()
        for key, case in ledger.cases.items():
            if self.about.match(key) is None:
                continue
            found, should = opinion_of(judge(case, POLICY, as_of)), expected.pop(key, None)
            self.compared += 1
            self.classes.update(found.classes)
            if found != should:
                self.differences.append(f"{where}: {key} is {found}, should be {should}")
        self.differences += [f"{where}: {key} has no verdict, should be {should}" for key, should in expected.items()]


def _blake2b(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def micros(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, moment.tzinfo)) // timedelta(microseconds=1)


def _without_comments(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracle", description="Compares verdicts with SQL over the records."
    )
    parser.add_argument("--cases", type=int, default=10_000, help="how many cases in all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first company")
    parser.add_argument("--turmoil", action="store_true", help="everything goes wrong, often")
    parser.add_argument("--money", action="store_true", help="a company that charges cards, compared with money.sql")
    parser.add_argument(
        "--ledger", action="store_true", help="batches, revenue over time, exchange gains and the group"
    )
    parser.add_argument("--billed", action="store_true", help="subscriptions billed by a schedule")
    parser.add_argument("--corrected", action="store_true", help="invoices that are credited and billed again")
    parser.add_argument("--written-off", action="store_true", help="invoices of which something is given up")
    parser.add_argument(
        "--cash", action="store_true", help="cash that comes back, comes short or lies on another invoice"
    )
    parser.add_argument("--sql", type=Path, help="other rules to compare with")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    rules = "money.sql" if arguments.money else "verdicts.sql"
    chosen = (
        ("money", CARDS),
        ("ledger", WIDER),
        ("billed", BILLED),
        ("corrected", CORRECTED),
        ("written_off", GIVEN_UP),
        ("cash", MOVED),
        ("turmoil", TURMOIL),
    )
    faults = next((rates for name, rates in chosen if getattr(arguments, name)), None)
    oracle, comparison = Oracle(arguments.sql or SQL.with_name(rules)), Comparison(_ABOUT[rules])
    seed, left = arguments.seed, arguments.cases
    while left > 0:
        cases = min(left, CASES_PER_COMPANY)
        comparison.company(oracle, seed, cases, faults)
        seed, left = seed + 1, left - cases
        print(f"{arguments.cases - left:,} cases, {comparison.compared:,} verdicts compared, {len(comparison.differences)} differ", flush=True)  # fmt: skip
    print("breaks: " + ", ".join(f"{name} {number:,}" for name, number in sorted(comparison.classes.items())))
    for difference in comparison.differences[:SHOWN]:
        print(difference)
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
