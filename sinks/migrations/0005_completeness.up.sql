-- Progress that proves (rules E11, E15). Of each partition: everything in [from_offset, next_offset) was read in one run and
-- is durable; `complete_to` is up to when all that the log held had been read, `appended_at` when its last record that was
-- read had been appended; `committed_offset` is what Kafka had been told when the row was written. Of the partition's cases:
-- `judged_to` is the time they were judged with, `proven` the progress of the sources that they were judged with (JSON).
ALTER TABLE positions
    ADD COLUMN IF NOT EXISTS from_offset UInt64 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS committed_offset UInt64 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS complete_to DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    ADD COLUMN IF NOT EXISTS appended_at DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    ADD COLUMN IF NOT EXISTS judged_to DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    ADD COLUMN IF NOT EXISTS proven String DEFAULT '{}';

-- Offsets that the log had dropped before anybody read them: what they held is lost, and said so.
CREATE TABLE IF NOT EXISTS gaps
(
    topic LowCardinality(String),
    topic_id String,
    partition UInt32,
    from_offset UInt64,
    to_offset UInt64,
    worker String,
    found_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, topic_id, partition, from_offset, to_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What an open case waits for beside its deadline: sources, and up to when each must be complete.
ALTER TABLE open_cases
    ADD COLUMN IF NOT EXISTS awaiting Array(Tuple(source LowCardinality(String), until DateTime64(6, 'UTC')));

ALTER TABLE open_cases_feed MODIFY QUERY
SELECT
    case_key, partition, revision, toUInt8(outcome = 'ok') AS is_deleted, first_seen, judged_at, kind, entity, document,
    customer, outcome, currency, amount_minor, exposure_minor, facts, break_classes, owners, severities, next_deadline,
    first_event_at, last_event_at, wait_for, failure, policy,
    if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) AS breaks,
    arrayMap(
        a -> (tupleElement(a, 1), parseDateTime64BestEffort(tupleElement(a, 2), 6, 'UTC')),
        if(position(raw, '"awaiting":[') = 0, [],
            JSONExtract(raw, 'awaiting', 'Array(Tuple(source String, until String))'))) AS awaiting,
    visible_at
FROM verdicts;
