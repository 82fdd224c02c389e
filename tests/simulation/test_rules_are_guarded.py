"""A test that would pass without its rule guards nothing: here each rule is switched off, and its test must fail.

`GUARDED` is the table: the rule, what is switched off, and the test that then fails. Every rule that docs/architecture.md
lists stands in it, or in `ELSEWHERE` with the reason why it is not switched off here.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

import matching.matches
import streams.identification
import streams.join
import streams.worker
import tests.scenarios.test_identification as persons
import tests.simulation.test_effects as told
import tests.simulation.test_identification as chosen
import tests.simulation.test_rules as rules
import tests.unit.test_case as cases
from matching.case import Case
from matching.effects import effects
from matching.policy import Terms
from streams.feeds import Feeds
from streams.identification import Identification
from streams.ports import InvariantBroken
from streams.positions import Positions
from streams.transport import SamePartitions
from streams.worker import Worker
from tests.simulation.planted import PLANTED, RARE, Plant, all_of, edited, replaced

# How a test of the shell fails; anything else would be a mistake in the edit that switches the rule off.
FAILS = (AssertionError, pytest.fail.Exception, InvariantBroken, KeyError, ValueError, TimeoutError)
ARCHITECTURE = Path(__file__).parent.parent.parent / "docs" / "architecture.md"


class Guard(NamedTuple):
    rule: str
    switched_off: str
    plant: Plant
    test: Callable[[], Any]


def planted(rule: str, name: str, test: Callable[[], Any]) -> Guard:
    return Guard(rule, name, PLANTED[name], test)


def rare(rule: str, name: str, test: Callable[[], Any]) -> Guard:
    return Guard(rule, name, RARE[name], test)


def _to_nobody(cls: Any, cluster: Any, members: Any) -> dict[str, Any]:
    """As round-robin would: every topic begins with another member."""
    from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

    return RoundRobinPartitionAssignor.assign(cluster, members)  # type: ignore[no-any-return]


_HOME = edited(streams.join, "check_home", ("if home != partition:", "if False:"))
_SPLIT = edited(streams.worker, "check_joined", ("if len(set(by_topic.values())) > 1:", "if False:"))
_RECOUNTED = edited(Worker, "_partition_count", ("elif int(stored) != count:", "elif False:"))
_UNEQUAL = edited(Worker, "_partition_count", ("if len(set(counts.values())) != 1:", "if False:"))
_CONFIRMED = edited(Worker, "assigned", ("        self._passed = self.clock(), str(reason)\n        return\n", ""))
_KEYED = edited(streams.join, "parse", ("if record.key != event.correlationid.encode():", "if False:"))
_FORGOTTEN = edited(streams.join, "restore", ("stub.facts - case.count", "0"))
_GAP = edited(Worker, "_starts", ("is_gap = row.next_offset < begin", "is_gap = False"))
_MARKS = edited(Feeds, "_least", ("is_marked = bool(self._feeds[name].heartbeat_s)", "is_marked = False"))
_HORIZON = edited(Feeds, "progress", ("Progress(dict(self.complete_to))", "Progress()"))
_UNREAD = edited(Positions, "now", ("min([clock, *bounds])", "clock"))
_JUDGED = edited(Worker, "_reached", ("judged = [(each.judged_at, each.progress) for each in untold]", "judged = []"))
_LATE = edited(streams.join, "restore", ("if stub.next_deadline is not None and not is_told:", "if False:"))
_EACH = edited(streams.worker, "_no_less", ("reached = partition.reached", "reached = None"))
_SAME_FACT = edited(Case, "add", ("if _same_content(known, event):", "if False:"))
_RETOLD = edited(streams.join, "judge_dirty", ("if breaks != entry.told_breaks or partition.tells_all:", "if True:"))
_ANEW = all_of(
    lambda: patch.object(streams.join, "_serial", itertools.count().__next__, create=True),
    edited(
        streams.join,
        "_breaks_message",
        ('"|".join((key, *identities))', '"|".join((key, *identities, str(_serial())))'),
    ),
)
_UNTOLD = replaced(streams.join, "_effect_messages", lambda *_: [])
_WITHDRAWN = replaced(
    streams.join, "effects", lambda case, policy: [e for e in effects(case, policy) if e.amount_minor]
)
_TOLD_AGAIN = edited(streams.join, "_effect_messages", ("if entry.told.get(identity) != said", "if True"))
_ANY_REVISION = edited(Case, "_revise", ("_revision(event) >= _revision(known)", "False"))
_CHOSEN_ANEW = edited(
    Identification,
    "_decide_for",
    ("if receipt.ident not in chosen]", "]"),
    ("if receipt.ident in chosen]", "if False]"),
)
_ANY_OWNER = edited(Identification, "_check", ("!= (home.epoch, worker)", "is None"))
_FREE_AGAIN = replaced(streams.identification, "_in_flight", lambda *_: {})
_ANY_CHOICE = edited(matching.matches, "_rank", ("(is_own, ", "(not is_own, "))
_UNCHANGED = edited(streams.join, "judge_dirty", ("changed = digest != entry.digest", "changed = True"))
_VERSION = edited(Terms, "version_at", ("valid_from <= start", "True"))
_POLICY = edited(Worker, "_overtaken", ("partition.is_of_policy = not keys", "keys = []"))

GUARDED = [
    Guard("E1", "what was read before a crash is judged again", PLANTED["a record that adds nothing leaves its case clean"], rules.test_duplicate_record_rewrites_its_verdict),
    planted("E1", "commit before the flush", lambda: rules.test_crash_anywhere_in_a_flush_heals_itself("write_verdicts")),
    planted("E2", "verdicts are ordered by seq alone", rules.test_worker_that_was_paused_and_wakes_does_no_harm),
    planted("E2", "the epoch is not looked at before the commit", rules.test_flush_of_a_lost_epoch_is_not_committed_even_in_its_generation),
    planted("E2", "the epoch is not raised on assignment", rules.test_every_assignment_claims_anew_also_by_the_same_worker),
    planted("E2", "an epoch passed by a dead claim waits for ever", rules.test_worker_passed_by_a_claim_that_nobody_holds_does_not_stand_idle_for_ever),
    Guard("E2", "a claim is confirmed in its generation", _CONFIRMED, rules.test_claim_in_a_generation_that_is_over_owns_nothing),
    planted("E3", "positions before facts", rules.test_flush_writes_in_the_order_that_makes_it_exact),
    planted("E3", "facts after verdicts", rules.test_flush_writes_in_the_order_that_makes_it_exact),
    planted("E3", "reading begins where Kafka says", rules.test_restored_store_is_caught_up_from_its_own_position),
    planted("E3", "reading begins where the store says", rules.test_offsets_lost_by_kafka_are_read_again),
    Guard("E4", "a record lies where its key belongs", _HOME, rules.test_record_in_the_wrong_partition_stops_the_worker),
    Guard("E4", "the same partitions of all joined topics", _SPLIT, rules.test_different_partitions_of_joined_topics_stop_the_worker),
    Guard("E4", "the partition count is the store's", _RECOUNTED, rules.test_changed_number_of_partitions_stops_the_worker),
    Guard("E4", "joined topics have one partition count", _UNEQUAL, rules.test_joined_topics_with_unequal_partition_counts_stop_the_worker),
    Guard("E4", "one member has a partition of every topic", replaced(SamePartitions, "assign", classmethod(_to_nobody)), lambda: rules.test_assignor_gives_a_member_the_same_partitions_of_every_topic(3)),
    Guard("E5", "the same fact again is no other fact", _SAME_FACT, cases.test_the_same_fact_again_changes_nothing),
    Guard("E6", "a record's key is its event's case", _KEYED, rules.test_record_under_another_cases_key_is_a_dead_letter),
    Guard("E6", "what a case means for others is told to them", _UNTOLD, told.test_one_transfer_settles_two_invoices_of_other_partitions),
    Guard("E6", "what is named no longer is told as nothing", _WITHDRAWN, told.test_a_part_that_is_withdrawn_is_taken_back_though_another_worker_told_it),
    Guard("E6", "what has not changed is not told again", _TOLD_AGAIN, told.test_what_has_not_changed_is_not_told_again),
    Guard("E6", "of two revisions the higher holds", _ANY_REVISION, told.test_a_worker_that_lost_the_case_cannot_undo_what_its_heir_told),
    Guard("E7", "what was chosen is told and not chosen again", _CHOSEN_ANEW, chosen.test_a_choice_that_was_written_and_not_told_is_told_by_the_next_owner_as_it_was),
    Guard("E7", "an entity has one owner", _ANY_OWNER, chosen.test_a_worker_that_lost_the_entity_decides_nothing),
    Guard("E7", "what is chosen is taken", _FREE_AGAIN, chosen.test_what_is_chosen_and_has_not_come_to_its_invoice_is_not_given_away_again),
    Guard("E7", "a person's choice wins", _ANY_CHOICE, persons.test_a_persons_choice_wins_over_tieouts_whenever_it_comes),
    planted("E9", "a case read again is first seen anew", rules.test_case_keeps_the_month_it_was_first_seen_in),
    planted("E9", "a case in two months stays in both", rules.test_case_that_two_lives_stored_in_two_months_is_shown_once),
    Guard("E9", "the history keeps only what differed", _UNCHANGED, rules.test_history_holds_what_differed_and_only_that),
    planted("E10", "an evicted case counts as new", rules.test_evicted_case_comes_back_whole),
    planted("E10", "a dirty case is evicted", rules.test_case_read_while_its_flush_is_under_way_is_not_evicted),
    planted("E10", "a case is evicted while a batch counts on it", rules.test_case_is_not_evicted_while_the_batch_that_found_it_in_memory_waits_for_another),
    Guard("E11", "the progress of sources decides what is missing", _HORIZON, rules.test_what_is_missing_while_another_workers_input_is_behind_is_no_break_until_it_has_caught_up),
    Guard("E11", "a marked source is complete up to its last mark", _MARKS, rules.test_source_that_marks_its_topic_is_complete_up_to_its_last_mark_alone),
    Guard("E11", "what lies unread holds the time back", _UNREAD, rules.test_posting_still_in_the_backlog_is_not_reported_missing),
    Guard("E11", "uncommitted verdicts tell how far was judged", _JUDGED, rules.test_new_owner_goes_on_from_what_was_judged_and_not_committed),
    Guard("E11", "a late verdict's deadline is known", _LATE, rules.test_deadline_of_a_verdict_that_came_while_its_heir_was_loading_fires),
    Guard("E11", "each partition goes on from its own", _EACH, rules.test_new_owner_goes_on_from_what_was_judged_and_not_committed),
    planted("E11", "a marker at the end of a log holds the time back", rules.test_marker_at_the_end_of_a_log_is_passed_over_and_holds_nothing_back),
    planted("E12", "a batch of an old generation is taken", rules.test_batch_of_an_old_generation_is_ignored),
    planted("E12", "facts written by others are not read", rules.test_facts_that_a_bulk_writer_stored_are_judged_once_he_says_so),
    planted("E13", "messages not waited for", rules.test_flush_writes_in_the_order_that_makes_it_exact),
    Guard("E13", "breaks are told when they open, once", _RETOLD, rules.test_breaks_are_told_once_when_they_open_and_once_when_they_close_under_ids_that_repeat),
    Guard("E13", "an id says what is told and nothing else", _ANEW, rules.test_breaks_are_told_once_when_they_open_and_once_when_they_close_under_ids_that_repeat),
    planted("E13", "breaks told before their verdicts", rules.test_nothing_is_told_of_a_verdict_that_was_never_written),
    rare("E13", "verdicts that nobody was told of are not told by the next owner", rules.test_break_whose_telling_was_cut_off_is_told_by_the_next_owner_though_nothing_is_read_again),
    rare("E13", "what a dead worker had sent to the store counts as told", rules.test_break_that_a_dead_worker_had_sent_to_the_store_is_told_though_it_arrives_after_the_claim),
    rare("E13", "what a lost worker wrote counts as told", rules.test_break_that_a_lost_worker_wrote_is_told_by_the_owner_who_finds_it),
    rare("E13", "what was read before a store was put back counts as told", rules.test_break_told_by_a_store_that_was_put_back_twice_is_taken_back_however_late_it_is_read_again),
    rare("E13", "how far was read is forgotten when a store is put back twice", rules.test_break_told_by_a_store_that_was_put_back_twice_is_taken_back_however_late_it_is_read_again),
    rare("E13", "epochs begin anew where store and offsets are lost", rules.test_break_told_by_a_store_that_was_put_back_is_taken_back_though_the_offsets_are_lost_too),
    rare("E13", "what was told before the offsets were lost is not told again", rules.test_break_told_by_a_store_that_was_put_back_is_taken_back_though_the_offsets_are_lost_too),
    planted("E13", "the epoch is not looked at before breaks are told", rules.test_worker_that_lost_the_case_tells_nothing_of_it),
    planted("E13", "epochs begin anew with a store that was put back", rules.test_break_told_by_a_store_that_was_put_back_is_taken_back),
    Guard("E14", "facts no longer kept are counted", _FORGOTTEN, rules.test_case_whose_facts_are_no_longer_kept_says_so_and_is_no_break),
    Guard("E15", "what the log dropped unread is a gap", _GAP, rules.test_records_that_the_log_dropped_before_they_were_read_are_a_gap),
    Guard("E16", "open cases are judged again by a new policy", _POLICY, rules.test_open_cases_are_judged_again_by_a_new_policy_without_a_new_fact),
    Guard("E16", "a version holds from its day on", _VERSION, rules.test_a_policy_that_changes_from_a_day_on_judges_each_case_by_the_day_it_started),
]  # fmt: skip

ELSEWHERE = {
    "E8": "the columns are the store's own SQL: integration/test_store.py switches each off in a real one, and its test fails",
}


@pytest.mark.parametrize("guard", GUARDED, ids=[f"{guard.rule} {guard.switched_off}" for guard in GUARDED])
def test_without_its_rule_the_test_fails(guard: Guard) -> None:
    guard.test()
    with guard.plant(), pytest.raises(FAILS):
        guard.test()


def test_every_rule_of_the_architecture_is_switched_off_or_says_why_not() -> None:
    listed = set(re.findall(r"^\| (E\d+) \|", ARCHITECTURE.read_text(), re.MULTILINE))
    assert listed == {f"E{number}" for number in range(1, 17)}
    assert listed == {guard.rule for guard in GUARDED} | ELSEWHERE.keys()
