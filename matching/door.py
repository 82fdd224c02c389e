"""The door: what policy refuses before it is in a case.

- Only where policy says so (`[door]`): a record of which an event came under a contract version that `[contracts]` does not
  accept is a dead letter of class policy, as a whole: a part of what a record says is not what it says.
- It is judged by the version of policy that holds when the event was booked, since no case is known yet.
- A letter that is replayed is asked again, by the policy of then.
"""

from collections.abc import Iterable

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from matching.documents import moment
from matching.policy import Policy


def refused(events: Iterable[Event], policy: Policy) -> DeadLetter | None:
    """Why the record of these events is not let in."""
    if policy.door.contracts == "refuse":
        for event in events:
            accepted = (policy.terms.version_at(moment(event)) or policy).contracts.get(event.type)
            if accepted is not None and version_of(event) not in accepted:
                versions = ", ".join(map(str, accepted)) or "none"
                return DeadLetter("policy", f"{event.type} came under {event.dataschema}, policy accepts version {versions}: have it sent so, or accept it in [contracts]; then replay it")  # fmt: skip
    return None


def version_of(event: Event) -> int:
    """Of its contract."""
    return int(event.dataschema.rpartition(":")[2])
