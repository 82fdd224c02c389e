"""Retention against a real store: what goes, and what stays for ever (rule E14)."""

from datetime import UTC, datetime, timedelta

from sinks.client import Store
from sinks.retention import KEPT, retain, retention
from tests.integration.test_store import case_key, fact, rows, verdict, verdict_row

FOREVER = dict.fromkeys(KEPT, 0)
TABLES = [table for tables in KEPT.values() for table in tables]


# Of each table a column that makes rows differ: two of one key would be one.
DIFFER = {
    "facts": "raw", "verdict_history": "case_key", "dead_letters": "original", "dead_letter_actions": "id",
    "shadow_verdicts": "run", "replays": "run",
}  # fmt: skip


def put(store: Store, table: str, column: str, age_days: int) -> None:
    """A row that the store took so long ago."""
    at = datetime.now(UTC) - timedelta(days=age_days)
    store.client.command(
        f"INSERT INTO {table} ({DIFFER[table]}, {column}) VALUES ('{age_days}', '{at:%Y-%m-%d %H:%M:%S}')"
    )


def merge(store: Store) -> None:
    for table in TABLES:
        store.client.command(f"OPTIMIZE TABLE {table} FINAL")


def ages(store: Store, name: str) -> list[int]:
    """Days since the rows of the first table of this name came, the oldest first."""
    table, column = next(iter(KEPT[name].items()))
    query = f"SELECT dateDiff('day', {column}, now()) AS days FROM {table} ORDER BY days DESC"
    return [days for (days,) in rows(store.client, query)]


def test_a_new_store_forgets_nothing(store: Store) -> None:
    assert retention(store.client) == FOREVER
    put(store, "facts", "received_at", 10_000)
    merge(store)
    assert ages(store, "facts") == [10_000]


def test_what_is_set_is_dropped_after_so_many_days_and_nothing_else_is(store: Store) -> None:
    retain(store.client, {"facts": 30, "replays": 7})
    assert retention(store.client) == FOREVER | {"facts": 30, "replays": 7}
    for tables in KEPT.values():
        for table, column in tables.items():
            put(store, table, column, 40)
            put(store, table, column, 20)
    merge(store)
    assert {name: ages(store, name) for name in KEPT} == {
        "facts": [20], "history": [40, 20], "dead_letters": [40, 20], "replays": [],
    }  # fmt: skip


def test_facts_that_went_leave_their_case_counted_and_open(store: Store) -> None:
    at = datetime.now(UTC) - timedelta(days=40)
    store.client.command(
        f"INSERT INTO facts (topic, partition, offset, raw, received_at) VALUES ('invoices', 1, 0, '{fact(1).decode()}', '{at:%Y-%m-%d %H:%M:%S}')"
    )
    store.write_verdicts([verdict_row(1, verdict(1))])
    retain(store.client, {"facts": 30, "history": 30})
    merge(store)
    assert store.facts_of([case_key(1)]) == {case_key(1): []}
    stub, raw = store.verdicts_of([case_key(1)])[case_key(1)]
    assert (stub.facts, raw) == (3, verdict(1))
    assert rows(store.client, "SELECT case_key, exposure_minor FROM open_cases FINAL") == [(case_key(1), 12_000)]
    assert len(store.known([1])[1]) == 8


def test_for_ever_again_is_for_ever(store: Store) -> None:
    retain(store.client, {"facts": 30})
    retain(store.client, {"facts": 0, "history": 0})
    assert retention(store.client) == FOREVER
    put(store, "facts", "received_at", 40)
    merge(store)
    assert ages(store, "facts") == [40]
