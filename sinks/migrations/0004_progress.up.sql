-- How far each partition was flushed (rule E3): the newest by (epoch, seq); read with FINAL.
CREATE TABLE IF NOT EXISTS positions
(
    topic LowCardinality(String),
    topic_id String,
    partition UInt32,
    next_offset UInt64,
    epoch UInt64,
    seq UInt64,
    flushed_at DateTime64(6, 'UTC'),
    lag UInt64,
    revision UInt64 DEFAULT bitShiftLeft(epoch, 40) + seq,
    visible_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (topic, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Who claimed which epoch of a partition (rule E2). Never rewritten.
CREATE TABLE IF NOT EXISTS epochs
(
    partition UInt32,
    epoch UInt64,
    worker String,
    claimed_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (partition, epoch)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What must be remembered about the store as a whole, such as the partition count (rule E4).
CREATE TABLE IF NOT EXISTS meta
(
    key String,
    value String,
    at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
