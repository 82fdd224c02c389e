-- What the store takes on disk, and what a look-up by key reads (docs/storage.md has the figures).
-- All workers must have been stopped: what they wrote between the copying and the exchange below would be lost.
--
-- Every column is packed by ZSTD(1): a fifth smaller than LZ4 where values differ, four times where they repeat.
ALTER TABLE facts MODIFY SETTING default_compression_codec = 'ZSTD(1)', min_compress_block_size = 262144;
ALTER TABLE open_cases MODIFY SETTING default_compression_codec = 'ZSTD(1)';
ALTER TABLE dead_letters MODIFY SETTING default_compression_codec = 'ZSTD(1)', min_compress_block_size = 262144;
ALTER TABLE shadow_verdicts MODIFY SETTING default_compression_codec = 'ZSTD(1)';

-- Columns of a fact that are asked for by case alone are read out of raw then, and not stored a second time.
ALTER TABLE facts
    MODIFY COLUMN fact_id String ALIAS JSONExtractString(raw, 'id'),
    MODIFY COLUMN subject String ALIAS JSONExtractString(raw, 'subject'),
    MODIFY COLUMN time DateTime64(6, 'UTC') ALIAS parseDateTime64BestEffortOrZero(JSONExtractString(raw, 'time'), 6, 'UTC'),
    MODIFY COLUMN amount_minor Int64 ALIAS ifNull(
        JSONExtract(raw, 'data', 'total_minor', 'Nullable(Int64)'), JSONExtractInt(raw, 'data', 'amount_minor'));
ALTER TABLE facts
    MODIFY COLUMN envelope Tuple(
        correlationid String,
        type LowCardinality(String),
        source LowCardinality(String),
        data Tuple(
            entity LowCardinality(String),
            currency LowCardinality(String))
    ) ALIAS JSONExtract(raw, 'Tuple(
        correlationid String,
        type LowCardinality(String),
        source LowCardinality(String),
        data Tuple(
            entity LowCardinality(String),
            currency LowCardinality(String)))');

-- What a fact is found by where its case is not known: a filter of 2.3 bytes a fact, in which one granule of a hundred seems to
-- hold what it does not.
ALTER TABLE facts ADD COLUMN IF NOT EXISTS identifiers Array(String)
    ALIAS [simpleJSONExtractString(raw, 'subject'), simpleJSONExtractString(raw, 'id')];
ALTER TABLE facts ADD INDEX IF NOT EXISTS identifiers_filter identifiers TYPE bloom_filter(0.01) GRANULARITY 1;
ALTER TABLE facts MATERIALIZE INDEX identifiers_filter;

-- Verdicts again, in granules of 256 for look-ups of single cases, without filters that no query could use, and of their hops
-- what is counted, sorted and added up: whole seconds, and single precision, which no percentile notices. A granule's size cannot
-- be altered. Whatever step this is cut off at, it can be begun again: `verdicts` is whole before and after the exchange, and
-- `verdicts_next` is nobody's.
DROP VIEW IF EXISTS hops SYNC;
DROP VIEW IF EXISTS open_cases_feed SYNC;
DROP VIEW IF EXISTS verdict_history_feed SYNC;
DROP TABLE IF EXISTS verdicts_next SYNC;
CREATE TABLE IF NOT EXISTS verdicts_next
(
    partition UInt32,
    epoch UInt64,
    seq UInt64,
    judged_at DateTime64(6, 'UTC'),
    first_seen DateTime64(3, 'UTC'),
    digest UInt64,
    changed UInt8,
    progress LowCardinality(String),
    raw String,
    controls LowCardinality(String),
    revision UInt64 DEFAULT bitShiftLeft(epoch, 40) + seq,
    verdict Tuple(
        correlation_id String,
        kind LowCardinality(String),
        entity LowCardinality(String),
        document String,
        customer String,
        outcome LowCardinality(String),
        currency LowCardinality(String),
        amount_minor Int64,
        exposure_minor Int64,
        facts UInt32,
        next_deadline Nullable(String),
        last_event_at Nullable(String),
        wait_for Nullable(String),
        failure Nullable(String),
        policy String,
        breaks Array(Tuple(
            class LowCardinality(String),
            owner LowCardinality(String),
            severity LowCardinality(String))),
        hops Array(Tuple(
            name LowCardinality(String),
            state LowCardinality(String),
            ended_at Nullable(String),
            due_at Nullable(String),
            latency_s Nullable(Float64),
            target_s Nullable(Float64),
            late_s Nullable(Float64)))
    ) ALIAS JSONExtract(raw, 'Tuple(
        correlation_id String,
        kind LowCardinality(String),
        entity LowCardinality(String),
        document String,
        customer String,
        outcome LowCardinality(String),
        currency LowCardinality(String),
        amount_minor Int64,
        exposure_minor Int64,
        facts UInt32,
        next_deadline Nullable(String),
        last_event_at Nullable(String),
        wait_for Nullable(String),
        failure Nullable(String),
        policy String,
        breaks Array(Tuple(
            class LowCardinality(String),
            owner LowCardinality(String),
            severity LowCardinality(String))),
        hops Array(Tuple(
            name LowCardinality(String),
            state LowCardinality(String),
            ended_at Nullable(String),
            due_at Nullable(String),
            latency_s Nullable(Float64),
            target_s Nullable(Float64),
            late_s Nullable(Float64))))'),
    case_key String DEFAULT tupleElement(verdict, 'correlation_id'),
    kind LowCardinality(String) DEFAULT tupleElement(verdict, 'kind'),
    entity LowCardinality(String) DEFAULT tupleElement(verdict, 'entity'),
    document String DEFAULT tupleElement(verdict, 'document'),
    customer String DEFAULT tupleElement(verdict, 'customer'),
    outcome LowCardinality(String) DEFAULT tupleElement(verdict, 'outcome'),
    currency LowCardinality(String) DEFAULT tupleElement(verdict, 'currency'),
    amount_minor Int64 DEFAULT tupleElement(verdict, 'amount_minor'),
    exposure_minor Int64 DEFAULT tupleElement(verdict, 'exposure_minor'),
    facts UInt32 DEFAULT tupleElement(verdict, 'facts'),
    break_classes Array(LowCardinality(String))
        DEFAULT arrayMap(b -> tupleElement(b, 'class'), tupleElement(verdict, 'breaks')),
    owners Array(LowCardinality(String))
        DEFAULT arrayMap(b -> tupleElement(b, 'owner'), tupleElement(verdict, 'breaks')),
    severities Array(LowCardinality(String))
        DEFAULT arrayMap(b -> tupleElement(b, 'severity'), tupleElement(verdict, 'breaks')),
    next_deadline Nullable(DateTime64(6, 'UTC'))
        DEFAULT parseDateTime64BestEffortOrNull(tupleElement(verdict, 'next_deadline'), 6, 'UTC'),
    first_event_at Nullable(DateTime64(6, 'UTC'))
        ALIAS parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'first_event_at'), 6, 'UTC'),
    last_event_at Nullable(DateTime64(6, 'UTC'))
        DEFAULT parseDateTime64BestEffortOrNull(tupleElement(verdict, 'last_event_at'), 6, 'UTC'),
    wait_for LowCardinality(Nullable(String)) DEFAULT tupleElement(verdict, 'wait_for'),
    failure LowCardinality(Nullable(String)) DEFAULT tupleElement(verdict, 'failure'),
    policy LowCardinality(String) DEFAULT tupleElement(verdict, 'policy'),
    hops Array(Tuple(
        name LowCardinality(String),
        state LowCardinality(String),
        ended_at Nullable(DateTime('UTC')),
        due_at Nullable(DateTime('UTC')),
        latency_s Nullable(Float32),
        target_s Nullable(Float32),
        late_s Nullable(Float32))) DEFAULT arrayMap(h -> (
            tupleElement(h, 'name'),
            tupleElement(h, 'state'),
            parseDateTime64BestEffortOrNull(tupleElement(h, 'ended_at'), 6, 'UTC'),
            parseDateTime64BestEffortOrNull(tupleElement(h, 'due_at'), 6, 'UTC'),
            tupleElement(h, 'latency_s'),
            tupleElement(h, 'target_s'),
            tupleElement(h, 'late_s')), tupleElement(verdict, 'hops')),
    visible_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(first_seen)
ORDER BY case_key
SETTINGS index_granularity = 256, default_compression_codec = 'ZSTD(1)', fsync_after_insert = 1, fsync_part_directory = 1;
INSERT INTO verdicts_next
    (partition, epoch, seq, judged_at, first_seen, digest, changed, progress, raw, controls, visible_at)
SELECT partition, epoch, seq, judged_at, first_seen, digest, changed, progress, raw, controls, visible_at
FROM verdicts;
EXCHANGE TABLES verdicts AND verdicts_next;
DROP TABLE verdicts_next SYNC;

-- One row a hop of a case, for percentiles against targets.
CREATE VIEW IF NOT EXISTS hops AS
SELECT
    case_key, kind, entity, currency, document, customer, outcome, amount_minor, exposure_minor, first_seen,
    hop.name AS name, hop.state AS state, hop.ended_at AS ended_at, hop.due_at AS due_at, hop.latency_s AS latency_s,
    hop.target_s AS target_s, hop.late_s AS late_s
FROM verdicts FINAL
ARRAY JOIN hops AS hop
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The history says what was judged and why: outcome, breaks, controls. The text of a verdict, with its hops, is kept of the
-- newest alone. Rows from before this migration keep theirs in `raw`.
ALTER TABLE verdict_history
    MODIFY SETTING default_compression_codec = 'ZSTD(1)';
ALTER TABLE verdict_history
    ADD COLUMN IF NOT EXISTS facts UInt32 DEFAULT JSONExtractUInt(raw, 'facts'),
    ADD COLUMN IF NOT EXISTS last_event_at Nullable(DateTime64(3, 'UTC'))
        DEFAULT parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'last_event_at'), 3, 'UTC'),
    ADD COLUMN IF NOT EXISTS breaks String DEFAULT if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) CODEC(ZSTD(6)),
    DROP COLUMN IF EXISTS digest,
    ADD INDEX IF NOT EXISTS visible_at_range visible_at TYPE minmax GRANULARITY 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS verdict_history_feed TO verdict_history AS
SELECT
    case_key, epoch, seq, partition, judged_at, outcome, currency, exposure_minor, break_classes, policy,
    progress, controls, facts, last_event_at,
    if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) AS breaks, visible_at
FROM verdicts
WHERE changed = 1;

-- Of a case that is ok only the row's place and order stay among the open ones.
CREATE MATERIALIZED VIEW IF NOT EXISTS open_cases_feed TO open_cases AS
WITH outcome != 'ok' AS is_open
SELECT
    case_key, partition, revision, toUInt8(NOT is_open) AS is_deleted, first_seen,
    if(is_open, verdicts.judged_at, toDateTime64(0, 6, 'UTC')) AS judged_at,
    kind, entity, outcome, currency,
    if(is_open, verdicts.document, '') AS document,
    if(is_open, verdicts.customer, '') AS customer,
    if(is_open, verdicts.amount_minor, 0) AS amount_minor,
    exposure_minor, facts, break_classes, owners, severities, next_deadline,
    if(is_open, verdicts.first_event_at, toDateTime64(0, 6, 'UTC')) AS first_event_at,
    if(is_open, verdicts.last_event_at, toDateTime64(0, 6, 'UTC')) AS last_event_at,
    wait_for, failure, policy,
    if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) AS breaks,
    arrayMap(
        a -> (tupleElement(a, 1), parseDateTime64BestEffort(tupleElement(a, 2), 6, 'UTC')),
        if(position(raw, '"awaiting":[') = 0, [],
            JSONExtract(raw, 'awaiting', 'Array(Tuple(source String, until String))'))) AS awaiting,
    visible_at
FROM verdicts;
