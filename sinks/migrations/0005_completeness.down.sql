ALTER TABLE open_cases_feed MODIFY QUERY
SELECT
    case_key, partition, revision, toUInt8(outcome = 'ok') AS is_deleted, first_seen, judged_at, kind, entity, document,
    customer, outcome, currency, amount_minor, exposure_minor, facts, break_classes, owners, severities, next_deadline,
    first_event_at, last_event_at, wait_for, failure, policy,
    if(empty(break_classes), '[]', JSONExtractRaw(raw, 'breaks')) AS breaks, visible_at
FROM verdicts;

ALTER TABLE open_cases DROP COLUMN IF EXISTS awaiting;

DROP TABLE IF EXISTS gaps SYNC;

ALTER TABLE positions
    DROP COLUMN IF EXISTS from_offset,
    DROP COLUMN IF EXISTS committed_offset,
    DROP COLUMN IF EXISTS complete_to,
    DROP COLUMN IF EXISTS appended_at,
    DROP COLUMN IF EXISTS judged_to,
    DROP COLUMN IF EXISTS proven;
