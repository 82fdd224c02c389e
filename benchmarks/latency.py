"""From produce to visible in ClickHouse at a fixed rate, everything on this machine.

    python -m benchmarks.latency [--rate 2000] [--seconds 60]

Every event is stamped when it is handed to the producer (`time`); its verdict is visible when the store has it
(`visible_at` of the history row whose newest event it is). Reported: percentiles over all verdicts that differed.
"""

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

from benchmarks import load
from benchmarks.cluster import cluster, cpu_s, wait_for
from benchmarks.report import publish, settings
from streams.publisher import producer_config


def main() -> None:
    given = settings(__doc__, rate=2_000, seconds=60)
    publish("latency", given, [measure(given.rate, given.seconds)])


def measure(rate: int, seconds: int) -> dict[str, Any]:
    with cluster(pinned=False) as found:
        worker = found.worker(pinned=False)
        client = found.client()
        try:
            wait_for(lambda: "own partitions" in found.log().read_text(), "an assignment", 60)
            sender = producer(found.kafka.bootstrap)  # what starts, it too, is not measured
            paced(sender, load.messages(rate * 5 // 3, prefix="WARM"), rate)
            pids = {"worker": worker.pid, "store": found.store.pid, "kafka": found.kafka.pid}
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            sent, behind_s = paced(sender, load.messages(rate * seconds // 3), rate)
            used = {f"{name}_cores": round((cpu_s(pid) - before[name]) / seconds, 2) for name, pid in pids.items()}
            wait_for(lambda: client.query("SELECT count() FROM facts WHERE case_key LIKE '%:B-%'").first_row[0] == sent, "all facts", 60)  # fmt: skip
            wait_for(lambda: client.query("SELECT max(lag) FROM positions FINAL").first_row[0] == 0, "all flushed", 60)
            found_s = percentiles(client)
        finally:
            worker.terminate()
            worker.wait(30)
    return {
        "rate": rate, "seconds": seconds, "events": sent, "sender_behind_s": round(behind_s, 3), **found_s, **used,
    }  # fmt: skip


def percentiles(client: Any, prefix: str = "B") -> dict[str, float]:
    """Over all verdicts of a load's cases that differed: from their newest event's time until they could be seen."""
    p50, p95, p99, most, count = client.query(
        "SELECT quantilesExact(0.5, 0.95, 0.99)(latency)[1] AS p50, quantilesExact(0.5, 0.95, 0.99)(latency)[2],"
        " quantilesExact(0.5, 0.95, 0.99)(latency)[3], max(latency), count() FROM (SELECT"
        " toFloat64(visible_at) - toFloat64(last_event_at) AS latency"
        f" FROM verdict_history WHERE case_key LIKE '%:{prefix}-%')"
    ).first_row
    return {"verdicts": count, "p50_s": round(p50, 3), "p95_s": round(p95, 3), "p99_s": round(p99, 3), "max_s": round(most, 3)}  # fmt: skip


def producer(bootstrap: str) -> Producer:
    return Producer({**producer_config(bootstrap, "benchmark"), "linger.ms": 5})


def paced(sender: Producer, messages: Iterator[load.Message], rate: int) -> tuple[int, float]:
    """Produces at `rate` events a second; returns how many, and how far behind its schedule it fell at the most."""
    started, count, behind_s = time.monotonic(), 0, 0.0
    while True:
        wait_s = started + count / rate - time.monotonic()
        behind_s = max(behind_s, -wait_s)
        if wait_s > 0.001:
            sender.poll(0)
            time.sleep(wait_s)
        message = next(messages, None)  # stamped here
        if message is None:
            break
        sender.produce(message.topic, message.value, message.key)
        count += 1
    sender.flush(30)
    return count, behind_s


if __name__ == "__main__":
    main()
