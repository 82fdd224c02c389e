"""How fast the company lives: seconds between one system's step and the next one's, least and most.

`REAL` is a business as it is. `LIVE` is for watching: nothing waits for days, so that a case runs its whole course
within about a minute. Deadlines are the same in both.
"""

from typing import NamedTuple

Range = tuple[int, int]


class Pace(NamedTuple):
    subscription: Range
    posting: Range
    charge: Range
    application: Range
    transfer: Range | None  # None: bank transfers follow the terms of payment
    bank_import: Range
    detour: Range  # how long a record is held up that others overtake
    batch: int | None  # how long a batch gathers its members; None: the day
    journal: Range  # from then to its journal


REAL = Pace((30, 3_000), (20, 840), (2, 60), (180, 13_000), None, (300, 14_000), (60, 1_800), None, (60, 3_600))
LIVE = Pace((2, 20), (2, 30), (2, 15), (3, 25), (10, 60), (1, 5), (2, 20), 60, (5, 30))
