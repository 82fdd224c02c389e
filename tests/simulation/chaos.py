"""Which faults happen, and how often: a seed draws its own mixture, so that some runs are calm but for one fault.

A fault is named where it strikes (tests/simulation/cluster.py). `is_on` False: the world heals, nothing strikes any more.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

# Struck at each call of the store or the broker, with these odds where the seed has drawn them.
AT_A_CALL = (
    "crash_before",  # the process is gone before the call had its effect
    "crash_after",  # ... and after it, before it knew
    "crash_in_flight",  # it is gone, and the call still arrives, late
    "freeze_before",  # the process stops for a while, as a paused container does
    "freeze_after",
    "store_refuses",  # the store is away before the call had its effect
    "store_unanswered",  # it had its effect, and the answer is lost
    "store_cut_off",  # an insert of several blocks that ended after some of them
    "store_repeats",  # an insert that arrives a second time, late
    "commit_fails",
    "commit_unanswered",
    "publish_fails",
    "publish_unanswered",
    "publish_cut_off",
    "publish_twice",
    "publish_in_flight",  # the process is gone, and its messages still arrive, late
)
# Happen once in a while, whatever is under way; odds per draw of the simulator's.
AT_ANY_TIME = (
    "kill",
    "freeze",
    "join",
    "leave",
    "time_passes",  # quiet hours or days
    "clock_is_wrong",  # of one process: ahead or behind
    "store_away",
    "backup",
    "restore",  # everything stops, the last backup is put back, everything starts
    "retention",  # the log drops what is durable
    "offsets_lost",
    "offsets_rewound",
    "stale_claim",  # somebody claims who no longer is the owner
)
ODDS = (0.0, 0.0, 0.0, 0.004, 0.02, 0.08)


class Chaos:
    def __init__(self, rng: Random, trace: Callable[[str], None]) -> None:
        self.rng = rng
        self.trace = trace
        self.is_on = True
        self.struck: Counter[str] = Counter()
        self.odds = {fault: rng.choice(ODDS) for fault in AT_A_CALL}
        self.drawn = {fault: rng.random() < 0.35 for fault in AT_ANY_TIME}
        self.slowness_s = rng.choice((0.002, 0.05, 2.0))
        self.actions_every_s = rng.choice((20.0, 60.0, 200.0))

    def strikes(self, fault: str) -> bool:
        odds = self.odds[fault]
        if not odds or not self.is_on or self.rng.random() >= odds:
            return False
        self.struck[fault] += 1
        return True

    def action(self) -> str | None:
        """What happens next to the cluster as a whole."""
        drawn = [fault for fault in AT_ANY_TIME if self.drawn[fault]]
        action = self.rng.choice(drawn) if drawn else None
        if action is not None:
            self.struck[action] += 1
        return action

    def pause_s(self) -> float:
        """How long a step takes: most are quick, a few are not."""
        if not self.is_on or self.rng.random() < 0.9:
            return 0.001 + 0.004 * self.rng.random()
        return self.rng.expovariate(1 / self.slowness_s)
