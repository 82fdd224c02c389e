-- Choices of identification (rule E7), written before they are told: who owns the entity next tells them again instead of
-- choosing anew. Of two rows of one payment that of the highest epoch holds, of one epoch the first. Once told, a choice is a
-- fact of its receipt's case; so rows may go.
CREATE TABLE IF NOT EXISTS matches
(
    entity String,
    case_key String,
    payment_id String,
    epoch UInt64,
    seq UInt64,
    raw String CODEC(ZSTD(1)),
    decided_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (entity, case_key, payment_id, epoch, seq)
TTL toDateTime(decided_at) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
