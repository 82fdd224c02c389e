"""How fast one worker drains a full log, facts and verdicts in ClickHouse before the commit; stock Faust beside it.

    python -m benchmarks.drain [--cases 200000] [--stock-cases 10000]

The log is filled before the run. The rate is distinct records / (when the last fact was stored - when the first was),
the worker pinned to one core, broker and store to the other. The end state is checked: every record a fact, every fact
in a verdict, every case as the generator made it.
"""

import time
from typing import Any

from benchmarks import load
from benchmarks.cluster import cluster, cpu_s, peak_mb, wait_for
from benchmarks.peers.outcome import State, check
from benchmarks.peers.registry import PEERS
from benchmarks.peers.runs import Used, figures, measure
from benchmarks.peers.three_way import PARTITIONS
from benchmarks.report import publish, settings

PATIENCE_S = 900


def main() -> None:
    given = settings(__doc__, cases=200_000, stock_cases=10_000)
    rows = [{"what": "tieout worker"} | tieout(given.cases), {"what": "stock Faust"} | stock(given.stock_cases)]
    publish("drain", given, rows)


def tieout(cases: int) -> dict[str, Any]:
    with cluster(PARTITIONS) as found:
        records = load.produce(found.kafka.bootstrap, load.messages(cases))
        started_s = time.time()
        worker = found.worker()
        client = found.client()
        try:
            wait_for(lambda: _facts(client) == records, "every record a fact", PATIENCE_S)
            expected = load.expected(cases)
            wait_for(lambda: _judged(client) == expected.events - cases // 1_000 * 5, "every fact judged", 60)
            used, store_cpu = Used(cpu_s(worker.pid), peak_mb(worker.pid)), cpu_s(found.store.pid)
        finally:
            worker.terminate()
            worker.wait(30)
        first, last = client.query(
            "SELECT toFloat64(min(received_at)), toFloat64(max(received_at)) FROM facts"
        ).first_row
        check(states(client), load.truth(cases))
        rows = client.query("SELECT count() FROM verdict_history").first_row[0]
    return figures(records, (started_s, first, last), used) | {
        "store_cpu_s_per_million": round(store_cpu / records * 1e6, 1), "verdicts_per_case": round(rows / cases, 2),
    }  # fmt: skip


def stock(cases: int) -> dict[str, Any]:
    return measure(PEERS["stock-faust"].command(), cases)


def _facts(client: Any) -> int:
    return int(client.query("SELECT count() FROM facts").first_row[0])


def _judged(client: Any) -> int:
    return int(client.query("SELECT sum(facts) FROM verdicts FINAL").first_row[0])


def states(client: Any) -> dict[str, State]:
    """What each case came to as far as the three parts go: a verdict goes on to wait for the payment's application."""
    rows = client.query(
        "SELECT case_key, verdict.outcome, arrayCount(hop -> hop.state = 'met'"
        " AND hop.name IN ('invoice_to_posting', 'invoice_to_payment'), verdict.hops),"
        " arraySum(b -> if(b.class = 'amount', b.variance_minor, 0),"
        " JSONExtract(raw, 'breaks', 'Array(Tuple(class String, variance_minor Int64))')) FROM verdicts FINAL WHERE case_key LIKE '%:B-%'"
    ).result_rows
    return {
        key: ("ok" if outcome == "pending" and met == 2 else outcome, variance) for key, outcome, met, variance in rows
    }


if __name__ == "__main__":
    main()
