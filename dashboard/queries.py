"""What the dashboard asks the store: SQL, each named by what it answers.

- Every business figure (count, sum, share, percentile, age) is computed here, by the store's own clock.
- Sums of minor units are grouped by currency, always, and added up in 128 bits.
- `verdicts` is read with FINAL; `open_cases` and `breaks` hold only what is not ok and answer in milliseconds, so whatever
  can be asked of them is.
- `window_s` limits to cases first seen that long ago, 0 is all of them.
"""

from dashboard.store import Question

_WINDOW = "({window_s:UInt32} = 0 OR first_seen >= now64(3, 'UTC') - toIntervalSecond({window_s:UInt32}))"
HOPS = (
    "quote_to_subscription", "subscription_to_invoice", "invoice_to_posting", "invoice_to_payment",
    "payment_to_application", "payment_to_payout", "payout_to_bank",
)  # fmt: skip
_HOP_ORDER = f"indexOf({list(HOPS)}, name)"
_AGE_S = "toInt64(dateDiff('second', {}, now64(6, 'UTC')))"

HOW_FRESH = Question("""
SELECT
    (SELECT count() FROM verdicts) AS verdicts,
    (SELECT max(visible_at) FROM verdicts) AS newest_verdict_at,
    dateDiff('millisecond', newest_verdict_at, now64(3, 'UTC')) / 1000 AS newest_verdict_age_s,
    (SELECT sum(lag) FROM positions FINAL) AS lag,
    (SELECT max(flushed_at) FROM positions FINAL) AS flushed_at
""")

# One row an entity and currency, one a currency over all entities, and one over everything, which has counts only.
MONEY_BY_ENTITY_AND_CURRENCY = Question(f"""
SELECT
    entity,
    currency,
    grouping(entity) = 1 AS all_entities,
    grouping(currency) = 1 AS all_currencies,
    countIf(outcome = 'pending') AS pending_cases,
    countIf(outcome = 'ok') AS ok_cases,
    countIf(outcome = 'break') AS break_cases,
    count() AS cases,
    ok_cases / cases AS ok_share,
    sumIf(toInt128(amount_minor), outcome = 'pending') AS pending_minor,
    sumIf(toInt128(amount_minor), outcome = 'ok') AS ok_minor,
    sumIf(toInt128(amount_minor), outcome = 'break') AS break_minor,
    sumIf(toInt128(exposure_minor), outcome = 'break') AS exposure_minor
FROM
(
    SELECT entity, currency, outcome, amount_minor, exposure_minor FROM open_cases FINAL
    UNION ALL
    SELECT entity, currency, outcome, amount_minor, exposure_minor FROM verdicts FINAL
    WHERE outcome = 'ok' AND {_WINDOW}
)
GROUP BY GROUPING SETS ((entity, currency), (currency), ())
ORDER BY entity, currency
""")

HOPS_AGAINST_TARGET = Question(
    f"""
SELECT
    name,
    quantilesTDigestIf(0.5, 0.95, 0.99)(assumeNotNull(latency_s), latency_s IS NOT NULL) AS percentiles_s,
    countIf(latency_s IS NOT NULL) AS measured,
    min(target_s) AS least_target_s,
    max(target_s) AS most_target_s,
    countIf(state = 'met') AS met,
    countIf(state = 'met_late') AS met_late,
    countIf(state = 'waiting') AS waiting,
    countIf(state = 'late') AS late,
    countIf(state = 'missing') AS missing,
    countIf(state = 'unproven') AS unproven,
    met + met_late + late + missing AS decided,
    if(decided = 0, NULL, met / decided) AS within_share
FROM hops
WHERE state != 'not_expected' AND {_WINDOW}
GROUP BY name
ORDER BY {_HOP_ORDER}
""",
    keep_s=10,
)

BREAKS_BY_CLASS = Question(f"""
SELECT
    class,
    owner,
    count() AS breaks,
    breaks / max(breaks) OVER () AS share_of_most,
    {_AGE_S.format("min(first_event_at)")} AS oldest_s
FROM breaks
GROUP BY class, owner
ORDER BY breaks DESC, class, owner
""")

BREAKS_BY_OWNER = Question("""
SELECT owner, count() AS breaks, countIf(severity = 'high') AS high
FROM breaks
GROUP BY owner
ORDER BY breaks DESC, owner
""")

NEWEST_BREAKS = Question(f"""
SELECT
    case_key, document, customer, entity, class, owner, severity, variance_minor, currency, judged_at,
    {_AGE_S.format("judged_at")} AS judged_age_s
FROM breaks
ORDER BY judged_at DESC, case_key, fingerprint
LIMIT {{most:UInt32}}
""")

DEAD_LETTERS_BY_CLASS = Question("""
SELECT class, count() AS records, countIf(failed_at >= now64(6, 'UTC') - toIntervalDay(1)) AS last_day
FROM dead_letters FINAL
GROUP BY class
ORDER BY records DESC, class
""")

CHOICES_OF_BREAKS = Question(
    """
SELECT
    arraySort(groupUniqArray(class)) AS classes,
    arraySort(groupUniqArray(entity)) AS entities,
    arraySort(groupUniqArray(owner)) AS owners,
    arraySort(groupUniqArray(currency)) AS currencies
FROM breaks
""",
    keep_s=10,
)

# An identifier may be any that a fact of the case carries: its own id, its document's number, or another system's name.
_SEARCHED = """(
    {search:String} = ''
    OR case_key = {search:String}
    OR positionCaseInsensitiveUTF8(document, {search:String}) > 0
    OR positionCaseInsensitiveUTF8(customer, {search:String}) > 0
    OR case_key IN (
        SELECT case_key FROM facts
        WHERE {search:String} != '' AND case_key IN (SELECT case_key FROM open_cases WHERE NOT is_deleted)
        AND position(raw, concat('"', {search:String}, '"')) > 0
    )
)"""
_CHOSEN = f"""
(empty({{entities:Array(String)}}) OR has({{entities:Array(String)}}, entity))
AND (empty({{classes:Array(String)}}) OR has({{classes:Array(String)}}, class))
AND (empty({{owners:Array(String)}}) OR has({{owners:Array(String)}}, owner))
AND (empty({{severities:Array(String)}}) OR has({{severities:Array(String)}}, severity))
AND (empty({{currencies:Array(String)}}) OR has({{currencies:Array(String)}}, currency))
AND (empty({{hops:Array(String)}}) OR case_key IN (
    SELECT case_key FROM hops
    WHERE case_key IN (SELECT case_key FROM open_cases WHERE NOT is_deleted)
    AND has({{hops:Array(String)}}, name) AND state IN ('late', 'missing')
))
AND ({{older_than_s:UInt32}} = 0 OR first_event_at <= now64(6, 'UTC') - toIntervalSecond({{older_than_s:UInt32}}))
AND {_SEARCHED}
"""

# In minor units and grouped by currency first: 500 JPY and 500 KWD have no common order.
ORDERS = {
    "newest": "judged_at DESC",
    "oldest": "first_event_at ASC",
    "largest": "currency ASC, variance_minor DESC",
    "severity": "indexOf(['high', 'medium', 'low'], severity) ASC, first_event_at ASC",
    "class": "class ASC, first_event_at ASC",
    "entity": "entity ASC, first_event_at ASC",
    "customer": "customer ASC, first_event_at ASC",
    "document": "document ASC",
    "owner": "owner ASC, first_event_at ASC",
}


def breaks_chosen(order: str) -> Question:
    """One page of breaks. `order` is a key of ORDERS; anything else sorts the newest first."""
    return Question(f"""
SELECT
    case_key, document, customer, entity, class, owner, severity, variance_minor, currency, expected, actual, reason,
    judged_at, first_event_at, {_AGE_S.format("first_event_at")} AS age_s
FROM breaks
WHERE {_CHOSEN}
ORDER BY {ORDERS.get(order, ORDERS["newest"])}, case_key, fingerprint
LIMIT {{most:UInt32}} OFFSET {{skip:UInt32}}
""")


BREAKS_CHOSEN_COUNT = Question(f"""
SELECT count() AS breaks, uniqExact(case_key) AS cases, intDiv(count() + {{most:UInt32}} - 1, {{most:UInt32}}) AS pages
FROM breaks
WHERE {_CHOSEN}
""")

# Cases without a break that a search also means: in flight, or tied out long ago.
OTHER_CASES_FOUND = Question(
    """
SELECT case_key, document, customer, entity, outcome, amount_minor, currency, last_event_at
FROM verdicts FINAL
WHERE outcome != 'break' AND (
    case_key = {search:String}
    OR positionCaseInsensitiveUTF8(document, {search:String}) > 0
    OR positionCaseInsensitiveUTF8(customer, {search:String}) > 0
    OR case_key IN (SELECT case_key FROM facts WHERE has(identifiers, {search:String}))
)
ORDER BY document = {search:String} DESC, last_event_at DESC, case_key
LIMIT {most:UInt32}
""",
    keep_s=10,
)

CASE_BY_KEY = Question(f"""
SELECT
    raw, controls, case_key, kind, entity, document, customer, outcome, currency, amount_minor, exposure_minor, facts, failure,
    owners, next_deadline, first_event_at, last_event_at, first_seen, judged_at, visible_at, partition, epoch, seq,
    {_AGE_S.format("first_event_at")} AS age_s
FROM verdicts FINAL
WHERE case_key = {{key:String}}
""")

# A posting's amount is its debits, in the document's currency where it has one and in the ledger's otherwise.
FACTS_OF_CASE = Question("""
WITH JSONExtract(raw, 'data', 'lines', 'Array(Tuple(amount_minor Nullable(Int64), base_minor Nullable(Int64)))') AS lines,
    startsWith(type, 'posting.') AS is_posting,
    is_posting AND NOT arrayExists(line -> line.amount_minor IS NOT NULL, lines) AS in_base
SELECT
    fact_id, type, source, subject, time, topic, partition, offset, received_at, raw,
    if(in_base, JSONExtractString(raw, 'data', 'base_currency'), currency) AS currency,
    if(is_posting,
        arraySum(line -> greatest(0, ifNull(if(in_base, line.base_minor, line.amount_minor), 0)), lines),
        amount_minor) AS amount_minor,
    JSONExtractString(raw, 'data', 'reason') AS reason,
    row_number() OVER (PARTITION BY fact_id ORDER BY received_at, topic, partition, offset) AS delivery,
    dateDiff('millisecond', lagInFrame(toNullable(time)) OVER (ORDER BY time, topic, partition, offset
        ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), time) / 1000 AS since_previous_s
FROM facts FINAL
WHERE case_key = {key:String}
ORDER BY time, topic, partition, offset
LIMIT {most:UInt32}
""")

VERDICTS_OF_CASE = Question("""
SELECT judged_at, visible_at, outcome, currency, exposure_minor, break_classes, policy, epoch, seq
FROM verdict_history FINAL
WHERE case_key = {key:String}
ORDER BY epoch DESC, seq DESC
LIMIT {most:UInt32}
""")

# A row a topic; its partitions as (partition, next offset, lag, seconds since flushed, epoch, worker).
POSITIONS = Question("""
SELECT
    topic,
    arraySort(groupArray((partition, next_offset, flushed.lag, age_s, epoch, worker))) AS partitions,
    sum(flushed.lag) AS lag,
    max(age_s) AS longest_since_flushed_s
FROM
(
    SELECT topic, partition, next_offset, lag, epoch,
        dateDiff('millisecond', flushed_at, now64(6, 'UTC')) / 1000 AS age_s
    FROM positions FINAL
) AS flushed
LEFT JOIN (SELECT partition, argMax(worker, (epoch, claimed_at)) AS worker FROM epochs GROUP BY partition) AS claimed
    USING (partition)
GROUP BY topic
ORDER BY topic
""")

# A row a source: up to when all that its topic held has been read, and when its last record (or mark) was appended.
SOURCES = Question("""
SELECT
    replaceOne(read.topic, 'raw.', '') AS source,
    min(complete_to) AS complete_to,
    greatest(0, dateDiff('millisecond', complete_to, now64(6, 'UTC'))) / 1000 AS behind_s,
    maxOrNullIf(appended_at, appended_at > '1990-01-01 00:00:00') AS last_record_at,  -- that day: no record yet
    dateDiff('millisecond', last_record_at, now64(6, 'UTC')) / 1000 AS silent_s,
    sum(read.lag) AS lag,
    any(lost.offsets) AS lost_offsets,
    multiIf(lost_offsets > 0, 'lost', lag > 0, 'behind', behind_s > 15, 'not_read', 'current') AS state
FROM (SELECT topic, complete_to, appended_at, lag FROM positions FINAL WHERE startsWith(topic, 'raw.')) AS read
LEFT JOIN (SELECT topic, sum(to_offset - from_offset) AS offsets FROM gaps FINAL GROUP BY topic) AS lost USING (topic)
GROUP BY read.topic
ORDER BY source
""")

# A page of letters with what became of each; their bytes are read for that page alone.
DEAD_LETTERS_CHOSEN = Question("""
WITH page AS
(
    SELECT topic, partition, offset, first_failed_at, last_failed_at, class, reason, stage, source, correlation_id, state,
        replay_count, actor, why, acted_at, cases
    FROM dead_letter_states
    WHERE empty({classes:Array(String)}) OR has({classes:Array(String)}, class)
    ORDER BY last_failed_at DESC, topic, partition, offset
    LIMIT {most:UInt32} OFFSET {skip:UInt32}
)
SELECT page.*, bytes.key AS key, bytes.headers AS headers, length(bytes.original) AS original_bytes,
    base64Encode(substring(bytes.original, 1, {shown_bytes:UInt32})) AS original_base64
FROM page
INNER JOIN
(
    SELECT topic, partition, offset, key, headers, original FROM dead_letters FINAL
    WHERE (topic, partition, offset) IN (SELECT topic, partition, offset FROM page)
) AS bytes USING (topic, partition, offset)
ORDER BY last_failed_at DESC, topic, partition, offset
""")

# Letters whose replay went to a case: why they had been refused, and who sent them again.
DEAD_LETTERS_INTO_CASE = Question(
    """
SELECT letter.topic AS topic, letter.partition AS partition, letter.offset AS offset, states.class AS class,
    states.reason AS reason, states.first_failed_at AS first_failed_at, letter.at AS resolved_at, states.replay_count AS replay_count,
    states.actor AS actor, states.why AS why
FROM
(
    SELECT topic, partition, offset, min(at) AS at FROM dead_letter_actions
    WHERE action = 'resolved' AND has(cases, {key:String})
    GROUP BY topic, partition, offset
) AS letter
INNER JOIN dead_letter_states AS states USING (topic, partition, offset)
ORDER BY resolved_at DESC, topic, partition, offset
LIMIT {most:UInt32}
""",
    keep_s=10,
)

# Of verdicts that became visible within the window, first for what each step starts from.
HOW_FAST = Question("""
WITH toIntervalSecond({window_s:UInt32}) AS window
SELECT step, count() AS verdicts, quantilesExact(0.5, 0.95, 0.99)(latency_s) AS percentiles_s, max(latency_s) AS worst_s
FROM
(
    SELECT 'judged' AS step, dateDiff('millisecond', judged_at, visible_at) / 1000 AS latency_s
    FROM verdict_history FINAL
    WHERE visible_at >= now64(3, 'UTC') - window
    UNION ALL
    SELECT 'first_seen', dateDiff('millisecond', seen.first_seen, first_visible_at) / 1000
    FROM (SELECT case_key, min(visible_at) AS first_visible_at FROM verdict_history
        WHERE visible_at >= now64(3, 'UTC') - window GROUP BY case_key) AS shown
    INNER JOIN (SELECT case_key, first_seen FROM verdicts FINAL WHERE first_seen >= now64(3, 'UTC') - window) AS seen
        USING (case_key)
    UNION ALL
    SELECT 'event', dateDiff('millisecond', event_at, first_visible_at) / 1000
    FROM (
        SELECT case_key, last_event_at AS event_at, min(visible_at) AS first_visible_at
        FROM verdict_history WHERE visible_at >= now64(3, 'UTC') - window GROUP BY case_key, event_at)
    WHERE event_at >= now64(6, 'UTC') - window
)
GROUP BY step
ORDER BY indexOf(['event', 'first_seen', 'judged'], step)
""", keep_s=10)  # fmt: skip

VERDICTS_PER_MINUTE = Question("""
SELECT minute, verdicts, verdicts / max(verdicts) OVER () AS share_of_most
FROM
(
    SELECT toStartOfMinute(visible_at) AS minute, count() AS verdicts
    FROM verdict_history
    WHERE visible_at >= toStartOfMinute(now64(3, 'UTC')) - toIntervalMinute({minutes:UInt32})
    GROUP BY minute
    ORDER BY minute WITH FILL
        FROM toStartOfMinute(now64(3, 'UTC')) - toIntervalMinute({minutes:UInt32})
        TO toStartOfMinute(now64(3, 'UTC')) + toIntervalMinute(1) STEP toIntervalMinute(1)
)
ORDER BY minute
""")

# The last tie-out of every period, the latest period first.
PERIODS = Question("""
SELECT
    t.entity AS entity, t.ledger AS ledger, t.period AS period, t.state AS state, t.made_at AS made_at, t.base_currency AS base_currency,
    t.known_until AS known_until, t.signed_at AS signed_at, t.signed_by AS signed_by, t.reviewed_by AS reviewed_by, t.signed_state AS signed_state,
    t.signed_known_until AS signed_known_until, t.signed_policy AS signed_policy, t.signed_code AS signed_code, t.signed_digest AS signed_digest,
    t.signed_comment AS signed_comment, t.signed_case AS signed_case, t.not_kept AS not_kept, t.starts AS starts, t.ends AS ends,
    b.lines AS lines, b.post_close AS post_close, b.missing + length(lacking) AS missing,
    JSONExtract(t.raw, 'missing', 'Array(String)') AS lacking
FROM tie_outs AS t FINAL
LEFT JOIN
(
    SELECT entity, ledger, period, sum(lines) AS lines, sum(post_close) AS post_close, sum(length(missing)) AS missing
    FROM tie_out_balances GROUP BY entity, ledger, period
) AS b USING (entity, ledger, period)
ORDER BY ends DESC, entity, ledger
LIMIT {most:UInt32}
""")

_OF_PERIOD = "entity = {entity:String} AND ledger = {ledger:String} AND period = {period:String}"

BALANCES_OF_PERIOD = Question(f"SELECT * FROM tie_out_balances WHERE {_OF_PERIOD} ORDER BY place")

# Each currency's movements, and under an empty currency those of all of them in the ledger's.
MOVEMENTS_OF_PERIOD = Question(f"""
SELECT
    position, currency, kind, any(base_currency) AS base_currency,
    if(grouping(currency) = 1, NULL, any(documents_minor)) AS documents_minor,
    if(grouping(currency) = 1, NULL, any(ledger_minor)) AS ledger_minor,
    sum(toInt128(documents_base_minor)) AS documents_base_minor,
    sum(toInt128(ledger_base_minor)) AS ledger_base_minor,
    ledger_base_minor - documents_base_minor AS difference_minor,
    max(place + if(kind = 'closing', 100, 0)) AS at
FROM tie_out_rows
WHERE {_OF_PERIOD}
GROUP BY GROUPING SETS ((position, currency, kind), (position, kind))
ORDER BY position, currency = '', currency, at
""")

LINES_OF_PERIOD = Question(f"""
SELECT * FROM tie_out_lines WHERE {_OF_PERIOD} ORDER BY position, place
""")

ACCOUNTS_OF_PERIOD = Question(f"SELECT * FROM tie_out_accounts WHERE {_OF_PERIOD} ORDER BY position, account")

POST_CLOSE_OF_PERIOD = Question(f"""
SELECT * FROM tie_out_post_close WHERE {_OF_PERIOD} ORDER BY greatest(abs(ledger_minor), abs(documents_minor)) DESC, known_at, case_key
""")
