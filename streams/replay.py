"""Verdicts rebuilt beside the live ones, through the same judge, and how the two differ.

- A rebuild judges each case exactly as its live verdict says it was (time, progress, policy): it must be the same bytes.
  A what-if judges all of them as of another time, or under another policy. Live tables are only read.
- A page of cases is read in the order positions, verdicts, facts, the worker writes in the opposite one: so every fact
  that a verdict was judged with is there, and one that it has not seen is told by its time.
- `moving`: a fact came less than MOVING_MS ago that the live verdict has not seen, or a record of the log that the worker
  has not stored. Such cases are judged once more at the end, and again until SETTLE_S have passed. What the live verdict
  has not seen for longer is a difference.
- From the log: a record at a place that was read is the case's fact; of the store's facts those are added that lie
  elsewhere: outside what was read, in an older topic of that name, or in a historical load. A fact of the store at a
  place that was read and holds no record is left out; a record that the store should hold and does not is a difference.
- Of a case that has fewer facts than its live verdict counted the rest is forgotten (rule E14): it is not judged, so that
  retention is never a break. Where the live verdict was judged before they went, that is a difference, and said.
- Memory is steady: a page of cases at a time, each case bounded by policy, RECHECKED_CASES kept for the end.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

from canonical.events import Event
from canonical.ids import is_case_key
from canonical.structs import decode
from matching.case import Case
from matching.clock import COMPLETE, Progress
from matching.compare import NONE, Changes, changes, summary
from matching.judge import judge
from matching.policy import Policy
from matching.verdict import parts
from sinks.replays import PAGE_CASES, Live, Received, ReplayStore, Stored
from streams.batch import Runs
from streams.join import TOUCHED
from streams.log_reader import LogSpan
from streams.stored_progress import parse

MOVING_MS = 60_000
SETTLE_S = 10.0
SETTLE_PAUSE_S = 0.5
RECHECKED_CASES = 10_000
PAGE_RECORDS = 50_000
State = Literal["identical", "different", "moving", "other_policy"]
Place = tuple[str, int, int]  # topic, partition, offset


class Basis(NamedTuple):
    """What to judge with. `as_of` None: as each live verdict was; a case without one as of `asked_at`."""

    policy: Policy
    asked_at: datetime
    as_of: datetime | None = None
    is_what_if: bool = False

    def moment(self, live: Live | None) -> tuple[datetime, Progress]:
        if self.as_of is not None:
            return self.as_of, COMPLETE
        return (self.asked_at, COMPLETE) if live is None else (live.judged_at, parse(live.progress))


class Found(NamedTuple):
    """A case rebuilt. `live` is the live verdict's raw, `changes` lead from it to the rebuilt one."""

    case: str
    state: State
    why: str
    judged_at: datetime
    raw: bytes
    controls: bytes
    live: bytes | None
    changes: Changes


class Logged(NamedTuple):
    """A record of the log."""

    topic: str
    partition: int
    offset: int
    raw: bytes


class Page(NamedTuple):
    """Cases to be judged: their keys in order, and their records where they come from the log."""

    keys: Sequence[str]
    records: Mapping[str, Sequence[Logged]]


def from_facts(store: ReplayStore, received: Received, case: str | None = None) -> Iterator[Page]:
    """All cases of the store, those with a fact taken in a time, or one."""
    pages: Iterable[list[str]] = [[case]] if case is not None else store.pages(received)
    return (Page(keys, {}) for keys in pages)


def from_log(span: LogSpan, folder: Path, case: str | None = None, on_records: Callable[[int], None] = lambda _count: None) -> Iterator[Page]:  # fmt: skip
    """The cases that a span of the log meets, with its records, in order of their keys; sorted through `folder`."""
    runs = Runs(folder)
    wanted = case.encode() if case is not None else None
    for record in span.records():
        on_records(1)
        key = record.key or b""
        if key == wanted if wanted is not None else _is_case(key):
            place = b"%b %d %d " % (record.topic.encode(), record.partition, record.offset)
            runs.add(key, place + _line(record.value or b"", key))
    yield from _pages(runs)


def _is_case(key: bytes) -> bool:
    """What the join refuses anyway may have any bytes as its key."""
    return is_case_key(key.decode(errors="replace"))


def _line(raw: bytes, key: bytes) -> bytes:
    """A line feed outside of a text is only white space; inside of one it is no JSON, and must not become it."""
    if b"\n" not in raw:
        return raw
    return raw.replace(b"\n", b" ") if _event(raw, key.decode()) else b""


def _pages(runs: Runs) -> Iterator[Page]:
    records: dict[str, list[Logged]] = {}
    size = 0
    for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
        logged = [_logged(record) for _, record in keyed]
        records[key.decode()] = logged
        size += len(logged)
        if len(records) >= PAGE_CASES or size >= PAGE_RECORDS:
            yield Page(list(records), records)
            records, size = {}, 0
    if records:
        yield Page(list(records), records)


def _logged(record: bytes) -> Logged:
    topic, partition, offset, raw = record.split(b" ", 3)
    return Logged(topic.decode(), int(partition), int(offset), raw)


def replay(
    store: ReplayStore, pages: Iterable[Page], basis: Basis, log: LogSpan | None = None,
    on_cases: Callable[[int], None] = lambda _count: None, settle_s: float = SETTLE_S,
) -> Iterator[Found]:  # fmt: skip
    """Every case once, those that moved last."""
    moving: dict[str, Sequence[Logged]] = {}
    for page in pages:
        for found in examined(store, page, basis, log):
            if found.state == "moving" and len(moving) < RECHECKED_CASES:
                moving[found.case] = page.records.get(found.case, ())
            else:
                yield found
        on_cases(len(page.keys))
    yield from _settled(store, moving, basis, log, settle_s)


def _settled(
    store: ReplayStore, moving: dict[str, Sequence[Logged]], basis: Basis, log: LogSpan | None, settle_s: float
) -> Iterator[Found]:
    """Those that moved, judged again until they hold still or the time is over."""
    deadline_s = time.monotonic() + settle_s
    while moving:
        is_over = time.monotonic() >= deadline_s
        for keys in _chunks(sorted(moving)):
            for found in examined(store, Page(keys, moving), basis, log):
                if is_over or found.state != "moving":
                    del moving[found.case]
                    yield found
        if moving and not is_over:
            time.sleep(SETTLE_PAUSE_S)


def _chunks(keys: list[str], size: int = 1_000) -> Iterator[list[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def examined(store: ReplayStore, page: Page, basis: Basis, log: LogSpan | None) -> Iterator[Found]:
    """Each case of a page, in its order."""
    now_ms = store.now_ms()
    stored_to = store.next_offsets(log.topic_ids) if log is not None else {}
    live = store.live(page.keys)
    limits = basis.policy.limits
    for key, facts in _by_case(page.keys, store.facts(page.keys)):
        gathered = Gathered(key, limits.facts_of(key))
        gathered.take_log(page.records.get(key, ()))
        for fact in facts:
            gathered.take(fact, log)
        gathered.compare_with_store(stored_to)
        if key not in live and not gathered.case.count:
            continue  # nothing but refused records bear this key
        yield _judged(gathered, live.get(key), basis, now_ms)


def _by_case(keys: Sequence[str], facts: Iterator[tuple[str, Stored]]) -> Iterator[tuple[str, Iterator[Stored]]]:
    """Every key with its facts, also where it has none. Both are in order of the key."""
    groups = groupby(facts, key=itemgetter(0))
    group = next(groups, None)
    for key in keys:
        if group is None or group[0] != key:
            yield key, iter(())
            continue
        yield key, (fact for _, fact in group[1])
        group = next(groups, None)


class Gathered:
    """One case's facts, and what is odd about them."""

    def __init__(self, key: str, limit: int) -> None:
        self.case = Case(key, limit)
        self.newest_ms = 0
        self.oddities: list[str] = []
        self.is_unread = False
        self._logged: list[Logged] = []
        self._places: set[Place] = set()

    def take_log(self, records: Sequence[Logged]) -> None:
        """Records that the join refused are dead letters, and one that asks for a judgement is no fact."""
        for record in records:
            event = _event(record.raw, self.case.key)
            if event is not None and event.type != TOUCHED:
                self.case.add(event)
                self._logged.append(record)

    def take(self, fact: Stored, log: LogSpan | None) -> None:
        place = fact[:3]
        self.newest_ms = max(self.newest_ms, fact.received_ms)
        if log is not None:
            self._places.add(place)
            if log.covers(place) and not log.holds(place):
                self.oddities.append(f"the store has a fact at {_told(place)} where the log has no record")
                return
        event = _event(fact.raw, self.case.key)
        if event is None:
            self.oddities.append(f"the fact at {_told(place)} is no event of this case")
        else:
            self.case.add(event)

    def compare_with_store(self, stored_to: Mapping[tuple[str, int], int]) -> None:
        """What of the log is no fact in the store: not yet, or no more. `stored_to` was read before the facts."""
        for record in self._logged:
            if record[:3] in self._places:
                continue
            if record.offset >= stored_to.get(record[:2], 0):
                self.is_unread = True
            else:
                self.oddities.append(f"the store lacks the fact that the log has at {_told(record[:3])}")


def _event(raw: bytes, key: str) -> Event | None:
    try:
        event = decode(raw)
    except ValueError:
        return None
    return event if event.correlationid == key else None


def _told(place: Place) -> str:
    return " ".join(map(str, place))


def _judged(gathered: Gathered, live: Live | None, basis: Basis, now_ms: int) -> Found:
    try:
        judged_at, progress = basis.moment(live)
    except ValueError as error:
        gathered.oddities.append(f"the progress that it was judged with cannot be read: {error}")
        judged_at, progress = basis.asked_at, COMPLETE
    if not gathered.case.is_over_limit:
        gathered.case.forgotten = max(0, _facts_of(live) - gathered.case.count)
    raw, controls = parts(judge(gathered.case, basis.policy, judged_at, progress))
    state, why = _compared(gathered, live, raw, controls, basis, now_ms)
    before = live.raw if live is not None else None
    found = NONE if state in ("identical", "other_policy") else _changes(before, raw)
    return Found(gathered.case.key, state, why, judged_at, raw, controls, before, found)


def _facts_of(live: Live | None) -> int:
    """With how many facts it was judged: what is no longer there is forgotten, as it is to the worker (rule E14)."""
    try:
        return summary(live.raw).facts if live is not None else 0
    except ValueError:
        return 0


def _compared(gathered: Gathered, live: Live | None, raw: bytes, controls: bytes, basis: Basis, now_ms: int) -> tuple[State, str]:  # fmt: skip
    unseen_ms = gathered.newest_ms - (live.visible_ms if live is not None else 0)
    is_same = live is not None and live.raw == raw and live.controls == controls
    if is_same and not gathered.oddities and not gathered.is_unread:
        return "identical", ""
    if gathered.is_unread:
        return "moving", "the worker has not stored all of its records yet"
    if not is_same and unseen_ms > 0 and now_ms - gathered.newest_ms < MOVING_MS:
        return "moving", "a fact has come that the live verdict has not seen yet"
    if gathered.oddities:
        return "different", "; ".join(gathered.oddities[:3])
    if live is None:
        return "different", "it has facts and no live verdict"
    if basis.is_what_if:
        return ("different", "") if _changes(live.raw, raw).fields else ("identical", "")
    return _difference(gathered, live, raw, basis, unseen_ms, now_ms)


def _difference(gathered: Gathered, live: Live, raw: bytes, basis: Basis, unseen_ms: int, now_ms: int) -> tuple[State, str]:  # fmt: skip
    """Why a rebuild is not the same bytes."""
    try:
        was = summary(live.raw)
    except ValueError:
        return "different", "what is stored is no verdict"
    if was.policy != basis.policy.hash:
        return "other_policy", was.policy
    if gathered.case.forgotten:
        return "different", f"{gathered.case.count} of the {was.facts} facts that the live verdict was judged with are there"  # fmt: skip
    if unseen_ms > 0:
        return "different", f"a fact has been there for {(now_ms - gathered.newest_ms) // 1000} s that the live verdict has not seen"  # fmt: skip
    fields = changes(live.raw, raw).fields
    return "different", f"stored otherwise than judged: {', '.join(fields) or 'the bytes of its controls'}"


def _changes(before: bytes | None, after: bytes) -> Changes:
    """Where what is stored is no verdict, as if there were none."""
    try:
        return changes(before, after)
    except ValueError:
        return changes(None, after)
