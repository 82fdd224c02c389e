"""kill -9 of the store in the middle of inserts: every row that was acknowledged is there afterwards, and nothing broken."""

import threading
import time
from array import array
from collections.abc import Callable

from sinks.client import Store, StoreUnavailable, key_hash
from sinks.migrate import migrate
from sinks.rows import FactBatch
from tests.fixtures_store import StoreProcess
from tests.integration.test_store import NOW, case_key, fact, verdict, verdict_row

ROUNDS = 3
FLUSHES_BEFORE_KILL = 5
FACTS_A_FLUSH = 500


def flush_until_killed(process: StoreProcess, acknowledged: list[int], first: int) -> None:
    """What a worker does: facts, then verdicts. Ends when the store is away."""
    store = Store(process.client(), patience_s=0)
    try:
        for flush in range(first, first + 10_000):
            numbers = range(flush * FACTS_A_FLUSH, (flush + 1) * FACTS_A_FLUSH)
            store.write_facts([FactBatch("invoices", 0, numbers, [fact(number) for number in numbers])])
            store.write_verdicts([verdict_row(flush, verdict(flush), seq=flush)])
            acknowledged.append(flush)
    except StoreUnavailable:
        return


def test_kill_9_during_inserts_loses_no_acknowledged_row(start_store: Callable[..., StoreProcess]) -> None:
    process = start_store()
    migrate(process.client())
    acknowledged: list[int] = []
    for round_ in range(ROUNDS):
        before, first = len(acknowledged), round_ * 10_000
        worker = threading.Thread(target=flush_until_killed, args=(process, acknowledged, first))
        worker.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < before + FLUSHES_BEFORE_KILL:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        worker.join(60)
        process.start()
        store = Store(process.client())
        stored = {int(offset) for (offset,) in store.client.query("SELECT offset FROM facts FINAL").result_rows}
        wanted = {flush * FACTS_A_FLUSH + number for flush in acknowledged for number in range(FACTS_A_FLUSH)}
        assert wanted <= stored
        assert {key_hash(case_key(flush)) for flush in acknowledged} <= set(array("Q", store.known([1])[1]))
        opened = {key for (key,) in store.client.query("SELECT case_key FROM open_cases FINAL").result_rows}
        assert {case_key(flush) for flush in acknowledged} <= opened
    assert len(acknowledged) >= ROUNDS * FLUSHES_BEFORE_KILL


def test_a_clean_stop_and_start_keeps_everything(store_process: StoreProcess) -> None:
    store = Store(store_process.client())
    store.write_facts([FactBatch("invoices", 0, range(100), [fact(number) for number in range(100)])])
    epoch = store.claim(0, "worker")
    store.set_meta("partitions", "4")
    assert store_process.stop() == 0
    store_process.start()
    store = Store(store_process.client())
    assert sum(map(len, store.facts_of([case_key(number) for number in range(100)]).values())) == 100
    assert (store.holders([0]), store.meta("partitions")) == ({0: (epoch, "worker")}, "4")
    assert migrate(store.client) == []


def test_an_insert_is_on_disk_before_it_is_acknowledged(store: Store) -> None:
    """The settings that make it so, as the server has them: of each table, and of each insert."""
    query = "SELECT name, create_table_query FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'"
    tables = dict(store.client.query(query, parameters={"database": store.client.database}).result_rows)
    assert tables.keys() >= {
        "facts",
        "verdicts",
        "verdict_history",
        "open_cases",
        "dead_letters",
        "dead_letter_actions",
        "positions",
        "epochs",
        "meta",
    }
    for name, text in tables.items():
        assert "fsync_after_insert = 1, fsync_part_directory = 1" in text, name
    pinned = (
        "SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'insert_deduplicate') ORDER BY name"
    )
    assert store.client.query(pinned).result_rows == [("async_insert", "0"), ("insert_deduplicate", "0")]


def test_a_case_seen_in_another_month_never_splits_in_two(store: Store) -> None:
    """Rule E9: first_seen is kept from the stub, so both rows meet under FINAL whatever month they are judged in."""
    store.write_verdicts([verdict_row(1, verdict(1), seq=1)])
    first_seen = store.verdicts_of([case_key(1)])[case_key(1)][0].first_seen
    later = NOW.replace(year=2027, month=11)
    store.write_verdicts([verdict_row(1, verdict(1, "ok", ()), seq=2, first_seen=first_seen, judged_at=later)])
    query = "SELECT outcome FROM verdicts FINAL SETTINGS do_not_merge_across_partitions_select_final = 1"
    assert store.client.query(query).result_rows == [("ok",)]
