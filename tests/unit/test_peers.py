"""The check of a benchmark's end state takes what the generator made, and refuses everything else.

A peer that cannot be installed is a row with its reason. The end state here is what the Python peers' own judge makes of the generator's records, in the order they are produced.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmarks import load
from benchmarks.peers import __main__ as peers
from benchmarks.peers.installed import NotInstalled
from benchmarks.peers.outcome import State, WrongEndState, check
from benchmarks.peers.registry import PEERS, Peer
from benchmarks.peers.three_way import add, result

CASES = 1_000
TRUTH = load.truth(CASES)


def end_state(records: list[load.Message]) -> dict[str, State]:
    cases: dict[str, dict[str, Any]] = {}
    ends = {}
    for record in records:
        case = cases.setdefault(record.key, {})
        add(case, msgspec.json.decode(record.value))
        judged = result(record.key, case)
        ends[judged["case"]] = (judged["outcome"], judged["variance_minor"])
    return ends


RECORDS = list(load.messages(CASES))
RIGHT = end_state(RECORDS)


def test_the_end_state_of_all_records_is_right() -> None:
    check(RIGHT, TRUTH)
    outcomes = [outcome for outcome, _ in TRUTH.values()]
    assert [outcomes.count(each) for each in ("ok", "pending", "break")] == [970, 20, 10]


def a_case(outcome: str) -> str:
    return next(key for key, (each, _) in TRUTH.items() if each == outcome)


def lost(ends: dict[str, State]) -> None:
    del ends[a_case("ok")]


def made_up(ends: dict[str, State]) -> None:
    ends["invoice:acme-us:billing:B-99999999"] = ("ok", 0)


def stale(ends: dict[str, State]) -> None:
    ends[a_case("ok")] = ("pending", 0)


def break_not_seen(ends: dict[str, State]) -> None:
    ends[a_case("break")] = ("ok", 0)


def false_break(ends: dict[str, State]) -> None:
    ends[a_case("pending")] = ("break", 0)


def another_amount(ends: dict[str, State]) -> None:
    ends[a_case("break")] = ("break", load.WRONG_BY_MINOR - 1)


@pytest.mark.parametrize("wrong", [lost, made_up, stale, break_not_seen, false_break, another_amount])
def test_one_wrong_case_among_all_is_refused(wrong: Callable[[dict[str, State]], None]) -> None:
    ends = dict(RIGHT)
    wrong(ends)
    with pytest.raises(WrongEndState, match="^1 of 1,000 cases are wrong"):
        check(ends, TRUTH)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(WrongEndState, match="^1,000 of 1,000 cases are wrong"):
        check({}, TRUTH)


@pytest.mark.parametrize("topic", ["invoices", "postings", "payments"])
def test_a_program_that_drops_one_record_is_refused(topic: str) -> None:
    key = next(key for key, state in TRUTH.items() if state == ("ok", 0) and key[-3:] > "100")  # none of it comes twice
    ends = end_state([each for each in RECORDS if (each.key, each.topic) != (key, topic)])
    with pytest.raises(WrongEndState, match="^1 of 1,000 cases are wrong.*pending"):
        check(ends, TRUTH)


def test_a_peer_that_cannot_be_installed_says_why_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[str]:
        raise NotInstalled("no such version")

    monkeypatch.setitem(PEERS, "bytewax", Peer(refused))
    assert peers.row("bytewax", CASES) == {"name": "bytewax", "reason": "cannot be installed: no such version"}


def test_ratios_are_to_what_ran() -> None:
    quix: dict[str, Any] = {"name": "quix-streams", "events_per_s": 15_000}
    failed: dict[str, Any] = {"name": "pyflink", "reason": "failed: all of it"}
    peers.compare([{"name": "tieout", "events_per_s": 20_000}, quix, failed])
    assert quix == {"name": "quix-streams", "events_per_s": 15_000, "to_tieout": 0.75}
    assert failed == {"name": "pyflink", "reason": "failed: all of it"}
