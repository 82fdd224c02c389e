"""One run of a replay as it is asked for on the command line: what to judge with, where cases come from, where they go.

- Without --as-of, and with the policy that live verdicts were judged with, it is a rebuild; otherwise a what-if.
- `into` names the run: its verdicts go to shadow tables, its row in `replays` says `running`, then `done`.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from canonical.events import parse_time
from canonical.ids import is_case_key
from matching.policy import Policy
from sinks.replays import Received, ReplayRow, ReplayStore, ShadowRow
from streams.log import Log
from streams.log_reader import Bound, LogSpan
from streams.replay import Basis, Found, from_facts, from_log, replay
from streams.replay_report import Report
from streams.run_names import objection, starter
from streams.topics import JOINED

SHADOW_ROWS = 2_000


class CannotReplay(Exception):
    """It cannot be done as asked; one sentence."""


class Asked(NamedTuple):
    """`bootstrap` None: from the facts. `is_policy_given`: it may be another one than that of the live verdicts."""

    policy: Policy
    is_policy_given: bool
    as_of: datetime | None
    since: Bound | None
    until: Bound | None
    bootstrap: str | None
    case: str | None
    into: str | None


def bound(text: str | None, option: str) -> Bound | None:
    """A time or an offset. Raises CannotReplay."""
    if text is None or text.isdigit():
        return None if text is None else int(text)
    try:
        return parse_time(text)
    except ValueError:
        raise CannotReplay(f"{option} {text!r} is neither a time like 2026-03-31T23:59:59Z nor an offset") from None


def run(store: ReplayStore, asked: Asked, now: datetime, on_found: Callable[[Found], None], advance: Callable[[int], None]) -> Report:  # fmt: skip
    """Replays; `on_found` is told of every case, `advance` of every case or record done. Raises CannotReplay, CannotRead."""
    report = Report(_basis(store, asked, now))
    shadow = _Shadow(store, asked, report, now) if asked.into else None
    for found in _found(store, asked, report.basis, advance):
        report.add(found)
        on_found(found)
        if shadow:
            shadow.add(found)
    if asked.case and not report.cases:
        raise CannotReplay(f"there is no case {asked.case}")
    if shadow:
        shadow.finish()
    return report


def drop(store: ReplayStore, run_name: str) -> None:
    if not store.run_exists(run_name):
        raise CannotReplay(f"there is no run {run_name}")
    store.drop_run(run_name)


def _basis(store: ReplayStore, asked: Asked, now: datetime) -> Basis:
    if asked.case and not is_case_key(asked.case):
        raise CannotReplay(f"{asked.case!r} is no case key; one is like invoice:acme:billing:INV-1")
    policies = store.policies()
    is_live = asked.policy.hash in policies
    if asked.as_of is None and policies and not is_live and not asked.is_policy_given:
        raise CannotReplay(
            f"the live verdicts were judged under policy {next(iter(policies))}, loaded is {asked.policy.hash}: "
            "give theirs with --policy"
        )
    return Basis(
        asked.policy, now, asked.as_of, is_what_if=asked.as_of is not None or (asked.is_policy_given and not is_live)
    )


def _found(store: ReplayStore, asked: Asked, basis: Basis, advance: Callable[[int], None]) -> Iterator[Found]:
    if asked.bootstrap is None:
        if isinstance(asked.since, int) or isinstance(asked.until, int):
            raise CannotReplay("offsets are of the log: add --from-log, or give times")
        received = Received(asked.since, asked.until)
        yield from replay(store, from_facts(store, received, asked.case), basis, on_cases=advance)
        return
    with closing(Log(asked.bootstrap)) as log, tempfile.TemporaryDirectory(prefix="tieout-") as folder:
        if not log.knows_times() and (isinstance(asked.since, datetime) or isinstance(asked.until, datetime)):
            raise CannotReplay("the embedded broker looks nothing up by time: give offsets, or none")
        span = LogSpan(log, JOINED, asked.since, asked.until)
        yield from replay(store, from_log(span, Path(folder), asked.case, advance), basis, span)


class _Shadow:
    """A run's verdicts on their way to the shadow tables."""

    def __init__(self, store: ReplayStore, asked: Asked, report: Report, now: datetime) -> None:
        run_name = asked.into or ""
        if (reason := objection(run_name)) is not None:
            raise CannotReplay(reason)
        if store.run_exists(run_name):
            raise CannotReplay(f"run {run_name} exists; remove it with: tieout replay --drop {run_name}")
        self._store, self._report, self._rows = store, report, list[ShadowRow]()
        self._row = ReplayRow(
            run_name, "running", now, starter(),
            "log" if asked.bootstrap else "facts", _told(asked.since), _told(asked.until), asked.policy.hash,
            asked.as_of, 0, 0, 0, 0,
        )  # fmt: skip
        store.write_run(self._row)

    def add(self, found: Found) -> None:
        self._rows.append(ShadowRow(self._row.run, found.judged_at, found.state, found.raw, found.controls))
        if len(self._rows) >= SHADOW_ROWS:
            self._flush()

    def finish(self) -> None:
        self._flush()
        states = self._report.states
        counts = {name: states[name] for name in ("identical", "different", "moving")}
        self._store.write_run(self._row._replace(state="done", cases=self._report.cases, **counts))

    def _flush(self) -> None:
        self._store.write_shadow(self._rows)
        self._rows = []


def _told(limit: Bound | None) -> str:
    return "" if limit is None else limit.isoformat() if isinstance(limit, datetime) else str(limit)
