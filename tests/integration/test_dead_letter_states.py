"""What the store says of a letter after what was done about it, on a real embedded store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sinks.client import Store
from sinks.rows import DeadLetterRow, LetterActionRow
from streams.dead_letters import Place, headers_json
from streams.letters import Chosen, Letter, NoSuchLetter, action, audit, contents, find, put_aside, take

AT = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
PLACE = Place("raw.stripe", 3, 4711)
CASE = "invoice:acme-us:billing:INV-1"


def letter(offset: int = 4711, **changes: Any) -> DeadLetterRow:
    row = DeadLetterRow(
        "raw.stripe", 3, offset, AT, "mapping", "no account mapped for tax code VAT-19", "intake", "stripe", "", b"k",
        headers_json([("h", b"\xff")]), b'{"id":"in_1\xff"}',
    )  # fmt: skip
    return row._replace(**changes)


def act(
    name: str, count: int, minutes: float, *, by: str = "", why: str = "why", detail: Any = None
) -> LetterActionRow:
    """`by` a person, in a command of its own, or by the worker."""
    record = Place("raw.stripe", 0, 100 + count) if name in ("replayed", "failed", "resolved") else None
    at = AT + timedelta(minutes=minutes)
    return action(name, PLACE, at, by or "tieout", why, f"{name}-{minutes}" if by else "", count, record=record, detail=detail)  # fmt: skip


def after(store: Store, *actions: LetterActionRow) -> Letter:
    store.write_dead_letters([letter()])
    store.write_letter_actions(list(actions))
    (found,) = find(store.client, Chosen(), 10).letters
    return found


def test_letter_that_nobody_touched_is_open(store: Store) -> None:
    found = after(store)
    assert (found.state, found.replay_count, found.actor, found.cases) == ("open", 0, "", [])
    assert found.first_failed_at == found.last_failed_at == AT


SENT = act("replayed", 1, 10, by="Ada", why="mapped now")
FAILED = act("failed", 1, 9, why="still not mapped", detail={"class": "master_data"})
RESOLVED = act("resolved", 1, 9, why="mapped to 1 event", detail={"cases": [CASE]})


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        ([SENT], "replayed"),
        ([SENT, FAILED], "open"),
        ([SENT, RESOLVED], "resolved"),
        ([FAILED], "open"),
        ([RESOLVED], "resolved"),
        ([SENT, act("parked", 1, 8, by="Bo")], "parked"),
        ([SENT, act("parked", 1, 8, by="Bo"), FAILED], "parked"),
        ([SENT, act("parked", 1, 8, by="Bo"), RESOLVED], "resolved"),
        ([act("parked", 0, 1, by="Bo"), act("discarded", 0, 2, by="Bo")], "discarded"),
        ([act("discarded", 0, 1, by="Bo"), act("parked", 0, 2, by="Bo")], "parked"),
        ([act("parked", 0, 1, by="Bo"), SENT], "replayed"),
        ([SENT, FAILED, act("replayed", 2, 11, by="Ada"), act("failed", 2, 10)], "open"),
        ([act("replayed", 3, 11, by="Ada"), act("failed", 3, 10), act("parked", 3, 10)], "parked"),
        ([act("parked", 3, 10), act("replayed", 4, 20, by="Ada"), act("resolved", 4, 19)], "resolved"),
        ([RESOLVED, act("replayed", 2, 30, by="Ada"), act("failed", 2, 31)], "resolved"),
        ([act("adopted", 0, 1, by="Ada")], "open"),
    ],
)
def test_state_follows_from_what_was_done(store: Store, actions: list[LetterActionRow], state: str) -> None:
    assert after(store, *actions).state == state


def test_letter_shows_its_last_failure_and_the_last_thing_a_person_did(store: Store) -> None:
    found = after(store, SENT, FAILED)
    assert (found.failure, found.reason) == ("master_data", "still not mapped")
    assert (found.first_failed_at, found.last_failed_at) == (AT, AT + timedelta(minutes=9))
    assert (found.replay_count, found.actor, found.why) == (1, "Ada", "mapped now")


def test_resolved_letter_names_who_replayed_it_and_the_cases_it_went_to(store: Store) -> None:
    found = after(
        store, SENT, RESOLVED, act("resolved", 2, 40, detail={"cases": [CASE, "invoice:acme-us:billing:INV-0"]})
    )
    assert (found.actor, found.why, found.state) == ("Ada", "mapped now", "resolved")
    assert found.cases == ["invoice:acme-us:billing:INV-0", CASE]


def test_action_written_again_is_the_same_row(store: Store) -> None:
    after(store, SENT, RESOLVED)
    store.write_letter_actions([RESOLVED, SENT])
    assert audit(store.client, PLACE) == [RESOLVED, SENT]


def test_bytes_and_headers_come_back_as_they_were(store: Store) -> None:
    sent = [("h", b"v"), ("h", None), ("", b""), ("binary", bytes(range(256)))]
    store.write_dead_letters([letter(original=bytes(range(256)), key=b"\xff\x00", headers=headers_json(sent))])
    assert contents(store.client, [PLACE]) == {PLACE: (b"\xff\x00", sent, bytes(range(256)))}
    mended = act("replayed", 1, 1, by="Ada")._replace(body=b"\xff\x00mended")
    store.write_letter_actions([mended])
    assert audit(store.client, PLACE) == [mended]


@pytest.mark.parametrize(
    ("chosen", "offsets"),
    [
        (Chosen(), [1, 2, 3]),
        (Chosen(failure="policy"), [2]),
        (Chosen(source="canonical"), [3]),
        (Chosen(topic="raw.canonical"), [3]),
        (Chosen(states=("open", "resolved")), [2, 3]),
        (Chosen(states=("parked",)), [1]),
        (Chosen(reason="CONTRACT version"), [2]),
        (Chosen(reason="it's 100 % \\ 'quoted'"), [3]),
        (Chosen(case=CASE), [3]),
        (Chosen(case="in_2"), [2]),
        (Chosen(since=AT + timedelta(seconds=2)), [2, 3]),
        (Chosen(until=AT + timedelta(seconds=2)), [1]),
        (Chosen(places=(Place("raw.stripe", 3, 1), Place("raw.stripe", 3, 9))), [1]),
        (Chosen(failure="mapping", topic="raw.stripe"), [1]),
    ],
)
def test_letters_are_chosen_by_what_a_person_knows_of_them(store: Store, chosen: Chosen, offsets: list[int]) -> None:
    seconds = {number: AT + timedelta(seconds=number) for number in (1, 2, 3)}
    store.write_dead_letters([
        letter(1, failed_at=seconds[1]),
        letter(2, failed_at=seconds[2], failure_class="policy", reason="Contract version 9 is not accepted", original=b'{"id":"in_2"}'),
        letter(3, failed_at=seconds[3], topic="raw.canonical", source="canonical", reason="it's 100 % \\ 'quoted'", correlation_id=CASE),
    ])  # fmt: skip
    put_aside(
        store.client, "park", [one for one in find(store.client, Chosen(), 9).letters if one.offset == 1], "Bo", "later"
    )
    found = find(store.client, chosen, 10)
    assert sorted(one.offset for one in found.letters) == offsets
    assert found.total == len(offsets)
    assert find(store.client, chosen, 1).total == len(offsets)


def test_act_takes_only_letters_in_the_states_it_is_meant_for(store: Store) -> None:
    store.write_dead_letters([letter(), letter(1)])
    store.write_letter_actions([RESOLVED])
    client = store.client
    assert [one.offset for one in take(client, "replay", Chosen(), 10).taken] == [1]
    named = take(client, "replay", Chosen(places=(PLACE,)), 10)
    assert ([], [PLACE]) == (named.taken, [one.place for one in named.left])
    asked = take(client, "replay", Chosen(places=(PLACE,), states=("resolved",)), 10)
    assert [one.place for one in asked.taken] == [PLACE]
    assert take(client, "discard", Chosen(states=("resolved",)), 10).taken == []
    with pytest.raises(NoSuchLetter, match=r"raw\.stripe/3/9"):
        take(client, "park", Chosen(places=(PLACE, Place("raw.stripe", 3, 9))), 10)


def test_putting_aside_is_recorded_with_who_and_why(store: Store) -> None:
    store.write_dead_letters([letter()])
    acted = put_aside(store.client, "discard", find(store.client, Chosen(), 10).letters, "Bo", "a load test")
    (row,) = audit(store.client, PLACE)
    assert (row.action, row.actor, row.reason, row.batch) == ("discarded", "Bo", "a load test", acted.batch)
    (found,) = find(store.client, Chosen(), 10).letters
    assert (found.state, found.actor, found.why, found.acted_at) == ("discarded", "Bo", "a load test", row.at)


def test_worker_asks_which_letters_are_known(store: Store) -> None:
    store.write_dead_letters([letter(), letter(1, topic="it's")])
    asked = [tuple(PLACE), ("raw.stripe", 3, 1), ("it's", 3, 1)]
    assert store.known_letters(asked) == {tuple(PLACE), ("it's", 3, 1)}
    assert store.known_letters([]) == set()
