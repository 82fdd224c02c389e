-- The layout of `verdicts` stays: earlier versions read it as well. Texts and digests that the history did not keep are gone.
DROP VIEW IF EXISTS open_cases_feed SYNC;
DROP VIEW IF EXISTS verdict_history_feed SYNC;
DROP TABLE IF EXISTS verdicts_next SYNC;

ALTER TABLE verdict_history
    DROP INDEX IF EXISTS visible_at_range,
    DROP COLUMN IF EXISTS breaks,
    DROP COLUMN IF EXISTS last_event_at,
    DROP COLUMN IF EXISTS facts,
    ADD COLUMN IF NOT EXISTS digest UInt64 AFTER policy;
ALTER TABLE verdict_history RESET SETTING default_compression_codec;

CREATE MATERIALIZED VIEW IF NOT EXISTS verdict_history_feed TO verdict_history AS
SELECT
    case_key, epoch, seq, partition, judged_at, outcome, currency, exposure_minor, break_classes, policy, digest,
    progress, raw, controls, visible_at
FROM verdicts
WHERE changed = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS open_cases_feed TO open_cases AS
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

ALTER TABLE facts DROP INDEX IF EXISTS identifiers_filter;
ALTER TABLE facts DROP COLUMN IF EXISTS identifiers;
ALTER TABLE facts
    MODIFY COLUMN envelope Tuple(
        correlationid String,
        id String,
        type LowCardinality(String),
        source LowCardinality(String),
        subject String,
        time String,
        data Tuple(
            entity LowCardinality(String),
            currency LowCardinality(String),
            total_minor Nullable(Int64),
            amount_minor Int64)
    ) ALIAS JSONExtract(raw, 'Tuple(
        correlationid String,
        id String,
        type LowCardinality(String),
        source LowCardinality(String),
        subject String,
        time String,
        data Tuple(
            entity LowCardinality(String),
            currency LowCardinality(String),
            total_minor Nullable(Int64),
            amount_minor Int64))');
ALTER TABLE facts
    MODIFY COLUMN fact_id String DEFAULT tupleElement(envelope, 'id'),
    MODIFY COLUMN subject String DEFAULT tupleElement(envelope, 'subject'),
    MODIFY COLUMN time DateTime64(6, 'UTC') DEFAULT parseDateTime64BestEffortOrZero(tupleElement(envelope, 'time'), 6, 'UTC'),
    MODIFY COLUMN amount_minor Int64 DEFAULT ifNull(
        tupleElement(tupleElement(envelope, 'data'), 'total_minor'),
        tupleElement(tupleElement(envelope, 'data'), 'amount_minor'));
ALTER TABLE facts RESET SETTING default_compression_codec, min_compress_block_size;
ALTER TABLE open_cases RESET SETTING default_compression_codec;
ALTER TABLE dead_letters RESET SETTING default_compression_codec, min_compress_block_size;
ALTER TABLE shadow_verdicts RESET SETTING default_compression_codec;
