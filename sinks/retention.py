"""How long the store keeps what it may forget: a TTL on each of those tables, set and read back here.

- Retention drops facts, never what was counted (rule E14): `verdicts`, `open_cases`, positions, epochs, gaps and tie-outs have
  no TTL. A case that has lost facts which its verdict counted says so when it is judged again, and breaks nothing.
- Days count from when the store took the row. Without a TTL, which is how a new store begins, rows are kept for ever.
- Rows go when their part is merged: REWRITTEN_EVERY_S at the least, or a table that is ordered by case, and so holds old rows
  in every part, would be rewritten several times a day.
"""

import re
from collections.abc import Mapping

from clickhouse_connect.driver.client import Client

REWRITTEN_EVERY_S = 7 * 86_400
# What may go, by its tables and the column that says when the store took a row.
KEPT = {
    "facts": {"facts": "received_at"},
    "history": {"verdict_history": "visible_at"},
    "dead_letters": {"dead_letters": "received_at", "dead_letter_actions": "written_at"},
    "replays": {"shadow_verdicts": "rebuilt_at", "replays": "at"},
}
_DAYS = re.compile(r"TTL toDateTime\(\w+\) \+ toIntervalDay\((\d+)\)")


def retain(client: Client, days: Mapping[str, int]) -> None:
    """Sets how many days each of these is kept, 0 for ever; what is not named stays as it is."""
    for name, count in days.items():
        for table, column in KEPT[name].items():
            if count:
                client.command(f"ALTER TABLE {table} MODIFY SETTING merge_with_ttl_timeout = {REWRITTEN_EVERY_S}")
                client.command(f"ALTER TABLE {table} MODIFY TTL toDateTime({column}) + INTERVAL {count:d} DAY")
            elif _days(client, table):
                client.command(f"ALTER TABLE {table} REMOVE TTL")


def retention(client: Client) -> dict[str, int]:
    """Days that each is kept, 0 for ever."""
    return {name: _days(client, next(iter(tables))) for name, tables in KEPT.items()}


def _days(client: Client, table: str) -> int:
    found = _DAYS.search(str(client.command(f"SHOW CREATE TABLE {table}")))
    return int(found[1]) if found else 0
