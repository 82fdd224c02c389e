"""The store as a tie-out sees it: the ledgers there are, what they reported, what was signed, and all cases in order."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sinks.replays import Received, ReplayStore, _one


class TieOutRow(NamedTuple):
    """A tie-out as it was last made; `raw` is its record."""

    entity: str
    ledger: str
    period: str
    state: str
    made_at: datetime
    raw: str


class TieOutStore(ReplayStore):
    """One is used by one thread at a time."""

    def entities(self) -> list[str]:
        """Those that have postings."""
        query = "SELECT DISTINCT entity FROM facts WHERE type = 'posting.recorded' ORDER BY entity"
        return [entity for (entity,) in self._scan(query)]

    def ledgers(self, entity: str) -> dict[tuple[str, str], int]:
        """Postings of the entity by (ledger, base currency)."""
        query = (
            "SELECT JSONExtractString(raw, 'data', 'ledger') AS ledger, JSONExtractString(raw, 'data', 'base_currency') AS base, count() "
            "FROM facts WHERE type = 'posting.recorded' AND entity = {entity:String} GROUP BY ledger, base"
        )
        return {(ledger, base): count for ledger, base, count in self._scan(query, {"entity": entity})}

    def of_types(self, types: Sequence[str], entity: str) -> list[bytes]:
        query = "SELECT DISTINCT raw FROM facts WHERE type IN {types:Array(String)} AND entity = {entity:String} ORDER BY raw"
        return [raw for (raw,) in self._scan(query, {"types": list(types), "entity": entity}, {"raw": "bytes"})]

    def cases(self) -> Iterator[tuple[str, list[bytes]]]:
        """Every case with its facts, in order of the key."""
        for page in self.pages(Received()):
            key, found = "", list[bytes]()
            for of, fact in self.facts(page):
                if of != key and found:
                    yield key, found
                    found = []
                key = of
                found.append(fact.raw)
            if found:
                yield key, found

    def read_positions(self) -> list[tuple[str, int, int]]:
        """(topic, partition, next offset) up to which the log's records are facts here."""
        query = "SELECT topic, partition, next_offset FROM positions FINAL ORDER BY topic, partition"
        return [(topic, partition, offset) for topic, partition, offset in self._scan(query)]

    def open_letters(self) -> dict[str, int]:
        """Records by source that were refused for what can be mended, and of which nobody has decided what becomes of them."""
        query = (
            "SELECT source, count() FROM dead_letter_states WHERE state IN ('open', 'replayed') AND class != 'policy' "
            "GROUP BY source ORDER BY source"
        )
        return dict(self._scan(query))

    def write_tie_out(self, row: TieOutRow) -> None:
        self._write("tie_outs", _one(row, made_at="DateTime64(6, 'UTC')"))
