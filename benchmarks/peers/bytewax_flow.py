"""Bytewax: three topics as one source, a stateful map by key, snapshots every ten seconds into SQLite.

`python -m benchmarks.peers.bytewax_flow BOOTSTRAP FOLDER`
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.peers.three_way import RESULTS, TOPICS, add, result


def keyed(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, dict[str, Any]]:
    event = json.loads(message.value)
    return event["correlationid"], event


def join(state: dict[str, Any] | None, event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    case = state or {}
    add(case, event)
    return case, result(event["correlationid"], case)


def message(item: tuple[str, dict[str, Any]]) -> KafkaSinkMessage[bytes, bytes]:
    key, value = item
    return KafkaSinkMessage(key.encode(), json.dumps(value).encode())


def build(bootstrap: str) -> Dataflow:
    flow = Dataflow("three_way")
    events = op.input("events", flow, KafkaSource([bootstrap], TOPICS, batch_size=1_000))
    cases = op.stateful_map("join", op.map("keyed", events, keyed), join)
    sink = KafkaSink([bootstrap], RESULTS, add_config={"partitioner": "murmur2_random"})
    op.output("results", op.map("message", cases, message), sink)
    return flow


def main(bootstrap: str, folder: str) -> None:
    init_db_dir(Path(folder), 1)
    recovery = RecoveryConfig(folder, timedelta(0))
    cli_main(build(bootstrap), epoch_interval=timedelta(seconds=10), recovery_config=recovery)


if __name__ == "__main__":
    main(*sys.argv[1:])
