"""Every peer's program on the same load, in one run beside tieout's own drain, each end state checked by the same check.

    python -m benchmarks.peers [--only NAME ...] [--cases 20000] [--json FILE]

What a peer needs is brought on its first run, under .tieout/peers. A peer that cannot be installed, or that ends wrong, has
its reason in its row, and the exit code is 1. tieout does more in its run: every control, facts and verdicts in ClickHouse.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException

from benchmarks import drain
from benchmarks.peers import runs
from benchmarks.peers.installed import CACHE, NotInstalled
from benchmarks.peers.registry import PEERS, Peer

TIEOUT, STOCK = "tieout", "stock-faust"
COLUMNS = {
    "events": "events", "events_per_s": "events/s", "with_start_per_s": "with start", "cpu_s_per_million": "CPU-s a million",
    "peak_mb": "peak MB", "to_stock_faust": "to stock Faust", "to_tieout": "to tieout",
}  # fmt: skip


class Row(NamedTuple):
    title: str
    figures: dict[str, Any]
    reason: str = ""  # why there are no figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", nargs="+", choices=[TIEOUT, *PEERS], default=[TIEOUT, *PEERS], metavar="NAME")
    arguments.add_argument("--cases", type=int, default=20_000)
    arguments.add_argument("--json", type=Path, default=CACHE / "figures.json")
    given = arguments.parse_args()
    rows: dict[str, Row] = {}
    for name in given.only:
        rows[name] = _row(name, given.cases)
        print(f"{rows[name].title}: {rows[name].reason or rows[name].figures}", file=sys.stderr, flush=True)
    _compare(rows)
    print(_table(rows))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(
        json.dumps({"cases": given.cases, "rows": {n: row._asdict() for n, row in rows.items()}}, indent=2)
    )
    sys.exit(any(row.reason for row in rows.values()))


def _row(name: str, cases: int) -> Row:
    title = PEERS[name].title if name in PEERS else name
    try:
        return Row(title, drain.tieout(cases) if name == TIEOUT else _peer(PEERS[name], cases))
    except NotInstalled as error:
        return Row(title, {}, f"cannot be installed: {error}")
    except (AssertionError, RuntimeError, OSError, KafkaException) as error:  # the others keep their rows
        return Row(title, {}, f"failed: {type(error).__name__}: {error}")


def _peer(peer: Peer, cases: int) -> dict[str, Any]:
    measured = runs.measure(peer.command(), cases)
    return measured | {"events_per_s": measured["with_start_per_s"]} if peer.from_start else measured


def _compare(rows: dict[str, Row]) -> None:
    """Adds each rate's ratio to that of stock Faust and to tieout's, where they ran."""
    for name, column in ((STOCK, "to_stock_faust"), (TIEOUT, "to_tieout")):
        base = rows[name].figures.get("events_per_s") if name in rows else None
        for row in rows.values() if base else ():
            if row.figures:
                row.figures[column] = round(row.figures["events_per_s"] / base, 2)


def _table(rows: dict[str, Row]) -> str:
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows.values():
        cells = [f"{row.figures[column]:,}" if column in row.figures else "" for column in COLUMNS]
        lines.append(f"| {row.title} | {row.reason or ' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
