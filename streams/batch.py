"""The batch half of the same core: canonical events in, one verdict a case out, in order of the case key.

- The same judge as the live stream, with everything known and every source complete, as of one moment.
- Memory is steady whatever the input: events are sorted by key in runs of RUN_BYTES; further runs go to temporary files
  and are merged, so one case's events come together. The order of the output does not depend on any of that.
- A line that is no canonical event goes to `on_dead_letter` with its number and untouched bytes; the rest goes on.
"""

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from canonical.dead_letters import DeadLetter
from canonical.events import EARLIEST
from canonical.structs import RecordError, admit, decode
from matching.case import Case
from matching.judge import judge
from matching.policy import Policy
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
    with tempfile.TemporaryDirectory(prefix="tieout-") as folder:
        runs, latest = Runs(Path(folder), run_bytes), EARLIEST
        for number, line in enumerate(lines, 1):
            record = line.strip().replace(b"\n", b" ")  # inside JSON a line feed is only white space
            if record:
                latest = max(latest, _take(record, number, runs, on_dead_letter))
        for key, keyed in groupby(runs.merged(), key=itemgetter(0)):
            yield _verdict(key, keyed, policy, as_of or latest)


def _take(record: bytes, number: int, runs: "Runs", on_dead_letter: OnDeadLetter) -> datetime:
    """Returns the event's time."""
    try:
        event = admit(record)
    except RecordError as error:
        on_dead_letter(number, record, _letter(record, error))
        return EARLIEST
    runs.add(event.correlationid.encode(), record)
    return event.time


def _letter(record: bytes, error: RecordError) -> DeadLetter:
    """As the door of canonical events would put it."""
    refused = map_record("canonical", record)
    return refused if isinstance(refused, DeadLetter) else DeadLetter("mapping", str(error))


def _verdict(key: bytes, keyed: Iterable[Keyed], policy: Policy, now: datetime) -> bytes:
    case = Case(key.decode(), policy.limits.facts_per_case)
    for _, record in keyed:
        case.add(decode(record))
    return encode(judge(case, policy, now))


class Runs:
    """Records sorted by case key: the last run in memory, earlier ones in files. A record holds no line feed."""

    def __init__(self, folder: Path, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._run: list[Keyed] = []
        self._size = 0
        self._files: list[Path] = []

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
