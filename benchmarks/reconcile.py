"""How fast files are reconciled: `tieout reconcile` over canonical events, in steady memory whatever their number.

    python -m benchmarks.reconcile [--cases 1000000]

The three-way cases of the other benchmarks, shuffled as they are produced there, in one file. The command is a process of its
own on one core; its start is in the figures. The end state is checked against the generator's truth, case by case.
"""

import tempfile
from pathlib import Path

import msgspec

from benchmarks import load
from benchmarks.cluster import ran
from benchmarks.peers.outcome import State, check
from benchmarks.report import publish, settings
from matching.verdict import Break, Hop

MET = frozenset(("invoice_to_posting", "invoice_to_payment"))


class Said(msgspec.Struct):
    """What of a verdict is checked."""

    correlation_id: str
    outcome: str
    breaks: tuple[Break, ...]
    hops: tuple[Hop, ...]


def main() -> None:
    given = settings(__doc__, cases=1_000_000)
    with tempfile.TemporaryDirectory(prefix="tieout-bench-") as name:
        folder = Path(name)
        events, verdicts = folder / "events.jsonl", folder / "verdicts.jsonl"
        with events.open("wb") as out:
            count = sum(1 for message in load.messages(given.cases) if out.write(message.value + b"\n"))
        used = ran(["reconcile", str(events), "-o", str(verdicts)], folder / "log")
        check(_states(verdicts), load.truth(given.cases))
        size_mb = events.stat().st_size / 1e6
    row = {
        "cases": given.cases, "events": count, "file_mb": round(size_mb), "events_per_s": round(count / used.wall_s),
        "cpu_us_an_event": round(used.cpu_s / count * 1e6, 1), "peak_mb": round(used.peak_mb),
    }  # fmt: skip
    publish("reconcile", given, [row])


def _states(verdicts: Path) -> dict[str, State]:
    """A verdict goes on to wait for the payment's application: with its three parts it is done here."""
    states: dict[str, State] = {}
    decoder = msgspec.json.Decoder(Said)
    with verdicts.open("rb") as lines:
        for line in lines:
            said = decoder.decode(line)
            met = sum(hop.state == "met" and hop.name in MET for hop in said.hops)
            variance = sum(found.variance_minor for found in said.breaks if found.class_ == "amount")
            states[said.correlation_id] = ("ok" if said.outcome == "pending" and met == 2 else said.outcome, variance)
    return states


if __name__ == "__main__":
    main()
