-- Verdicts: the newest of each case by (epoch, seq); read with FINAL. Partitioned by the month a case was first seen, the
-- only date that never changes (rule E9), so do_not_merge_across_partitions_select_final = 1 is right and fast.
CREATE TABLE IF NOT EXISTS verdicts
(
    partition UInt32,
    epoch UInt64,
    seq UInt64,
    judged_at DateTime64(6, 'UTC'),
    first_seen DateTime64(3, 'UTC'),
    digest UInt64,
    changed UInt8,
    progress LowCardinality(String) CODEC(ZSTD(1)),
    raw String CODEC(ZSTD(1)),
    controls LowCardinality(String) CODEC(ZSTD(1)),
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
        first_event_at Nullable(String),
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
            started_at Nullable(String),
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
        first_event_at Nullable(String),
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
            started_at Nullable(String),
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
        DEFAULT parseDateTime64BestEffortOrNull(tupleElement(verdict, 'first_event_at'), 6, 'UTC'),
    last_event_at Nullable(DateTime64(6, 'UTC'))
        DEFAULT parseDateTime64BestEffortOrNull(tupleElement(verdict, 'last_event_at'), 6, 'UTC'),
    wait_for LowCardinality(Nullable(String)) DEFAULT tupleElement(verdict, 'wait_for'),
    failure LowCardinality(Nullable(String)) DEFAULT tupleElement(verdict, 'failure'),
    policy LowCardinality(String) DEFAULT tupleElement(verdict, 'policy'),
    hops Array(Tuple(
        name LowCardinality(String),
        state LowCardinality(String),
        started_at Nullable(DateTime64(6, 'UTC')),
        ended_at Nullable(DateTime64(6, 'UTC')),
        due_at Nullable(DateTime64(6, 'UTC')),
        latency_s Nullable(Float64),
        target_s Nullable(Float64),
        late_s Nullable(Float64))) DEFAULT arrayMap(h -> (
            tupleElement(h, 'name'),
            tupleElement(h, 'state'),
            parseDateTime64BestEffortOrNull(tupleElement(h, 'started_at'), 6, 'UTC'),
            parseDateTime64BestEffortOrNull(tupleElement(h, 'ended_at'), 6, 'UTC'),
            parseDateTime64BestEffortOrNull(tupleElement(h, 'due_at'), 6, 'UTC'),
            tupleElement(h, 'latency_s'),
            tupleElement(h, 'target_s'),
            tupleElement(h, 'late_s')), tupleElement(verdict, 'hops')),
    visible_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    INDEX document_filter document TYPE bloom_filter GRANULARITY 1,
    INDEX customer_filter customer TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(first_seen)
ORDER BY case_key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Every verdict that differed from the one before. Replacing, so that a flush which was sent twice is kept once.
CREATE TABLE IF NOT EXISTS verdict_history
(
    case_key String,
    epoch UInt64,
    seq UInt64,
    partition UInt32,
    judged_at DateTime64(6, 'UTC'),
    outcome LowCardinality(String),
    currency LowCardinality(String),
    exposure_minor Int64,
    break_classes Array(LowCardinality(String)),
    policy LowCardinality(String),
    digest UInt64,
    progress LowCardinality(String) CODEC(ZSTD(1)),
    raw String CODEC(ZSTD(1)),
    controls LowCardinality(String) CODEC(ZSTD(1)),
    visible_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (case_key, epoch, seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS verdict_history_feed TO verdict_history AS
SELECT
    case_key, epoch, seq, partition, judged_at, outcome, currency, exposure_minor, break_classes, policy, digest,
    progress, raw, controls, visible_at
FROM verdicts
WHERE changed = 1;

-- Cases that are not ok, for lists that must answer in milliseconds; `breaks` is the JSON of a verdict's breaks. A case
-- that became ok leaves a deleted row: it must stay, or a late write of an older revision would bring the case back.
CREATE TABLE IF NOT EXISTS open_cases
(
    case_key String,
    partition UInt32,
    revision UInt64,
    is_deleted UInt8,
    first_seen DateTime64(3, 'UTC'),
    judged_at DateTime64(6, 'UTC'),
    kind LowCardinality(String),
    entity LowCardinality(String),
    document String,
    customer String,
    outcome LowCardinality(String),
    currency LowCardinality(String),
    amount_minor Int64,
    exposure_minor Int64,
    facts UInt32,
    break_classes Array(LowCardinality(String)),
    owners Array(LowCardinality(String)),
    severities Array(LowCardinality(String)),
    next_deadline Nullable(DateTime64(6, 'UTC')),
    first_event_at Nullable(DateTime64(6, 'UTC')),
    last_event_at Nullable(DateTime64(6, 'UTC')),
    wait_for LowCardinality(Nullable(String)),
    failure LowCardinality(Nullable(String)),
    policy LowCardinality(String),
    breaks String CODEC(ZSTD(1)),
    visible_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision, is_deleted)
PARTITION BY toYYYYMM(first_seen)
ORDER BY case_key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS open_cases_feed TO open_cases AS
SELECT
    case_key, partition, revision, toUInt8(outcome = 'ok') AS is_deleted, first_seen, judged_at, kind, entity, document,
    customer, outcome, currency, amount_minor, exposure_minor, facts, break_classes, owners, severities, next_deadline,
    first_event_at, last_event_at, wait_for, failure, policy,
    if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) AS breaks, visible_at
FROM verdicts;

-- One row a hop of a case, for percentiles against targets.
CREATE VIEW IF NOT EXISTS hops AS
SELECT
    case_key, kind, entity, currency, document, customer, outcome, amount_minor, exposure_minor, first_seen,
    hop.name AS name, hop.state AS state, hop.started_at AS started_at, hop.ended_at AS ended_at, hop.due_at AS due_at,
    hop.latency_s AS latency_s, hop.target_s AS target_s, hop.late_s AS late_s
FROM verdicts FINAL
ARRAY JOIN hops AS hop
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row a break of an open case. A break has its own currency; `exposure_minor` is its case's, once for all its breaks.
CREATE VIEW IF NOT EXISTS breaks AS
SELECT
    case_key, kind, entity, document, customer, outcome, exposure_minor, first_seen, judged_at, first_event_at,
    last_event_at, next_deadline, failure,
    tupleElement(item, 'class') AS class, item.control AS control, item.expected AS expected, item.actual AS actual,
    item.variance_minor AS variance_minor, item.currency AS currency, item.evidence AS evidence, item.reason AS reason,
    item.owner AS owner, item.severity AS severity, item.fingerprint AS fingerprint
FROM open_cases FINAL
ARRAY JOIN JSONExtract(breaks, 'Array(Tuple(
    class LowCardinality(String),
    control LowCardinality(String),
    expected String,
    actual String,
    variance_minor Int64,
    currency LowCardinality(String),
    evidence Array(String),
    reason String,
    owner LowCardinality(String),
    severity LowCardinality(String),
    fingerprint String))') AS item
SETTINGS do_not_merge_across_partitions_select_final = 1;
