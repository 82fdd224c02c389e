"""Fuzz: a million damaged records through the whole machine. Each is a fact or a dead letter, which `tieout verify` proves,
and the worker stays up.

    python -m tests.integration.fuzz [--records 1000000] [--seed 1] [--workers 1]

Seeds are the generated company's canonical events, the adapters' own fixtures, and the real payloads where they are there.
One in eight goes as it is; the others are damaged: bits, bytes and slices of the text, or a value, a name, a branch of the
JSON. They go to their raw topic, and canonical ones straight to their own topic as well, under their true key.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer

from benchmarks.cluster import cluster
from canonical.dead_letters import DeadLetter
from canonical.records import record
from company.business import simulate
from company.faults import FaultRates
from company.truth import Truth
from sinks.client import Client
from sources.registry import SOURCES, map_record
from streams import topics
from streams.publisher import producer_config
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess, verified

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent.parent / "shared" / "data"
PATHS = {
    source: (ROOT / "sources" / "fixtures" / fixtures, REAL / real)
    for source, fixtures, real in (
        ("stripe", "stripe", "stripe"), ("xero_tables", "books", "xero_books"), ("receivables_csv", "receivables", "accounts_receivable"),
        ("chargebee", "chargebee", "chargebee"), ("camt", "bank", "bank/camt"), ("mt940", "bank", "bank/mt940"),
        ("quickbooks", "quickbooks", "quickbooks"), ("killbill", "killbill", "killbill"), ("sap_odata", "sap_odata", "sap/odata"),
        ("business_central", "business_central", "dynamics_bc"), ("zuora_tables", "zuora", "zuora"), ("shop_tables", "shop", "jaffle_shop"),
        ("netsuite_tables", "netsuite", "netsuite/table_extracts"), ("salesforce_tables", "salesforce", "salesforce"),
        ("hubspot_tables", "hubspot", "hubspot"), ("sap_document_flow", "sap_flow", "sap_flow"),
    )
}  # fmt: skip
PATIENCE_S = 900.0
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 1.5, -0.0, 1e308, "", "0", "NaN", "\x00", "é" * 400,
    "x" * 20_000, "usd", "XQX", "JPY", "9999-12-31T23:59:59Z", "1889-01-01", "2026-02-30", "invoice:a:b:c", [], {}, [[[[]]]],
)  # fmt: skip


class Seed(NamedTuple):
    topic: str
    key: bytes
    body: bytes


def seeds() -> list[Seed]:
    now = datetime.now(UTC)
    company = simulate(5, 300, now - timedelta(days=90), now - timedelta(days=10), FaultRates(), Truth())
    found = []
    for delivery in company:
        found.append(Seed(topics.raw_topic("canonical"), delivery.key, delivery.body))
        mapped = map_record("canonical", delivery.body)
        if not isinstance(mapped, DeadLetter):
            found += [Seed(*record(event)) for event in mapped]
    for source, paths in PATHS.items():
        readable = [str(path) for path in paths if path.exists()]
        bodies = [raw.body for path in readable for raw in SOURCES[source].read([path])]
        found += [Seed(topics.raw_topic(source), SOURCES[source].key(body), body) for body in bodies]
    return found


def damaged(chance: random.Random, body: bytes) -> bytes:
    if chance.random() < 0.125:
        return body
    if chance.random() < 0.5:
        try:
            return json.dumps(_tree(chance, json.loads(body)), ensure_ascii=chance.random() < 0.5).encode(
                errors="replace"
            )
        except (ValueError, RecursionError):
            pass
    return _bytes(chance, bytearray(body))


def _bytes(chance: random.Random, body: bytearray) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, until = sorted((chance.randrange(len(body) + 1), chance.randrange(len(body) + 1)))
        until = min(until, at + 40)
        what = chance.randrange(6)
        if what == 0 and body:
            body[min(at, len(body) - 1)] ^= 1 << chance.randrange(8)
        elif what == 1:
            body[at:until] = b""
        elif what == 2:
            body[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif what == 3:
            body[at:at] = body[at:until]
        elif what == 4:
            del body[at:]
        else:
            body[at:until] = chance.choice(
                (b"null", b"\xff\xfe", b"\x00", b"}", b"[", b'"', b"1e999", b"-", b"\\u0000")
            )
    return bytes(body)


def _tree(chance: random.Random, tree: Any) -> Any:
    """One value somewhere in it replaced, removed, renamed or doubled."""
    holder = tree
    while isinstance(holder, (dict, list)) and holder:
        name = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        inner = holder[name]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.7:
            holder = inner
            continue
        what = chance.randrange(5)
        if what == 0:
            del holder[name]
        elif what == 1 and isinstance(holder, dict):
            holder[name + chance.choice(("x", " ", "_minor"))] = holder.pop(name)
        elif what == 2 and isinstance(inner, int):
            holder[name] = inner * chance.choice((-1, 10, 10**18)) + chance.choice((-1, 0, 1))
        elif what == 3 and isinstance(inner, str):
            holder[name] = inner[: chance.randrange(len(inner) + 1)] + chance.choice(("", "é", "\x07", " "))
        else:
            holder[name] = chance.choice(SCALARS)
        return tree
    return chance.choice(SCALARS)


def records(count: int, seed: int) -> Iterator[Seed]:
    chance, known = random.Random(seed), seeds()
    for _ in range(count):
        picked = chance.choice(known)
        yield picked._replace(body=damaged(chance, picked.body))


def produce(bootstrap: str, found: Iterator[Seed]) -> dict[str, int]:
    """How many of each topic the broker has taken."""
    producer = Producer({**producer_config(bootstrap, "fuzz"), "linger.ms": 50, "delivery.report.only.error": False})
    taken: dict[str, int] = {}
    refused: list[str] = []

    def told(error: Any, message: Any) -> None:
        if error is None:
            taken[message.topic()] = taken.get(message.topic(), 0) + 1
        else:
            refused.append(str(error))

    for topic, key, body in found:
        while True:
            try:
                producer.produce(topic, body, key or None, on_delivery=told)
                producer.poll(0)
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                refused.append(str(error))
                break
    assert producer.flush(120) == 0
    assert not refused, refused[:5]
    return taken


def run(folder: Path, kafka: Kafka, store: StoreProcess, *, count: int, seed: int, workers: int = 1) -> dict[str, Any]:
    """Sends all, waits until all is read, and says what became of it. Raises AssertionError where a worker ended."""
    started = time.monotonic()
    topics.create(kafka.bootstrap, partitions=4, replication=1, sources=tuple(SOURCES))
    running = [WorkerProcess(folder, f"fuzz-{n}", kafka.bootstrap, store.url).start() for n in range(workers)]
    try:
        taken = produce(kafka.bootstrap, records(count, seed))
        _until_read(store.client(), running, taken)
        figures = _figures(store.client(), taken)
        codes = [worker.stop() for worker in running]
        assert codes == [0] * workers, codes
        verified(kafka.bootstrap, store.url)
    finally:
        for worker in running:
            worker.kill()
    return figures | {"seconds": round(time.monotonic() - started)}


def _until_read(client: Client, running: list[WorkerProcess], taken: dict[str, int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for worker in running:
            assert worker.exit_code() is None, worker.log.read_text()[-3_000:]
        rows = client.query("SELECT topic, sum(next_offset), sum(lag) FROM positions FINAL GROUP BY topic").result_rows
        read = {topic: offset for topic, offset, _ in rows}
        if (
            rows
            and not any(lag for _, _, lag in rows)
            and all(read.get(topic, 0) >= count for topic, count in taken.items())
        ):
            return
        assert time.monotonic() < deadline, f"read {read} of {taken}"
        time.sleep(1)


def _figures(client: Client, taken: dict[str, int]) -> dict[str, Any]:
    facts, letters = client.query(
        "SELECT (SELECT count() FROM (SELECT DISTINCT topic, partition, offset FROM facts)), (SELECT count() FROM dead_letters FINAL)"
    ).first_row
    return {"records": sum(taken.values()), "facts": facts, "dead_letters": letters}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=1)
    given = arguments.parse_args()
    with cluster(partitions=4, pinned=False) as found:
        print(run(found.folder, found.kafka, found.store, count=given.records, seed=given.seed, workers=given.workers))


if __name__ == "__main__":
    main()
