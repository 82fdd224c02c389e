"""The catalogue of topics: their names, and their creation.

Rules (design, E4):
- `JOINED` are the canonical streams. tieout alone writes them, keyed by correlation ID, with one partitioner. All of
  them have the same partition count, so that one worker holds a case whole; `create` refuses to bless anything else.
- `raw.<source>` is where anybody may write what a source sends; `dead-letters` and `breaks` are what tieout sends out.
- Every topic is made with `cleanup.policy=delete`: compaction would drop facts of a case, which are a set.
- Append times are the broker's (LogAppendTime): progress is told by them, never by a producer's clock (E11).
- Dead letters may be larger than any raw record, so that none is too large to be told.
- `create` is idempotent: it makes what is missing and changes nothing that exists.
- The embedded broker has no CreateTopics: there a topic appears when its metadata is asked for, with 4 partitions.
  Its catalogue is made when it starts; `create` only adds what came later.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

JOINED = (
    "orders",
    "invoices",
    "postings",
    "payments",
    "settlements",
    "controls",
    "decisions",
)
DEAD_LETTERS = "dead-letters"
BREAKS = "breaks"
RAW_PREFIX = "raw."

DEFAULT_PARTITIONS = 4
DEFAULT_REPLICATION = 1
METADATA_TIMEOUT_S = 10.0
TIMEOUT_S = 20.0
MAX_RAW_BYTES = 8 * 1024 * 1024
MAX_DEAD_LETTER_BYTES = 10 * 1024 * 1024

_PURPOSE = {
    "orders": "quotes, subscriptions, billing schedules, customers",
    "invoices": "invoices and credit memos",
    "postings": "ledger postings, applications of cash, revenue schedules, period closes",
    "payments": "payments, refunds, disputes",
    "settlements": "settlement lines, payouts, bank statements",
    "controls": "totals, balances, heartbeats and deliveries that sources report",
    "decisions": "decisions and matches that people made",
    DEAD_LETTERS: "records that could not become events, with their original bytes",
    BREAKS: "breaks opened and closed, for other systems",
}


class TopicsDiffer(Exception):
    """The broker's topics break rule E4; the message says which, and what to do."""


class Created(NamedTuple):
    """What `create` found: partitions by topic, and the names that it made just now."""

    partitions: dict[str, int]
    made: list[str]


def raw_topic(source: str) -> str:
    return RAW_PREFIX + source


def catalogue(sources: Iterable[str] = ()) -> list[str]:
    """All topics of tieout, for these sources."""
    return [*JOINED, DEAD_LETTERS, BREAKS, *map(raw_topic, sources)]


def describe(sources: Iterable[str] = ()) -> list[tuple[str, str]]:
    """(topic, what it carries), in the catalogue's order."""
    return [
        (topic, _PURPOSE.get(topic) or f"records as {_source_of(topic)} sends them") for topic in catalogue(sources)
    ]


def to_create(bootstrap: str, sources: Iterable[str]) -> str:
    """The command that makes them."""
    return f"tieout topics --bootstrap {bootstrap} --sources {','.join(sources)}"


def create(
    bootstrap: str,
    partitions: int = DEFAULT_PARTITIONS,
    replication: int = DEFAULT_REPLICATION,
    sources: Sequence[str] = (),
) -> Created:
    """Makes the topics that are missing, waits until all can be used, and checks the joined ones.

    Raises TopicsDiffer where joined topics differ in partitions or are compacted, ConnectionError where no broker
    answers, KafkaException where it refuses.
    """
    admin = _admin(bootstrap)
    wanted = catalogue(sources)
    present = _partition_counts(admin)
    missing = [topic for topic in wanted if topic not in present]
    embedded = _is_embedded(admin)
    made = (_touch if embedded else _make)(admin, missing, partitions, replication) if missing else []
    counts = _wait_for(admin, wanted)
    _check_equal({topic: counts[topic] for topic in JOINED})
    if not embedded:
        _check_deleted(admin, JOINED)
    return Created({topic: counts[topic] for topic in wanted}, made)


def partition_counts(bootstrap: str, topics: Iterable[str] = JOINED) -> dict[str, int]:
    """Partitions of those of `topics` that exist; creates nothing on Apache Kafka."""
    counts = _partition_counts(_admin(bootstrap))
    return {topic: counts[topic] for topic in topics if topic in counts}


def ids(bootstrap: str, topics: Sequence[str]) -> dict[str, str]:
    """Kafka's id of each topic: made anew under its name it has another one. Empty on the embedded broker."""
    admin = _admin(bootstrap)
    if _is_embedded(admin):
        return {}
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
    return {topic: str(future.result(TIMEOUT_S).topic_id) for topic, future in described.items()}


def _admin(bootstrap: str) -> AdminClient:
    # An unreachable broker is told by the timeout of the first request; the client's own log lines would repeat it.
    return AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "socket.connection.setup.timeout.ms": 5000,
        }
    )


def _metadata(admin: AdminClient) -> Any:
    try:
        return admin.list_topics(timeout=METADATA_TIMEOUT_S)
    except KafkaException as error:
        raise ConnectionError(f"no Kafka broker answered within {METADATA_TIMEOUT_S:.0f} s: {error}") from error


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    found = _metadata(admin).topics
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None and topic.partitions}


def _is_embedded(admin: AdminClient) -> bool:
    """The mock cluster names itself so. An administrative request would only time out there: it has none."""
    return str(_metadata(admin).cluster_id).startswith("mockCluster")


def _touch(admin: AdminClient, missing: Sequence[str], _partitions: int, _replication: int) -> list[str]:
    """On the embedded broker asking for a topic makes it, with the broker's own number of partitions."""
    for topic in missing:
        admin.list_topics(topic, timeout=TIMEOUT_S)
    return list(missing)


def _make(admin: AdminClient, missing: Sequence[str], partitions: int, replication: int) -> list[str]:
    """Creates them and returns those that were not there; another process may be doing the same."""
    new = [NewTopic(topic, partitions, replication, config=_config(topic)) for topic in missing]
    futures = admin.create_topics(new, request_timeout=TIMEOUT_S)
    return [topic for topic in missing if _made(futures[topic])]


def _config(topic: str) -> dict[str, str]:
    config = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}
    if topic == DEAD_LETTERS:
        config["max.message.bytes"] = str(MAX_DEAD_LETTER_BYTES)
    elif topic.startswith(RAW_PREFIX):
        config["max.message.bytes"] = str(MAX_RAW_BYTES)
    return config


def _made(future: Any) -> bool:
    try:
        future.result(TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True


def _wait_for(admin: AdminClient, wanted: Sequence[str]) -> dict[str, int]:
    """CreateTopics answers before every broker's metadata knows the topic."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        counts = _partition_counts(admin)
        absent = [topic for topic in wanted if topic not in counts]
        if not absent:
            return counts
        if time.monotonic() > deadline:
            raise TopicsDiffer(f"these topics did not appear within {TIMEOUT_S:.0f} s: {', '.join(absent)}")
        time.sleep(0.05)


def _check_equal(counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) <= 1:
        return
    by_count = sorted(counts.items(), key=lambda item: (item[1], item[0]))
    told = ", ".join(f"{topic} has {count}" for topic, count in by_count)
    raise TopicsDiffer(
        f"joined topics must have the same number of partitions, or a case is split between workers: {told}; "
        f"stop the workers, raise the smaller ones to {by_count[-1][1]}, and start again"
    )


def _check_deleted(admin: AdminClient, topics: Sequence[str]) -> None:
    compacted = [topic for topic, policy in _cleanup_policies(admin, topics).items() if policy != "delete"]
    if compacted:
        raise TopicsDiffer(f"these topics must have cleanup.policy=delete, or facts are lost: {', '.join(compacted)}")


def _cleanup_policies(admin: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Asked again while a broker has not yet heard of a topic that another one has just made."""
    asked_until = time.monotonic() + TIMEOUT_S
    while True:
        futures = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics])
        try:
            return {found.name: future.result(TIMEOUT_S)["cleanup.policy"].value for found, future in futures.items()}
        except KafkaException as error:
            is_unheard_of = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            if not is_unheard_of or time.monotonic() > asked_until:
                raise
            time.sleep(0.2)


def _source_of(topic: str) -> str:
    return topic.removeprefix(RAW_PREFIX)
