"""Migrations against a real embedded store: up, down, up again, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sinks.client import Client, Store
from sinks.migrate import FOLDER, MigrationError, migrate, pending, read, statements
from sinks.rows import FactBatch
from tests.fixtures_store import StoreProcess
from tests.integration.test_store import case_key, fact, verdict, verdict_row

NAMES = [
    "0001_facts",
    "0002_verdicts",
    "0003_dead_letters",
    "0004_progress",
    "0005_completeness",
    "0006_dead_letter_actions",
    "0007_shadow",
    "0008_tie_outs",
    "0009_matches",
    "0010_storage",
    "0011_merges",
]


@pytest.fixture
def client(start_store: Callable[[], StoreProcess]) -> Client:
    """Of a store without a database."""
    return start_store().client()


def tables(client: Client) -> set[str]:
    return {name for (name,) in client.query("SHOW TABLES").result_rows}


def schema(client: Client) -> list[tuple[str, str]]:
    query = "SELECT name, create_table_query FROM system.tables WHERE database = 'tieout' ORDER BY name"
    return [(name, text) for name, text in client.query(query).result_rows]


def test_a_fresh_store_gets_its_database_and_all_tables(client: Client) -> None:
    assert pending(client) == NAMES
    assert migrate(client) == [f"up {name}" for name in NAMES]
    assert pending(client) == []
    assert tables(client) >= {
        "facts",
        "verdicts",
        "verdict_history",
        "open_cases",
        "dead_letters",
        "positions",
        "epochs",
        "gaps",
    }


def test_down_takes_everything_back_and_up_again_gives_the_same_schema(client: Client) -> None:
    migrate(client)
    before = schema(client)
    assert migrate(client, "0") == [f"down {name}" for name in reversed(NAMES)]
    assert tables(client) == {"schema_migrations"}
    migrate(client)
    assert schema(client) == before


def test_migrating_twice_does_nothing_the_second_time(client: Client) -> None:
    migrate(client)
    assert migrate(client) == []


def test_one_can_stop_at_a_migration_by_its_number_or_name(client: Client) -> None:
    assert migrate(client, "1") == ["up 0001_facts"]
    assert migrate(client, "0003_dead_letters") == ["up 0002_verdicts", "up 0003_dead_letters"]
    assert migrate(client, "1") == ["down 0003_dead_letters", "down 0002_verdicts"]
    with pytest.raises(MigrationError, match="no migration 99; there are 0001_facts"):
        migrate(client, "99")


def test_an_edited_migration_is_refused_before_anything_runs(client: Client, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "edited"))
    migrate(client, "2", folder)
    with (folder / "0001_facts.up.sql").open("a") as script:
        script.write("-- a little change\n")
    with pytest.raises(MigrationError, match="0001_facts was edited after it was applied"):
        migrate(client, None, folder)
    assert "dead_letters" not in tables(client)


def test_a_store_of_a_newer_version_is_refused(client: Client, tmp_path: Path) -> None:
    migrate(client)
    older = Path(shutil.copytree(FOLDER, tmp_path / "older"))
    for path in older.glob("0004_*"):
        path.unlink()
    with pytest.raises(MigrationError, match="0004_progress, which this version does not know"):
        migrate(client, None, older)


def test_a_migration_that_failed_half_way_goes_through_the_next_time(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "0001_two.down.sql").write_text("DROP TABLE IF EXISTS a;\nDROP TABLE IF EXISTS b;\n")
    script = folder / "0001_two.up.sql"
    first = "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x;\n"
    script.write_text(first + "CREATE TABLE IF NOT EXISTS b (x Nonsense) ENGINE = MergeTree ORDER BY x;\n")
    with pytest.raises(Exception, match="Nonsense"):
        migrate(client, None, folder)
    script.write_text(first + "CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = MergeTree ORDER BY x;\n")
    assert migrate(client, None, folder) == ["up 0001_two"]
    assert tables(client) == {"schema_migrations", "a", "b"}


HELD = (
    "SELECT case_key, fact_id, type, source, subject, time, entity, currency, amount_minor, raw FROM facts ORDER BY offset",
    "SELECT case_key, revision, first_seen, judged_at, outcome, digest, facts, first_event_at, last_event_at, visible_at, raw, controls FROM verdicts FINAL ORDER BY case_key",
    "SELECT case_key, epoch, seq, outcome, exposure_minor, break_classes, policy, progress, visible_at FROM verdict_history FINAL ORDER BY ALL",
    "SELECT case_key, class, reason, evidence, first_event_at FROM breaks ORDER BY ALL",
    "SELECT case_key, name, state, latency_s, target_s FROM hops ORDER BY ALL",
)


def held(client: Client) -> list[list[tuple[object, ...]]]:
    return [[tuple(row) for row in client.query(query).result_rows] for query in HELD]


def fill(client: Client, first: int, seq: int) -> None:
    """Of three cases a fact and a verdict each; of the first another verdict."""
    store = Store(client)
    numbers = range(first, first + 3)
    store.write_facts([FactBatch("invoices", 1, list(numbers), [fact(number) for number in numbers])])
    store.write_verdicts([verdict_row(number, verdict(number), seq=seq + number) for number in numbers])
    store.write_verdicts([verdict_row(first, verdict(first, "ok", ()), seq=seq + first + 10)])


def test_a_store_that_is_full_holds_the_same_in_the_new_layout_and_in_the_old_one_again(client: Client) -> None:
    migrate(client, "9")
    fill(client, 1, 0)
    before = held(client)
    assert [len(found) for found in before] == [3, 3, 4, 2, 3]
    migrate(client)
    assert held(client) == before
    breaks = client.query("SELECT seq, breaks FROM verdict_history FINAL ORDER BY seq").result_rows
    assert ["missing_posting" in text for _, text in breaks] == [True, True, True, False]
    assert client.query("SELECT case_key FROM facts WHERE has(identifiers, 'INV-2')").result_rows == [(case_key(2),)]
    fill(client, 11, 100)
    both = held(client)
    assert [len(found) for found in both] == [6, 6, 8, 4, 6]
    migrate(client, "9")
    assert held(client) == both


def test_a_new_layout_that_was_cut_off_at_any_step_is_made_the_next_time(client: Client) -> None:
    migrate(client, "9")
    fill(client, 1, 0)
    before = held(client)
    steps = statements(next(item.up for item in read() if item.name == "0010_storage"))
    for done in range(1, len(steps) + 1):
        for statement in steps[:done]:
            client.command(statement)
    migrate(client)
    assert held(client) == before
    assert "verdicts_next" not in tables(client)
