"""The worker's Store against a real embedded store process."""

import threading
from array import array
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

import sinks.client
from sinks.client import Client, Store, StoreUnavailable, connect, key_hash
from sinks.rows import DeadLetterRow, FactBatch, FactRow, GapRow, PositionRow, Untold, VerdictRow, revision
from tests.fixtures_store import StoreProcess

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)


def case_key(number: int) -> str:
    return f"invoice:acme-us:billing:INV-{number}"


def fact(number: int, **data: Any) -> bytes:
    return msgspec.json.encode({
        "specversion": "1.0", "id": f"stripe:in_{number}:issued", "source": "stripe/acct_1", "type": "invoice.issued",
        "subject": f"INV-{number}", "time": "2026-03-04T05:06:07.5Z", "correlationid": case_key(number),
        "data": {"entity": "acme-us", "currency": "USD", "total_minor": 12_000} | data,
    })  # fmt: skip


def break_of(kind: str) -> dict[str, Any]:
    return {
        "class": kind, "control": kind, "expected": "12000 USD", "actual": "nothing", "variance_minor": 12_000,
        "currency": "USD", "evidence": ["stripe:in_1:issued"], "reason": "No posting.", "owner": "finance",
        "severity": "high", "fingerprint": "0123456789abcdef",
    }  # fmt: skip


def verdict(number: int, outcome: str = "break", breaks: tuple[str, ...] = ("missing_posting",), **more: Any) -> bytes:
    hop = {
        "name": "invoice_to_posting", "started_at": "2026-03-04T05:06:07Z", "ended_at": None, "latency_s": None,
        "target_s": 900, "late_s": 0, "state": "waiting", "due_at": "2026-03-04T05:21:07Z",
    }  # fmt: skip
    return msgspec.json.encode({
        "correlation_id": case_key(number), "kind": "invoice", "entity": "acme-us", "document": f"INV-{number}",
        "customer": "C-17", "outcome": outcome, "currency": "USD", "amount_minor": 12_000,
        "exposure_minor": 12_000 if breaks else 0, "controls": [], "breaks": [break_of(kind) for kind in breaks],
        "hops": [hop], "facts": 3, "first_event_at": "2026-03-04T05:06:07Z", "last_event_at": "2026-03-04T05:06:08.25Z",
        "next_deadline": "2026-03-04T05:21:07.000001Z", "wait_for": "erp", "failure": None, "conflicts": [], "policy": "p1",
    } | more)  # fmt: skip


def verdict_row(number: int, raw: bytes, *, epoch: int = 1, seq: int = 1, **more: Any) -> VerdictRow:
    row = VerdictRow(
        1, epoch, seq, NOW, NOW, digest=2**63 + number, changed=True, progress="{}", raw=raw, controls=b"[]"
    )
    return row._replace(**more)


def rows(client: Client, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(query).result_rows]


def raws(store: Store) -> list[bytes]:
    query = "SELECT raw FROM facts ORDER BY offset"
    return list(store.client.query(query, column_formats={"raw": "bytes"}).result_columns[0])


# Epochs


def test_each_claim_is_higher_than_every_earlier_one(store: Store) -> None:
    assert store.highest_epochs([0, 1]) == {0: 0, 1: 0}
    assert store.claim(0, "worker-a") == 1
    assert store.claim(0, "worker-b") == 2
    assert store.claim(0, "worker-a") == 3
    assert store.claim(1, "worker-a") == 1
    assert store.highest_epochs([0, 1, 2]) == {0: 3, 1: 1, 2: 0}
    assert store.holders([0, 1, 2]) == {0: (3, "worker-a"), 1: (1, "worker-a")}


def test_two_workers_never_hold_one_epoch_however_they_race(store: Store, shared_store: StoreProcess) -> None:
    claimed: list[tuple[int, str]] = []

    def work(worker: str) -> None:
        own = Store(connect(shared_store.url, store.client.database))
        claimed.extend((own.claim(0, worker), worker) for _ in range(8))

    threads = [threading.Thread(target=work, args=(f"worker-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 32
    assert len({epoch for epoch, _ in claimed}) == 32
    assert store.holders([0])[0] == max(claimed)


def test_a_rival_who_inserted_the_same_epoch_is_outbid(store: Store) -> None:
    """The rival is in the middle of its claim: inserted, not yet read back."""
    store.client.command("INSERT INTO epochs (partition, epoch, worker) VALUES (0, 1, 'early')")
    original = store.highest_epochs
    store.highest_epochs = lambda partitions: {0: 0}  # type: ignore[method-assign]  # as read before the rival's insert
    assert store.claim(0, "late") > 1
    store.highest_epochs = original  # type: ignore[method-assign]
    assert store.holders([0])[0][1] == "late"


def test_a_claim_whose_answer_was_lost_and_that_was_sent_again_holds(store: Store) -> None:
    store.client.command("INSERT INTO epochs (partition, epoch, worker) VALUES (0, 1, 'a')")
    store.client.command("INSERT INTO epochs (partition, epoch, worker) VALUES (0, 1, 'a')")
    assert store.holders([0]) == {0: (1, "a")}
    assert store.claim(0, "a") == 2


# Facts


def test_facts_come_back_by_case_in_the_order_of_the_log_with_their_bytes_untouched(store: Store) -> None:
    late = msgspec.json.decode(fact(1)) | {"odd": "\u0000é"}
    raw = msgspec.json.encode(late)
    store.write_facts([
        FactBatch("postings", 0, [7], [fact(1, total_minor=-5)]),
        FactBatch("invoices", 0, [9, 4], [raw, fact(1)]),
        FactBatch("invoices", 1, [0], [fact(2)]),
    ])  # fmt: skip
    found = store.facts_of([case_key(1), case_key(2), case_key(3), case_key(1)])
    assert found == {
        case_key(1): [
            FactRow("invoices", 0, 4, fact(1)),
            FactRow("invoices", 0, 9, raw),
            FactRow("postings", 0, 7, fact(1, total_minor=-5)),
        ],
        case_key(2): [FactRow("invoices", 1, 0, fact(2))],
        case_key(3): [],
    }


def test_the_columns_of_a_fact_are_derived_from_its_record(store: Store) -> None:
    payment = fact(2, total_minor=None, amount_minor=2**63 - 1, currency="JPY")
    store.write_facts([FactBatch("invoices", 3, [0, 1], [fact(1), payment])])
    columns = "topic, partition, offset, case_key, fact_id, type, source, subject, time, entity, currency, amount_minor"
    at = datetime(2026, 3, 4, 5, 6, 7, 500_000, tzinfo=UTC)
    assert rows(store.client, f"SELECT {columns} FROM facts ORDER BY offset") == [
        ("invoices", 3, 0, case_key(1), "stripe:in_1:issued", "invoice.issued", "stripe/acct_1", "INV-1", at, "acme-us",
         "USD", 12_000),
        ("invoices", 3, 1, case_key(2), "stripe:in_2:issued", "invoice.issued", "stripe/acct_1", "INV-2", at, "acme-us",
         "JPY", 2**63 - 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "column", ["case_key", "fact_id", "type", "source", "subject", "time", "entity", "currency", "amount_minor"]
)
def test_without_rule_e8_the_test_of_a_facts_columns_fails(store: Store, column: str) -> None:
    """The rule switched off for one column: it is no longer derived from the record (test_rules_are_guarded.py)."""
    kind = "ALIAS" if column in ("fact_id", "subject", "time", "amount_minor") else "DEFAULT"
    store.client.command(f"ALTER TABLE facts MODIFY COLUMN {column} REMOVE {kind}")
    with pytest.raises(AssertionError):
        test_the_columns_of_a_fact_are_derived_from_its_record(store)


def test_a_record_that_is_no_json_is_kept_with_empty_columns(store: Store) -> None:
    bad = [b"nope", b"", b"\xff\xfe\x00", b"null", b"{}", fact(1)[:-3], b"[" * 5000]
    store.write_facts([FactBatch("invoices", 0, range(len(bad)), bad)])
    assert raws(store) == bad
    assert rows(store.client, "SELECT DISTINCT case_key, amount_minor, time FROM facts") == [
        ("", 0, datetime(1970, 1, 1, tzinfo=UTC))
    ]


def test_a_record_with_fields_of_the_wrong_type_is_kept(store: Store) -> None:
    odd = [
        b"[1]", b'{"id":5,"data":[]}', b'{"correlationid":{"a":1},"time":"yesterday","data":{"total_minor":"x"}}',
        b'{"data":{"total_minor":9223372036854775808}}', b'{"data":{"total_minor":1e400,"amount_minor":-7.5}}',
    ]  # fmt: skip
    store.write_facts([FactBatch("invoices", 0, range(len(odd)), odd)])
    assert raws(store) == odd
    assert rows(store.client, "SELECT DISTINCT amount_minor FROM facts") == [(0,)]


def test_a_record_of_5_megabytes_survives(store: Store) -> None:
    large = fact(1, note="x\u0000'\\\n" * 1_000_000)
    store.write_facts([FactBatch("invoices", 0, [0, 1, 2, 3, 4], [large] * 5)])  # more than one chunk of the store's
    assert [row.raw for row in store.facts_of([case_key(1)])[case_key(1)]] == [large] * 5


def test_the_same_facts_written_again_change_no_result(store: Store) -> None:
    batch = FactBatch("invoices", 0, range(100), [fact(number % 10) for number in range(100)])
    store.write_facts([batch])
    before = store.facts_of([case_key(number) for number in range(10)])
    for _ in range(3):
        store.write_facts([batch, batch])
    assert store.facts_of([case_key(number) for number in range(10)]) == before
    assert rows(store.client, "SELECT count() FROM facts FINAL") == [(100,)]


def test_facts_of_many_partitions_are_one_block_and_what_is_large_is_several(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [FactBatch("invoices", number, [0], [b"x" * 100]) for number in range(300)]
    assert [len(gathered) for gathered in sinks.client._gathered(few)] == [300]
    monkeypatch.setattr(sinks.client, "INSERT_BYTES", 10_000)
    assert [len(gathered) for gathered in sinks.client._gathered(few)] == [100, 100, 100]
    monkeypatch.setattr(sinks.client, "_SLICE_ROWS", 70)
    assert [len(gathered) for gathered in sinks.client._gathered(few)] == [70, 70, 70, 70, 20]
    assert list(sinks.client._gathered([FactBatch("invoices", 0, [], [])])) == []


def test_a_case_key_with_quotes_is_found(store: Store) -> None:
    odd = "invoice:a'b:c:d'' OR 1=1 --"
    raw = msgspec.json.encode({"correlationid": odd})
    store.write_facts([FactBatch("invoices", 0, [0, 1], [raw, fact(1)])])
    assert store.facts_of([odd]) == {odd: [FactRow("invoices", 0, 0, raw)]}


def test_ten_thousand_cases_are_looked_up_at_once(store: Store) -> None:
    numbers = range(10_000)
    store.write_facts([FactBatch("invoices", 0, numbers, [fact(number) for number in numbers])])
    found = store.facts_of([case_key(number) for number in numbers])
    assert all(found[case_key(number)] == [FactRow("invoices", 0, number, fact(number))] for number in numbers)


def test_writing_nothing_is_fine(store: Store) -> None:
    store.write_facts([])
    store.write_facts([FactBatch("invoices", 0, [], [])])
    store.write_verdicts([])
    store.write_positions([])
    store.write_dead_letters([])
    assert store.facts_of([]) == {}


# Verdicts


def test_the_columns_of_a_verdict_are_derived_from_it(store: Store) -> None:
    store.write_verdicts([verdict_row(1, verdict(1, breaks=("missing_posting", "sla")))])
    columns = (
        "case_key, kind, entity, document, customer, outcome, currency, amount_minor, exposure_minor, facts, "
        "break_classes, owners, severities, next_deadline, first_event_at, last_event_at, wait_for, failure, policy"
    )
    start = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    expected = (
        case_key(1), "invoice", "acme-us", "INV-1", "C-17", "break", "USD", 12_000, 12_000, 3,
        ["missing_posting", "sla"], ["finance", "finance"], ["high", "high"],
        start + timedelta(minutes=15, microseconds=1), start, start + timedelta(seconds=1.25), "erp", None, "p1",
    )  # fmt: skip
    assert rows(store.client, f"SELECT {columns} FROM verdicts FINAL") == [expected]
    assert rows(store.client, f"SELECT {columns} FROM open_cases FINAL") == [expected]


def test_an_older_revision_never_replaces_a_newer_verdict(store: Store) -> None:
    store.write_verdicts([verdict_row(1, verdict(1, "ok", ()), epoch=2, seq=1)])
    store.write_verdicts([verdict_row(1, verdict(1), epoch=1, seq=9_000)])  # a worker that was paused wakes up
    store.write_verdicts([verdict_row(1, verdict(1), epoch=2, seq=0)])
    assert rows(store.client, "SELECT outcome, epoch, seq FROM verdicts FINAL") == [("ok", 2, 1)]
    assert rows(store.client, "SELECT count() FROM open_cases FINAL") == [(0,)]
    assert rows(store.client, "SELECT count() FROM breaks") == [(0,)]


def test_a_case_that_turns_ok_leaves_the_open_cases_and_comes_back_when_it_breaks_again(store: Store) -> None:
    open_now = "SELECT case_key FROM open_cases FINAL"
    store.write_verdicts([verdict_row(1, verdict(1), seq=1)])
    assert rows(store.client, open_now) == [(case_key(1),)]
    store.write_verdicts([verdict_row(1, verdict(1, "ok", ()), seq=2)])
    assert rows(store.client, open_now) == []
    store.write_verdicts([verdict_row(1, verdict(1, "pending", ()), seq=3)])
    assert rows(store.client, open_now) == [(case_key(1),)]


def test_the_same_verdicts_written_again_change_no_result(store: Store) -> None:
    flush = [verdict_row(number, verdict(number), seq=number) for number in range(200)]
    queries = ["SELECT * EXCEPT visible_at FROM verdicts FINAL ORDER BY case_key", "SELECT * FROM breaks ORDER BY case_key",
               "SELECT * EXCEPT visible_at FROM verdict_history FINAL ORDER BY case_key", "SELECT * FROM hops ORDER BY case_key"]  # fmt: skip
    store.write_verdicts(flush)
    before = [rows(store.client, query) for query in queries]
    assert [len(found) for found in before] == [200] * 4
    store.write_verdicts(flush)
    store.write_verdicts(flush[::-1])
    assert [rows(store.client, query) for query in queries] == before


def test_the_history_keeps_every_verdict_that_differed(store: Store) -> None:
    store.write_verdicts([verdict_row(1, verdict(1), seq=1)])
    store.write_verdicts([verdict_row(1, verdict(1), seq=2, changed=False)])
    store.write_verdicts([verdict_row(1, verdict(1, "ok", ()), seq=3)])
    history = "SELECT seq, outcome, break_classes FROM verdict_history FINAL ORDER BY epoch, seq"
    assert rows(store.client, history) == [(1, "break", ["missing_posting"]), (3, "ok", [])]


def test_breaks_and_hops_read_as_tables(store: Store) -> None:
    store.write_verdicts(
        [verdict_row(1, verdict(1, breaks=("missing_posting", "sla"))), verdict_row(2, verdict(2, "ok", ()))]
    )
    query = "SELECT case_key, class, variance_minor, currency, evidence, owner, reason, fingerprint FROM breaks ORDER BY class"
    what = (12_000, "USD", ["stripe:in_1:issued"], "finance", "No posting.", "0123456789abcdef")
    assert rows(store.client, query) == [(case_key(1), "missing_posting", *what), (case_key(1), "sla", *what)]
    query = "SELECT document, name, state, ended_at, due_at, latency_s, target_s FROM hops ORDER BY document"
    hop = ("invoice_to_posting", "waiting", None, datetime(2026, 3, 4, 5, 21, 7, tzinfo=UTC), None, 900.0)
    assert rows(store.client, query) == [("INV-1", *hop), ("INV-2", *hop)]


def test_a_stub_is_the_newest_of_its_case(store: Store) -> None:
    other_month = NOW - timedelta(days=70)
    store.write_verdicts([
        verdict_row(1, verdict(1), seq=1),
        verdict_row(1, verdict(1, "ok", (), next_deadline=None), seq=2, digest=5),
        verdict_row(2, verdict(2), seq=3, first_seen=other_month),
    ])  # fmt: skip
    found = store.verdicts_of([case_key(1), case_key(2), case_key(3)])
    assert found.keys() == {case_key(1), case_key(2)}
    assert found[case_key(1)][0][1:] == (NOW, None, "ok", 5, 3, 1, revision(1, 2))
    deadline = datetime(2026, 3, 4, 5, 21, 7, 1, tzinfo=UTC)
    assert found[case_key(2)][0][1:] == (other_month, deadline, "break", 2**63 + 2, 3, 1, revision(1, 3))


def test_a_case_stored_in_two_months_is_shown_once_when_what_is_older_is_dropped(store: Store) -> None:
    """Rule E9: a month is a partition of the table, and FINAL gives the newest verdict of each."""
    january = NOW - timedelta(days=40)
    store.write_verdicts([
        verdict_row(1, verdict(1), epoch=2, first_seen=january),
        verdict_row(1, verdict(1), epoch=1, seq=9),
        verdict_row(2, verdict(2), epoch=1),
        verdict_row(3, verdict(3), epoch=1, first_seen=january, partition=2),
        verdict_row(3, verdict(3), epoch=2, partition=2),
    ])  # fmt: skip
    shown = [
        f"SELECT revision FROM {table} FINAL WHERE document = 'INV-1' SETTINGS do_not_merge_across_partitions_select_final = 1"
        for table in ("verdicts", "open_cases")
    ]
    assert [len(rows(store.client, query)) for query in shown] == [2, 2]
    assert store.split_cases(1) == [(case_key(1), 2)]
    assert store.verdicts_of([case_key(1)])[case_key(1)][0].epoch == 2
    store.drop_before([case_key(1)], 2)
    store.drop_before([case_key(1)], 2)
    assert [rows(store.client, query) for query in shown] == [[(revision(2, 1),)]] * 2
    assert store.split_cases(1) == []
    assert store.split_cases(2) == [(case_key(3), 2)]
    assert store.verdicts_of([case_key(2)])[case_key(2)][0].epoch == 1


def test_untold_are_the_cases_that_an_earlier_epoch_judged_beyond_a_revision(store: Store) -> None:
    store.write_verdicts([
        verdict_row(1, verdict(1), seq=1),
        verdict_row(2, verdict(2), seq=2),
        verdict_row(2, verdict(2), seq=4),
        verdict_row(3, verdict(3), seq=3, partition=2),
        verdict_row(4, verdict(4), epoch=2, seq=1),
        verdict_row(5, verdict(5), epoch=3, seq=1),
    ])  # fmt: skip
    found = store.untold({1: (revision(1, 1), 3), 2: (0, 1)})
    assert {number: [each.case_key for each in untold] for number, untold in found.items()} == {
        1: [case_key(2), case_key(4)],
        2: [],
    }
    assert store.untold({1: (revision(2, 1), 4)}) == {1: [Untold(case_key(5), NOW, "{}")]}


def test_a_claim_is_higher_than_what_is_known_elsewhere(store: Store) -> None:
    """The group's offsets outlive a store that was put back."""
    assert store.claim(0, "a", 7) == 8
    assert store.claim(0, "b", 2) == 9


def test_seventy_thousand_known_cases_are_a_sorted_hash_each(store: Store) -> None:
    raw = verdict(0)
    store.write_verdicts([
        verdict_row(0, raw.replace(b"INV-0", b"INV-%d" % number), seq=number) for number in range(70_000)
    ])  # fmt: skip
    store.write_verdicts([verdict_row(1, verdict(1), seq=90_000), verdict_row(2, verdict(90_000), seq=1, partition=2)])
    found = store.known([1, 2, 3])
    known = array("Q", found[1])
    keys = [key for (key,) in store.client.query("SELECT case_key FROM verdicts FINAL WHERE partition = 1").result_rows]
    assert len(keys) == 70_000
    assert list(known) == sorted(map(key_hash, keys))
    assert list(array("Q", found[2])) == [key_hash(case_key(90_000))]
    assert found[3] == b""


def test_the_next_deadlines_of_open_cases_come_in_their_order(store: Store) -> None:
    due = [f"2026-03-0{day}T00:00:00.000001Z" for day in range(1, 7)]
    store.write_verdicts([verdict_row(n, verdict(n, next_deadline=due[n]), seq=n) for n in (5, 3, 1, 0, 2, 4)])
    store.write_verdicts([
        verdict_row(0, verdict(0, "ok", (), next_deadline=None), seq=7),
        verdict_row(1, verdict(1, next_deadline=None), seq=8),
        verdict_row(9, verdict(9, next_deadline=due[2]), seq=9, partition=2),
    ])  # fmt: skip
    moments = [datetime.fromisoformat(text) for text in due]
    assert store.deadlines([1, 3], moments[0], 3) == {1: [(moments[n], case_key(n)) for n in (2, 3, 4)], 3: []}
    assert store.deadlines([1], moments[4], 3) == {1: [(moments[n], case_key(n)) for n in (4, 5)]}


def test_cases_that_await_a_source_come_in_the_order_of_what_they_await(store: Store) -> None:
    def awaiting(*awaited: tuple[str, int]) -> list[dict[str, str]]:
        return [{"source": source, "until": f"2026-03-0{day}T00:00:00.000001Z"} for source, day in awaited]

    store.write_verdicts([
        verdict_row(1, verdict(1, awaiting=awaiting(("erp", 5), ("payments", 1))), seq=1),
        verdict_row(2, verdict(2, awaiting=awaiting(("erp", 3))), seq=2),
        verdict_row(3, verdict(3, awaiting=awaiting(("erp", 2))), seq=3),
        verdict_row(4, verdict(4), seq=4),
    ])  # fmt: skip
    store.write_verdicts([verdict_row(3, verdict(3), seq=5)])
    moments = {day: datetime(2026, 3, day, 0, 0, 0, 1, tzinfo=UTC) for day in (1, 3, 5)}
    assert store.awaiting(1, "erp", 9) == [(moments[3], case_key(2)), (moments[5], case_key(1))]
    assert store.awaiting(1, "erp", 1) == [(moments[3], case_key(2))]
    assert store.awaiting(1, "payments", 9) == [(moments[1], case_key(1))]
    assert store.awaited([1, 2]) == {1: {"erp": moments[3], "payments": moments[1]}, 2: {}}
    assert store.awaiting(2, "erp", 9) == store.awaiting(1, "billing", 9) == []


def test_items_that_money_may_pay_are_open_or_recent_invoices_and_payouts(store: Store) -> None:
    payout, receipt = "payout:acme-us:stripe:po_1", "receipt:acme-us:bank:py_1"
    store.write_verdicts([
        verdict_row(1, verdict(1), seq=1), verdict_row(2, verdict(2, "ok", ()), seq=2),
        verdict_row(3, verdict(3, correlation_id=payout, kind="payout"), seq=3),
        verdict_row(4, verdict(4, correlation_id=receipt, kind="receipt"), seq=4),
        verdict_row(5, verdict(5, entity="acme-de"), seq=5),
    ])  # fmt: skip
    since = datetime(2026, 3, 4, tzinfo=UTC)
    assert set(store.open_items("acme-us", since)) == {case_key(1), case_key(2), payout}
    assert set(store.open_items("acme-us", since + timedelta(days=1))) == {case_key(1), payout}


def test_open_cases_of_another_policy_are_found(store: Store) -> None:
    store.write_verdicts([
        verdict_row(1, verdict(1, policy="new"), seq=1),
        verdict_row(2, verdict(2), seq=2),
        verdict_row(3, verdict(3, "ok", ()), seq=3),
        verdict_row(4, verdict(4), seq=4),
    ])  # fmt: skip
    assert store.judged_otherwise(1, "new", 9) == [case_key(2), case_key(4)]
    assert store.judged_otherwise(1, "new", 1) == [case_key(2)]
    assert store.judged_otherwise(2, "new", 9) == []


def test_epochs_and_sequences_beyond_their_bits_are_refused(store: Store) -> None:
    with pytest.raises(OverflowError):
        store.write_verdicts([verdict_row(1, verdict(1), seq=2**40)])
    with pytest.raises(OverflowError):
        store.write_verdicts([verdict_row(1, verdict(1), epoch=2**24)])
    store.write_verdicts([verdict_row(1, verdict(1), epoch=2**24 - 1, seq=2**40 - 1)])
    assert rows(store.client, "SELECT revision FROM verdicts FINAL") == [(2**64 - 1,)]


# Positions, dead letters, meta


def test_positions_keep_the_newest_flush(store: Store) -> None:
    newest = PositionRow(
        "invoices", "id-1", 1, 500, epoch=2, seq=1, flushed_at=NOW, lag=7, from_offset=12, committed_offset=490,
        complete_to=NOW - timedelta(seconds=1), appended_at=NOW - timedelta(days=1), judged_to=NOW + timedelta(microseconds=1),
        proven='{"erp":"2026-03-04T05:06:07Z"}',
    )  # fmt: skip
    store.write_positions([newest, newest._replace(topic="postings", next_offset=2**40)])
    store.write_positions([newest._replace(epoch=1, seq=900, next_offset=9_999), newest._replace(partition=2)])
    assert store.positions([0, 1]) == {
        0: {}, 1: {"invoices": newest, "postings": newest._replace(topic="postings", next_offset=2**40)},
    }  # fmt: skip
    assert sorted(store.progress(["invoices", "orders"])) == [newest, newest._replace(partition=2)]


def test_a_gap_is_stored_once_however_often_it_is_told(store: Store) -> None:
    gap = GapRow("raw.stripe", "id-1", 3, 100, 250, "worker-a", NOW)
    store.write_gaps([gap])
    store.write_gaps([gap])
    query = "SELECT topic, topic_id, partition, from_offset, to_offset, worker, found_at FROM gaps FINAL"
    assert rows(store.client, query) == [tuple(gap)]


def test_dead_letters_keep_the_bytes_as_they_came(store: Store) -> None:
    letter = DeadLetterRow(
        "raw.stripe",
        0,
        5,
        NOW,
        "mapping",
        "No currency.",
        "intake",
        "stripe",
        "",
        b"\x00key",
        '{"a":"b"}',
        b"\xff\x00{\n\t\\'",
    )
    store.write_dead_letters([letter, letter._replace(offset=6, original=b"")])
    store.write_dead_letters([letter])
    formats = {"key": "bytes", "original": "bytes"}
    found = store.client.query(
        "SELECT * EXCEPT received_at FROM dead_letters FINAL ORDER BY offset", column_formats=formats
    )
    assert [DeadLetterRow(*row) for row in found.result_rows] == [letter, letter._replace(offset=6, original=b"")]


def test_meta_remembers_the_last_value(store: Store) -> None:
    assert store.meta("partitions") is None
    store.set_meta("partitions", "4")
    store.set_meta("partitions", "8")
    assert store.meta("partitions") == "8"


# When the store is away


def test_a_store_that_is_away_is_said_so_after_the_patience(start_store: Callable[..., StoreProcess]) -> None:
    process = start_store()
    client = process.client()
    process.kill()
    pauses: list[float] = []
    with pytest.raises(StoreUnavailable, match=f"{process.url}.* did not answer for 3 s"):
        Store(client, patience_s=3, sleep=pauses.append).highest_epochs([0])
    assert sum(pauses) >= 3
    assert max(pauses) <= 2
    with pytest.raises(StoreUnavailable):
        connect(process.url, patience_s=0)


def test_a_flush_waits_for_the_store_to_come_back(store_process: StoreProcess) -> None:
    client = store_process.client()
    store_process.kill()
    restarts: list[float] = []

    def restart(pause_s: float) -> None:
        if not restarts:
            store_process.start()
        restarts.append(pause_s)

    store = Store(client, patience_s=60, sleep=restart)
    store.write_facts([FactBatch("invoices", 0, [0], [fact(1)])])
    assert restarts
    assert store.facts_of([case_key(1)])[case_key(1)] == [FactRow("invoices", 0, 0, fact(1))]


def test_what_cannot_get_better_is_not_tried_again(store: Store) -> None:
    pauses: list[float] = []
    store.client.command("DROP TABLE meta SYNC")
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        Store(store.client, sleep=pauses.append).meta("partitions")
    assert pauses == []


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        connect("localhost:8123")
