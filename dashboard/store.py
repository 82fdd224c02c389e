"""Asks the store. The only place that opens a connection; it can only read.

- `ask(question, **parameters)` gives rows as dicts. Parameters travel beside the SQL, never inside it.
- Answers are shared between viewers for the question's `keep_s`, so ten open pages cost the store one.
- Whatever keeps the store from answering is one `StoreUnavailable` with a sentence for the reader; the next call tries anew.
"""

import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import clickhouse_connect
import streamlit as st
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

DEFAULT_URL = "http://127.0.0.1:8124"
DATABASE = "tieout"
CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 15
SETTINGS = {"do_not_merge_across_partitions_select_final": 1, "max_execution_time": 10}
_NOT_MIGRATED = {60, 81}  # UNKNOWN_TABLE, UNKNOWN_DATABASE
_TOO_SLOW = 159

Row = dict[str, Any]


class Question(NamedTuple):
    """SQL with `{name:Type}` parameters. `keep_s`: how old an answer may be, 1 or 10 seconds."""

    sql: str
    keep_s: int = 1


class StoreUnavailable(Exception):
    """The store did not answer. `title` and `advice` are for the reader; str() is for the log."""

    def __init__(self, title: str, advice: str, cause: str) -> None:
        super().__init__(f"{title} {cause}")
        self.title = title
        self.advice = advice


def store_url() -> str:
    return os.environ.get("TIEOUT_STORE", DEFAULT_URL)


def ask(question: Question, **parameters: Any) -> list[Row]:
    """Rows of the answer. Raises StoreUnavailable."""
    keep = _kept_10s if question.keep_s > 1 else _kept_1s
    rows: list[Row] = keep(store_url(), question.sql, parameters)
    return rows


@st.cache_data(ttl=1, max_entries=500, show_spinner=False)
def _kept_1s(url: str, sql: str, parameters: Row) -> list[Row]:
    return _fetch(url, sql, parameters)


@st.cache_data(ttl=10, max_entries=200, show_spinner=False)
def _kept_10s(url: str, sql: str, parameters: Row) -> list[Row]:
    return _fetch(url, sql, parameters)


def _fetch(url: str, sql: str, parameters: Row) -> list[Row]:
    try:
        result = _client(url).query(sql, parameters=parameters, settings=SETTINGS)
    except (ClickHouseError, HTTPError, OSError) as error:
        raise _unavailable(url, error) from error
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


@st.cache_resource(max_entries=4, show_spinner=False)
def _client(url: str) -> Client:
    """One client for all threads: without a session id its queries may run side by side."""
    parts = urlsplit(url)
    client: Client = clickhouse_connect.get_client(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        interface=parts.scheme or "http",
        username=parts.username,
        password=parts.password or "",
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=ANSWER_TIMEOUT_S,
        query_retries=0,
        autogenerate_session_id=False,
        tz_mode="aware",
        dedicated_pool=True,
    )
    client.database = DATABASE  # set afterwards: connecting to a database that is not there yet would fail
    return client


def _unavailable(url: str, error: Exception) -> StoreUnavailable:
    code = getattr(error, "code", None)
    if code in _NOT_MIGRATED:
        return StoreUnavailable(
            "The store has no tables yet.",
            "Run `tieout migrate`; this page fills itself as soon as they are there.",
            str(error),
        )
    if code == _TOO_SLOW:
        return StoreUnavailable("The store took too long to answer.", "Narrow the period or the filters.", str(error))
    if code is not None:
        return StoreUnavailable(
            "The store refused a question.", f"Its code is {code}; the server log has the reason.", str(error)
        )
    place = urlsplit(url)
    return StoreUnavailable(
        f"The store at {place.hostname}:{place.port} does not answer.",
        "Start it with `tieout store`, or set TIEOUT_STORE to where it runs. This page keeps trying and needs no reload.",
        str(error),
    )
