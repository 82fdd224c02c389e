"""PyFlink: three topics as one source, a keyed process function over RocksDB, checkpoints every five seconds.

`python -m benchmarks.peers.pyflink_join JARS BOOTSTRAP FOLDER`, with Flink's Kafka connector among JARS.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pyflink.common import Configuration, Row, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import StreamTableEnvironment

from benchmarks.peers.three_way import RESULTS, TOPICS, add, result

RESULT = Types.ROW_NAMED(["case", "outcome", "variance_minor"], [Types.STRING(), Types.STRING(), Types.LONG()])
SINK = """CREATE TABLE results (`case` STRING, outcome STRING, variance_minor BIGINT) WITH (
    'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{bootstrap}',
    'key.format' = 'raw', 'key.fields' = 'case', 'value.format' = 'json', 'sink.delivery-guarantee' = 'at-least-once'
)"""


class Join(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.case = runtime_context.get_state(ValueStateDescriptor("case", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, event: dict, context: KeyedProcessFunction.Context) -> Iterator[Row]:
        case = self.case.value() or {}
        add(case, event)
        self.case.update(case)
        yield Row(**result(event["correlationid"], case))


def main(jars: str, bootstrap: str, folder: str) -> None:
    settings = {
        "pipeline.jars": ";".join(jar.as_uri() for jar in sorted(Path(jars).glob("*.jar"))),
        "python.executable": sys.executable,
        "python.execution-mode": "process",  # thread mode gave no result
        "state.backend.type": "rocksdb",
        "execution.checkpointing.dir": Path(folder).as_uri(),
        "execution.checkpointing.interval": "5s",
        "execution.checkpointing.mode": "AT_LEAST_ONCE",
        "parallelism.default": "1",
    }
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(*TOPICS)
        .set_group_id("pyflink")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    events = environment.from_source(source, WatermarkStrategy.no_watermarks(), "events")
    keyed = events.map(json.loads).key_by(lambda event: event["correlationid"], key_type=Types.STRING())
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(SINK.format(topic=RESULTS, bootstrap=bootstrap))
    tables.from_data_stream(keyed.process(Join(), output_type=RESULT)).execute_insert("results").wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
