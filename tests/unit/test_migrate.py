"""The migration folder is whole, and scripts are cut into statements where a person would cut them."""

import re
from pathlib import Path

import pytest

from sinks.migrate import FOLDER, MigrationError, read, statements


def test_every_shipped_migration_has_a_number_and_both_directions() -> None:
    numbers = [int(migration.name[:4]) for migration in read()]
    assert numbers == list(range(1, len(numbers) + 1))


# What may be said twice. A table that is made again is filled beside the old one, under a name that is nobody's, and exchanged.
AGAIN = re.compile(
    r"CREATE .*?\bIF NOT EXISTS\b|DROP .*?\bIF EXISTS\b|ALTER .*?\bIF (NOT )?EXISTS\b"
    r"|ALTER .*?\b(MODIFY (QUERY|SETTING|COLUMN)|RESET SETTING|MATERIALIZE)\b"
    r"|INSERT INTO \w+_(next|before)\b|EXCHANGE TABLES (?P<table>\w+) AND (?P=table)_(next|before)$|DROP TABLE \w+_(next|before) SYNC$",
    re.DOTALL,
)


def test_a_migration_that_was_cut_off_can_be_run_again() -> None:
    """tests/integration/test_store_migrations.py cuts the last one off at every step."""
    for migration in read():
        for statement in (*statements(migration.up), *statements(migration.down)):
            assert AGAIN.match(statement), statement


def test_every_table_that_is_written_is_synced_to_disk_before_the_answer() -> None:
    tables = [
        statement
        for migration in read(FOLDER)
        for statement in statements(migration.up)
        if statement.startswith("CREATE TABLE")
    ]
    assert tables
    for table in tables:
        assert "fsync_after_insert = 1, fsync_part_directory = 1" in table


def test_a_semicolon_inside_a_text_does_not_end_the_statement() -> None:
    script = "-- a comment; with one\nSELECT 'a;b';\n  SELECT 2 ;  \nSELECT 3"
    assert statements(script) == ["SELECT 'a;b'", "SELECT 2", "SELECT 3"]


@pytest.mark.parametrize(
    "files, complaint",
    [
        (["0001_a.up.sql"], "0001_a has no 0001_a.down.sql"),
        (["0001_a.up.sql", "0001_a.down.sql", "0001_b.up.sql", "0001_b.down.sql"], "need a number each"),
        (["first.up.sql", "first.down.sql"], "need a number each"),
    ],
)
def test_a_broken_migration_folder_is_refused_with_its_reason(tmp_path: Path, files: list[str], complaint: str) -> None:
    for name in files:
        (tmp_path / name).write_text("SELECT 1;\n")
    with pytest.raises(MigrationError, match=complaint):
        read(tmp_path)
