"""The embedded store as any ClickHouse client sees it over HTTP."""

import gzip
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import cramjam
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error

from sinks.client import Store
from sinks.engine import READERS
from sinks.rows import FactBatch
from tests.fixtures_store import REPOSITORY, StoreProcess

ODD = ["", "a\u0000b", "it's", "\t\n\\", "é€😀", "{x:String}", "a;b -- c", "x" * 100_000]


@pytest.fixture(params=[False, "lz4", "zstd", "gzip"], ids=str)
def client(request: pytest.FixtureRequest, shared_store: StoreProcess) -> Iterator[Client]:
    """clickhouse-connect as a dashboard uses it, in each of its packings, in an empty database."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=shared_store.port, compress=request.param)
    client.command("CREATE DATABASE http")
    client.database = "http"
    yield client
    client.command("DROP DATABASE http SYNC", use_database=False)
    client.close()


def ask(process: StoreProcess, body: bytes = b"", method: str = "POST", path: str = "/", headers: dict[str, str] | None = None, **params: str) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    try:
        connection.request(method, f"{path}?{urlencode(params)}" if params else path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_values_of_every_kind_come_back_as_they_were_inserted(client: Client) -> None:
    client.command(
        "CREATE TABLE odd (number UInt64, text String, low LowCardinality(String)) ENGINE = MergeTree ORDER BY number"
    )
    values = [[2**64 - 1 - number, text, text[:10]] for number, text in enumerate(ODD)]
    summary = client.insert("odd", values, column_names=["number", "text", "low"])
    assert summary.written_rows == len(ODD)
    assert [list(row) for row in client.query("SELECT * FROM odd ORDER BY number DESC").result_rows] == values


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_parameters_are_values_never_sql(client: Client, text: str) -> None:
    answer = client.query("SELECT {text:String}, {list:Array(String)}", parameters={"text": text, "list": [text, "b"]})
    assert answer.result_rows == [(text, [text, "b"])]


def test_a_large_result_streams_and_is_whole(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(300_000)") as stream:
        found = [row for rows in stream for row in rows]
    assert found == [(number, str(number)) for number in range(300_000)]


def test_an_empty_result_is_empty_not_an_error(client: Client) -> None:
    assert client.query("SELECT number FROM numbers(10) WHERE number > 99").result_rows == []
    with client.query_row_block_stream("SELECT number FROM numbers(10) WHERE number > 99") as stream:
        assert list(stream) == []
    assert client.query("SELECT 1 AS one LIMIT 0").column_names == ("one",)


def test_an_error_in_the_middle_of_a_stream_is_raised_not_cut_short(client: Client) -> None:
    with (
        pytest.raises(Error),
        client.query_row_block_stream("SELECT throwIf(number = 3_000_000) FROM numbers(9_000_000)") as stream,
    ):
        for _ in stream:
            pass
    assert client.command("SELECT 1") == 1


@pytest.mark.parametrize(
    "query, code",
    [("SELECT 1 FROM nowhere", 60), ("SELEC 1", 62), ("SELECT nothing", 47), ("SELECT 1 FROM nodatabase.x", 81),
     ("SELECT throwIf(1)", 395), ("SELECT {a:UInt8}", 456)],
)  # fmt: skip
def test_errors_carry_clickhouses_code_and_words(client: Client, query: str, code: int) -> None:
    with pytest.raises(DatabaseError) as raised:
        client.query(query)
    assert raised.value.code == code
    assert f"Code: {code}." in str(raised.value)


def test_an_unknown_setting_is_refused_and_a_known_one_holds_for_its_query_alone(shared_store: StoreProcess) -> None:
    status, headers, _ = ask(shared_store, b"SELECT 1", no_such_setting="1")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "115")
    value = b"SELECT value FROM system.settings WHERE name = 'max_block_size'"
    assert ask(shared_store, value, max_block_size="77")[2] == b"77\n"
    for _ in range(20):  # each connection of the lane
        assert ask(shared_store, value)[2] == b"65409\n"


@pytest.mark.parametrize(
    "fmt, body",
    [("TabSeparated", b"1\ta\nb\tc\n"), ("Native", b"\x02\x02garbage"), ("RowBinary", b"\x01\x00"), ("JSONEachRow", b'{"number":1}{"numb'),
     ("JSONEachRow", b"\xff\xfe"), ("CSV", b"1,a\n2\n")],
)  # fmt: skip
def test_a_malformed_insert_is_refused_and_stores_nothing(client: Client, fmt: str, body: bytes) -> None:
    client.command("CREATE TABLE strict (number UInt64, text String) ENGINE = MergeTree ORDER BY number")
    with pytest.raises(DatabaseError) as raised:
        client.raw_insert("strict", ["number", "text"], body, fmt=fmt)
    assert raised.value.code
    assert client.command("SELECT count() FROM strict") == 0


def test_a_block_that_breaks_off_after_a_good_one_stores_neither(store: Store) -> None:
    client = store.client
    client.command("CREATE TABLE one (number UInt64) ENGINE = MergeTree ORDER BY number")
    good = b"\x01\x02\x06number\x06UInt64" + bytes(16)
    client.raw_insert("one", ["number"], good + good)
    with pytest.raises(DatabaseError):
        client.raw_insert("one", ["number"], good + good[:-3])
    assert client.command("SELECT count() FROM one") == 4


def test_inserts_in_every_usual_form_are_stored(store: Store, shared_store: StoreProcess) -> None:
    database = store.client.database
    store.client.command("CREATE TABLE form (x UInt64, y String) ENGINE = MergeTree ORDER BY x")
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"INSERT INTO form VALUES (1, 'a;b'), (2, ')')", {}),
        (b"INSERT INTO form (x, y) FORMAT TabSeparated\n3\tc\n", {}),
        (b"INSERT INTO form (x, y) SETTINGS async_insert=0 FORMAT JSONEachRow\n" + b'{"x":4,"y":"d"}', {}),
        (b'INSERT INTO form FORMAT JSONEachRow {"x":5,"y":"e"}', {}),
        (b"6,f\n", {"query": "INSERT INTO form FORMAT CSV"}),
        (b"-- a comment\n/* and another */ insert into form select 7, 'g'", {}),
        (b"", {"query": "INSERT INTO form SELECT 8, 'h'"}),
        (b"INSERT INTO form (x, y) FORMAT TabSeparated\n", {}),
    ]
    for body, params in bodies:
        status, _, text = ask(shared_store, body, database=database, **params)
        assert status == 200, text
    assert store.client.query("SELECT x, y FROM form ORDER BY x").result_rows == [
        (1, "a;b"), (2, ")"), (3, "c"), (4, "d"), (5, "e"), (6, "f"), (7, "g"), (8, "h"),
    ]  # fmt: skip


def test_an_insert_that_chdb_would_lose_in_silence_is_refused(store: Store) -> None:
    store.client.command("CREATE TABLE form (x UInt64) ENGINE = MergeTree ORDER BY x")
    with pytest.raises(DatabaseError, match="input"):
        store.client.command("INSERT INTO form SELECT x FROM input('x UInt64') FORMAT TSV", data="1\n")


@pytest.mark.parametrize(
    "packing, pack",
    [("gzip", gzip.compress), ("deflate", cramjam.zlib.compress), ("lz4", cramjam.lz4.compress), ("zstd", cramjam.zstd.compress)],
)  # fmt: skip
def test_bodies_and_answers_are_packed_as_asked(
    shared_store: StoreProcess, packing: str, pack: Callable[[bytes], Any]
) -> None:
    unpack = getattr(cramjam, {"deflate": "zlib"}.get(packing, packing)).decompress
    packed = {"Content-Encoding": packing, "Accept-Encoding": packing}
    status, headers, body = ask(
        shared_store, bytes(pack(b"SELECT number FROM numbers(5000)")), headers=packed, enable_http_compression="1"
    )
    assert (status, headers["Content-Encoding"]) == (200, packing)
    assert bytes(unpack(body)) == b"".join(b"%d\n" % number for number in range(5000))
    status, headers, _ = ask(shared_store, b"not packed at all", headers=packed)
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "271")
    status, headers, _ = ask(shared_store, b"SELECT 1", headers={"Content-Encoding": "rar"})
    assert headers["X-ClickHouse-Exception-Code"] == "89"


def test_get_reads_and_never_writes(shared_store: StoreProcess) -> None:
    assert ask(shared_store, method="GET", path="/ping")[::2] == (200, b"Ok.\n")
    assert ask(shared_store, method="GET")[::2] == (200, b"Ok.\n")
    status, headers, body = ask(shared_store, method="GET", query="SELECT 1 AS a FORMAT JSONEachRow")
    assert (status, headers["X-ClickHouse-Format"], json.loads(body)) == (200, "JSONEachRow", {"a": 1})
    status, headers, _ = ask(shared_store, method="GET", query="DROP DATABASE tieout")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "164")


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}], ids=["page", "rebound"]
)
def test_a_web_page_cannot_reach_the_store(shared_store: StoreProcess, headers: dict[str, str]) -> None:
    assert ask(shared_store, b"SELECT 1", headers=headers)[0] == 403


def test_inserts_go_on_while_dashboards_hold_every_place_to_read(store: Store, shared_store: StoreProcess) -> None:
    slow = "SELECT sleepEachRow(1) FROM numbers(60)"
    finished: list[str] = []

    def read() -> None:
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            shared_store.client("default").command(slow, settings={"max_block_size": 1})
        finished.append("query")

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    running = "SELECT count() FROM system.processes WHERE startsWith(query, 'SELECT sleepEachRow')"
    deadline = time.monotonic() + 30
    while store.client.command(running, settings={"priority": 1}) < READERS:
        assert time.monotonic() < deadline
    for offset in range(5):
        store.write_facts([FactBatch("invoices", 0, [offset], [b'{"correlationid":"invoice:a:b:c"}'])])
        assert len(store.facts_of(["invoice:a:b:c"])["invoice:a:b:c"]) == offset + 1
    assert finished == []
    store.client.command("KILL QUERY WHERE startsWith(query, 'SELECT sleepEachRow') SYNC")
    for reader in readers:
        reader.join(30)
    assert len(finished) == READERS


def test_a_client_that_goes_away_in_mid_stream_frees_its_place(shared_store: StoreProcess) -> None:
    for _ in range(12):  # three times as many as the store runs at once
        connection = http.client.HTTPConnection("127.0.0.1", shared_store.port, timeout=60)
        connection.request("POST", "/", b"SELECT number, toString(number) FROM numbers(1_000_000_000) FORMAT TSV")
        assert connection.getresponse().read(10)
        connection.close()
    assert ask(shared_store, b"SELECT 1")[2] == b"1\n"


def serve(directory: Path, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sinks.embedded", str(directory), str(port)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_clear_sentence(shared_store: StoreProcess, tmp_path: Path) -> None:
    ended = serve(tmp_path / "other", shared_store.port)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"the store cannot listen on 127.0.0.1:{shared_store.port}: Address already in use\n"


def test_a_directory_in_use_is_one_clear_sentence(shared_store: StoreProcess) -> None:
    ended = serve(shared_store.directory, 0)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "another store process already owns" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_stop_in_the_middle_of_a_long_query_ends_soon_and_cleanly(start_store: Callable[..., StoreProcess]) -> None:
    process = start_store()
    query = threading.Thread(
        target=lambda: pytest.raises(Error, process.client().command, "SELECT sum(cityHash64(number)) FROM numbers(1e12)", use_database=False)
    )  # fmt: skip
    query.start()
    busy = b"SELECT count() FROM system.processes WHERE query LIKE '%1e12%' AND query NOT LIKE '%processes%'"
    deadline = time.monotonic() + 30
    while ask(process, busy)[2] == b"0\n":
        assert time.monotonic() < deadline
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started < 10
    query.join(30)
    process.start()
    assert ask(process, b"SELECT 1")[2] == b"1\n"
