"""Every peer's program on the same load, in one run beside tieout's own drain, each end state checked by the same check.

    python -m benchmarks.peers [--only NAME ...] [--cases 20000]

What a peer needs is brought on its first run, under .tieout/peers. A peer that cannot be installed, or that ends wrong, has
the reason in its row, and the exit code is 1. tieout does more in its run: every control, facts and verdicts in ClickHouse.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException

from benchmarks import drain
from benchmarks.peers import runs
from benchmarks.peers.installed import NotInstalled
from benchmarks.peers.registry import PEERS, Peer
from benchmarks.report import publish

TIEOUT, STOCK = "tieout", "stock-faust"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", nargs="+", choices=[TIEOUT, *PEERS], default=[TIEOUT, *PEERS], metavar="NAME")
    arguments.add_argument("--cases", type=int, default=20_000)
    given = arguments.parse_args()
    rows = []
    for name in given.only:
        rows.append(row(name, given.cases))
        print(rows[-1], file=sys.stderr, flush=True)
    compare(rows)
    publish("peers", given, rows)
    sys.exit(any("reason" in each for each in rows))


def row(name: str, cases: int) -> dict[str, Any]:
    """The figures of one program, or the `reason` why there are none."""
    try:
        return {"name": name} | (drain.tieout(cases) if name == TIEOUT else _peer(PEERS[name], cases))
    except NotInstalled as error:
        return {"name": name, "reason": f"cannot be installed: {error}"}
    except (AssertionError, RuntimeError, OSError, KafkaException) as error:  # the others keep their rows
        return {"name": name, "reason": f"failed: {type(error).__name__}: {error}"}


def compare(rows: Sequence[dict[str, Any]]) -> None:
    """Adds to each rate its ratio to that of stock Faust and to tieout's, where they ran."""
    rates = {each["name"]: each["events_per_s"] for each in rows if each.get("events_per_s")}
    for each in rows:
        for base, column in ((STOCK, "to_stock_faust"), (TIEOUT, "to_tieout")):
            if each["name"] in rates and base in rates:
                each[column] = round(rates[each["name"]] / rates[base], 2)


def _peer(peer: Peer, cases: int) -> dict[str, Any]:
    measured = runs.measure(peer.command(), cases)
    return measured | {"events_per_s": measured["with_start_per_s"]} if peer.from_start else measured


if __name__ == "__main__":
    main()
