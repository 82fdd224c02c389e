"""Numbered migrations, forward and backward, over any ClickHouse that speaks HTTP.

- A migration is a pair `migrations/NNNN_name.up.sql` and `.down.sql`; statements end with `;` at the end of a line.
  Each can be run again (IF NOT EXISTS, IF EXISTS): DDL has no transactions, so one that was cut off is run again.
- An applied migration is never edited: its checksum is stored, and a difference is refused before anything is run.
- `migrate` creates the client's database where it is missing. Applied twice it does nothing.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

FOLDER = Path(__file__).parent / "migrations"

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String,
    checksum String,
    applied UInt8,
    at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


class MigrationError(Exception):
    """The store cannot be brought to the wanted schema; the message says why."""


class Migration(NamedTuple):
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        return sha256(f"{self.up}\0{self.down}".encode()).hexdigest()


def migrate(client: Client, to: str | None = None, folder: Path = FOLDER) -> list[str]:
    """Brings the schema to migration `to` (a name or its number; "0" is empty; None the newest), up or down.

    Returns what was done, in order, such as `["up 0001_facts"]`. Raises MigrationError.
    """
    migrations = read(folder)
    target = _index_of(migrations, to)
    client.command(f"CREATE DATABASE IF NOT EXISTS `{client.database}`", use_database=False)
    client.command(_RECORD)
    applied = _check(migrations, _applied(client))
    ups = [item for item in migrations[:target] if item.name not in applied]
    downs = [item for item in reversed(migrations[target:]) if item.name in applied]
    for item in ups:
        _run(client, item, item.up, applied=1)
    for item in downs:
        _run(client, item, item.down, applied=0)
    return [f"up {item.name}" for item in ups] + [f"down {item.name}" for item in downs]


def pending(client: Client, folder: Path = FOLDER) -> list[str]:
    """Names of migrations that the store lacks. Raises MigrationError where it was made by other ones."""
    migrations = read(folder)
    exists = client.command("EXISTS TABLE schema_migrations") if _has_database(client) else 0
    applied = _check(migrations, _applied(client)) if exists else set()
    return [item.name for item in migrations if item.name not in applied]


def read(folder: Path = FOLDER) -> list[Migration]:
    """All migrations in order. Raises MigrationError where a pair is not whole or a number is taken twice."""
    names = sorted({path.name.split(".")[0] for path in folder.glob("*.sql")})
    numbers = [name[:4] for name in names]
    if len(set(numbers)) != len(numbers) or not all(re.fullmatch(r"\d{4}_\w+", name) for name in names):
        raise MigrationError(f"migrations need a number each, NNNN_name: {', '.join(names)}")
    return [Migration(name, _text(folder, name, "up"), _text(folder, name, "down")) for name in names]


def statements(sql: str) -> list[str]:
    """The statements of a script, without comment lines."""
    lines = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", lines) if part.strip()]


def _text(folder: Path, name: str, direction: str) -> str:
    path = folder / f"{name}.{direction}.sql"
    if not path.exists():
        raise MigrationError(f"migration {name} has no {path.name}")
    return path.read_text()


def _index_of(migrations: list[Migration], to: str | None) -> int:
    """How many migrations are to be applied."""
    if to is None:
        return len(migrations)
    if to.strip("0") == "":
        return 0
    for index, item in enumerate(migrations):
        if item.name == to or item.name[:4] == to.zfill(4):
            return index + 1
    raise MigrationError(f"there is no migration {to}; there are {', '.join(item.name for item in migrations)}")


def _has_database(client: Client) -> bool:
    return bool(client.command(f"EXISTS DATABASE `{client.database}`", use_database=False))


def _applied(client: Client) -> dict[str, str]:
    rows = client.query("SELECT name, checksum FROM schema_migrations FINAL WHERE applied = 1").result_rows
    return {name: checksum for name, checksum in rows}


def _check(migrations: list[Migration], applied: dict[str, str]) -> set[str]:
    known = {item.name: item.checksum for item in migrations}
    for name, checksum in applied.items():
        if name not in known:
            raise MigrationError(f"the store has migration {name}, which this version does not know: it is newer")
        if known[name] != checksum:
            raise MigrationError(f"migration {name} was edited after it was applied; add a new one instead")
    return set(applied)


def _run(client: Client, migration: Migration, script: str, applied: int) -> None:
    for statement in statements(script):
        client.command(statement)
    client.command(
        "INSERT INTO schema_migrations (name, checksum, applied) "
        f"VALUES ('{migration.name}', '{migration.checksum}', {applied})",
        settings={"async_insert": 0},
    )
