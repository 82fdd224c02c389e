-- Verdicts of a replay, beside the live ones and never read by them: one partition a run, so that a run is dropped at once.
-- `state` says how the verdict compares with the live one: identical, different, moving, other_policy.
CREATE TABLE IF NOT EXISTS shadow_verdicts
(
    run LowCardinality(String),
    judged_at DateTime64(6, 'UTC'),
    state LowCardinality(String),
    raw String CODEC(ZSTD(1)),
    controls LowCardinality(String) CODEC(ZSTD(1)),
    verdict Tuple(
        correlation_id String,
        kind LowCardinality(String),
        entity LowCardinality(String),
        document String,
        outcome LowCardinality(String),
        currency LowCardinality(String),
        amount_minor Int64,
        exposure_minor Int64,
        facts UInt32,
        policy String,
        breaks Array(Tuple(class LowCardinality(String)))
    ) ALIAS JSONExtract(raw, 'Tuple(
        correlation_id String,
        kind LowCardinality(String),
        entity LowCardinality(String),
        document String,
        outcome LowCardinality(String),
        currency LowCardinality(String),
        amount_minor Int64,
        exposure_minor Int64,
        facts UInt32,
        policy String,
        breaks Array(Tuple(class LowCardinality(String))))'),
    case_key String DEFAULT tupleElement(verdict, 'correlation_id'),
    kind LowCardinality(String) DEFAULT tupleElement(verdict, 'kind'),
    entity LowCardinality(String) DEFAULT tupleElement(verdict, 'entity'),
    document String DEFAULT tupleElement(verdict, 'document'),
    outcome LowCardinality(String) DEFAULT tupleElement(verdict, 'outcome'),
    currency LowCardinality(String) DEFAULT tupleElement(verdict, 'currency'),
    amount_minor Int64 DEFAULT tupleElement(verdict, 'amount_minor'),
    exposure_minor Int64 DEFAULT tupleElement(verdict, 'exposure_minor'),
    facts UInt32 DEFAULT tupleElement(verdict, 'facts'),
    policy LowCardinality(String) DEFAULT tupleElement(verdict, 'policy'),
    break_classes Array(LowCardinality(String))
        DEFAULT arrayMap(b -> tupleElement(b, 'class'), tupleElement(verdict, 'breaks')),
    rebuilt_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(rebuilt_at)
PARTITION BY run
ORDER BY case_key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The runs: who rebuilt what, with which policy, and what came of it. The newest row of a run holds.
CREATE TABLE IF NOT EXISTS replays
(
    run LowCardinality(String),
    state LowCardinality(String),
    started_at DateTime64(6, 'UTC'),
    started_by String,
    origin LowCardinality(String),
    span_from String,
    span_to String,
    policy String,
    as_of Nullable(DateTime64(6, 'UTC')),
    cases UInt64,
    identical UInt64,
    different UInt64,
    moving UInt64,
    at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY run
ORDER BY run
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Historical loads, by run (named after the content of its files). The newest row of a run holds.
CREATE TABLE IF NOT EXISTS backfills
(
    run String,
    state LowCardinality(String),
    source LowCardinality(String),
    digest String,
    paths String,
    started_at DateTime64(6, 'UTC'),
    started_by String,
    at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY run
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What of a load is done, a row a chunk: `load` chunks are records that are facts or dead letters, `touch` chunks are
-- cases whose owner was told, up to and with `last_case`. Writing a chunk again replaces it.
CREATE TABLE IF NOT EXISTS backfill_chunks
(
    run String,
    stage LowCardinality(String),
    chunk UInt64,
    records UInt64,
    events UInt64,
    letters UInt64,
    cases UInt64,
    last_case String,
    done_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(done_at)
ORDER BY (run, stage, chunk)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
