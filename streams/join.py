"""The join: canonical records into cases, dirty cases into verdict rows.

- Every valid record becomes a fact row and makes its case dirty, duplicates too (rule E1).
- A record lies where its key belongs, and its key is its event's case (rule E4): a wrong key is a dead letter, a right
  key on a wrong partition stops the worker, for the log then is not one that we wrote.
- A dirty case is judged once a flush, however many records touched it.
- `case.touched` is no fact: it says that somebody has written facts of a case into the store (rule E12).
- What a case means for others (rule E6) is told with its verdict's revision: all of it the first time after the case was
  loaded, then what has changed. A flush publishes it before the commit, so a crash tells it again.
- When a case's breaks open or close, a message tells all that stand of it, under its verdict's revision (rule E13). Where
  an earlier owner may have told others, it is told again: of one case the message of the highest revision holds.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from zlib import adler32, crc32

import msgspec

from canonical import records
from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.structs import RecordError, check_names, decode, plain
from matching.aliases import sent_on
from matching.case import Case
from matching.effects import as_event, effects
from matching.judge import Progress, judge
from matching.policy import Policy
from matching.verdict import Break, Verdict, open_breaks, parts
from sinks.rows import Stub, VerdictRow, revision
from streams.memory import NO_BREAKS, NOTHING_TOLD, Entry, Partition
from streams.partitioner import partition_of
from streams.ports import InvariantBroken, Outbound
from streams.times import from_millis
from streams.topics import BREAKS

TOUCHED = "case.touched"
_made = tuple.__new__  # of a NamedTuple: without its own `__new__`, which is a call into Python
_KEY, _ID, _TYPE, _DATA = b'"correlationid":', b'"id":', b'"type":', b'"data":'


class Parsed(NamedTuple):
    """A batch after decoding: events with their records, cases to be loaded anew, and what was refused."""

    events: list[Event]
    records: list[Any]
    touched: list[str]
    refused: list[tuple[Any, DeadLetter]]


def parse(batch: list[Any]) -> Parsed:
    """Decodes a batch. Never raises for what a record holds."""
    parsed = Parsed([], [], [], [])
    for record in batch:
        try:
            event = _admitted(record.value or b"")
        except RecordError as error:
            parsed.refused.append((record, DeadLetter("mapping", str(error))))
            continue
        if record.key != event.correlationid.encode():
            reason = f"record key {record.key!r:.200} is not its event's case {event.correlationid}"
            parsed.refused.append((record, DeadLetter("mapping", reason)))
            continue
        if event.type == TOUCHED:
            parsed.touched.append(event.correlationid)
            continue
        parsed.events.append(event)
        parsed.records.append(record)
    return parsed


def _admitted(raw: bytes) -> Event:
    """What the store derives its columns from must be said once: of a name given twice it takes the other one."""
    event = plain(raw) or decode(raw)
    if not (raw.count(_KEY) == raw.count(_ID) == raw.count(_TYPE) == raw.count(_DATA) == 1):
        check_names(raw)
    return event


def apply(parsed: Parsed, partition: Partition, partitions: int) -> None:
    """Adds facts to their cases. Raises InvariantBroken where a key does not belong into this partition.

    A case is first seen when its first record was appended: the log says so again whoever reads it (rule E9).
    """
    for event, record in zip(parsed.events, parsed.records, strict=True):
        key = event.correlationid
        entry = partition.cases.get(key)
        if entry is None:
            check_home(key, partition.number, partitions)
        if entry is None or not entry.dirty:  # else it has just been used
            entry = partition.entry(key)
        if entry.first_seen is None:
            entry.first_seen = from_millis(record.timestamp)
        entry.add(event, record.value)
        partition.touch(key, entry)


def check_home(key: str, partition: int, partitions: int) -> None:
    home = partition_of(key.encode(), partitions)
    if home != partition:
        raise InvariantBroken(
            f"case {key} lies in partition {partition} but belongs into {home} of {partitions}: "
            "the topic was written with another partitioner or has changed its number of partitions"
        )


def restore(partition: Partition, stub: Stub, verdict: bytes, raws: list[bytes]) -> None:
    """Puts a stored case back into memory, unless it is there already."""
    if stub.case_key in partition.cases:
        return
    case = Case(stub.case_key, partition.facts_of(stub.case_key))
    entry = Entry(case)
    for raw in raws:
        entry.add(decode(raw), raw)
    if not case.is_over_limit:
        case.forgotten = max(0, stub.facts - case.count)
    entry.first_seen = stub.first_seen
    entry.digest = stub.digest
    entry.is_open = stub.outcome != "ok"
    entry.next_deadline = stub.next_deadline
    is_told = stub.revision <= partition.told_to or stub.epoch == partition.epoch
    entry.told_breaks = open_breaks(verdict) if is_told else None
    if stub.next_deadline is not None and not is_told:  # it may have come after the deadlines were asked for
        partition.deadlines.add(stub.next_deadline, stub.case_key)
    partition.cases[stub.case_key] = entry


def refresh(partition: Partition, key: str, raws: list[bytes], seen: datetime) -> None:
    """Adds what others have written for a case to what is in memory (rule E12), and has it judged again."""
    entry = partition.entry(key)
    entry.first_seen = entry.first_seen or seen
    for raw in raws:
        entry.add(decode(raw), raw)
    partition.touch(key, entry)


class Judged(NamedTuple):
    rows: list[VerdictRow]
    messages: list[Outbound]
    verdicts: list[Verdict]


class Terms(NamedTuple):
    """What cases are judged with; `proven` is the progress as it is stored, `link` where a break's message leads."""

    policy: Policy
    now: datetime
    progress: Progress
    proven: str
    link: str


def judge_dirty(partition: Partition, dirty: dict[str, Entry], terms: Terms) -> Judged:
    """Judges the dirty cases of a partition."""
    judged = Judged([], [], [])
    for key, entry in dirty.items():
        verdict = judge(entry.case, terms.policy, terms.now, terms.progress)
        raw, controls = parts(verdict)
        digest = _digest(raw)
        changed = digest != entry.digest
        first_seen = entry.first_seen or terms.now
        judged.rows.append(_made(VerdictRow, (
            partition.number, partition.epoch, partition.next_seq(), terms.now, first_seen, digest, changed, terms.proven, raw, controls,
        )))  # fmt: skip
        judged.messages.extend(_effect_messages(entry, terms.policy, partition))
        entry.is_open = verdict.outcome != "ok"
        partition.schedule(key, entry, verdict.next_deadline, verdict.awaiting)
        breaks = (
            frozenset((found.class_, found.fingerprint) for found in verdict.breaks) if verdict.breaks else NO_BREAKS
        )
        if breaks != entry.told_breaks or partition.tells_all:
            judged.messages.append(_breaks_message(verdict, revision(partition.epoch, partition.seq), terms.link))
            entry.told_breaks = breaks
        if changed:
            judged.verdicts.append(verdict)
            entry.digest = digest
    return judged


def _effect_messages(entry: Entry, policy: Policy, partition: Partition) -> list[Outbound]:
    messages: list[Outbound] = []
    told: dict[Any, Any] = {}
    for effect in effects(entry.case, policy):
        identity = (effect.target, effect.kind, effect.document_id)
        said = told[identity] = as_event(entry.case.key, effect, 0)
        if entry.told.get(identity) != said:
            event = as_event(entry.case.key, effect, revision(partition.epoch, partition.seq))
            messages.append(Outbound(*records.record(event)))
    for record in sent_on(entry.case) if entry.case.is_claimed or entry.case.key.startswith("index:") else ():
        told[record] = None
        if record not in entry.told:
            messages.append(Outbound(*record))
    entry.told = told or NOTHING_TOLD
    return messages


def _breaks_message(verdict: Verdict, told_as: int, link: str) -> Outbound:
    """All breaks that stand of one case, none where it has none. The id says what is told, not when or by whom."""
    key = verdict.correlation_id
    identities = sorted(f"{found.class_}|{found.fingerprint}" for found in verdict.breaks)
    message_id = blake2b("|".join((key, *identities)).encode(), digest_size=16).hexdigest()
    body = {
        "id": message_id, "case": key, "revision": told_as, "entity": verdict.entity, "document": verdict.document,
        "currency": verdict.currency, "exposure_minor": verdict.exposure_minor, "link": f"{link}/case?key={key}",
        "breaks": [_told(found) for found in verdict.breaks],
    }  # fmt: skip
    return Outbound(BREAKS, key.encode(), msgspec.json.encode(body), [("ce_id", message_id.encode())])


def _told(found: Break) -> dict[str, Any]:
    return {
        "class": found.class_, "fingerprint": found.fingerprint, "owner": found.owner, "severity": found.severity,
        "reason": found.reason, "variance_minor": found.variance_minor, "currency": found.currency,
    }  # fmt: skip


def _digest(raw: bytes) -> int:
    """Tells whether a verdict differs from the one before; two checksums take a tenth of what a hash does."""
    return crc32(raw) << 32 | adler32(raw)
