"""The peers, by the name that `--only` takes. Every program is called with a broker's address and an empty folder.

`command` brings what the program needs and gives its command line, or raises NotInstalled.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.peers.installed import jars, python


class Peer(NamedTuple):
    command: Callable[[], list[str]]
    from_start: bool = False  # gives its results in one go at the end, so that its rate counts from its start


def _program(name: str) -> list[str]:
    return [python(name), "-m", f"benchmarks.peers.{name}"]


def _pyflink() -> list[str]:
    return [*_program("pyflink_join"), str(jars("pyflink/pom.xml") / "jars")]


def _kafka_streams() -> list[str]:
    folder = jars("kafka_streams/pom.xml")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", "-Xmx1g", quiet, "-cp", f"{folder / 'classes'}:{folder / 'jars'}/*", "tieout.ThreeWay"]


PEERS = {
    "stock-faust": Peer(lambda: [sys.executable, "-m", "benchmarks.peers.stock_faust"]),
    "kafka-streams": Peer(_kafka_streams),
    "quix-streams": Peer(lambda: _program("quix_streams")),
    "bytewax": Peer(lambda: _program("bytewax_flow")),
    "pathway": Peer(lambda: _program("pathway_table"), from_start=True),
    "pyflink": Peer(_pyflink),
}
