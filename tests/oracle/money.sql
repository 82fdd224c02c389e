-- What verdicts on card payments, their payouts, bank statements and accounts should be. Written from docs/verdicts.md.
--
-- Input and output as in verdicts.sql. What a case is told by others counts as its facts: a receipt has a line of a payout, a
-- payout its lines on a bank statement, an account what each of its statements opens and closes with.

CREATE FUNCTION hours AS n -> n * 3600000000;
CREATE FUNCTION days AS n -> n * 86400000000;
CREATE FUNCTION instant AS text -> toUnixTimestamp64Micro(parseDateTime64BestEffortOrNull(text, 6, 'UTC'));
CREATE FUNCTION decimals AS currency -> multiIf(currency IN ('JPY', 'KRW', 'VND', 'CLP'), 0, currency IN ('KWD', 'BHD', 'OMR'), 3, 2);
CREATE FUNCTION ten_to AS n -> toInt256(intExp10(n));
CREATE FUNCTION places AS rate -> if(position(rate, '.') = 0, 0, length(rate) - position(rate, '.'));
-- An amount at a rate, exactly: in parts of 10^13 of a minor unit, of rates with up to eight decimals. Without a rate it is itself.
CREATE FUNCTION at_rate AS (minor, currency, rate, other) -> if(currency = other, toInt256(minor) * ten_to(13),
    toInt256(minor) * toInt256(replaceOne(rate, '.', '')) * ten_to(9 - places(rate)) * ten_to(decimals(other)) * ten_to(4 - decimals(currency)));
-- How far rounding may take it from that: half a minor unit, and half a unit in the rate's last place.
CREATE FUNCTION leeway AS (minor, currency, rate, other) -> if(currency = other, toInt256(0),
    5 * ten_to(12) + abs(toInt256(minor)) * 5 * ten_to(8 - places(rate)) * ten_to(decimals(other)) * ten_to(4 - decimals(currency)));
CREATE FUNCTION rounded AS parts -> toInt64(sign(parts) * intDiv(abs(parts) + 5 * ten_to(12), ten_to(13)));
-- What lines (amount, currency, rate) come to in a currency, and whether an amount is that.
CREATE FUNCTION sum_of AS (lines, other) -> toInt64(arraySum(arrayMap(l -> assumeNotNull(rounded(at_rate(l.1, l.2, l.3, other))), lines)));
CREATE FUNCTION is_sum AS (minor, lines, other) -> abs(toInt256(minor) * ten_to(13) - arrayFold((sum, l) -> assumeNotNull(sum + at_rate(l.1, l.2, l.3, other)), lines, toInt256(0)))
    <= arrayFold((sum, l) -> assumeNotNull(sum + leeway(l.1, l.2, l.3, other)), lines, toInt256(0));
CREATE FUNCTION broken AS (holds, class, minor) -> (if(holds, class, ''), toInt64(coalesce(minor, 0)));

CREATE TABLE facts ENGINE = Memory AS
SELECT
    e.correlationid AS key, e.type AS type, assumeNotNull(instant(e.time)) AS at, e.data AS data,
    assumeNotNull(coalesce(instant(e.data.recorded_at), at)) AS booked_at
FROM (
    SELECT JSONExtract(body, 'Tuple(
        correlationid String, type String, time String,
        data Tuple(
            entity String, document_id String, recorded_at Nullable(String), amount_minor Nullable(Int64), fee_minor Nullable(Int64),
            gross_minor Nullable(Int64), net_minor Nullable(Int64), direction Nullable(String), payment_key String, payout_key String,
            currency String, rate String, kind String, payment_id String, document_type String,
            from_kind String, allocations Array(Tuple(target String, amount_minor Int64)),
            lines Array(Tuple(role String, amount_minor Nullable(Int64), base_minor Nullable(Int64))),
            statement_id Nullable(String), account String, opening_minor Nullable(Int64), closing_minor Nullable(Int64)))') AS e
    FROM (SELECT DISTINCT body FROM records WHERE seen_at <= {as_of:Int64})
);

-- Own facts of each case, and what others tell it.
CREATE TABLE told ENGINE = Memory AS
SELECT key, type, booked_at, at, data, true AS is_own FROM facts
UNION ALL SELECT data.payment_key, 'settled', booked_at, at, data, false FROM facts WHERE type = 'settlement.line' AND data.payment_key != ''
UNION ALL SELECT data.payout_key, 'listed', booked_at, at, data, false FROM facts WHERE type = 'settlement.line' AND data.payout_key != ''
UNION ALL SELECT data.payout_key, 'arrived', booked_at, at, data, false FROM facts WHERE type = 'bank.line' AND data.payout_key != '' AND isNotNull(data.statement_id)
UNION ALL SELECT concat('index:', data.entity, ':bank:', data.account), arrayJoin(['opening', 'closing']), booked_at, at, data, false
    FROM facts WHERE type = 'bank.statement';

CREATE TABLE disputes ENGINE = Memory AS
SELECT key, sum(held_minor) AS held_minor
FROM (
    SELECT key, data.document_id AS document, if(countIf(type = 'dispute.won') > 0, 0, any(data.amount_minor + coalesce(data.fee_minor, 0))) AS held_minor
    FROM facts WHERE type LIKE 'dispute.%' GROUP BY key, document
)
GROUP BY key;

CREATE TABLE accounts ENGINE = Memory AS
SELECT key, max(data.opening_minor != before) AS has_gap, max(if(data.opening_minor != before, abs(data.opening_minor - before), 0)) AS off_minor
FROM (
    SELECT key, data, lagInFrame(data.closing_minor, 1, data.opening_minor) OVER (PARTITION BY key ORDER BY at, data.document_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before
    FROM told WHERE type = 'opening'
)
GROUP BY key;

CREATE TABLE cases ENGINE = Memory AS
SELECT
    key, splitByChar(':', key)[1] AS kind, count() AS facts,
    sumIf(data.amount_minor, type = 'payment.received') AS received_minor, minIf(booked_at, type = 'payment.received') AS received_at,
    countIf(type = 'payment.received') AS payments,
    sumIf(data.amount_minor, type = 'refund.issued') AS refunded_minor, maxIf(booked_at, type = 'refund.issued') AS refunded_at,
    anyIf(data.currency, type IN ('payment.received', 'payout.paid')) AS currency,
    groupArrayIf((data.currency, data.gross_minor), type IN ('settled', 'settlement.line') AND data.gross_minor > 0) AS charged,
    maxIf(booked_at, type IN ('settled', 'settlement.line') AND data.gross_minor > 0) AS settled_at, length(charged) AS settled,
    toInt64(arraySum(arrayMap(c -> assumeNotNull(c.2), charged))) AS settled_minor, arrayExists(c -> c.1 != currency, charged) AS is_converted,
    groupArrayIf((assumeNotNull(data.net_minor), data.currency, data.rate), type IN ('settlement.line', 'listed')) AS listed, length(listed) AS lines,
    arrayExists(l -> l.2 != currency AND l.3 = '', listed) AS is_rateless,
    -- what is applied of a payment, and what it says that it pays; Stripe applies its own payments, in the cases of their invoices
    splitByChar(':', key)[3] != 'stripe' AS is_applied_here,
    toInt64(sumIf(if(type = 'cash.applied', 1, -1) * data.amount_minor, type IN ('cash.applied', 'cash.unapplied') AND data.from_kind = 'payment')) AS applied_minor,
    toInt64(sumIf(arraySum(arrayMap(part -> part.2, data.allocations)), type = 'payment.received')) AS named_minor,
    maxIf(booked_at, type IN ('payment.received', 'cash.applied', 'cash.unapplied')) + hours(4) AS moved_by,
    -- fees: of each own line, and what entries book of them
    groupArrayIf((assumeNotNull(data.fee_minor), data.currency, data.rate), type = 'settlement.line') AS fees,
    groupArrayIf(data.fee_minor - (data.gross_minor - data.net_minor), type = 'settlement.line') AS unnetted,
    groupArrayIf((data.document_id, assumeNotNull(data.fee_minor)), type = 'payment.received' AND isNotNull(data.fee_minor)) AS said,
    arrayMap(l -> l.2 - arrayFirst(p -> p.1 = l.1, said).2, arrayFilter(l -> has(said.1, l.1), groupArrayIf((data.payment_id, assumeNotNull(data.fee_minor)),
        type = 'settlement.line' AND data.kind IN ('charge', 'payment') AND data.gross_minor > 0))) AS unlike,
    countIf(type LIKE 'posting.%' AND data.document_type IN ('payout', 'payment', 'fee')) AS entries,
    toInt64(sumIf(arraySum(arrayMap(l -> coalesce(l.amount_minor, l.base_minor, 0), arrayFilter(l -> l.role = 'fee', data.lines))),
        type LIKE 'posting.%' AND data.document_type IN ('payout', 'payment', 'fee'))) AS booked_fees,
    maxIf(booked_at, type LIKE 'posting.%' OR type = 'settlement.line') + 900000000 AS fees_by,
    countIf(type = 'payout.paid') AS paid, maxIf(booked_at, type = 'payout.paid') AS paid_at,
    sumIf(if(data.direction = 'purchase', -1, 1) * data.amount_minor, type = 'payout.paid') AS paid_minor,
    countIf(type = 'arrived') AS arrived, sumIf(data.amount_minor, type = 'arrived') AS arrived_minor, maxIf(booked_at, type = 'arrived') AS arrived_at,
    countIf(type = 'bank.statement') AS statements,
    sumIf(data.closing_minor - data.opening_minor, type = 'bank.statement') AS moved_minor,
    sumIf(data.amount_minor, type = 'bank.line' AND isNotNull(data.statement_id)) AS listed_minor,
    max(booked_at) AS last_at
FROM told GROUP BY key
HAVING kind IN ('receipt', 'payout') OR key LIKE 'summary:%:bank:%' OR key LIKE 'index:%:bank:%';

CREATE TABLE judged ENGINE = Memory AS
SELECT
    c.*, coalesce(d.held_minor, 0) AS held_minor, coalesce(a.has_gap, 0) AS has_gap, coalesce(a.off_minor, 0) AS off_minor,
    if(kind = 'receipt' AND payments > 0, greatest(0, refunded_minor - received_minor), 0) AS over_minor,
    if(kind = 'receipt' AND payments > 0, greatest(0, greatest(applied_minor, named_minor) - received_minor), 0) AS beyond_minor,
    if(kind = 'receipt' AND payments > 0 AND is_applied_here, greatest(0, received_minor - coalesce(refunded_minor, 0) - applied_minor), 0) AS rest_minor,
    if(kind = 'payout' AND paid > 0 AND lines > 0 AND NOT is_rateless AND NOT is_sum(paid_minor, listed, currency),
        abs(paid_minor - sum_of(listed, currency)), 0) AS payout_minor,
    arrayFirst(f -> f != 0, arrayConcat(unnetted, unlike)) AS misfee,
    -- where some lines lie with their payments, so do their fees
    misfee = 0 AND entries > 0 AND notEmpty(fees) AND (kind = 'receipt' OR length(fees) = lines)
        AND NOT is_sum(booked_fees, fees, currency) AS is_misbooked,
    if(kind = 'payout' AND paid > 0 AND arrived > 0, abs(arrived_minor - paid_minor), 0) AS arrival_minor,
    if(statements > 0, abs(listed_minor - moved_minor), 0) AS statement_minor,
    (over_minor > 0 AND {as_of:Int64} < refunded_at + days(1))
        OR (arrival_minor > 0 AND {as_of:Int64} < greatest(arrived_at, paid_at) + days(1))
        OR (statement_minor > 0 AND {as_of:Int64} < last_at + days(1)) OR (kind = 'payout' AND (paid = 0 OR lines = 0 OR is_rateless))
        OR (beyond_minor > 0 AND {as_of:Int64} < moved_by) OR (rest_minor > 0 AND {as_of:Int64} < received_at + days(2))
        OR (is_misbooked AND {as_of:Int64} < fees_by) AS waits,
    arrayFilter(b -> b.1 != '', [
        broken(over_minor > 0 AND {as_of:Int64} >= refunded_at + days(1), 'refund_unmatched', over_minor),
        broken(held_minor > 0, 'chargeback', held_minor),
        broken(beyond_minor > 0 AND {as_of:Int64} >= moved_by, 'misapplied', beyond_minor),
        broken(rest_minor > 0 AND {as_of:Int64} >= received_at + days(2), 'unapplied_cash', rest_minor),
        broken(misfee != 0, 'fee', abs(misfee)),
        broken(is_misbooked AND {as_of:Int64} >= fees_by, 'fee', abs(booked_fees - sum_of(fees, currency))),
        broken(payout_minor > 0, 'payout', payout_minor),
        broken(arrival_minor > 0 AND {as_of:Int64} >= greatest(arrived_at, paid_at) + days(1), 'bank', arrival_minor),
        broken(statement_minor > 0 AND {as_of:Int64} >= last_at + days(1), 'bank', statement_minor),
        broken(has_gap, 'bank', off_minor)
    ]) AS found
FROM cases AS c LEFT JOIN disputes AS d ON d.key = c.key LEFT JOIN accounts AS a ON a.key = c.key;

CREATE TABLE verdicts ENGINE = Memory AS
SELECT
    c.key AS key, facts, multiIf(notEmpty(found), 'break', waits, 'pending', 'ok') AS outcome, arraySort(arrayMap(b -> b.1, found)) AS classes,
    if(empty(found), 0, arrayMax(arrayMap(b -> b.2, found))) AS exposure_minor,
    mapFilter((name, state) -> state != '', map(
        'payment_to_payout', multiIf(kind != 'receipt', '', payments = 0 OR settled = 0 OR (settled_minor < received_minor AND NOT is_converted), 'not_expected',
            settled_at <= received_at + days(7), 'met', 'met_late'),
        'payout_to_bank', multiIf(kind != 'payout', '', paid = 0 OR arrived = 0 OR abs(arrived_minor) < abs(paid_minor), 'not_expected',
            arrived_at <= paid_at + days(5), 'met', 'met_late'))) AS hops,
    NULL::Nullable(String) AS failure
FROM judged
