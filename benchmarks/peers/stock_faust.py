"""Faust the usual way: an agent a stream, a Table with its changelog, one event at a time.

`python -m benchmarks.peers.stock_faust BOOTSTRAP FOLDER`
"""

import sys
from typing import Any

import faust
from yarl import URL

from benchmarks.peers.three_way import PARTITIONS, RESULTS, TOPICS, add, result


def build(bootstrap: str, folder: str) -> faust.App:
    app = faust.App(
        "stock-faust",
        broker=URL(f"kafka://{bootstrap}"),
        store=URL("memory://"),
        datadir=folder,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        topic_allow_declare=True,
        web_enabled=False,
        value_serializer="json",
        stream_wait_empty=False,
    )
    cases = app.Table("cases", default=dict, partitions=PARTITIONS)
    results = app.topic(RESULTS, partitions=PARTITIONS, value_serializer="json", key_type=str)

    def agent(topic: str) -> None:
        async def join(events: Any) -> None:
            async for event in events:
                key = event["correlationid"]
                case = cases[key]
                add(case, event)
                cases[key] = case
                await results.send(key=key, value=result(key, case))

        app.agent(app.topic(topic, value_serializer="json"), name=f"stock.{topic}")(join)

    for topic in TOPICS:
        agent(topic)
    return app


if __name__ == "__main__":
    faust.Worker(build(*sys.argv[1:]), loglevel="warning").execute_from_commandline()
