"""Dead letters worked through by people: found, shown, replayed, parked, discarded. Each act is audited, and nothing is erased.

- A letter is `open`; sent again it is `replayed` until a worker has met the record; then `resolved`, or `open` once more with
  a later failure, or `parked` where it has failed `MAX_REPLAYS` times. A person may park or discard it. The state is told by
  the view `dead_letter_states`, from the letter and its actions alone.
- A replay is the original's bytes, key and headers, and the two headers that make it one (streams.dead_letters), sent to
  `raw.<source>`. A letter of a canonical topic goes to `raw.canonical`, for we alone write canonical topics (rule E4). One
  that was adopted without a source goes back to the topic where its own application reads.
- A replay is recorded when the broker has acknowledged it, with the time that the broker gave it, never before. Cut off in between, the worker's own row still
  says which replay it met, and sending a letter twice adds no fact: its events have the identities they had.
- An act takes letters in the states that it is meant for (`TAKES`), unless a state is asked for by name: a resolved letter is
  replayed only so, and never parked or discarded.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaException

from sinks.client import Client, Store
from sinks.native import micros
from sinks.rows import LetterActionRow
from sources.registry import SOURCES
from streams import sender
from streams.dead_letters import MAX_REPLAYS, Place, Replay, action_id, headers_of, replay_headers
from streams.times import from_millis
from streams.topics import JOINED, raw_topic

STATES = ("open", "replayed", "resolved", "parked", "discarded")
TAKES = {"replay": ("open",), "park": ("open", "replayed"), "discard": ("open", "replayed", "parked")}
RECORDED_AS = {"park": "parked", "discard": "discarded"}
SLICE_LETTERS = 100  # sent and recorded at once
SLICE_BYTES = 64 * 1024**2  # of letters in memory at once, or one that is larger

_ORDER = ("adopted", "replayed", "failed", "resolved", "parked", "discarded")
_TOLD = (
    "topic, partition, offset, class, reason, stage, source, correlation_id, state, first_failed_at, last_failed_at, "
    "replay_count, actor, why, acted_at, cases, length(original)"
)
_AT_PLACES = "(topic, partition, offset) IN {places:Array(Tuple(String, UInt32, UInt64))}"


class Letter(NamedTuple):
    """A letter as it stands. `actor`, `why`, `acted_at`: of the last thing a person did; `cases`: where its replay went."""

    topic: str
    partition: int
    offset: int
    failure: str
    reason: str
    stage: str
    source: str
    correlation_id: str
    state: str
    first_failed_at: datetime
    last_failed_at: datetime
    replay_count: int
    actor: str
    why: str
    acted_at: datetime
    cases: list[str]
    original_bytes: int

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition, self.offset)

    @property
    def target(self) -> str:
        """The topic that a replay of it goes to."""
        if self.topic in JOINED:
            return raw_topic("canonical")
        return raw_topic(self.source) if self.source in SOURCES else self.topic


@dataclass(frozen=True)
class Chosen:
    """Which letters; what is empty does not choose. `reason` is any part of it, `case` one that a letter is of, went to or
    names in its bytes; `since` and `until` are about the last failure."""

    places: tuple[Place, ...] = ()
    failure: str = ""
    source: str = ""
    topic: str = ""
    states: tuple[str, ...] = ()
    reason: str = ""
    case: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> tuple[str, dict[str, Any]]:
        """A WHERE clause and its parameters."""
        all_of = {
            _AT_PLACES: list(map(tuple, self.places)),
            "class = {failure:String}": self.failure,
            "source = {source:String}": self.source,
            "topic = {topic:String}": self.topic,
            "state IN {states:Array(String)}": list(self.states),
            "positionCaseInsensitiveUTF8(reason, {reason:String}) > 0": self.reason,
            "(correlation_id = {case:String} OR has(cases, {case:String}) OR position(original, {case:String}) > 0)": self.case,
            "toUnixTimestamp64Micro(last_failed_at) >= {since:Int64}": self.since and micros(self.since),
            "toUnixTimestamp64Micro(last_failed_at) < {until:Int64}": self.until and micros(self.until),
        }
        given = {condition: value for condition, value in all_of.items() if value}
        names = {condition: condition.split("{")[1].split(":")[0] for condition in given}
        return " AND ".join(given) or "1", {names[condition]: value for condition, value in given.items()}


class Found(NamedTuple):
    letters: list[Letter]
    total: int


class Taken(NamedTuple):
    """What an act takes of the letters chosen and what it leaves as it is; `total` were chosen."""

    taken: list[Letter]
    left: list[Letter]
    total: int


class NoSuchLetter(Exception):
    """A letter that was named is not there; the message is one sentence."""


class Content(NamedTuple):
    """What was refused, as it came."""

    key: bytes
    headers: list[tuple[str, bytes | None]]
    original: bytes


class Failed(NamedTuple):
    letter: Letter
    reason: str


class Acted(NamedTuple):
    """What an act came to. `failed` are replays that the broker did not take: nothing is recorded of them."""

    batch: str
    done: list[Letter]
    failed: list[Failed]


def find(client: Client, chosen: Chosen, limit: int) -> Found:
    """The letters chosen, the last that failed first; how many there are beyond `limit`."""
    where, parameters = chosen.conditions()
    total = client.query(f"SELECT count() FROM dead_letter_states WHERE {where}", parameters=parameters).result_rows[0][
        0
    ]
    query = (
        f"SELECT {_TOLD} FROM dead_letter_states WHERE {where} "
        f"ORDER BY last_failed_at DESC, topic, partition, offset LIMIT {int(limit)}"
    )
    return Found([Letter(*row) for row in client.query(query, parameters=parameters).result_rows], int(total))


def contents(client: Client, places: Sequence[Place]) -> dict[Place, Content]:
    formats: dict[str, Any] = {"key": "bytes", "original": "bytes"}
    query = f"SELECT topic, partition, offset, key, headers, original FROM dead_letters FINAL WHERE {_AT_PLACES}"
    rows = client.query(query, parameters={"places": list(map(tuple, places))}, column_formats=formats).result_rows
    return {Place(*place): Content(key, headers_of(headers), original) for *place, key, headers, original in rows}


def audit(client: Client, place: Place) -> list[LetterActionRow]:
    """Everything that was done about one letter and came of it, in order."""
    query = (
        f"SELECT {', '.join(LetterActionRow._fields)} FROM dead_letter_actions FINAL "
        "WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset = {offset:UInt64}"
    )
    rows = client.query(query, parameters=place._asdict(), column_formats={"body": "bytes"}).result_rows
    return sorted(
        (LetterActionRow(*row) for row in rows), key=lambda row: (row.at, row.replay, _ORDER.index(row.action))
    )


def take(client: Client, act: str, chosen: Chosen, limit: int) -> Taken:
    """The letters that an act is about: every one that is named, otherwise those in a state that the act takes. Raises
    NoSuchLetter."""
    takes = set(chosen.states or TAKES[act])
    if act != "replay":
        takes.discard("resolved")
    if not chosen.places:
        found = find(client, replace(chosen, states=tuple(sorted(takes))), limit) if takes else Found([], 0)
        return Taken(found.letters, [], found.total)
    found = find(client, replace(chosen, states=()), len(chosen.places))
    missing = set(chosen.places) - {letter.place for letter in found.letters}
    if missing:
        raise NoSuchLetter(f"no dead letter {min(missing)} fits; `tieout dlq list` shows those there are")
    taken = [letter for letter in found.letters if letter.state in takes]
    left = [letter for letter in found.letters if letter.state not in takes]
    return Taken(taken, left, found.total)


def put_aside(client: Client, act: str, letters: Sequence[Letter], actor: str, why: str) -> Acted:
    """Parks or discards them."""
    batch, at = new_batch(), datetime.now(UTC)
    rows = [action(RECORDED_AS[act], letter.place, at, actor, why, batch, letter.replay_count) for letter in letters]
    Store(client).write_letter_actions(rows)
    return Acted(batch, list(letters), [])


def send_again(client: Client, bootstrap: str, letters: Sequence[Letter], actor: str, why: str, body: bytes | None = None) -> Acted:  # fmt: skip
    """Sends them again; `body` goes in place of the original's bytes. Raises ConnectionError, and NoTopic before any is sent."""
    acted = Acted(new_batch(), [], [])
    targets = {letter.target for letter in letters}
    # One a request: a broker that finds one too large refuses the whole batch that it is in.
    made = {target: sender.producer(bootstrap, target, batch_messages=1) for target in targets}
    for part in _slices(letters):
        sent = _send(made, part, contents(client, [letter.place for letter in part]), body)
        rows = []
        for letter in part:
            outcome = sent[letter.place]
            if isinstance(outcome, str):
                acted.failed.append(Failed(letter, outcome))
                continue
            detail = {"to": letter.target, "mended": body is not None}
            rows.append(
                action(
                    "replayed", letter.place, outcome.at, actor, why, acted.batch, letter.replay_count + 1,
                    record=outcome.place, detail=detail, body=body or b"",
                )
            )  # fmt: skip
            acted.done.append(letter)
        Store(client).write_letter_actions(rows)
    return acted


def action(
    name: str, letter: Place, at: datetime, actor: str, reason: str, batch: str, count: int, *, record: Place | None = None,
    detail: Mapping[str, Any] | None = None, body: bytes = b"",
) -> LetterActionRow:  # fmt: skip
    """A row of the audit, for what a command did: its id is of the record that it is about, or else of the command."""
    lies_at = record or Place("", 0, 0)
    told = msgspec.json.encode(detail or {}).decode()
    return LetterActionRow(
        *letter, action_id(name, letter, record or batch), name, at, actor, reason, batch, count, *lies_at, told, body
    )


def new_batch() -> str:
    """Names what one command did."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def is_last_replay(letter: Letter) -> bool:
    """Whether it will be parked if this replay is refused too."""
    return letter.replay_count + 1 >= MAX_REPLAYS


class _Sent(NamedTuple):
    """Where a replay lies, and when the broker took it."""

    place: Place
    at: datetime


def _send(made: Mapping[str, Any], letters: Sequence[Letter], found: Mapping[Place, Content], body: bytes | None) -> dict[Place, _Sent | str]:  # fmt: skip
    """What became of each, or why it was not taken. Returns when every one is acknowledged or has failed."""
    sent: dict[Place, _Sent | str] = {letter.place: "not acknowledged in time" for letter in letters}
    for letter in letters:
        content = found[letter.place]

        def told(error: Any, message: Any, place: Place = letter.place) -> None:
            sent[place] = str(error) if error else _sent(message)

        headers = replay_headers(content.headers, Replay(letter.place, letter.replay_count + 1))
        value = content.original if body is None else body
        try:
            made[letter.target].produce(letter.target, value, content.key or None, headers=headers, on_delivery=told)
        except KafkaException as error:
            sent[letter.place] = str(error.args[0])
    for producer in made.values():
        producer.flush(sender.FLUSH_TIMEOUT_S)
    return sent


def _sent(message: Any) -> _Sent:
    return _Sent(Place(message.topic(), message.partition(), message.offset()), from_millis(message.timestamp()[1]))


def _slices(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    part: list[Letter] = []
    for letter in letters:
        if part and sum(one.original_bytes for one in part) + letter.original_bytes > SLICE_BYTES:
            yield part
            part = []
        part.append(letter)
        if len(part) == SLICE_LETTERS:
            yield part
            part = []
    if part:
        yield part
