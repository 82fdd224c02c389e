"""One chDB database in this process, for the HTTP face (sinks.embedded) alone.

- A chDB connection runs one statement at a time; several connections of one process run at once and without
  Python's lock. Measured on two cores, chDB 26.9: two 0.59 s queries take 0.59 s on two connections and 1.11 s on
  one; a `SELECT 1` beside a query that fills a core takes 1 to 3 ms, at most 19.
- Therefore connections stand in lanes, each lane with its own threads and queue: inserts never wait behind reads, a
  worker's reads (setting `priority=1`) never behind a dashboard's. Dashboards' reads are limited in memory and time.
- Inserts go in as a file in memory, in the bytes and the format they came in. A malformed one stores nothing (one of over
  a million rows or 256 MB becomes several parts, as in any ClickHouse, and may leave some). chDB's streaming insert is
  not used: with a full disk it stores nothing and raises nothing (26.9). Data in the statement itself ends at a blank
  line, which binary formats may hold.
- `INSERT ... SELECT ... FROM input(...)` stores nothing and raises nothing in chDB 26.9: refused by sinks.embedded.
- Settings of a statement are SET on its connection, and set back before the next statement that does not ask for them.
- Only one process may own a directory: a lock file says so before chDB does, in words. The lock dies with its process.
"""

import fcntl
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple, TypeVar

import chdb

WRITERS = 2
WORKER_READERS = 2
READERS = 4
READ_MEMORY_BYTES = 4 * 1024**3
READ_TIME_S = 120
STOP_PATIENCE_S = 5

Result = TypeVar("Result")

_LANES: dict[str, tuple[int, dict[str, str]]] = {
    "write": (WRITERS, {}),
    "worker": (WORKER_READERS, {}),
    "read": (
        READERS,
        {
            "max_memory_usage": str(READ_MEMORY_BYTES),
            "max_execution_time": str(READ_TIME_S),
        },
    ),
}
_SETTING = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")
_CODE = re.compile(r"Code: (\d+)\.")


class CannotServe(Exception):
    """The store cannot start; the message is one sentence for a person."""


class EngineError(Exception):
    """What ClickHouse answered: its exception code and text."""

    def __init__(self, text: str):
        start = max(text.find("Code: "), 0)
        self.text = text[start:].strip()
        found = _CODE.match(self.text)
        self.code = int(found.group(1)) if found else 1002
        super().__init__(self.text)


class Statement(NamedTuple):
    """A statement with all that it runs under. `data` is there for an insert of bytes in `format` alone."""

    sql: bytes
    format: str
    database: str
    settings: dict[str, str]
    params: dict[str, str]
    data: bytes | None = None


class Outcome(NamedTuple):
    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    elapsed_s: float


class Engine:
    """Opens the database at `path`. Raises CannotServe where another process owns it or it is damaged."""

    def __init__(self, path: Path):
        self._lock = _own(path)
        self._path = path
        self._opened: list[_Connection] = []
        self._local = threading.local()
        try:
            self._control = self._open({})
        except RuntimeError as error:
            raise CannotServe(f"the store at {path} cannot be opened: {error}") from None
        self._lanes = {name: self._lane(name, *lane) for name, lane in _LANES.items()}

    def run(self, lane: str, statement: Statement) -> "Future[Outcome]":
        """The whole result. The future raises EngineError."""
        return self._submit(lane, lambda connection: connection.run(statement))

    def stream(
        self,
        lane: str,
        statement: Statement,
        consume: Callable[[Iterator[bytes]], None],
    ) -> "Future[None]":
        """Hands the result's chunks to `consume` in the lane's thread. The future raises EngineError."""

        def work(connection: _Connection) -> None:
            with closing(connection.stream(statement)) as chunks:
                consume(chunks)

        return self._submit(lane, work)

    def close(self) -> None:
        """Stops what runs and closes. What was acknowledged is on disk, so a statement that does not stop is left."""
        for lane in self._lanes.values():
            lane.shutdown(wait=False, cancel_futures=True)
        closing = threading.Thread(target=self._finish, daemon=True)
        closing.start()
        closing.join(STOP_PATIENCE_S)
        if closing.is_alive():
            os._exit(0)

    def _finish(self) -> None:
        self._control.kill_all()
        for lane in self._lanes.values():
            lane.shutdown(wait=True)
        for connection in self._opened:
            connection.close()
        self._lock.close()

    def _lane(self, name: str, threads: int, fixed: dict[str, str]) -> ThreadPoolExecutor:
        def start() -> None:
            self._local.connection = self._open(fixed)

        return ThreadPoolExecutor(threads, thread_name_prefix=f"store-{name}", initializer=start)

    def _open(self, fixed: dict[str, str]) -> "_Connection":
        connection = _Connection(self._path, fixed)
        self._opened.append(connection)
        return connection

    def _submit(self, lane: str, work: "Callable[[_Connection], Result]") -> "Future[Result]":
        return self._lanes[lane].submit(lambda: work(self._local.connection))


class _Connection:
    """One chDB connection, used by one thread; remembers its database and the settings it has changed."""

    def __init__(self, path: Path, fixed: dict[str, str]):
        self._path, self._fixed = path, fixed
        self._connect()

    def run(self, statement: Statement) -> Outcome:
        with _translated():
            self._prepare(statement)
            if statement.data is not None:
                return self._insert(statement)
            sql: Any = statement.sql  # bytes pass untouched, whatever the signature says
            result = self._chdb.query(sql, statement.format, params=statement.params)
            return Outcome(
                result.bytes() or b"",
                result.rows_read(),
                result.bytes_read(),
                0,
                0,
                result.elapsed(),
            )

    def stream(self, statement: Statement) -> Generator[bytes, None, None]:
        with _translated():
            self._prepare(statement)
            sql: Any = statement.sql
            with self._chdb.send_query(sql, statement.format, params=statement.params) as chunks:
                for chunk in chunks:
                    yield chunk.bytes()

    def kill_all(self) -> None:
        self._chdb.query("KILL QUERY WHERE query NOT LIKE 'KILL%' ASYNC", "TSV")

    def close(self) -> None:
        self._chdb.close()

    def _connect(self) -> None:
        self._chdb = chdb.connect(str(self._path))
        self._database = "default"
        self._settings: dict[str, str] = {}

    def _insert(self, statement: Statement) -> Outcome:
        with _as_file(statement.data or b"") as path:
            sql = b"%b FROM INFILE '%b' FORMAT %b" % (statement.sql, path.encode(), _name(statement.format).encode())
            done = self._chdb.query(sql, "Native", params=statement.params)  # type: ignore[arg-type]
        written, written_bytes = done.rows_written(), done.bytes_written()
        return Outcome(b"", written, written_bytes, written, written_bytes, done.elapsed())

    def _prepare(self, statement: Statement) -> None:
        """Database and settings, only where they differ from the last statement's: a SET costs 0.2 ms."""
        wanted = self._fixed | statement.settings
        if wanted != self._settings:
            self._change_settings(wanted)
        if statement.database != self._database:
            self._chdb.query(f"USE `{statement.database.replace('`', '``')}`", "TSV")
            self._database = statement.database

    def _change_settings(self, wanted: Mapping[str, str]) -> None:
        changes = [f"{_name(key)} = DEFAULT" for key in self._settings if key not in wanted]
        changes += [f"{_name(key)} = {_quoted(value)}" for key, value in wanted.items()]
        try:
            self._chdb.query(f"SET {', '.join(changes)}", "TSV")
        except Exception:
            # Which of them hold now is not known: start again from a fresh connection.
            self._chdb.close()
            self._connect()
            raise
        self._settings = dict(wanted)


@contextmanager
def _translated() -> Iterator[None]:
    """chDB's errors as EngineError."""
    try:
        yield
    except EngineError:
        raise
    except RuntimeError as error:
        raise EngineError(str(error)) from None
    except UnicodeDecodeError as error:  # a message that quotes bytes of a malformed insert
        raise EngineError(error.object.decode(errors="backslashreplace")) from None


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path under which chDB reads the bytes: in memory where the system can, so that a full disk takes nothing away."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("insert"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name


def _own(path: Path) -> IO[str]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "tieout-store.lock").open("w")
    except OSError as error:
        raise CannotServe(f"the store's directory {path} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise CannotServe(f"another store process already owns {path}: stop it or use another directory") from None
    return lock


def _name(setting: str) -> str:
    if not _SETTING.match(setting):
        raise EngineError(f"Code: 115. DB::Exception: Unknown setting {setting!r}. (UNKNOWN_SETTING)")
    return setting


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
