"""Pathway: the three topics concatenated, grouped by case, reduced to its parts; persisted every five seconds.

`python -m benchmarks.peers.pathway_table BOOTSTRAP FOLDER`
"""

import sys

import pathway as pw

from benchmarks.peers.three_way import RESULTS, TOPICS, result


class Event(pw.Schema):
    correlationid: str
    type: str
    data: pw.Json


@pw.udf(deterministic=True)
def judged(key: str, parts: tuple[tuple[str, pw.Json], ...]) -> pw.Json:
    return pw.Json(result(key, {part: data.value for part, data in parts}))


def main(bootstrap: str, folder: str) -> None:
    kafka = {"bootstrap.servers": bootstrap, "group.id": "pathway", "auto.offset.reset": "earliest"}
    streams = [
        pw.io.kafka.read(kafka, topic, schema=Event, format="json", autocommit_duration_ms=1_000, name=topic)
        for topic in TOPICS
    ]
    events = streams[0].concat_reindex(*streams[1:])
    cases = events.groupby(events.correlationid).reduce(
        events.correlationid, parts=pw.reducers.tuple(pw.make_tuple(events.type, events.data))
    )
    results = cases.select(case=cases.correlationid, result=judged(cases.correlationid, cases.parts)).select(
        pw.this.case,
        outcome=pw.this.result["outcome"].as_str(),
        variance_minor=pw.this.result["variance_minor"].as_int(),
    )
    pw.io.kafka.write(results, kafka, RESULTS, format="json", key=results.case)
    store = pw.persistence.Backend.filesystem(folder)
    pw.run(
        persistence_config=pw.persistence.Config(store, snapshot_interval_ms=5_000),
        monitoring_level=pw.MonitoringLevel.NONE,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
