"""What is read out of the headers of Kafka Streams, Connect and Spring."""

from datetime import UTC, datetime

import pytest

from streams.dead_letters import headers_of
from streams.foreign_letters import Read, read
from tests import foreign_records as foreign
from tests.foreign_records import KEY, OWN, VALUE, Headers, Record


def letter(headers: Headers, source: str = "") -> Read:
    return read(Record("shop.DLT", 0, 9, KEY, VALUE, headers), source)


@pytest.mark.parametrize(
    ("headers", "stage", "own", "reason"),
    [
        (foreign.streams(), "streams", [], "Size of data received by IntegerDeserializer is not 4"),
        (foreign.connect(), "connect", OWN, "Converting byte[] to Kafka Connect data failed due to serialization error: "),
        (foreign.spring(), "spring", OWN, "Listener method could not be invoked"),
    ],
)  # fmt: skip
def test_letter_lies_where_its_original_lay_with_its_own_bytes_and_headers(headers: Headers, stage: str, own: Headers, reason: str) -> None:  # fmt: skip
    row, lies_at, told = letter(headers)
    assert (row.topic, row.partition, row.offset) == ("shop.invoices", 2, 4711)
    assert lies_at == ("shop.DLT", 0, 9)
    assert (row.key, row.original) == (KEY, VALUE)
    assert headers_of(row.headers) == own
    assert (row.stage, row.failure_class, row.reason) == (stage, "mapping", reason)
    assert row.failed_at == datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
    assert any("stacktrace" in name for name in told)


def test_binary_numbers_of_spring_are_told_as_numbers() -> None:
    told = letter(foreign.spring(partition=7, offset=2**40)).told
    assert told["original-partition"] == "7"
    assert told["original-offset"] == str(2**40)
    assert told["original-timestamp"] == str(foreign.AT_MS)


@pytest.mark.parametrize(
    ("headers", "failure"),
    [
        (foreign.streams("org.apache.kafka.common.errors.TimeoutException"), "transient"),
        (foreign.streams("org.apache.kafka.common.errors.TopicAuthorizationException"), "transient"),
        (foreign.streams("org.apache.kafka.common.errors.NetworkException", None), "transient"),
        (foreign.streams("com.shop.MappingException", "the server said: TimeoutException"), "mapping"),
        (foreign.streams("java.lang.NullPointerException", None), "mapping"),
        (foreign.connect("org.apache.kafka.connect.errors.RetriableException"), "transient"),
        (foreign.connect("org.apache.kafka.connect.errors.ConnectException"), "mapping"),
        (foreign.connect("java.sql.SQLTransientConnectionException"), "transient"),
        (foreign.connect("org.apache.kafka.common.errors.SerializationException"), "mapping"),
        (foreign.spring(cause="java.net.SocketTimeoutException"), "transient"),
        (foreign.spring(cause="java.net.ConnectException"), "transient"),
        (foreign.spring(cause=None), "mapping"),
        (foreign.spring(cause="org.springframework.kafka.support.serializer.DeserializationException"), "mapping"),
        (foreign.spring(cause="org.springframework.security.access.AccessDeniedException"), "transient"),
    ],
)
def test_class_is_guessed_from_the_exceptions_name(headers: Headers, failure: str) -> None:
    assert letter(headers).row.failure_class == failure


def test_reason_without_a_message_is_the_exception() -> None:
    assert (
        letter(foreign.streams("java.lang.NullPointerException", None)).row.reason == "java.lang.NullPointerException"
    )
    assert letter(foreign.spring(said=None)).row.reason == "java.lang.IllegalArgumentException"


def test_record_that_failed_twice_lay_where_it_was_first_and_failed_as_it_did_last() -> None:
    first, again = foreign.spring(offset=1), foreign.spring(topic="shop.invoices-retry", offset=5, said="again")
    row, _, told = letter(first + [item for item in again if item not in OWN])
    assert (row.topic, row.offset, row.reason) == ("shop.invoices", 1, "again")
    assert told["original-topic"] == "shop.invoices-retry"


@pytest.mark.parametrize(
    "headers",
    [
        foreign.streams(partition=-1, offset=-1),  # of a punctuation: no record failed
        foreign.connect(topic=""),
        [*foreign.spring()[:3], ("kafka_dlt-original-partition", b"2"), ("kafka_dlt-original-offset", b"4711")],
        [("__connect.errors.topic", b"shop.invoices"), ("__connect.errors.partition", b"two"), ("__connect.errors.offset", None)],
        [("__streams.errors.topic", None)],
        [],
        [("", b"x")],
    ],
)  # fmt: skip
def test_letter_that_does_not_say_where_it_lay_keeps_its_own_place(headers: Headers) -> None:
    row = letter(headers).row
    assert (row.topic, row.partition, row.offset) == ("shop.DLT", 0, 9)
    assert row.original == VALUE


def test_record_without_error_headers_says_so() -> None:
    row = letter(OWN).row
    assert (row.stage, row.failure_class) == ("foreign", "mapping")
    assert "errors.deadletterqueue.context.headers.enable" in row.reason
    assert headers_of(row.headers) == OWN


def test_source_is_the_one_given_or_that_of_the_raw_topic() -> None:
    assert letter(foreign.streams(), "stripe").row.source == "stripe"
    assert letter(foreign.streams(topic="raw.stripe")).row.source == "stripe"
    assert letter(foreign.streams()).row.source == ""
