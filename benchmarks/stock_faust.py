"""The same three-way join in Faust the usual way: an agent a stream, a Table, one event at a time.

Run by benchmarks/drain.py beside tieout's worker: `python -m benchmarks.stock_faust BOOTSTRAP`.
"""

import sys
from typing import Any

import faust
from yarl import URL

TOPICS = ("invoices", "postings", "payments")


def build(bootstrap: str, partitions: int) -> faust.App:
    app = faust.App(
        "stock-faust",
        broker=URL(f"kafka://{bootstrap}"),
        store=URL("memory://"),
        topic_partitions=partitions,
        topic_disable_leader=True,
        topic_allow_declare=True,
        web_enabled=False,
        value_serializer="json",
        stream_wait_empty=False,
    )
    cases = app.Table("cases", default=dict, partitions=partitions)
    results = app.topic("stock-results", partitions=partitions, value_serializer="json", key_type=str)

    def agent(topic: str) -> None:
        async def join(events: Any) -> None:
            async for event in events:
                key = event["correlationid"]
                case = cases[key]
                case[topic] = event["data"]
                cases[key] = case
                await results.send(key=key, value={"case": key, "outcome": judge(case)})

        app.agent(app.topic(topic, value_serializer="json"), name=f"stock.{topic}")(join)

    for topic in TOPICS:
        agent(topic)
    return app


def judge(case: dict[str, Any]) -> str:
    if len(case) < len(TOPICS):
        return "pending"
    posted = sum(line["amount_minor"] for line in case["postings"]["lines"] if line["role"] == "receivable")
    same = case["invoices"]["total_minor"] == posted == case["payments"]["amount_minor"]
    return "ok" if same else "break"


if __name__ == "__main__":
    faust.Worker(build(sys.argv[1], int(sys.argv[2])), loglevel="warning").execute_from_commandline()
