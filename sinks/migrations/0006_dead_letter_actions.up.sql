-- What was done about a dead letter, by whom and why, and what came of it. Only ever added to. (topic, partition, offset) is
-- where the letter's original record lies; `record_*` where the record lies that the row speaks of: a replay of the letter, or
-- its copy on another framework's topic. `id` is derived from what the row says (rule E13): writing it again changes nothing.
-- Actions: adopted, replayed, parked, discarded (people, whose actions have a batch); failed, resolved, parked (the worker).
CREATE TABLE IF NOT EXISTS dead_letter_actions
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    id String,
    action LowCardinality(String),
    at DateTime64(6, 'UTC'),
    actor String,
    reason String,
    batch String,
    replay UInt32,
    record_topic LowCardinality(String),
    record_partition UInt32,
    record_offset UInt64,
    detail String CODEC(ZSTD(1)),
    body String CODEC(ZSTD(1)),
    class LowCardinality(String) DEFAULT JSONExtractString(detail, 'class'),
    cases Array(String) DEFAULT JSONExtract(detail, 'cases', 'Array(String)'),
    written_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, id)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1;

-- Each letter with what became of it. A letter that was resolved once stays so. Otherwise the last action says the state, in the
-- order of replays and, within one, sent before failed before put aside: never by clocks, for the worker may answer a replay
-- before the one who sent it has recorded it. `actor`, `why` and `acted_at` are of the last thing that a person did.
CREATE VIEW IF NOT EXISTS dead_letter_states AS
SELECT
    letter.topic AS topic, letter.partition AS partition, letter.offset AS offset, letter.stage AS stage,
    letter.source AS source, letter.correlation_id AS correlation_id, letter.key AS key, letter.headers AS headers,
    letter.original AS original, letter.failed_at AS first_failed_at,
    greatest(letter.failed_at, audit.failed_at) AS last_failed_at,
    if(audit.failed_class = '', letter.class, audit.failed_class) AS class,
    if(audit.failed_class = '', letter.reason, audit.failed_reason) AS reason,
    audit.replay_count AS replay_count,
    multiIf(
        audit.resolved > 0, 'resolved',
        audit.last_action IN ('replayed', 'parked', 'discarded'), audit.last_action,
        'open') AS state,
    audit.person AS actor, audit.person_why AS why, audit.person_at AS acted_at, audit.resolved_cases AS cases
FROM (SELECT * FROM dead_letters FINAL) AS letter
LEFT JOIN
(
    SELECT
        topic, partition, offset,
        max(replay) AS replay_count,
        countIf(action = 'resolved') AS resolved,
        argMaxIf(toString(action), place_in_order, action != 'adopted') AS last_action,
        maxIf(at, action = 'failed') AS failed_at,
        argMaxIf(toString(class), (replay, at), action = 'failed') AS failed_class,
        argMaxIf(reason, (replay, at), action = 'failed') AS failed_reason,
        argMaxIf(actor, place_in_order, by_person) AS person,
        argMaxIf(reason, place_in_order, by_person) AS person_why,
        argMaxIf(at, place_in_order, by_person) AS person_at,
        arraySort(groupUniqArrayArray(cases)) AS resolved_cases
    FROM
    (
        SELECT *, batch != '' AND action != 'failed' AS by_person,
            (replay, transform(toString(action), ['replayed', 'failed', 'parked', 'discarded'], [1, 2, 3, 3], 0), at) AS place_in_order
        FROM dead_letter_actions FINAL
    )
    GROUP BY topic, partition, offset
) AS audit USING (topic, partition, offset);
