"""What must be true, worked out without any code of ours: SQL over the events as they were sent, and a watch on the shell.

- `truth(events, facts_per_case)`: the end state of every case once all deadlines have passed: number of facts, outcome,
  break classes and exposure, as SQL over JSON. The rules are the design's and the policy's, said a second time.
- `Auditor` is told of everything that happens and notes what must never happen, at the moment it does:
  nothing is committed that is not durable · of one (partition, epoch, seq) there is one verdict, of an epoch that was
  claimed · breaks are told of a verdict that is durable · a case's first_seen never changes · dirty cases stay in memory, what is pending stays within its limit.
- The same of what a transfer means for the invoices that it names (rule E6): told of a verdict that is durable; at the end
  every invoice holds the parts of the newest version, and nothing of those that name it no longer.
- At the end: every case as the truth has it; dead letters exactly the rubbish; of every case the breaks told that stand, and
  no others; nothing read twice counted twice; the memory within its limit.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.simulation.cluster import Process

TopicPartition = tuple[str, int]
RAW_PREFIX = "raw."
HEARTBEAT = "tieout-heartbeat"
ALLOCATION = "allocation.set"
IGNORED = ("", "", "", "")  # on purpose: neither a fact nor a dead letter
INPUTS = ("orders", "invoices", "postings", "payments", "settlements", "controls", "decisions")


class CaseTruth(NamedTuple):
    facts: int
    outcome: str
    classes: tuple[str, ...]
    exposure_minor: int


# Each fact once: an id and what it says. Only the fields that the contract knows take part.
_FACTS = """
CREATE TABLE facts AS
WITH said AS (
    SELECT
        json_extract(body, '$.correlationid') AS key,
        json_extract(body, '$.id') AS id,
        json_extract(body, '$.type') AS type,
        json_extract(body, '$.data.document_id') AS document,
        coalesce(json_extract(body, '$.data.version'), -1) AS version,
        json_extract(body, '$.data.total_minor') AS total,
        json_extract(body, '$.data.amount_minor') AS amount,
        json_extract(body, '$.data.reverses') AS reverses,
        (SELECT sum(json_extract(value, '$.amount_minor')) FROM json_each(body, '$.data.lines')
         WHERE json_extract(value, '$.role') = 'receivable') AS receivable
    FROM events
)
SELECT DISTINCT * FROM said
"""
# What the transfers mean for the invoices: a fact for each that any version ever named, with what the newest one gives it.
_PARTS = """
CREATE TABLE parts AS
WITH named AS (
    SELECT DISTINCT
        json_extract(body, '$.correlationid') AS home,
        json_extract(body, '$.data.document_id') AS document,
        json_extract(body, '$.data.version') AS version,
        json_extract(part.value, '$.target') AS target,
        json_extract(part.value, '$.amount_minor') AS amount
    FROM events, json_each(body, '$.data.allocations') AS part
)
SELECT home, document, target, sum(CASE WHEN version = newest THEN amount ELSE 0 END) AS amount
FROM (SELECT *, max(version) OVER (PARTITION BY home, document) AS newest FROM named)
GROUP BY home, document, target
"""
_PARTS_AS_FACTS = """
INSERT INTO facts
SELECT target, home || ' ' || document, 'payment.received', document, 0, NULL, amount, NULL, NULL FROM parts
"""
# Of an id with several contents the highest version holds, and of equal ones the smaller text.
_STANDING = """
CREATE TABLE standing AS
SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY key, id ORDER BY version DESC, total) AS place FROM facts
) WHERE place = 1
"""
_CASES = """
CREATE TABLE cases AS
WITH
doubted AS (
    SELECT DISTINCT key FROM (
        SELECT key, id, version, max(version) OVER (PARTITION BY key, id) AS newest FROM facts)
    WHERE version = newest GROUP BY key, id HAVING count(*) > 1
)
SELECT
    key,
    (SELECT count(*) FROM facts WHERE facts.key = s.key) AS facts,
    key IN (SELECT key FROM doubted) AS is_doubted,
    max(CASE WHEN type = 'invoice.issued' THEN total END) AS total,
    max(type = 'invoice.voided') AS is_void,
    sum(type IN ('posting.recorded', 'posting.reversed')) AS entries,
    sum(coalesce(receivable, 0)) AS net,
    sum(type = 'posting.recorded' AND document NOT IN (
        SELECT reverses FROM standing AS other WHERE other.key = s.key AND reverses IS NOT NULL)) AS live_entries,
    sum(type = 'payment.received' AND amount <> 0) AS payments,
    max(type = 'payment.received') AS is_told_of_payments,
    sum(CASE WHEN type = 'payment.received' THEN amount ELSE 0 END) AS received,
    sum(CASE WHEN type = 'cash.applied' THEN amount ELSE 0 END) AS applied,
    sum(type = 'cash.applied') AS applications
FROM standing AS s WHERE key NOT LIKE 'receipt:%' GROUP BY key
"""
# due: what is still to be booked and paid (nothing of a void invoice); paid: by payments, or known from applications, unless
# a transfer says that it pays the invoice no longer.
_LEGS = """
CREATE TABLE legs AS
SELECT *,
    CASE WHEN is_void THEN 0 ELSE total END AS due,
    CASE WHEN NOT is_told_of_payments AND applied > 0 THEN applied ELSE received END AS paid,
    (SELECT count(*) FROM standing AS p WHERE p.key = cases.key AND p.type = 'payment.received' AND p.amount = cases.total)
        AS whole_payments
FROM cases
"""
_BREAKS = """
CREATE TABLE breaks AS
SELECT key, 'conflict' AS class, coalesce(total, 0) AS exposure FROM legs WHERE is_doubted
UNION ALL
SELECT key, 'missing_posting', due FROM legs WHERE total IS NOT NULL AND due > 0 AND (entries = 0 OR net = 0)
UNION ALL
SELECT key, 'missing_reversal', abs(net) FROM legs WHERE total IS NOT NULL AND is_void AND net <> 0
UNION ALL
SELECT key, 'duplicate_posting', abs(net - due) FROM legs
WHERE due > 0 AND net >= 2 * due AND net % due = 0 AND live_entries >= net / due
UNION ALL
SELECT key, 'amount', abs(net - due) FROM legs
WHERE due > 0 AND entries > 0 AND net <> 0 AND net <> due
    AND NOT (net >= 2 * due AND net % due = 0 AND live_entries >= net / due)
UNION ALL
SELECT key, 'missing_payment', due FROM legs WHERE due > 0 AND paid = 0
UNION ALL
SELECT key, 'short_payment', due - paid FROM legs WHERE due > 0 AND paid > 0 AND paid < due
UNION ALL
SELECT key, CASE WHEN payments > 1 AND whole_payments > 1 THEN 'duplicate_payment' ELSE 'overpayment' END, paid - due
FROM legs WHERE total IS NOT NULL AND paid > due
UNION ALL
SELECT key, CASE WHEN applied = 0 THEN 'missing_application' ELSE 'unapplied_cash' END, min(due, received) - applied
FROM legs WHERE due > 0 AND received > 0 AND applied < min(due, received)
UNION ALL
SELECT key, 'misapplied', applied - due FROM legs WHERE total IS NOT NULL AND applied > due AND paid <= due
UNION ALL
SELECT key, 'orphan_posting', abs(net) FROM legs WHERE total IS NULL AND entries > 0 AND net <> 0
UNION ALL
SELECT key, CASE WHEN payments > 0 THEN 'orphan_payment' ELSE 'orphan_application' END,
    CASE WHEN received > 0 THEN received ELSE applied END
FROM legs WHERE total IS NULL AND entries = 0 AND payments + applications > 0
"""
# Nobody applies what a transfer brings; where it gives away more than it has, that is wrong too.
_TRANSFERS = """
WITH given AS (SELECT home, sum(amount) AS amount FROM parts GROUP BY home)
SELECT s.key, (SELECT count(*) FROM facts WHERE facts.key = s.key), 'break',
    CASE WHEN given.amount > s.amount THEN 'misapplied,unapplied_cash' ELSE 'unapplied_cash' END,
    max(s.amount, given.amount - s.amount)
FROM standing AS s JOIN given ON given.home = s.key
"""
_TRUTH = """
SELECT key,
    min(facts, :limit + 1),
    CASE
        WHEN facts > :limit THEN 'pending'
        WHEN EXISTS (SELECT 1 FROM breaks WHERE breaks.key = legs.key) THEN 'break'
        WHEN total IS NULL AND entries = 0 THEN 'pending'
        ELSE 'ok'
    END,
    CASE WHEN facts > :limit THEN NULL ELSE (SELECT group_concat(class) FROM breaks WHERE breaks.key = legs.key) END,
    CASE WHEN facts > :limit THEN 0 ELSE coalesce((SELECT max(exposure) FROM breaks WHERE breaks.key = legs.key), 0) END
FROM legs
"""


def truth(events: Iterable[bytes], facts_per_case: int) -> dict[str, CaseTruth]:
    """The end state of every case, once every deadline has passed."""
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE events (body TEXT)")
        database.executemany("INSERT INTO events VALUES (?)", [(event.decode(),) for event in events])
        for statement in (_FACTS, _PARTS, _PARTS_AS_FACTS, _STANDING, _CASES, _LEGS, _BREAKS):
            database.execute(statement)
        return {
            key: CaseTruth(facts, outcome, tuple(sorted((classes or "").split(","))) if classes else (), exposure)
            for query in (_TRUTH, _TRANSFERS)
            for key, facts, outcome, classes, exposure in database.execute(query, {"limit": facts_per_case})
        }
    finally:
        database.close()


class Broken(Exception):
    """Something happened that must never happen."""


class Auditor:
    """Told of what happens by the fakes; the first thing that must not happen ends the run, with its reason."""

    def __init__(self, rubbish: frozenset[bytes], facts_per_case: int) -> None:
        self.rubbish = rubbish
        self.facts_per_case = facts_per_case
        self.store: Any = None
        self.held: Callable[[TopicPartition], Sequence[int]] = lambda tp: ()  # offsets that the log still has
        self.broken: list[str] = []
        self.logs: dict[TopicPartition, list[tuple[int, bytes, Any]]] = defaultdict(list)
        self.published: set[Any] = set()
        self.told: dict[str, tuple[int, set[tuple[str, str]]]] = {}
        self.rows: dict[tuple[int, int, int], bytes] = {}
        self._named: dict[Any, dict[int, dict[str, int]]] = defaultdict(dict)  # by transfer and version what it pays
        self._effects: dict[Any, tuple[int, int]] = {}  # as told last: (revision, amount)
        self._revisions: dict[Any, list[tuple[TopicPartition, int, int]]] = defaultdict(list)
        self._identities: dict[bytes, Any] = {}
        self.forget()

    def forget(self) -> None:
        """The store was put back to an earlier state: what was durable has to be found so again."""
        self._audited: dict[TopicPartition, int] = defaultdict(int)
        self._durable: dict[str, set[Any]] = defaultdict(set)
        self._first_seen: dict[str, list[tuple[Any, int, int]]] = defaultdict(list)
        self._passed: dict[int, set[int]] = defaultdict(set)
        self._claimed: dict[tuple[int, int], int] = {}
        self._places = 0
        self._late: set[tuple[int, int, int]] = set()  # verdicts written after their epoch had been passed
        self.rows.clear()

    def breaks(self, what: str) -> None:
        self.broken.append(what)
        raise Broken(what)

    # While it runs

    def appended(self, record: Any) -> None:
        identity = None if record.value in self.rubbish else self._identity(record.value)
        if record.headers and record.headers[0][0] == HEARTBEAT and record.topic.startswith(RAW_PREFIX):
            identity = IGNORED
        self.logs[record.topic, record.partition].append((record.offset, record.value, identity))
        if record.topic in INPUTS and identity is not None:
            self.published.add(identity)
        if identity is not None and identity[2] == ALLOCATION:
            version = json.loads(record.value)["data"]["version"]
            self._revisions[identity[:2]].append(((record.topic, record.partition), record.offset, version))
        elif identity is not None:
            self.said(record.value)

    def said(self, value: bytes) -> None:
        """By whatever way it comes: which invoices a transfer pays."""
        if b'"allocations"' in value:
            event = json.loads(value)
            parts = {part["target"]: part["amount_minor"] for part in event["data"]["allocations"]}
            self._named[event["correlationid"], event["data"]["document_id"]][event["data"]["version"]] = parts

    def told_of(self, partition: int, value: bytes) -> None:
        """A message about a case's breaks: of each case the highest revision holds, whenever it comes.

        It tells a verdict that is durable, of an epoch that nobody had passed when that was written.
        """
        message = json.loads(value)
        breaks = {(found["class"], found["fingerprint"]) for found in message["breaks"]}
        verdict = self._told_verdict(partition, message["case"], message["revision"])
        if _breaks(verdict) != breaks:
            self.breaks(f"of {message['case']} breaks are told that its verdict {message['revision']} does not have")
        known = self.told.get(message["case"], (0, set()))
        self.told[message["case"]] = max(known, (message["revision"], breaks), key=lambda each: each[0])

    def effect_told(self, partition: int, value: bytes) -> None:
        """What a case of `partition` means for another one: the same holds."""
        data = json.loads(value)["data"]
        self._told_verdict(partition, data["home"], data["version"])
        part = (data["home"], data["document_id"], json.loads(value)["correlationid"])
        self._effects[part] = max(self._effects.get(part, (0, 0)), (data["version"], data["amount_minor"]))

    def _told_verdict(self, partition: int, key: str, revision: int) -> Any:
        epoch, seq = divmod(revision, 1 << 40)
        verdict = json.loads(self.rows.get((partition, epoch, seq), b"null"))
        if verdict is None or verdict["correlation_id"] != key:
            self.breaks(f"{key} is told at {epoch}.{seq}, of which no verdict is written")
        if (partition, epoch, seq) in self._late:
            self.breaks(f"{key} is told under epoch {epoch}, passed before its verdict was written")
        return verdict

    def committed(self, offsets: Mapping[TopicPartition, int], epochs: Mapping[int, int]) -> None:
        """What is committed is durable, and by an epoch that was the highest when its positions were written."""
        self._check_all_durable(offsets)
        for number, epoch in epochs.items():
            if epoch in self._passed[number]:
                self.breaks(
                    f"epoch {epoch} of partition {number} commits, and was passed before it wrote its positions"
                )

    def positions_written(self, rows: Sequence[Any], epochs: Mapping[int, Sequence[tuple[int, str]]]) -> None:
        """Positions say what is durable; older ones than were claimed since are harmless and must not be committed."""
        for row in rows:
            if row.epoch < max(epoch for epoch, _ in epochs[row.partition]):
                self._passed[row.partition].add(row.epoch)
        standing = [row for row in rows if row.epoch not in self._passed[row.partition]]
        self._check_all_durable({(row.topic, row.partition): row.next_offset for row in standing})

    def began(
        self,
        name: str,
        starts: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, int | None],
        stored: Mapping[TopicPartition, int],
    ) -> None:
        """Reading begins at the lower of what Kafka and the store had said, but for what the log no longer holds."""
        for tp, start in starts.items():
            lower = min(committed.get(tp) or 0, stored.get(tp, 0))
            if start > lower and any(lower <= offset < start for offset in self.held(tp)):
                self.breaks(
                    f"{name} begins {tp} at {start}; Kafka said {committed.get(tp)}, the store {stored.get(tp)}"
                )

    def _check_all_durable(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Every record below an offset is a fact row with its verdict, an event on its way, or a dead letter."""
        newest = None
        for tp, next_offset in offsets.items():
            log, place = self.logs[tp], self._audited[tp]
            while place < len(log) and log[place][0] < next_offset:
                newest = newest or self.store.final()
                self._check_durable(tp, *log[place], newest)
                place += 1
            self._audited[tp] = place

    def _check_durable(self, tp: TopicPartition, offset: int, value: bytes, identity: Any, newest: Any) -> None:
        where = f"{tp[0]}/{tp[1]}@{offset}"
        if identity is IGNORED:
            return
        if identity is None:
            if (*tp, offset) not in self.store.letters:
                self.breaks(f"passed over {where}, whose dead letter is not stored")
        elif tp[0].startswith(RAW_PREFIX):
            if identity not in self.published:
                self.breaks(f"passed over {where}, whose event was not published")
        elif (identity[0], *tp, offset) not in self.store.facts:
            self.breaks(f"passed over {where}, whose fact is not stored")
        else:
            self._durable[identity[0]].add(identity)
            self._check_judged(where, identity[0], newest)
            if identity[0].startswith("receipt:"):
                self._check_effects(where, json.loads(value))

    def _check_effects(self, where: str, event: Any) -> None:
        """What a transfer means for the invoices was told, by this version's word or a newer one's."""
        home, data = event["correlationid"], event["data"]
        versions = self._named[home, data["document_id"]]
        for part in data["allocations"]:
            _, told_minor = self._effects.get((home, data["document_id"], part["target"]), (0, None))
            if told_minor not in [
                parts.get(part["target"], 0) for version, parts in versions.items() if version >= data["version"]
            ]:
                self.breaks(f"passed over {where}: {part['target']} was told {told_minor} of {home}")

    def _check_judged(self, where: str, key: str, newest: Any) -> None:
        row = newest.get(key)
        if row is None:
            self.breaks(f"passed over {where}, whose case {key} has no verdict")
        facts, expected = json.loads(row.raw)["facts"], min(len(self._durable[key]), self.facts_per_case + 1)
        if facts < expected:
            self.breaks(f"passed over {where}: the verdict of {key} counts {facts} facts, not {expected}")

    def judged(self, rows: Sequence[Any], epochs: Mapping[int, Sequence[tuple[int, str]]]) -> None:
        for row in rows:
            place = (row.partition, row.epoch, row.seq)
            if place not in self.rows and row.epoch < max(epoch for epoch, _ in epochs[row.partition]):
                self._late.add(place)
            if self.rows.setdefault(place, row.raw) != row.raw:
                self.breaks(f"two verdicts at (partition, epoch, seq) {place}")
            if row.epoch not in [epoch for epoch, _ in epochs[row.partition]]:
                self.breaks(f"a verdict of epoch {row.epoch}, which nobody claimed for partition {row.partition}")
            key = json.loads(row.raw)["correlation_id"]
            self._check_first_seen(key, row)

    def _check_first_seen(self, key: str, row: Any) -> None:
        """What the store held when an epoch was claimed, and what that epoch said before, its owner must keep."""
        known, claimed = self._first_seen[key], self._claimed[row.partition, row.epoch]
        own = {at for at, epoch, _ in known if epoch == row.epoch}
        newest = max((epoch for _, epoch, place in known if place <= claimed and epoch < row.epoch), default=None)
        loaded = {at for at, epoch, _ in known if newest is not None and newest <= epoch < row.epoch}
        if (own or loaded) and row.first_seen not in (own or loaded):
            self.breaks(f"first_seen of {key} changed from {sorted(own or loaded)} to {row.first_seen}")
        if all(epoch != row.epoch for _, epoch, _ in known):
            self._places += 1
            known.append((row.first_seen, row.epoch, self._places))

    def claimed(self, partition: int, epoch: int) -> None:
        self._claimed[partition, epoch] = self._places

    def received(self, process: "Process") -> None:
        worker, settings = process.worker, process.settings
        pending = worker._pending.records + worker._in_flight
        most = settings.pending_records + len(process.kafka.inputs) * settings.fetch_records
        if pending > most:
            self.breaks(f"{process.name} holds {pending} records that are not durable, more than {most}")
        for partition in worker.partitions.values():
            for key, entry in partition.dirty.items():
                if partition.cases.get(key) is not entry:
                    self.breaks(f"{process.name} let go of {key}, which is dirty")
                self._check_revisions(process, key, entry)

    def _check_revisions(self, process: "Process", key: str, entry: Any) -> None:
        """Of each effect a case holds the highest revision that its worker has read."""
        read_to = process.worker.positions.next_offsets
        for fact in entry.case.everything():
            if fact.type == ALLOCATION:
                told = self._revisions[key, fact.id]
                highest = max((version for tp, offset, version in told if offset < read_to.get(tp, 0)), default=0)
                if fact.data.version < highest:
                    self.breaks(f"{process.name} holds revision {fact.data.version} in {key}, having read {highest}")

    def _identity(self, value: bytes) -> Any:
        """(case, id, type, content): what the fact says, whoever wrote it down."""
        if not value:
            return IGNORED
        if value not in self._identities:
            event = json.loads(value)
            data = {name: said for name, said in event.get("data", {}).items() if not name.startswith("x_")}
            content = (
                "" if event.get("type") == ALLOCATION else json.dumps(data, sort_keys=True)
            )  # revised, not added to
            said = (event.get("correlationid"), event.get("id"), event.get("type"), content)
            self._identities[value] = IGNORED if event.get("type") == "case.touched" else said
        return self._identities[value]

    # At the end

    def differences(self, sent: Iterable[bytes]) -> list[str]:
        """What differs from the truth about what was sent."""
        expected = truth((value for value in sent if value not in self.rubbish), self.facts_per_case)
        final = {key: json.loads(row.raw) for key, row in self.store.final().items()}
        found = [f"{key} was never judged" for key in sorted(expected.keys() - final.keys())]
        found += [f"{key} is of nobody's making" for key in sorted(final.keys() - expected.keys())]
        for key in sorted(expected.keys() & final.keys()):
            verdict = final[key]
            classes = tuple(sorted(found["class"] for found in verdict["breaks"]))
            stands = CaseTruth(verdict["facts"], verdict["outcome"], classes, verdict["exposure_minor"])
            if stands != expected[key]:
                found.append(f"{key} is {stands}, and should be {expected[key]}")
        shown = Counter(json.loads(row.raw)["correlation_id"] for row in self.store.shown())
        found += [f"{key} is shown {times} times" for key, times in sorted(shown.items()) if times > 1]
        return found + self._letters_that_differ() + self._messages_that_differ(final)

    def _letters_that_differ(self) -> list[str]:
        refused = {
            (*tp, offset)
            for tp, log in self.logs.items()
            if tp[0] in INPUTS or tp[0].startswith(RAW_PREFIX)
            for offset, value, identity in log
            if identity is None
        }
        found = [f"no dead letter of {place}" for place in sorted(refused - self.store.letters.keys())]
        found += [f"a dead letter of good {place}" for place in sorted(self.store.letters.keys() - refused)]
        sent = {value for tp, log in self.logs.items() if tp[0] == "dead-letters" for _, value, _ in log}
        found += [f"dead letter never sent: {value!r:.60}" for value in sorted(self.rubbish - sent)]
        return found

    def _messages_that_differ(self, final: Mapping[str, Any]) -> list[str]:
        stands = {key: _breaks(verdict) for key, verdict in final.items()}
        told = {key: breaks for key, (_, breaks) in self.told.items()}
        return [
            f"of {key} the breaks {sorted(told.get(key, ()))} are told, {sorted(stands.get(key, ()))} stand"
            for key in sorted(stands.keys() | told.keys())
            if stands.get(key, set()) != told.get(key, set())
        ]


def _breaks(verdict: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(found["class"], found["fingerprint"]) for found in verdict["breaks"]}
