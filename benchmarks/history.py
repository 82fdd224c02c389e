"""How fast a historical load is, how fast its cases are judged, and how fast all verdicts are rebuilt afterwards.

    python -m benchmarks.history [--cases 100000]

The command's figures are of the whole process: reading its input twice (once for its name), mapping, inserting, telling the
owners. `records_per_cpu_s` is what one core does where nobody shares it. The end state is checked: every record a fact,
every fact in a verdict, every wrong amount a break, and the rebuild the same bytes.
"""

import time
from typing import Any

from benchmarks import load
from benchmarks.cluster import Ran, cluster, ran, wait_for
from benchmarks.report import publish, settings

PARTITIONS = 8
PATIENCE_S = 1_800


def main() -> None:
    given = settings(__doc__, cases=100_000)
    publish("history", given, measure(given.cases))


def measure(cases: int) -> list[dict[str, Any]]:
    expected = load.expected(cases)
    with cluster(PARTITIONS) as found:
        history = found.folder / "history.jsonl"
        with history.open("wb") as file:
            file.writelines(message.value + b"\n" for message in load.messages(cases))
        address = ["--bootstrap", found.kafka.bootstrap, "--store", found.store.url]
        loaded = ran(["backfill", "canonical", str(history), *address], found.folder / "backfill.log")
        client = found.client()
        assert client.query("SELECT count() FROM facts").first_row[0] == expected.events
        began_s = time.monotonic()
        worker = found.worker()
        try:
            distinct = expected.events - cases // 1_000 * 5
            judged = "SELECT sum(facts) FROM verdicts FINAL"
            wait_for(lambda: client.query(judged).first_row[0] == distinct, "every fact judged", PATIENCE_S)
            judged_s = time.monotonic() - began_s
        finally:
            worker.terminate()
            worker.wait(60)
        wrong = client.query("SELECT count() FROM verdicts FINAL WHERE has(break_classes, 'amount')").first_row[0]
        assert wrong == expected.wrong_amount, f"{wrong} breaks, {expected.wrong_amount} planted"
        rebuilt = ran(["replay", *address], found.folder / "replay.log")
        from_log = ran(["replay", "--from-log", *address], found.folder / "replay-log.log")
    return [
        _rates("tieout backfill", loaded, expected.events, "records"),
        {"what": "judged by a worker", "count": cases, "unit": "cases", "per_s": round(cases / judged_s)},
        _rates("tieout replay", rebuilt, cases, "cases"),
        _rates("tieout replay --from-log", from_log, cases, "cases"),
    ]


def _rates(what: str, found: Ran, count: int, unit: str) -> dict[str, Any]:
    return {
        "what": what, "count": count, "unit": unit, "per_s": round(count / found.wall_s),
        "per_cpu_s": round(count / found.cpu_s), "peak_mb": round(found.peak_mb),
    }  # fmt: skip


if __name__ == "__main__":
    main()
