"""Records on dead letter topics, byte for byte as the frameworks write them (their sources are named in streams.foreign_letters)."""

import struct
from typing import NamedTuple

Headers = list[tuple[str, bytes | None]]

KEY, VALUE = b"\x00\x00\x00\x07", b'{"id":"in_1","amount":\xff}'
OWN: Headers = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("binary", b"\xff\x00")]
AT_MS = 1_772_600_767_089


class Record(NamedTuple):
    """As a consumer gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int = AT_MS


def streams(exception: str = "org.apache.kafka.common.errors.SerializationException", said: str | None = "Size of data received by IntegerDeserializer is not 4",
            topic: str = "shop.invoices", partition: int = 2, offset: int = 4711) -> Headers:  # fmt: skip
    """ExceptionHandlerUtils.buildDeadLetterQueueRecord: StringSerializer for all of them, null for null; the original's are lost."""
    told = exception if said is None else f"{exception}: {said}"
    return [
        ("__streams.errors.exception", told.encode()),
        ("__streams.errors.message", None if said is None else said.encode()),
        ("__streams.errors.stacktrace", f"{told}\n\tat org.apache.kafka.streams.processor.internals.RecordDeserializer\n".encode()),
        ("__streams.errors.topic", topic.encode()),
        ("__streams.errors.partition", str(partition).encode()),
        ("__streams.errors.offset", str(offset).encode()),
    ]  # fmt: skip


def connect(exception: str = "org.apache.kafka.connect.errors.DataException", said: str = "Converting byte[] to Kafka Connect data failed due to serialization error: ",
            topic: str = "shop.invoices", partition: int = 2, offset: int = 4711) -> Headers:  # fmt: skip
    """DeadLetterQueueReporter.populateContextHeaders: UTF-8 text, behind the original's own headers."""
    told = [
        ("topic", topic), ("partition", str(partition)), ("offset", str(offset)), ("connector.name", "erp-sink"), ("task.id", "0"),
        ("stage", "VALUE_CONVERTER"), ("class.name", "org.apache.kafka.connect.json.JsonConverter"),
        ("exception.class.name", exception), ("exception.message", said), ("exception.stacktrace", f"{exception}: {said}\n\tat ...\n"),
    ]  # fmt: skip
    return [*OWN, *((f"__connect.errors.{name}", value.encode()) for name, value in told)]


def spring(exception: str = "org.springframework.kafka.listener.ListenerExecutionFailedException", cause: str | None = "java.lang.IllegalArgumentException",
           said: str | None = "Listener method could not be invoked", topic: str = "shop.invoices", partition: int = 2, offset: int = 4711) -> Headers:  # fmt: skip
    """DeadLetterPublishingRecoverer.enhanceHeaders: ByteBuffer.putInt and putLong, big-endian; no message, no header."""
    headers: Headers = [
        *OWN,
        ("kafka_dlt-original-topic", topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", AT_MS)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"erp-poster"),
        ("kafka_dlt-exception-fqcn", exception.encode()),
    ]
    if cause is not None:
        headers.append(("kafka_dlt-exception-cause-fqcn", cause.encode()))
    if said is not None:
        headers.append(("kafka_dlt-exception-message", said.encode()))
    return [*headers, ("kafka_dlt-exception-stacktrace", f"{exception}\n\tat ...\n".encode())]
