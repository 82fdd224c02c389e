"""What money pays that names nothing (rule E7), on a real Apache Kafka broker: two workers, one of them killed as it decides."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks import load
from canonical import records
from canonical.events import Event
from sinks.client import Client
from sources.registry import SOURCES
from streams import topics
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess, verified
from tests.integration.test_stream import wait_for
from tests.simulation.shell import changed, document

pytestmark = pytest.mark.kafka

ENTITIES, INVOICES = ("acme-us", "acme-de", "acme-jp"), 60
AT = datetime.now(UTC) - timedelta(days=3)


def messages() -> list[load.Message]:
    """Of each entity: invoices, a payment for each that names it in words alone, and one that fits two alike."""
    events = []
    for entity in ENTITIES:
        for number in range(INVOICES):
            for kind in ("invoice", "posting"):
                event = document(kind, number, AT, entity=entity)
                events.append(changed(event, correlationid=f"invoice:{entity}:billing:{number}", id=f"{entity}:{event.id}"))  # fmt: skip
            events.append(money(entity, number, f"paying INV-{number} with thanks"))
        for number in (1_000, 1_001):
            event = document("invoice", number, AT, entity=entity, total_minor=77_700)
            events.append(changed(event, correlationid=f"invoice:{entity}:billing:{number}", id=f"{entity}:{event.id}"))  # fmt: skip
        events.append(money(entity, 1_000, None, 77_700))
    return [load.Message(*records.record(event)) for event in events]


def money(entity: str, number: int, reference: str | None, amount_minor: int = 12_000) -> Event:
    return records.make(
        "payment.received", id=f"{entity}:py-{number}", source=f"bank/{entity}", subject=f"py-{number}", time=AT,
        correlationid=f"receipt:{entity}:bank:py-{number}",
        data={
            "entity": entity, "document_id": f"py-{number}", "currency": "USD", "amount_minor": amount_minor,
            "customer": {"payer": "C-1"}, "reference": reference,
        },
    )  # fmt: skip


def chosen(client: Client, kind: str = "match.made") -> dict[str, set[bytes]]:
    """What was told of each receipt, every content once."""
    rows = client.query(
        f"SELECT case_key, raw FROM facts WHERE type = '{kind}'", column_formats={"raw": "bytes"}
    ).result_rows
    found: dict[str, set[bytes]] = {}
    for key, raw in rows:
        found.setdefault(key, set()).add(raw)
    return found


def paid_minor(client: Client) -> dict[str, int]:
    """By invoice, the sum of what receipts told it, each at its highest revision."""
    query = (
        "SELECT case_key, sum(amount) FROM (SELECT case_key, JSONExtractString(raw, 'data', 'home') AS home, "
        "argMax(JSONExtractInt(raw, 'data', 'amount_minor'), JSONExtractUInt(raw, 'data', 'version')) AS amount "
        "FROM facts WHERE type = 'allocation.set' AND case_key LIKE 'invoice:%' GROUP BY case_key, home) GROUP BY case_key"
    )
    return {key: int(amount) for key, amount in client.query(query).result_rows}


def is_proven(bootstrap: str, store: str) -> bool:
    try:
        return verified(bootstrap, store).rstrip().endswith("every record is accounted for")
    except AssertionError:  # something is still unread
        return False


def test_money_finds_its_invoice_once_though_its_owner_is_killed(private_kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess], tmp_path: Path) -> None:  # fmt: skip
    topics.create(private_kafka.bootstrap, 4, 1, tuple(SOURCES))
    policy = tmp_path / "policy.toml"
    policy.write_text("[identification]\nwait_s = 3\n")
    client = store_process.client()
    workers = [
        start_worker(name, private_kafka.bootstrap, store_process.url, "--policy", str(policy))
        for name in ("one", "two")
    ]
    load.produce(private_kafka.bootstrap, iter(messages()))
    written = "SELECT count() FROM matches"
    wait_for(lambda: client.query(written).first_row[0], "the first choice")
    workers[0].kill()
    workers[1].kill()
    heirs = [
        start_worker(name, private_kafka.bootstrap, store_process.url, "--policy", str(policy))
        for name in ("three", "four")
    ]
    expected = {f"receipt:{entity}:bank:py-{number}" for entity, number in itertools.product(ENTITIES, range(INVOICES))}
    invoices = {
        f"invoice:{entity}:billing:{number}": 12_000 for entity, number in itertools.product(ENTITIES, range(INVOICES))
    }
    ties = {f"receipt:{entity}:bank:py-1000" for entity in ENTITIES}
    wait_for(
        lambda: chosen(client).keys() == expected and paid_minor(client) == invoices, "every payment at its invoice"
    )
    wait_for(lambda: chosen(client, "match.refused").keys() == ties, "the near ties")
    assert {len(contents) for contents in chosen(client).values()} == {1}, "something was chosen twice"
    assert {key: msgspec.json.decode(next(iter(raws)))["data"]["candidates"] for key, raws in chosen(client, "match.refused").items()} == {
        f"receipt:{entity}:bank:py-1000": [f"invoice:{entity}:billing:{number}" for number in (1_000, 1_001)] for entity in ENTITIES
    }  # fmt: skip
    breaks = "SELECT case_key FROM open_cases FINAL WHERE has(break_classes, 'ambiguous_match')"
    wait_for(lambda: {key for (key,) in client.query(breaks).result_rows} == ties, "their breaks")
    wait_for(lambda: is_proven(private_kafka.bootstrap, store_process.url), "everything told is a fact")
    assert [heir.stop() for heir in heirs] == [0, 0]
