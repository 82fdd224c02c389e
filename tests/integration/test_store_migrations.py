"""Migrations against a real embedded store: up, down, up again, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sinks.client import Client
from sinks.migrate import FOLDER, MigrationError, migrate, pending
from tests.fixtures_store import StoreProcess

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
