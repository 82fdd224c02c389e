"""A rejected record as a value: whose fault class it is, and a reason that a person can act on.

The four classes decide who owns it: transient -> platform, mapping -> integration support, master_data -> finance with
the owner in CRM, policy -> finance.
"""

from typing import NamedTuple

from canonical.events import Failure


class DeadLetter(NamedTuple):
    failure: Failure
    reason: str
