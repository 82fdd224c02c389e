"""Whatever the facts: documents and lines make the ledger, order and repetition change nothing, a past close can be made again."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.documents import moment
from matching.tieout.bridge import BEHIND_LEDGER
from tests.scenarios.books import after
from tests.scenarios.test_tie_out import RECEIVABLE, cash, tie_out


def stated(fact: Any) -> Any:
    """As of a system that says when it recorded what it tells."""
    replace: Any = msgspec.structs.replace
    return replace(fact, data=replace(fact.data, recorded_at=fact.time))


FACTS = [stated(fact) for row in RECEIVABLE for fact in row.facts]
FACTS += [
    stated(cash("100", f"{day}d", document=f"je_{day}", case=f"receipt:acme-us:bank:R-{day}")) for day in range(1, 12)
]
some = st.lists(st.sampled_from(FACTS), max_size=14)


@settings(max_examples=150, deadline=None)
@given(some, st.randoms(use_true_random=False))
def test_lines_lead_from_documents_to_ledger_whatever_the_order(facts: list[Any], chance: Any) -> None:
    made = tie_out(facts)
    again = [*facts, *facts]
    chance.shuffle(again)
    assert tie_out(again) == made
    for balance in made.balances:
        lines = [line.amount_minor for line in balance.lines if line.name not in BEHIND_LEDGER]
        assert balance.documents_minor + sum(lines) == balance.ledger_minor


@settings(max_examples=150, deadline=None)
@given(some, st.integers(0, 40))
def test_a_past_close_does_not_depend_on_what_came_later(facts: list[Any], day: int) -> None:
    known = f"{day}d"
    then = [fact for fact in facts if moment(fact) <= after(known)]
    assert tie_out(facts, known=known) == tie_out(then, known=known)
