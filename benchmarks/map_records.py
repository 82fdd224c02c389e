"""How fast records become canonical events: `tieout map` over a file of many.

    python -m benchmarks.map_records [--records 200000]

Stripe: copies of real payloads (../shared/data, where it is there), or else of the tests' own, every id another in each
copy; as they come, most of them refused because they move no money, and those alone that give events. Canonical: the
three-way cases of the other benchmarks. The command is a process of its own on one core; its start is in the figures. The
end state is checked: as many events and dead letters as the originals give (of the tests' payloads: as stand beside
them), times the copies, and as many distinct facts.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks import load
from benchmarks.cluster import ran
from benchmarks.report import ROOT, publish, settings
from canonical.dead_letters import DeadLetter
from sources.records import read_stripe
from sources.registry import map_record

REAL = ROOT.parent / "shared" / "data" / "stripe"
OWN = ROOT / "tests" / "sources" / "fixtures" / "stripe"
_KINDS = "evt|in|inpay|ch|py|pi|re|pyr|dp|du|cn|po|tr|txn|sub|su|qt"
_STRIPE_ID = re.compile(rf'"((?:{_KINDS})_(?=\w*[0-9])\w+|cus_\w+)"(?!\s*:)'.encode())


class Payload(NamedTuple):
    body: bytes
    events: int  # none: a dead letter


class Known(NamedTuple):
    """What must come out."""

    events: int
    dead_letters: int
    facts: int


def main() -> None:
    given = settings(__doc__, records=200_000)
    payloads = real() if REAL.is_dir() else own()
    origin = "real payloads" if REAL.is_dir() else "made payloads"
    telling = [payload for payload in payloads if payload.events]
    rows = [
        stripe(f"{origin}, as they come", payloads, given.records),
        stripe(f"{origin} that give events", telling, given.records),
        canonical(given.records),
    ]
    publish("map_records", given, rows)


def real() -> list[Payload]:
    bodies = (record.body for record in read_stripe([str(REAL)]))
    return [Payload(body, len(_told(body))) for body in bodies]


def own() -> list[Payload]:
    found = [json.loads(path.read_text()) for path in sorted(OWN.glob("*.json"))]
    single = (each for each in found if each["body"].get("object") != "list")  # files take pages apart
    return [Payload(msgspec.json.encode(each["body"]), len(each.get("events", ()))) for each in single]


def stripe(what: str, payloads: list[Payload], records: int) -> dict[str, Any]:
    copies = -(-records // len(payloads))
    facts = {event.id for payload in payloads if payload.events for event in _told(payload.body)}
    events = sum(payload.events for payload in payloads)
    dead_letters = sum(not payload.events for payload in payloads)
    known = Known(events * copies, dead_letters * copies, len(facts) * copies)
    return measured("stripe", what, (_copy(payload.body, number) for number in range(copies) for payload in payloads), known)  # fmt: skip


def canonical(records: int) -> dict[str, Any]:
    cases = records // 3
    expected = load.expected(cases)
    twice = cases // 1_000 * 5 + max(0, min(cases % 1_000, 35) - 30)
    known = Known(expected.events, 0, expected.events - twice)
    return measured("canonical", "three-way cases", (message.value for message in load.messages(cases)), known)


def measured(source: str, what: str, bodies: Iterable[bytes], known: Known) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tieout-bench-") as name:
        folder = Path(name)
        records, told, refused = (folder / f"{part}.jsonl" for part in ("records", "events", "rejected"))
        count = 0
        with records.open("wb") as file:
            for count, body in enumerate(bodies, 1):
                file.write(body + b"\n")
        used = ran(["map", source, str(records), "-o", str(told), "--dead-letters", str(refused)], folder / "log")
        found = _found(told, refused)
        if found != known:
            raise SystemExit(f"wrong: {found} of {source}, {what}; expected {known}")
        return {
            "source": source, "what": what, "records": count, "bytes_a_record": records.stat().st_size // count,
            "events": known.events, "dead_letters": known.dead_letters, "records_per_s": round(count / used.wall_s),
            "records_per_cpu_s": round(count / used.cpu_s), "cpu_us_a_record": round(used.cpu_s / count * 1e6, 1),
            "peak_mb": round(used.peak_mb),
        }  # fmt: skip


def _told(body: bytes) -> list[Any]:
    outcome = map_record("stripe", body)
    return [] if isinstance(outcome, DeadLetter) else list(outcome)


class _Fact(msgspec.Struct):
    id: str


_fact = msgspec.json.Decoder(_Fact)


def _copy(body: bytes, number: int) -> bytes:
    """The same document on one line, with ids of its own."""
    return _STRIPE_ID.sub(rb'"\g<1>x%d"' % number, msgspec.json.format(body, indent=-1))


def _found(told: Path, refused: Path) -> Known:
    facts, events = set(), 0
    for line in _lines(told):
        facts.add(_fact.decode(line).id)
        events += 1
    return Known(events, sum(1 for _ in _lines(refused)), len(facts))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


if __name__ == "__main__":
    main()
