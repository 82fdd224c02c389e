-- Tie-outs by period as they were last made, one a period of a ledger: the record that `tieout tie-out` writes, and views over
-- it. Amounts are minor units of the base currency in each balance's natural sign; the newest row of a period holds.
CREATE TABLE IF NOT EXISTS tie_outs
(
    entity LowCardinality(String),
    ledger LowCardinality(String),
    period String,
    state LowCardinality(String),
    made_at DateTime64(6, 'UTC'),
    raw String CODEC(ZSTD(1)),
    base_currency LowCardinality(String) DEFAULT JSONExtractString(raw, 'base_currency'),
    starts Date DEFAULT toDateOrZero(JSONExtractString(raw, 'start')),
    ends Date DEFAULT toDateOrZero(JSONExtractString(raw, 'end')),
    known_until Nullable(DateTime64(6, 'UTC')) DEFAULT parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'known_until'), 6, 'UTC'),
    not_kept Array(String) DEFAULT JSONExtract(raw, 'not_kept', 'Array(String)'),
    signed_at Nullable(DateTime64(6, 'UTC')) DEFAULT parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'close', 'at'), 6, 'UTC'),
    signed_by String DEFAULT JSONExtractString(raw, 'close', 'actor'),
    reviewed_by String DEFAULT JSONExtractString(raw, 'close', 'reviewer'),
    signed_state LowCardinality(String) DEFAULT JSONExtractString(raw, 'close', 'state'),
    signed_known_until Nullable(DateTime64(6, 'UTC'))
        DEFAULT parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'close', 'known_until'), 6, 'UTC'),
    signed_policy String DEFAULT JSONExtractString(raw, 'close', 'policy'),
    signed_code String DEFAULT JSONExtractString(raw, 'close', 'code'),
    signed_digest String DEFAULT JSONExtractString(raw, 'close', 'digest'),
    signed_comment String DEFAULT JSONExtractString(raw, 'close', 'comment'),
    signed_case String DEFAULT JSONExtractString(raw, 'close', 'case_key')
)
ENGINE = ReplacingMergeTree(made_at)
ORDER BY (entity, ledger, period)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- One row a balance.
CREATE VIEW IF NOT EXISTS tie_out_balances AS
SELECT
    entity, ledger, period, base_currency, starts, ends, made_at,
    tupleElement(item, 'position') AS position,
    tupleElement(item, 'state') AS state,
    tupleElement(item, 'opening_minor') AS opening_minor,
    tupleElement(item, 'documents_minor') AS documents_minor,
    tupleElement(item, 'ledger_minor') AS ledger_minor,
    tupleElement(item, 'reported_minor') AS reported_minor,
    tupleElement(item, 'residual_minor') AS residual_minor,
    tupleElement(item, 'missing') AS missing,
    length(tupleElement(item, 'lines')) AS lines,
    length(tupleElement(item, 'post_close')) AS post_close,
    place
FROM tie_outs FINAL
ARRAY JOIN
    JSONExtract(raw, 'balances', 'Array(Tuple(
        position LowCardinality(String), state LowCardinality(String), opening_minor Int64, documents_minor Int64,
        ledger_minor Int64, reported_minor Nullable(Int64), residual_minor Int64, missing Array(String),
        lines Array(Tuple(name String)), post_close Array(Tuple(position String))))') AS item,
    arrayEnumerate(JSONExtract(raw, 'balances', 'Array(Tuple(position String))')) AS place;

-- One row a movement of a balance in a currency: `opening`, each kind, `closing`. Amounts are null where a side holds none in
-- that currency.
CREATE VIEW IF NOT EXISTS tie_out_rows AS
SELECT
    entity, ledger, period, base_currency, position, currency,
    tupleElement(movement, 'kind') AS kind,
    tupleElement(movement, 'documents_minor') AS documents_minor,
    tupleElement(movement, 'ledger_minor') AS ledger_minor,
    tupleElement(movement, 'documents_base_minor') AS documents_base_minor,
    tupleElement(movement, 'ledger_base_minor') AS ledger_base_minor,
    place
FROM
(
    SELECT
        entity, ledger, period, base_currency,
        tupleElement(item, 'position') AS position,
        arrayJoin(tupleElement(item, 'sections')) AS section,
        tupleElement(section, 'currency') AS currency,
        tupleElement(section, 'rows') AS movements
    FROM tie_outs FINAL
    ARRAY JOIN JSONExtract(raw, 'balances', 'Array(Tuple(
        position LowCardinality(String),
        sections Array(Tuple(
            currency LowCardinality(String),
            rows Array(Tuple(
                kind LowCardinality(String), documents_minor Nullable(Int64), ledger_minor Nullable(Int64),
                documents_base_minor Int64, ledger_base_minor Int64))))))') AS item
)
ARRAY JOIN movements AS movement, arrayEnumerate(movements) AS place;

-- One row an account: debit-positive, as ledgers report.
CREATE VIEW IF NOT EXISTS tie_out_accounts AS
SELECT
    entity, ledger, period, base_currency, position,
    tupleElement(one, 'account') AS account,
    tupleElement(one, 'ledger_minor') AS ledger_minor,
    tupleElement(one, 'reported_minor') AS reported_minor
FROM
(
    SELECT
        entity, ledger, period, base_currency,
        tupleElement(item, 'position') AS position,
        tupleElement(item, 'accounts') AS accounts
    FROM tie_outs FINAL
    ARRAY JOIN JSONExtract(raw, 'balances', 'Array(Tuple(
        position LowCardinality(String),
        accounts Array(Tuple(account String, ledger_minor Int64, reported_minor Nullable(Int64)))))') AS item
)
ARRAY JOIN accounts AS one;

-- One row a named difference; what was restated since a close was signed is named beside the balances.
CREATE VIEW IF NOT EXISTS tie_out_lines AS
SELECT
    entity, ledger, period, base_currency,
    tupleElement(line, 'name') AS name, tupleElement(line, 'position') AS position,
    tupleElement(line, 'currency') AS currency, tupleElement(line, 'amount_minor') AS amount_minor,
    tupleElement(line, 'documents') AS documents, tupleElement(line, 'cases') AS cases, tupleElement(line, 'facts') AS facts,
    tupleElement(line, 'day') AS day, tupleElement(line, 'reason') AS reason, place
FROM
(
    SELECT
        entity, ledger, period, base_currency,
        arrayConcat(
            arrayFlatten(arrayMap(item -> tupleElement(item, 'lines'), JSONExtract(raw, 'balances', 'Array(Tuple(lines Array(Tuple(
                name LowCardinality(String), position LowCardinality(String), currency LowCardinality(String), amount_minor Int64,
                documents Array(String), cases Array(String), facts Array(String), day Date, reason String))))'))),
            JSONExtract(raw, 'restated', 'Array(Tuple(
                name LowCardinality(String), position LowCardinality(String), currency LowCardinality(String), amount_minor Int64,
                documents Array(String), cases Array(String), facts Array(String), day Date, reason String))')) AS named
    FROM tie_outs FINAL
)
ARRAY JOIN named AS line, arrayEnumerate(named) AS place;

-- One row a document that came into the period after its close was signed.
CREATE VIEW IF NOT EXISTS tie_out_post_close AS
SELECT
    entity, ledger, period, base_currency,
    tupleElement(late, 'position') AS position, tupleElement(late, 'currency') AS currency,
    tupleElement(late, 'ledger_minor') AS ledger_minor, tupleElement(late, 'documents_minor') AS documents_minor,
    tupleElement(late, 'documents') AS documents, tupleElement(late, 'case_key') AS case_key,
    tupleElement(late, 'day') AS day,
    parseDateTime64BestEffortOrNull(tupleElement(late, 'known_at'), 6, 'UTC') AS known_at
FROM tie_outs FINAL
ARRAY JOIN arrayFlatten(arrayMap(item -> tupleElement(item, 'post_close'), JSONExtract(raw, 'balances', 'Array(Tuple(
    post_close Array(Tuple(
        position LowCardinality(String), currency LowCardinality(String), ledger_minor Int64, documents_minor Int64,
        documents Array(String), case_key String, day Date, known_at String))))'))) AS late;
