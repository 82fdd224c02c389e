-- Records that were refused, with their bytes untouched. Writing one again is harmless: its key is its place in the log.
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    failed_at DateTime64(6, 'UTC'),
    class LowCardinality(String),
    reason String,
    stage LowCardinality(String),
    source LowCardinality(String),
    correlation_id String,
    key String,
    headers String,
    original String CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, cityHash64(original))
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1;
