"""A verdict and the facts it is of, for whoever is to explain it: from files, or as the store has it.

- From files the case is judged here, among all of them, as `tieout reconcile` does.
- From the store it is the live verdict, byte for byte, and only under the policy that it was judged with: another one
  would give reasons that were not its own.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from canonical.events import Event
from canonical.structs import decode
from matching.judge import judge
from matching.policy import Policy
from matching.verdict import Verdict, whole
from matching.verdict import decode as decode_verdict
from sinks.replays import ReplayStore
from streams.batch import cases


class CannotExplain(Exception):
    """No such case, or judged under another policy; one sentence."""


def from_lines(
    lines: Iterable[bytes], key: str, policy: Policy, as_of: datetime | None
) -> tuple[Verdict, Sequence[Event]]:
    for case, latest in cases(lines, policy, lambda _line, _record, _letter: None):
        if case.key == key:
            return judge(case, policy, as_of or latest), case.facts()
    raise CannotExplain(f"no event of case {key}")


def from_store(store: ReplayStore, key: str, policy: Policy) -> tuple[Verdict, Sequence[Event]]:
    live = store.live([key]).get(key)
    if live is None:
        raise CannotExplain(f"the store has no verdict of case {key}")
    verdict = decode_verdict(whole(live.raw, live.controls))
    if verdict.policy != policy.hash:
        raise CannotExplain(
            f"judged under policy {verdict.policy}, this one is {policy.hash}: give its file with --policy"
        )
    return verdict, [decode(fact.raw) for _, fact in store.facts([key])]
