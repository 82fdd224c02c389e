"""The batch half of the same core: canonical events in, one verdict a case out, in order of the case key.

- The same judge as the live stream, with everything known and every source complete, as of one moment.
- Memory is steady whatever the input: events are sorted by key in runs of RUN_BYTES; further runs go to temporary files
  and are merged, so one case's events come together. The order of the output does not depend on any of that.
- Effects between cases (rule E6) come from a first pass over the same records. Those that a live stream has told and that
  lie among the input are of a higher revision and hold.
- What came in under an alias is sent on first (matching.aliases).
- Identification (rule E7) is a pass of its own, where money names nothing that it pays: all that is open is known, so the
  choices do not depend on order. Those that were made live, or by a person, and lie among the input hold.
- A line that is no canonical event goes to `on_dead_letter` with its number and untouched bytes; the rest goes on.
"""

import heapq
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import EARLIEST, Event
from canonical.records import Record
from canonical.records import encode as encode_event
from canonical.structs import RecordError, admit, decode
from matching import crosswalk
from matching.aliases import LINKED, other_names, sent_on
from matching.case import Case
from matching.door import refused
from matching.effects import as_event, effects, names_others
from matching.identify import Book, Item, Match, Receipt, identify_all
from matching.judge import judge
from matching.matches import MONEY_IN
from matching.matches import as_event as choice_event
from matching.policy import Policy
from matching.unidentified import item_of, receipts_of
from matching.verdict import encode
from sources.registry import map_record

RUN_BYTES = 64 * 1024 * 1024
_OVERHEAD_BYTES = 200  # what Python keeps around one line

Keyed = tuple[bytes, bytes]  # case key, record
OnDeadLetter = Callable[[int, bytes, DeadLetter], None]


def reconcile(
    lines: Iterable[bytes],
    policy: Policy,
    as_of: datetime | None = None,
    on_dead_letter: OnDeadLetter = lambda line, original, letter: None,
    run_bytes: int = RUN_BYTES,
) -> Iterator[bytes]:
    """Verdicts as JSON, one a case. Without `as_of` they are as of the latest event's time."""
    for case, latest in cases(lines, policy, on_dead_letter, run_bytes):
        yield encode(judge(case, policy, as_of or latest))


def cases(
    lines: Iterable[bytes], policy: Policy, on_dead_letter: OnDeadLetter, run_bytes: int = RUN_BYTES
) -> Iterator[tuple[Case, datetime]]:
    """Every case with what others told it, in order of its key, and the latest event's time of all."""
    with tempfile.TemporaryDirectory(prefix="tieout-") as folder:
        runs, latest = Runs(Path(folder), run_bytes), EARLIEST
        for number, line in enumerate(lines, 1):
            record = line.strip().replace(b"\n", b" ")  # inside JSON a line feed is only white space
            if record:
                latest = max(latest, _take(record, number, runs, policy, on_dead_letter))
        _send_on(runs, policy)
        for find in (_effects, _choices):
            for fact in find(runs, policy):
                runs.add(fact.correlationid.encode(), encode_event(fact))
        for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
            yield _case(key, keyed, policy), latest


def _take(record: bytes, number: int, runs: "Runs", policy: Policy, on_dead_letter: OnDeadLetter) -> datetime:
    """Returns the event's time."""
    try:
        event = admit(record)
    except RecordError as error:
        on_dead_letter(number, record, _letter(record, error))
        return EARLIEST
    if (letter := refused((event,), policy)) is not None:
        on_dead_letter(number, record, letter)
        return EARLIEST
    runs.add(event.correlationid.encode(), record)
    runs.names_others = runs.names_others or names_others(event, policy)
    runs.links = (
        runs.links
        or event.type == LINKED
        or event.type in crosswalk.TOLD
        or (bool(policy.identity) and any(other_names(event, policy)))
    )
    runs.asks = runs.asks or (event.type in MONEY_IN and event.correlationid.startswith(("receipt:", "summary:")))
    return event.time


def _letter(record: bytes, error: RecordError) -> DeadLetter:
    """As the door of canonical events would put it."""
    refused = map_record("canonical", record)
    return refused if isinstance(refused, DeadLetter) else DeadLetter("mapping", str(error))


def _send_on(runs: "Runs", policy: Policy) -> None:
    """What came in under an alias, to the case it belongs to; from there on, where that is an alias itself. And what is
    told of a customer, to whom it is for."""
    sent: set[Record] = set()
    while runs.links:
        claims: dict[str, list[Event]] = defaultdict(list)
        for event in _told(runs, policy):
            told: Any = event.data
            if told.kind in ("alias", "customer"):
                claims[event.correlationid].append(event)
        found: set[Record] = set()
        for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
            claimed = claims.get(key.decode(), ())
            if claimed or key.startswith(b"index:"):
                case = _case(key, keyed, policy)
                for event in claimed:
                    case.add(event)
                found.update(sent_on(case))
        for record in found - sent:
            runs.add(record.key, record.value)
        runs.links = bool(found - sent)
        sent |= found


def _effects(runs: "Runs", policy: Policy) -> list[Event]:
    """What cases mean for others (rule E6): read in a pass of their own, only where some record names another case."""
    return list(_told(runs, policy)) if runs.names_others else []


def _told(runs: "Runs", policy: Policy) -> Iterator[Event]:
    for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
        case = _case(key, keyed, policy)
        yield from (as_event(case.key, effect, 0) for effect in effects(case, policy))


def _choices(runs: "Runs", policy: Policy) -> list[Event]:
    """What money pays that names nothing, and what that means for others."""
    if not runs.asks:
        return []
    items: dict[str, list[Item]] = defaultdict(list)
    asking: dict[str, list[Receipt]] = defaultdict(list)
    for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
        if key.startswith(_TAKES_PART):
            case = _case(key, keyed, policy)
            if (item := item_of(case, policy)) is not None:
                items[item.entity].append(item)
            for receipt in receipts_of(case, policy):
                asking[receipt.entity].append(receipt)
    decided: dict[str, list[Event]] = defaultdict(list)
    for entity, receipts in asking.items():
        for decision in identify_all(Book(policy.identification, items[entity]), receipts):
            if isinstance(decision, Match) or decision.is_ambiguous:
                decided[decision.receipt.home].append(choice_event(decision, policy.hash, 0))
    return [event for events in decided.values() for event in events] + _told_by(runs, decided, policy)


_TAKES_PART = (b"invoice:", b"payout:", b"receipt:", b"summary:")


def _told_by(runs: "Runs", decided: Mapping[str, list[Event]], policy: Policy) -> list[Event]:
    """Effects of the cases in which something was decided."""
    told: list[Event] = []
    for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
        if chosen := decided.get(key.decode()):
            case = _case(key, keyed, policy)
            for event in chosen:
                case.add(event)
            told += [as_event(case.key, effect, 1) for effect in effects(case, policy)]
    return told


def _case(key: bytes, keyed: Iterable[Keyed], policy: Policy) -> Case:
    case = Case(key.decode(), policy.limits.facts_of(key.decode()))
    for _, record in keyed:
        case.add(decode(record))
    return case


class Runs:
    """Records sorted by case key: the last run in memory, earlier ones in files. A record holds no line feed."""

    def __init__(self, folder: Path, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._run: list[Keyed] = []
        self._size = 0
        self._files: list[Path] = []
        self.names_others = False  # whether some event names another case
        self.links = False  # whether some event names an alias
        self.asks = False  # whether there is money that may not say what it pays

    def add(self, key: bytes, record: bytes) -> None:
        self._run.append((key, record))
        self._size += len(key) + len(record) + _OVERHEAD_BYTES
        if self._size > self._run_bytes:
            self._spill()

    def merged(self) -> Iterator[Keyed]:
        self._run.sort(key=itemgetter(0))
        return heapq.merge(*map(_read, self._files), iter(self._run), key=itemgetter(0))

    def _spill(self) -> None:
        self._run.sort(key=itemgetter(0))
        file = self._folder / f"run-{len(self._files)}"
        with file.open("wb") as run:
            run.writelines(b"%b\t%b\n" % keyed for keyed in self._run)
        self._files.append(file)
        self._run, self._size = [], 0


def _read(file: Path) -> Iterator[Keyed]:
    """A key holds no tab and a stripped JSON line no line feed, so both separators are safe."""
    with file.open("rb") as run:
        for line in run:
            key, _, record = line[:-1].partition(b"\t")
            yield key, record
