"""Quix Streams: three topics concatenated, one stateful function over RocksDB with a changelog.

`python -m benchmarks.peers.quix_streams BOOTSTRAP FOLDER`
"""

import sys
from typing import Any

from quixstreams import Application, State

from benchmarks.peers.three_way import RESULTS, TOPICS, add, result


def join(event: dict[str, Any], state: State) -> dict[str, Any]:
    case = state.get("case", {})
    add(case, event)
    state.set("case", case)
    return result(event["correlationid"], case)


def main(bootstrap: str, folder: str) -> None:
    app = Application(
        bootstrap,
        consumer_group="quix",
        auto_offset_reset="earliest",
        state_dir=folder,
        commit_interval=5.0,
        loglevel="WARNING",
        producer_extra_config={"linger.ms": 50, "batch.size": 262_144, "partitioner": "murmur2_random"},
    )
    invoices, postings, payments = (app.dataframe(app.topic(name, value_deserializer="json")) for name in TOPICS)
    cases = invoices.concat(postings).concat(payments).apply(join, stateful=True)
    cases.to_topic(app.topic(RESULTS, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
