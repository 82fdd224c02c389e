-- What every verdict should be, in SQL over the records as they were sent. Written from docs/verdicts.md.
--
-- Input:  table records (seen_at Int64, body String): canonical events as JSON. Parameter as_of: the moment of judging.
-- Output: table verdicts (key, facts, outcome, classes, exposure_minor, hops, failure).
-- Moments are microseconds since 1970 (UTC), amounts minor units. A null moment: it has not come.
-- `blake2b` is Python's, of 8 bytes, in hex.

CREATE FUNCTION minutes AS n -> n * 60000000;
CREATE FUNCTION days AS n -> n * 86400000000;
CREATE FUNCTION instant AS text -> toUnixTimestamp64Micro(parseDateTime64BestEffortOrNull(text, 6, 'UTC'));
CREATE FUNCTION end_of_day AS day -> (toInt64(toInt32(toDate32(day))) + 1) * 86400000000;
CREATE FUNCTION decimals AS currency -> multiIf(currency IN ('JPY', 'KRW', 'VND', 'CLP'), 0, currency IN ('KWD', 'BHD', 'OMR'), 3, 2);
CREATE FUNCTION ten_to AS n -> toInt256(intExp10(n));
-- A fraction rounded half away from zero.
CREATE FUNCTION rounded AS (above, below) -> sign(above) * sign(below) * toInt256(intDivOrZero(2 * abs(above) + abs(below), 2 * abs(below)));
-- Which of the movements (at, booked_at, amount) made their sum reach what is needed and stay there; 0: none did.
CREATE FUNCTION crossing AS (movements, needed) -> if(
    arraySum(arrayMap(m -> m.3, movements)) < needed, 0,
    if(length(movements) = 1, 1,
       arrayLastIndex((after, m) -> after >= needed AND after - m.3 < needed, arrayCumSum(arrayMap(m -> m.3, movements)), movements)));
-- |booked - expected| <= minor units + |expected| x half an ulp of the rate / rate, without a division; expected = above / below.
CREATE FUNCTION agrees AS (booked, above, below, digits, minor) ->
    abs(toInt256(booked) * below - above) * 2 * digits <= toInt256(minor) * below * 2 * digits + abs(above);
CREATE FUNCTION size AS minor -> toInt64(abs(minor));
-- What people decide on: the break of a control of its own name, by its case, its documents and its amounts.
CREATE FUNCTION fingerprint AS (key, class, documents, amounts) -> blake2b(arrayStringConcat(
    arrayConcat([key, class, class], arraySort(arrayDistinct(documents)), [''], arrayMap(a -> toString(a), amounts)), '\0'));
-- By the decisions on it that nothing else was decided after: of one person, of two where more is open.
CREATE FUNCTION deciders AS decisions -> arrayUniq(arrayMap(d -> d.data.actor,
    arraySlice(decisions, arrayLastIndex(d -> d.data.action != 'write_off', decisions) + 1)));
CREATE FUNCTION gives_up AS (decisions, named, minor) ->
    deciders(arrayFilter(d -> d.data.fingerprint = named, decisions)) >= if(minor > 100000, 2, 1);
CREATE FUNCTION broken AS (holds, class, minor) -> (if(holds, class, ''), toInt64(coalesce(minor, 0)));
-- How much of time a stretch is: in seconds, in days, or in months as parts of 1/377,580, of which every length of a month is a divisor.
CREATE FUNCTION span_days AS (first, last) -> dateDiff('day', assumeNotNull(toDate32(first)), assumeNotNull(toDate32(last))) + 1;
CREATE FUNCTION share AS (method, seconds, first, last) -> toInt64(multiIf(
    method = 'seconds', assumeNotNull(seconds),
    method = 'monthly', arraySum(arrayMap(n -> intDiv(377580, toDayOfMonth(toLastDayOfMonth(assumeNotNull(toDate32(first)) + n))), range(toUInt32(span_days(first, last))))),
    span_days(first, last)));
-- State of a leg.
CREATE FUNCTION leg AS (now, due_at, missing_at, ended_at, is_late) -> multiIf(
    isNotNull(ended_at), if(is_late, 'met_late', 'met'), now < due_at, 'waiting', now < missing_at, 'late', 'missing');

-- Each content of each fact once.
CREATE TABLE contents ENGINE = Memory AS
SELECT
    e.correlationid AS key, e.id AS id, e.type AS type, e.source AS source, assumeNotNull(instant(e.time)) AS at,
    assumeNotNull(coalesce(instant(e.data.recorded_at), at)) AS booked_at, e.data AS data, coalesce(e.data.version, -1) AS version, said
FROM (
    SELECT
        body AS said,
        JSONExtract(body, 'Tuple(
            correlationid String, id String, type String, source String, time String,
            data Tuple(
                entity String, document_id String, version Nullable(Int64), recorded_at Nullable(String), currency Nullable(String),
                total_minor Nullable(Int64), amount_minor Nullable(Int64), tax_minor Nullable(Int64), due_date Nullable(String),
                direction Nullable(String), base_currency Nullable(String), base_total_minor Nullable(Int64), rate Nullable(String),
                rate_direction Nullable(String), document_type Nullable(String), posting_kind Nullable(String), reverses Nullable(String),
                from_kind Nullable(String), payment_id Nullable(String), failure Nullable(String), target Nullable(String), operation Nullable(String),
                replaces Nullable(String), summary_key Nullable(String), counterparty Nullable(String), number Nullable(String),
                invoice_id Nullable(String), invoice_key Nullable(String), allocations Array(Tuple(target String, amount_minor Int64)), payment_key Nullable(String), replaces_key Nullable(String),
                action Nullable(String), actor Nullable(String), fingerprint Nullable(String),
                from_base_minor Nullable(Int64), realised_fx_minor Nullable(Int64), order_key Nullable(String), reason Nullable(String),
                service_period Tuple(start Nullable(String), end Nullable(String)),
                period Tuple(start Nullable(String), end Nullable(String)),
                bills Array(Tuple(due_on String, total_minor Int64, period Tuple(start Nullable(String), end Nullable(String)))),
                customer Tuple(sold_to String, bill_to String, payer String),
                refs Array(Tuple(kind String, value String)),
                lines Array(Tuple(role String, reason Nullable(String), amount_minor Nullable(Int64), base_minor Nullable(Int64),
                    period Tuple(start Nullable(String), end Nullable(String)),
                    proration Tuple(price_minor Nullable(Int64), method Nullable(String), seconds Nullable(Int64), of_seconds Nullable(Int64), period Tuple(start Nullable(String), end Nullable(String))))),
                tax_lines Array(Tuple(amount_minor Int64))))') AS e
    FROM (SELECT DISTINCT body FROM records WHERE seen_at <= {as_of:Int64})
);

-- Of several contents of one fact the highest version holds; two at the highest contradict each other.
CREATE TABLE facts ENGINE = Memory AS
SELECT *, contents_at_version > 1 AS is_doubted
FROM (
    SELECT
        *, count() OVER (PARTITION BY key, id) AS contents, count() OVER (PARTITION BY key, id, version) AS contents_at_version,
        row_number() OVER (PARTITION BY key, id ORDER BY version DESC, said) AS place
    FROM contents
)
WHERE place = 1;

-- What documents with a case of their own tell of themselves: a credit its invoice, a rebill what it replaces, an application the
-- case of the payment that it takes from. It counts there as a fact; of one that was voided with nothing to it.
CREATE TABLE effects ENGINE = Memory AS
SELECT
    assumeNotNull(multiIf(what = 'credit_memo.issued', data.invoice_key, what = 'invoice.issued', data.replaces_key, data.payment_key)) AS key, home,
    concat('told:', data.document_id) AS id, multiIf(home IN (SELECT key FROM facts WHERE type IN ('invoice.voided', 'credit_memo.voided')), 'told.void',
        what = 'credit_memo.issued', 'told.credit', what = 'invoice.issued', 'told.rebill', what = 'cash.applied', 'told.taken', 'told.given_back') AS type,
    source, at, booked_at, data
FROM (SELECT * EXCEPT (key, type), key AS home, type AS what FROM facts)
WHERE (what = 'credit_memo.issued' AND isNotNull(data.invoice_key)) OR (what = 'invoice.issued' AND isNotNull(data.replaces_key))
    OR (what IN ('cash.applied', 'cash.unapplied') AND data.from_kind IN ('payment', 'deposit') AND isNotNull(data.payment_key));

-- What a payment with a case of its own tells the invoices that it pays, and what is applied of it there.
CREATE TABLE parts ENGINE = Memory AS
SELECT part.1 AS key, concat('told:', id) AS id, 'told.payment' AS type, source, at, booked_at, data, part.2 AS minor
FROM (SELECT * EXCEPT key, arrayJoin(data.allocations) AS part FROM facts WHERE type = 'payment.received')
UNION ALL
SELECT assumeNotNull(data.invoice_key), concat('told:', id), 'told.application', source, at, booked_at, data, if(type = 'cash.applied', 1, -1) * assumeNotNull(data.amount_minor)
FROM facts WHERE type IN ('cash.applied', 'cash.unapplied') AND data.from_kind = 'payment' AND isNotNull(data.invoice_key);

-- One row a case: its facts by what they are, each in order of (at, id).
CREATE TABLE cases ENGINE = Memory AS
SELECT
    key, splitByChar(':', key)[1] AS kind, splitByChar(':', key)[2] AS company,
    sum(contents) AS facts, max(is_doubted) AS is_doubted, min(at) AS first_at, countIf(data.entity != splitByChar(':', key)[2]) AS strangers,
    arraySort(x -> (x.at, x.id), groupArrayIf(tuple(at, id, booked_at, source, data), has(if(kind = 'credit', ['credit_memo.issued'], ['invoice.issued', 'quote.approved']), type))) AS told,
    groupArrayIf(tuple(booked_at, data), type = if(kind = 'credit', 'credit_memo.voided', 'invoice.voided')) AS voids,
    arraySort(x -> (x.type, x.at, x.id), groupArrayIf(tuple(at, id, booked_at, type, data), type IN ('posting.recorded', 'posting.reversed'))) AS journal,
    groupArrayIf(tuple(at, booked_at, data), type = 'payment.received') AS payments,
    groupArrayIf(tuple(at, booked_at, data, minor), type = 'told.payment') AS told_payments,
    groupArrayIf(tuple(at, booked_at, data, minor), type = 'told.application') AS told_applications,
    groupArrayIf(tuple(at, booked_at, data), type = 'payment.failed') AS failures,
    groupArrayIf(tuple(at, booked_at, data), type = 'payment.returned') AS returned,
    groupArrayIf(tuple(at, booked_at, data, if(type = 'cash.applied', 1, -1) AS sign), type IN ('cash.applied', 'cash.unapplied')) AS applied,
    groupArrayIf(tuple(at, booked_at, data), type = 'told.credit') AS credits,
    groupArrayIf(tuple(at, booked_at, data), type = 'told.rebill') AS rebills,
    groupArrayIf(tuple(at, booked_at, data, if(type = 'told.taken', -1, 1) AS sign), type IN ('told.taken', 'told.given_back')) AS taken,
    arraySort(x -> (x.at, x.id), groupArrayIf(tuple(at, id, data), type = 'delivery.failed')) AS refused,
    groupArrayIf(tuple(at, data), type = 'delivery.succeeded') AS delivered,
    arraySort(x -> (x.at, x.id), groupArrayIf(tuple(at, id, data), type = 'decision.made')) AS decisions,
    groupArrayIf(tuple(booked_at, data), type = 'subscription.activated') AS activated,
    groupArrayIf(tuple(booked_at, data), type = 'revenue_schedule.set') AS schedules,
    groupArrayIf(tuple(booked_at, data), type = 'revenue.recognised') AS revenues
FROM (
    SELECT key, id, type, source, at, booked_at, data, contents, is_doubted, 0::Int64 AS minor FROM facts
    UNION ALL SELECT key, id, type, source, at, booked_at, data, 1, false, 0 FROM effects
    UNION ALL SELECT key, id, type, source, at, booked_at, data, 1, false, minor FROM parts
)
GROUP BY key;

-- The document that stands, and which others stand beside it.
CREATE TABLE documents ENGINE = Memory AS
SELECT
    *,
    arrayFilter(d -> NOT arrayExists(v -> v.data.document_id = d.data.document_id
        AND (isNull(v.data.version) OR isNull(d.data.version) OR v.data.version >= d.data.version), voids), told) AS live,
    if(empty(live), told, live)[1] AS document,
    notEmpty(told) AS has_document,
    has_document AND empty(live) AS is_void,
    arrayFilter((d, n) -> n > 1 AND d.source = document.source, live, arrayEnumerate(live)) AS extra,
    toInt64(arraySum(arrayMap(d -> coalesce(d.data.total_minor, 0), extra))) AS extra_minor,
    document.data.currency AS currency,
    toInt64(coalesce(document.data.total_minor, 0)) AS stated_minor,
    if(is_void, 0, stated_minor) AS total_minor,
    arrayMax(arrayMap(v -> v.booked_at, voids)) AS void_at
FROM cases;

-- What invoices tell their orders, and what the orders' schedules say is to be billed. One that was replaced, or that credits took
-- back in full, bills nothing; what is usage or proration on a bill is none of the schedule's.
CREATE TABLE bills ENGINE = Memory AS
SELECT
    b.key AS key, home, b.document AS document, booked_at, currency, if(credited_minor >= stated_minor OR replacements > 0, 0, stated_minor) AS total_minor,
    total_minor - tax_minor AS net_minor, total_minor - beside_minor AS gross_price_minor, net_minor - beside_minor AS price_minor, reason,
    reason NOT IN ('usage', 'proration', 'one_off') AS is_regular, first_day, last_day
FROM (
    SELECT
        assumeNotNull(document.data.order_key) AS key, documents.key AS home, document.data.document_id AS document, document.booked_at AS booked_at, currency,
        documents.total_minor AS stated_minor, coalesce(document.data.tax_minor, 0) AS tax_minor, coalesce(document.data.reason, '') AS reason,
        toInt64(arraySum(arrayMap(l -> if(l.reason IN ('usage', 'proration'), coalesce(l.amount_minor, 0), 0), document.data.lines))) AS beside_minor,
        toDate32(document.data.service_period.start) AS first_day, toDate32(document.data.service_period.end) AS last_day
    FROM documents WHERE has_document AND kind = 'invoice' AND isNotNull(document.data.order_key)
) AS b LEFT JOIN (
    SELECT key, document, sumIf(minor, is_credit) AS credited_minor, countIf(NOT is_credit) AS replacements
    FROM (
        SELECT assumeNotNull(document.data.order_key) AS key, kind = 'credit' AS is_credit, documents.total_minor AS minor,
            coalesce(if(is_credit, document.data.invoice_id, document.data.replaces), '') AS document
        FROM documents WHERE has_document AND NOT is_void AND kind IN ('invoice', 'credit') AND isNotNull(document.data.order_key)
    )
    WHERE document != '' GROUP BY key, document
) AS t ON t.key = b.key AND t.document = b.document;

CREATE TABLE switches ENGINE = Memory AS
SELECT key, arraySort(groupArray((toDate32(fromUnixTimestamp64Micro(at, 'UTC')), at, type NOT IN ('subscription.paused', 'subscription.cancelled')))) AS turns
FROM facts WHERE type IN ('subscription.activated', 'subscription.resumed', 'subscription.renewed', 'subscription.paused', 'subscription.cancelled')
GROUP BY key;

CREATE TABLE scheduled ENGINE = Memory AS
SELECT
    key, schedule, toDate32(each.due_on) AS due_on, toDate32(each.period.start) AS first_day, toDate32(each.period.end) AS last_day,
    each.total_minor AS total_minor, toInt64(toInt32(due_on)) * 86400000000 AS due_at
FROM (
    SELECT key, data.document_id AS schedule, arrayJoin(argMax(data.bills, version)) AS each
    FROM facts WHERE type = 'billing_schedule.set' GROUP BY key, schedule
)
WHERE total_minor != 0;

-- Each scheduled bill with the regular ones that cover it: that share more than half of the shorter period.
CREATE TABLE covered ENGINE = Memory AS
SELECT
    s.key AS key, s.schedule AS schedule, s.due_on AS due_on, any(s.due_at) AS due_at, any(s.total_minor) AS total_minor, any(s.first_day) AS first_day,
    groupArrayIf((b.first_day, b.last_day), b.home != '') AS periods, minIf(b.booked_at, b.home != '') AS billed_at,
    sumIf(b.price_minor, b.home != '') AS net_minor, sumIf(b.gross_price_minor, b.home != '') AS gross_minor
FROM scheduled AS s
LEFT JOIN (
    SELECT s.key AS key, s.schedule AS schedule, s.due_on AS due_on, b.home AS home, b.first_day AS first_day, b.last_day AS last_day,
        b.booked_at AS booked_at, b.price_minor AS price_minor, b.gross_price_minor AS gross_price_minor
    FROM scheduled AS s INNER JOIN bills AS b ON b.key = s.key
    WHERE b.is_regular AND b.total_minor > 0
        AND 2 * (dateDiff('day', greatest(b.first_day, s.first_day), least(b.last_day, s.last_day)) + 1)
            > least(dateDiff('day', b.first_day, b.last_day), dateDiff('day', s.first_day, s.last_day)) + 1
) AS b ON b.key = s.key AND b.schedule = s.schedule AND b.due_on = s.due_on
GROUP BY s.key, s.schedule, s.due_on;

CREATE TABLE dues ENGINE = Memory AS
SELECT
    key, arraySort(d -> (d.due_on, d.schedule), groupArray(tuple(due_on, schedule, due_at, total_minor, periods, billed_at, net_minor, gross_minor))) AS due
FROM (
    SELECT c.*, arrayLast(t -> t.1 <= c.first_day, turns) AS turn
    FROM covered AS c LEFT JOIN switches AS s ON s.key = c.key
    WHERE notEmpty(periods) OR turn.2 = 0 OR turn.3
)
GROUP BY key;

CREATE TABLE usages ENGINE = Memory AS
SELECT
    key, groupArray((held, rated_minor, billed_minor, last_at, missing_at)) AS rated
FROM (
    SELECT u.key AS key, u.id AS id, countIf(b.home != '') AS held, any(u.data.total_minor) AS rated_minor, sumIf(b.net_minor, b.home != '') AS billed_minor,
        greatest(any(u.booked_at), maxIf(b.booked_at, b.home != '')) AS last_at,
        greatest(end_of_day(any(u.data.period.end)), any(u.booked_at)) + days(2) AS missing_at
    FROM (SELECT * FROM facts WHERE type = 'usage.rated') AS u
    LEFT JOIN (SELECT * FROM bills WHERE reason = 'usage' AND total_minor > 0) AS b ON b.key = u.key
        AND b.first_day <= toDate32(u.data.period.start) AND b.last_day >= toDate32(u.data.period.end)
    GROUP BY key, id
)
GROUP BY key;

-- What billing says of an order's case: told facts, its leg, its breaks, and whether something is still to come.
CREATE TABLE billing ENGINE = Memory AS
WITH {as_of:Int64} AS now
SELECT
    k.key AS key, told,
    arrayFirst(d -> empty(d.periods), due) AS open_due, arrayExists(d -> empty(d.periods), due) AS has_open_due,
    if(has_open_due, open_due, due[-1]) AS next_due,
    multiIf(empty(due), 'not_expected', leg(now, next_due.due_at + days(1), next_due.due_at + days(2),
        if(has_open_due, NULL, toInt64(next_due.billed_at)), next_due.billed_at > next_due.due_at + days(1))) AS state,
    arrayFilter(d -> empty(d.periods) AND now >= d.due_at + days(2), due) AS missing,
    -- one period billed twice is its own break
    arrayFirst(d -> notEmpty(d.periods) AND length(arrayDistinct(d.periods)) = length(d.periods)
        AND d.total_minor NOT IN (d.net_minor, d.gross_minor), due) AS unlike,
    arrayFilter(u -> u.1 > 0 AND u.2 != u.3, rated) AS misrated, arrayFilter(u -> u.1 = 0, rated) AS unbilled,
    arrayFilter(u -> now >= u.5, unbilled) AS overdue,
    (notEmpty(misrated) AND now < misrated[1].4 + days(1)) OR (notEmpty(unbilled) AND empty(overdue)) AS waits,
    arrayFilter(b -> b.1 != '', [
        broken(state = 'missing', 'missing_invoice', toInt64(arraySum(arrayMap(d -> d.total_minor, missing)))),
        broken(unlike.due_at != 0, 'quote_mismatch', toInt64(abs(unlike.total_minor - unlike.net_minor))),
        broken(twice_minor > 0, 'duplicate_period', twice_minor),
        broken(notEmpty(misrated) AND now >= misrated[1].4 + days(1), 'usage', toInt64(abs(misrated[1].2 - misrated[1].3))),
        broken(notEmpty(overdue), 'unbilled_usage', toInt64(arraySum(arrayMap(u -> assumeNotNull(u.2), overdue)))),
        broken(state = 'late', 'sla', next_due.total_minor)
    ]) AS found
FROM (
    SELECT key, sum(told) AS told, sum(twice_minor) AS twice_minor FROM (
        SELECT key, count() AS told, 0 AS twice_minor FROM bills GROUP BY key
        UNION ALL
        SELECT key, 0, toInt64(arraySum(arraySlice(arrayMap(b -> b.3, arraySort(groupArray((booked_at, document, total_minor)))), 2))) FROM bills
        WHERE is_regular AND total_minor > 0 GROUP BY key, first_day, last_day, currency HAVING uniqExact(home) > 1
        UNION ALL SELECT assumeNotNull(document.data.order_key), 1, 0 FROM documents WHERE has_document AND kind = 'credit' AND isNotNull(document.data.order_key)
        UNION ALL SELECT DISTINCT key, 0, 0 FROM facts WHERE key LIKE 'order:%'
    ) GROUP BY key
) AS k
LEFT JOIN dues AS d ON d.key = k.key
LEFT JOIN usages AS u ON u.key = k.key;

-- What the ledger nets to. `control` are lines on the account of the document's kind, (amount, base amount) each.
CREATE TABLE ledgers ENGINE = Memory AS
SELECT
    *,
    arrayFilter(p -> has([if(kind = 'credit', 'credit', 'invoice'), 'void', 'other'], p.data.document_type) AND p.data.posting_kind != 'revaluation'
        AND NOT (p.data.posting_kind = 'manual' AND p.data.document_type = 'other'), journal) AS booked,
    notEmpty(booked) AS is_booked,
    booked[1].data.base_currency AS base_currency,
    coalesce(currency, booked[1].data.currency, base_currency) AS ledger_currency,
    if(coalesce(document.data.direction, booked[1].data.direction) = 'purchase', 'payable', 'receivable') AS role,
    if(role = 'payable', -1, 1) * if(kind = 'credit', -1, 1) AS way,
    arrayMap(p -> tuple(
        p.data.currency AS in_currency, p.data.base_currency AS in_base,
        way * arraySum(arrayMap(l -> coalesce(l.amount_minor, l.base_minor, 0), arrayFilter(l -> l.role = role, p.data.lines))) AS net), booked) AS entries,
    arrayFilter(e -> e.in_base != base_currency OR e.in_currency != ledger_currency, entries) AS foreign_entries,
    notEmpty(foreign_entries) AND NOT arrayAll(
        e -> arrayCount(o -> o.in_base = e.in_base AND o.in_currency IS NOT DISTINCT FROM e.in_currency, foreign_entries) > 1
            AND arraySum(arrayMap(o -> if(o.in_base = e.in_base AND o.in_currency IS NOT DISTINCT FROM e.in_currency, o.net, 0), foreign_entries)) = 0,
        foreign_entries) AS is_other_currency,
    arrayFlatten(arrayMap(p -> arrayMap(l -> tuple(l.role AS of, if(isNull(l.amount_minor) AND p.data.base_currency = ledger_currency, l.base_minor, l.amount_minor) AS amount, l.base_minor AS base),
        p.data.lines), booked)) AS lines,
    arrayFilter(l -> l.of = role, lines) AS control,
    arrayFilter(l -> l.of = 'tax', lines) AS taxed,
    if(arrayExists(l -> isNull(l.amount), control), NULL, way * toInt64(arraySum(arrayMap(l -> assumeNotNull(l.amount), control)))) AS net_minor,
    if(arrayExists(l -> isNull(l.base), control), NULL, way * toInt64(arraySum(arrayMap(l -> assumeNotNull(l.base), control)))) AS base_minor,
    if(arrayExists(l -> isNull(l.amount), taxed), NULL, -way * toInt64(arraySum(arrayMap(l -> assumeNotNull(l.amount), taxed)))) AS booked_tax_minor,
    if(arrayExists(l -> isNull(l.base), taxed), NULL, -way * toInt64(arraySum(arrayMap(l -> assumeNotNull(l.base), taxed)))) AS base_tax_minor,
    coalesce(net_minor, base_minor, 0) AS stands_minor,
    notEmpty(control) AND stands_minor = 0 AS is_cleared,
    coalesce(if(isNotNull(net_minor), booked[1].data.currency, NULL), base_currency) AS shown_currency,
    arrayMap(p -> p.data.reverses, booked) AS undone,
    arraySort(p -> p.booked_at, arrayFilter(p -> p.type = 'posting.recorded' AND (length(booked) = 1 OR NOT has(undone, p.data.document_id)), booked)) AS standing
FROM documents;

-- The document in the ledger's base currency, as fractions: amount x `rate_above` / `rate_below`; and half an ulp of the rate.
CREATE TABLE rates ENGINE = Memory AS
SELECT
    *,
    position(coalesce(document.data.rate, ''), '.') AS point,
    toInt256(replaceOne(coalesce(document.data.rate, '0'), '.', '')) AS digits,
    ten_to(if(point = 0, 0, length(coalesce(document.data.rate, '')) - point)) AS places,
    ten_to(decimals(base_currency)) AS base_unit, ten_to(decimals(currency)) AS unit,
    document.data.rate_direction = 'base_per_document' AS is_multiplied,
    if(is_multiplied, digits * base_unit, places * base_unit) AS rate_above,
    if(is_multiplied, places * unit, digits * unit) AS rate_below,
    toInt256(total_minor) * rate_above AS base_above,
    isNull(net_minor) OR base_currency != currency AS is_converted,
    toInt64(rounded(base_above, rate_below)) AS base_total_minor
FROM ledgers;

-- The one reason why the ledger differs from the document.
CREATE TABLE causes ENGINE = Memory AS
SELECT
    *,
    coalesce(net_minor, base_minor) AS compared_minor,
    if(isNull(net_minor), agrees(base_minor, base_above, rate_below, digits, 1), net_minor = total_minor) AS is_equal,
    if(isNull(net_minor), agrees(base_minor, toInt256(total_minor + extra_minor) * rate_above, rate_below, digits, length(extra) + 1),
        net_minor = total_minor + extra_minor) AS covers_all,
    if(isNull(net_minor), if(base_total_minor = 0, 0, toInt64(rounded(toInt256(base_minor) * rate_below, base_above))),
        if(total_minor = 0, 0, intDiv(assumeNotNull(net_minor), total_minor))) AS times,
    times >= 2 AND length(standing) >= times AND if(isNull(net_minor),
        agrees(base_minor, base_above * times, rate_below, digits, times), net_minor = total_minor * times) AS is_multiple,
    document.data.tax_minor AS tax_minor,
    multiIf(
        NOT is_booked, 'nothing_posted', NOT has_document, 'agrees',
        is_other_currency OR (isNotNull(document.data.base_currency) AND base_currency != document.data.base_currency), 'currency',
        empty(control) AND stated_minor != 0, 'no_control_line',
        is_equal, if(isNull(net_minor) OR base_currency = currency OR isNull(base_minor) OR agrees(base_minor, base_above, rate_below, digits, 1), 'agrees', 'fx'),
        is_void, 'unreversed', compared_minor = 0, 'reversed', notEmpty(extra) AND covers_all, 'agrees', is_multiple, 'duplicate',
        isNotNull(net_minor) AND notEmpty(taxed) AND booked_tax_minor - tax_minor = net_minor - total_minor, 'tax',
        isNull(net_minor), 'fx', 'amount') AS cause
FROM rates;

-- Money received and applied. Movements are (at, booked_at, amount).
CREATE TABLE money ENGINE = Memory AS
SELECT
    *,
    arrayConcat(returned, arrayFilter(f -> arrayExists(p -> p.data.document_id = f.data.document_id AND p.at <= f.at, payments)
        AND NOT arrayExists(r -> r.data.document_id = f.data.document_id, returned), failures)) AS taken_back,
    arraySort(arrayConcat(arrayMap(p -> (p.at, p.booked_at, assumeNotNull(p.data.amount_minor)), payments),
        arrayMap(f -> (f.at, f.booked_at, -assumeNotNull(f.data.amount_minor)), taken_back),
        arrayMap(t -> (t.at, t.booked_at, t.sign * assumeNotNull(t.data.amount_minor)), taken),
        arrayMap(t -> (t.at, t.booked_at, t.minor), told_payments))) AS received,
    arraySort(arrayConcat(arrayMap(t -> (t.at, t.booked_at, t.minor), told_applications),
        arrayMap(a -> (a.at, a.booked_at, a.sign * assumeNotNull(a.data.amount_minor)), arrayFilter(a -> a.data.from_kind = 'payment', applied)))) AS applications,
    arrayFilter(c -> isNull(currency) OR c.data.currency = currency, credits) AS credited,
    arraySort(arrayConcat(
        arrayMap(a -> (a.at, a.booked_at, a.sign * assumeNotNull(a.data.amount_minor)), arrayFilter(a -> a.data.from_kind != 'payment', applied)),
        arrayMap(c -> (c.at, c.booked_at, assumeNotNull(c.data.total_minor)), credited))) AS reductions,
    arraySum(arrayMap(m -> m.3, received)) AS received_minor,
    arraySum(arrayMap(m -> m.3, applications)) AS applied_minor,
    arraySum(arrayMap(m -> m.3, reductions)) AS reduced_minor,
    toInt64(arraySum(arrayMap(c -> assumeNotNull(c.data.total_minor), credited))) AS credited_minor,
    empty(payments) AND empty(told_payments) AND applied_minor > received_minor AS is_known_from_applications,
    if(is_known_from_applications, applied_minor, received_minor) AS paid_minor,
    paid_minor + reduced_minor AS settled_minor,
    arraySort(arrayConcat(if(is_known_from_applications, applications, received), reductions)) AS settling,
    greatest(0, least(total_minor - reduced_minor, received_minor)) AS needed_minor,
    arrayCount(p -> p.data.amount_minor = stated_minor - reduced_minor, payments) AS whole_payments,
    if(paid_minor > 0, greatest(0, settled_minor - total_minor - extra_minor), 0) AS excess_minor,
    -- cash on what takes it no longer: beyond what is open, or on a document that credits took back in full
    applied_minor > 0 AND total_minor != 0 AND least(credited_minor, reduced_minor) >= total_minor AS is_taken_back,
    greatest(0, applied_minor - greatest(0, total_minor + extra_minor - reduced_minor)) AS beyond_minor,
    has_document AND kind = 'invoice' AND beyond_minor > 0 AND (is_taken_back OR excess_minor = 0) AS is_misapplied,
    arrayMax(arrayMap(m -> m.2, arrayConcat(applications, reductions))) + minutes(240) AS misapplied_at,
    -- what somebody gave up: by the last decision on the break
    paid_minor <= 0 AND gives_up(decisions, fingerprint(key, 'missing_payment', [document.data.document_id], [total_minor - settled_minor, 0]), total_minor - settled_minor) AS is_given_up,
    paid_minor > 0 AND gives_up(decisions, fingerprint(key, 'short_payment', arrayConcat([document.data.document_id], arrayMap(p -> p.data.document_id, payments),
        arrayMap(a -> a.data.document_id, applied), arrayMap(c -> c.data.document_id, credited)), [total_minor, settled_minor]), total_minor - settled_minor) AS is_rest_given_up,
    -- what entries of money take off the account, and give up, beside what was applied
    arrayFilter(p -> p.data.document_type IN ('payment', 'application', 'refund') AND p.data.posting_kind != 'revaluation', journal) AS settling_entries,
    arrayFlatten(arrayMap(p -> arrayMap(l -> tuple(l.role AS of, multiIf(p.data.currency = currency AND isNotNull(l.amount_minor), l.amount_minor,
        p.data.base_currency = currency, l.base_minor, NULL) AS amount), p.data.lines), settling_entries)) AS settling_lines,
    arrayExists(l -> l.of IN (role, 'write_off') AND isNull(l.amount), settling_lines) AS is_settled_unseen,
    -way * toInt64(arraySum(arrayMap(l -> if(l.of = role, coalesce(l.amount, 0), 0), settling_lines))) AS relieved_minor,
    way * toInt64(arraySum(arrayMap(l -> if(l.of = 'write_off', coalesce(l.amount, 0), 0), settling_lines))) AS written_off_minor,
    toInt64(arraySum(arrayMap(a -> if(a.data.from_kind = 'write_off', a.sign * assumeNotNull(a.data.amount_minor), 0), applied))) AS given_up_minor,
    if(applied_minor + reduced_minor != 0, applied_minor + reduced_minor, received_minor) AS relievable_minor,
    multiIf(NOT has_document OR NOT is_booked OR empty(settling_entries) OR is_settled_unseen, 0,
        written_off_minor != 0 AND written_off_minor != given_up_minor, written_off_minor - given_up_minor,
        greatest(0, relieved_minor - relievable_minor)) AS relieved_wrong_minor,
    arrayMax(arrayConcat(arrayMap(p -> p.booked_at, settling_entries), arrayMap(p -> p.booked_at, payments), arrayMap(a -> a.booked_at, applied),
        arrayMap(c -> c.booked_at, credited))) + minutes(240) AS relieved_wrong_at,
    -- credits do not exceed the document; a rebill stands in the place of one that they took back, tax and all
    if(arrayExists(c -> isNull(c.data.tax_minor), credited), NULL, toInt64(arraySum(arrayMap(c -> coalesce(c.data.tax_minor, 0), credited)))) AS credited_tax,
    multiIf(NOT has_document OR kind != 'invoice' OR is_void, 0, credited_minor > total_minor, credited_minor - total_minor,
        credited_tax > tax_minor, credited_tax - tax_minor, 0) AS overcredited_minor,
    multiIf(NOT has_document OR kind != 'invoice' OR is_void OR empty(rebills), 0, credited_minor < total_minor, total_minor - credited_minor,
        coalesce(tax_minor - credited_tax, 0)) AS uncredited_minor,
    arrayMax(arrayConcat([document.booked_at], arrayMap(c -> c.booked_at, credited), arrayMap(r -> r.booked_at, rebills))) + minutes(15) AS uncredited_at
FROM causes;

CREATE TABLE legs ENGINE = Memory AS
WITH {as_of:Int64} AS now
SELECT
    *,
    document.booked_at AS issued_at,
    -- posting: from the document to the first posting that stands; an edit within 15 minutes does not count as a gap
    arrayMap(p -> (p.data.reverses, p.booked_at), arrayFilter(p -> isNotNull(p.data.reverses), booked)) AS reversals,
    arrayReverseSort(u -> u.1, arrayFlatten(arrayMap(r -> arrayMap(p -> (p.booked_at, r.2),
        arrayFilter(p -> p.data.document_id = r.1 AND isNull(p.data.reverses), booked)), reversals))) AS edited,
    if(NOT has_document OR empty(standing) OR (is_cleared AND total_minor != 0), NULL,
        arrayFold((since, u) -> if(since - u.2 <= minutes(15), least(since, u.1), since), edited, toInt64(standing[1].booked_at))) AS posted_at,
    arrayMax(arrayMap(r -> r.2, reversals)) AS reversed_at,
    greatest(issued_at, if(isNull(posted_at) AND is_booked, reversed_at, 0)) AS posting_from,
    multiIf(NOT has_document OR kind NOT IN ('invoice', 'credit'), '', isNull(posted_at) AND (total_minor = 0 OR isNotNull(document.data.summary_key)), 'not_expected',
        leg(now, posting_from + minutes(15), posting_from + days(1), posted_at, posted_at > issued_at + minutes(15))) AS posting,
    -- payment: due at the end of the due date, in calendar days
    end_of_day(coalesce(toDate32(document.data.due_date), toDate32(fromUnixTimestamp64Micro(document.at, 'UTC')) + 30)) AS due_at,
    crossing(settling, total_minor) AS settled_by,
    if(settled_by = 0, NULL, settling[settled_by].1) AS settled_at,
    multiIf(NOT has_document OR kind != 'invoice', '', total_minor = 0, 'not_expected',
        leg(now, due_at, due_at + days(30), settled_at, settled_at >= due_at)) AS payment,
    -- application: from the money that completes what the invoice can take to its application
    applied_minor < needed_minor AS is_unapplied,
    crossing(received, if(is_unapplied, applied_minor + 1, needed_minor)) AS awaited,
    greatest(issued_at, if(awaited = 0, first_at, received[awaited].2)) AS applying_from,
    crossing(applications, needed_minor) AS applied_by,
    if(is_unapplied OR applied_by = 0, NULL, applications[applied_by].2) AS applied_at,
    multiIf(NOT has_document OR kind != 'invoice', '', total_minor = 0 OR received_minor = 0 OR needed_minor = 0, 'not_expected',
        leg(now, applying_from + minutes(240), applying_from + days(2), applied_at, applied_at > applying_from + minutes(240))) AS application,
    -- subscription: from the quote to its activation
    if(empty(activated), NULL, toInt64(arrayMin(arrayMap(a -> a.booked_at, activated)))) AS activated_at,
    multiIf(NOT has_document OR kind != 'order', '',
        leg(now, issued_at + minutes(60), issued_at + days(1), activated_at, activated_at > issued_at + minutes(60))) AS subscription,
    -- what has no document waits a day for it
    now < arrayMin(arrayMap(p -> p.booked_at, booked)) + days(1) AS posting_waits,
    now < arrayMin(arrayMap(m -> m.2, arrayConcat(received, if(empty(payments), arrayConcat(applications, reductions), [])))) + days(1) AS money_waits
FROM money;

CREATE TABLE breaks ENGINE = Memory AS
WITH {as_of:Int64} AS now
SELECT
    *,
    arrayFilter(x -> x != '', [document.data.customer.sold_to, document.data.customer.bill_to, document.data.customer.payer]) AS parties,
    arrayConcat(parties, arrayMap(r -> r.value, arrayFilter(r -> r.kind = 'customer', document.data.refs))) AS names,
    arrayConcat(arrayMap(p -> [p.data.customer.sold_to, p.data.customer.bill_to, p.data.customer.payer], journal),
        arrayMap(p -> [p.data.customer.sold_to, p.data.customer.bill_to, p.data.customer.payer], payments),
        arrayMap(p -> [p.data.customer.sold_to, p.data.customer.bill_to, p.data.customer.payer], activated)) AS others,
    arrayExists(o -> notEmpty(arrayFilter(x -> x != '', o)) AND NOT hasAny(o, names), others) AS is_anothers,
    -- a journal entry sums to zero
    arrayFirst(r -> r.2 != 0, arrayMap(p -> (p.data.base_currency, toInt64(if(arrayExists(l -> isNull(l.base_minor), p.data.lines),
        arraySum(arrayMap(l -> coalesce(l.amount_minor, 0), p.data.lines)), arraySum(arrayMap(l -> assumeNotNull(l.base_minor), p.data.lines))))), journal)) AS unbalanced,
    multiIf(unbalanced.2 = 0 OR cause = 'amount', 0, NOT has_document OR unbalanced.1 = currency, size(unbalanced.2), digits = 0, stated_minor,
        size(toInt64(rounded(toInt256(unbalanced.2) * rate_below, rate_above)))) AS unbalanced_minor,
    -- tax: stated against its own lines, then against what is booked
    toInt64(arraySum(arrayMap(l -> l.amount_minor, document.data.tax_lines))) AS tax_of_lines,
    isNotNull(tax_minor) AND notEmpty(document.data.tax_lines) AND tax_minor != tax_of_lines AS is_tax_torn,
    toInt64(coalesce(tax_minor, tax_of_lines)) AS expected_tax,
    isNotNull(tax_minor) OR notEmpty(document.data.tax_lines) AS is_tax_stated,
    is_tax_stated AND is_booked AND notEmpty(taxed) AND empty(extra) AND (cause IN ('agrees', 'tax') OR (cause = 'fx' AND isNotNull(booked_tax_minor))) AS is_tax_compared,
    toInt256(expected_tax) * rate_above AS tax_above,
    greatest(length(taxed), length(arrayFilter(l -> l.of NOT IN (role, 'tax'), lines))) AS tax_roundings,
    multiIf(
        NOT has_document OR kind NOT IN ('invoice', 'credit') OR is_void, 0,
        is_tax_torn, size(assumeNotNull(tax_minor) - tax_of_lines),
        NOT is_tax_compared, 0,
        isNotNull(booked_tax_minor), size(assumeNotNull(booked_tax_minor) - expected_tax),
        isNull(base_tax_minor) OR digits = 0 OR agrees(base_tax_minor, tax_above, rate_below, digits, tax_roundings), 0,
        base_currency = currency, size(toInt64(base_tax_minor - rounded(tax_above, rate_below))),
        size(toInt64(rounded((toInt256(base_tax_minor) - rounded(tax_above, rate_below)) * total_minor * rate_below, base_above)))) AS tax_exposure,
    size(toInt64(rounded((toInt256(coalesce(base_minor, 0)) - base_total_minor) * total_minor * rate_below, if(base_above = 0, toInt256(1), base_above)))) AS fx_exposure,
    -- an application that says what its money was worth states as gain what that is more than its amount at the document's rate
    arrayFilter(a -> isNotNull(a.data.from_base_minor), applied) AS worth,
    arrayMap(a -> tuple(way * (toInt256(assumeNotNull(a.data.from_base_minor)) * rate_below - toInt256(assumeNotNull(a.data.amount_minor)) * rate_above) AS gain_above,
        toInt256(coalesce(a.data.realised_fx_minor, 0)) AS stated, toInt256(assumeNotNull(a.data.amount_minor)) * rate_above AS at_rate), worth) AS gains,
    arrayFirst(g -> NOT (abs(g.stated * rate_below - g.gain_above) * 2 * digits <= rate_below * 2 * digits + abs(g.at_rate)), gains) AS wrong_gain,
    length(gains) > 0 AND wrong_gain.3 != 0 AND cause = 'agrees' AS is_gain_wrong,
    size(toInt64(rounded((wrong_gain.2 - rounded(wrong_gain.1, rate_below)) * rate_below, rate_above))) AS gain_exposure,
    -- revenue: scheduled as the net, recognised by the tenth of the month after
    toInt64(arraySum(arrayMap(s -> arraySum(arrayMap(b -> b.total_minor, s.data.bills)), schedules))) AS scheduled_minor,
    total_minor - coalesce(tax_minor, 0) AS net_of_tax,
    notEmpty(schedules) AND scheduled_minor != net_of_tax AS is_misscheduled,
    arraySort(arrayDistinct(arrayConcat(
        arrayFlatten(arrayMap(s -> arrayMap(b -> toStartOfMonth(toDate32(b.period.end)), s.data.bills), schedules)),
        arrayMap(r -> toStartOfMonth(toDate32(r.data.period.end)), revenues)))) AS months,
    arrayMap(m -> tuple(m AS month,
        toInt64(arraySum(arrayMap(s -> arraySum(arrayMap(b -> if(toStartOfMonth(toDate32(b.period.end)) <= m, b.total_minor, 0), s.data.bills)), schedules))) AS due,
        toInt64(arraySum(arrayMap(r -> if(toStartOfMonth(toDate32(r.data.period.end)) <= m, assumeNotNull(r.data.amount_minor), 0), revenues))) AS done), months) AS course,
    toInt64(arraySum(arrayMap(r -> assumeNotNull(r.data.amount_minor), revenues))) AS recognised_minor,
    arrayFilter(c -> c.3 < c.2 AND recognised_minor < c.2, course) AS unrecognised,
    if(empty(unrecognised), 0, end_of_day(toLastDayOfMonth(toDate32(unrecognised[1].1))) + days(10)) AS recognised_by,
    notEmpty(schedules) AND NOT is_misscheduled AND notEmpty(unrecognised) AND now >= recognised_by AS is_unrecognised,
    has_document AND ((is_misscheduled AND now < document.booked_at + minutes(15)) OR (NOT is_misscheduled AND notEmpty(schedules) AND notEmpty(unrecognised))
        OR (empty(schedules) AND notEmpty(revenues))) AS revenue_waits,
    greatest(0, needed_minor - applied_minor) AS unapplied_minor,
    -- a part of a period is its price times days over days, months over months or seconds over seconds, whichever way round it is
    arrayFilter(l -> isNotNull(l.proration.price_minor) AND isNotNull(l.proration.method), document.data.lines) AS prorated,
    arrayMap(l -> tuple(
        toInt256(abs(assumeNotNull(l.proration.price_minor))) * share(l.proration.method, l.proration.seconds, l.period.start, l.period.end) AS above,
        toInt256(share(l.proration.method, l.proration.of_seconds, l.proration.period.start, l.proration.period.end)) AS below,
        toInt256(abs(assumeNotNull(l.amount_minor))) AS charged), prorated) AS parts,
    arrayFirst(p -> p.2 != 0 AND abs(p.3 * p.2 - p.1) >= p.2, parts) AS wrong_part,
    -- applied beyond what is open, or of another customer: what was taken off again is no part of it
    if(empty(payments), arrayFilter(a -> notEmpty(arrayFilter(x -> x != '', [a.data.customer.sold_to, a.data.customer.bill_to, a.data.customer.payer]))
        AND NOT hasAny([a.data.customer.sold_to, a.data.customer.bill_to, a.data.customer.payer], names), applied), []) AS strange,
    toInt64(arraySum(arrayMap(a -> a.sign * assumeNotNull(a.data.amount_minor), arrayFilter(a -> has(strange, a)
        OR (a.sign < 0 AND isNotNull(a.data.payment_id) AND has(arrayMap(s -> s.data.payment_id, strange), a.data.payment_id)), applied)))) AS strange_minor,
    arrayFilter(t -> notEmpty(arrayFilter(x -> x != '', [t.data.customer.sold_to, t.data.customer.bill_to, t.data.customer.payer]))
        AND NOT hasAny([t.data.customer.sold_to, t.data.customer.bill_to, t.data.customer.payer], names), told_payments) AS strangers_receipts,
    has_document AND notEmpty(names) AND (notEmpty(strangers_receipts) OR strange_minor > 0) AS is_strangers,
    -- taken back, and still applied
    if(empty(taken_back) OR empty(payments), 0, applied_minor - greatest(0, received_minor)) AS standing_minor,
    arrayMax(arrayMap(f -> f.booked_at, taken_back)) + minutes(240) AS unapplied_by,
    arrayFilter(b -> b.1 != '', [
        broken(is_strangers, 'misapplied', least(if(notEmpty(strangers_receipts), strangers_receipts[1].minor, strange_minor), stated_minor)),
        broken(standing_minor > 0 AND now >= unapplied_by, 'reversed_after_application',
            least(standing_minor, toInt64(arraySum(arrayMap(f -> assumeNotNull(f.data.amount_minor), taken_back))))),
        broken(has_document AND cause = 'amount', 'amount', size(coalesce(net_minor, 0) - total_minor)),
        broken(unbalanced_minor != 0, 'amount', unbalanced_minor),
        broken(relieved_wrong_minor != 0 AND now >= relieved_wrong_at, 'amount', size(relieved_wrong_minor)),
        broken(tax_exposure != 0, 'tax', tax_exposure),
        broken(has_document AND cause = 'currency', 'currency', stated_minor),
        broken(has_document AND cause = 'fx', 'fx', fx_exposure),
        broken(has_document AND is_gain_wrong, 'fx', gain_exposure),
        broken(has_document AND is_misscheduled AND now >= document.booked_at + minutes(15), 'revenue_schedule', size(scheduled_minor - net_of_tax)),
        broken(has_document AND is_unrecognised, 'revenue_schedule', unrecognised[1].2 - unrecognised[1].3),
        broken(has_document AND notEmpty(names) AND is_anothers, 'customer', stated_minor),
        broken(strangers > 0, 'entity', stated_minor),
        broken(posting = 'missing', 'missing_posting', total_minor),
        broken(cause = 'unreversed' AND now >= void_at + minutes(15), 'missing_reversal', if(shown_currency = currency, size(stands_minor), stated_minor)),
        broken(NOT has_document AND kind IN ('invoice', 'credit') AND is_booked AND NOT is_cleared AND NOT posting_waits, 'orphan_posting', size(stands_minor)),
        broken(has_document AND cause = 'duplicate', 'duplicate_posting', if(isNull(net_minor), total_minor, size(stands_minor - total_minor))),
        broken(notEmpty(extra), 'duplicate_invoice', extra_minor),
        broken(NOT has_document AND kind = 'invoice' AND NOT is_booked AND notEmpty(arrayConcat(payments.at, applied.at, credits.at)) AND NOT money_waits
            AND if(received_minor != 0, received_minor, applied_minor + reduced_minor) > 0, if(empty(payments), 'orphan_application', 'orphan_payment'),
            if(received_minor != 0, received_minor, applied_minor + reduced_minor)),
        broken(payment = 'missing' AND paid_minor <= 0 AND NOT is_given_up, 'missing_payment', total_minor - settled_minor),
        broken(payment IN ('late', 'missing') AND paid_minor > 0 AND NOT is_rest_given_up, 'short_payment', total_minor - settled_minor),
        broken(has_document AND excess_minor > 0 AND NOT (is_taken_back AND whole_payments < 2), if(length(payments) > 1 AND whole_payments > 1, 'duplicate_payment', 'overpayment'), excess_minor),
        broken(application = 'missing', if(applied_minor > 0, 'unapplied_cash', 'missing_application'), unapplied_minor),
        broken(is_misapplied AND NOT is_strangers AND now >= misapplied_at, 'misapplied', beyond_minor),
        broken(overcredited_minor > 0, 'credit_rebill', overcredited_minor),
        broken(overcredited_minor = 0 AND uncredited_minor != 0 AND now >= uncredited_at, 'credit_rebill', size(uncredited_minor)),
        broken(subscription = 'missing', 'missing_subscription', total_minor),
        broken(is_doubted, 'conflict', stated_minor),
        broken(has_document AND wrong_part.2 != 0, 'proration', size(toInt64(wrong_part.3 - rounded(wrong_part.1, wrong_part.2)))),
        broken(posting = 'late', 'sla', total_minor),
        broken(application = 'late', 'sla', unapplied_minor),
        broken(subscription = 'late', 'sla', total_minor)
    ]) AS found
FROM legs;

CREATE TABLE verdicts ENGINE = Memory AS
SELECT
    v.key AS key, v.facts + b.told AS facts, arrayConcat(v.found, b.found) AS broken_by,
    mapFilter((name, state) -> state != '', map('quote_to_subscription', subscription,
        'subscription_to_invoice', if(kind = 'order', b.state, ''), 'invoice_to_posting', posting,
        'invoice_to_payment', payment, 'payment_to_application', application)) AS hops,
    hasAny(mapValues(hops), ['waiting', 'late', 'missing']) AS is_open,
    multiIf(
        notEmpty(broken_by), 'break',
        is_open OR revenue_waits OR b.waits OR is_misapplied OR standing_minor > 0 OR uncredited_minor != 0, 'pending',
        kind = 'order', if(has_document, 'ok', 'pending'),
        -- its document, or what could have one, has not come; or the ledger has yet to follow a void
        NOT has_document AND NOT is_booked AND empty(payments) AND empty(applied) AND empty(credits), 'pending',
        NOT has_document AND ((is_booked AND NOT is_cleared AND posting_waits) OR (NOT is_booked AND money_waits)), 'pending',
        cause = 'unreversed', 'pending', 'ok') AS outcome,
    arraySort(arrayMap(b -> b.1, broken_by)) AS classes,
    if(empty(broken_by), 0, arrayMax(arrayMap(b -> toInt64(b.2), broken_by))) AS exposure_minor,
    -- why the open leg has not come: the last delivery to its system that failed and did not succeed later
    arrayFilter(r -> NOT arrayExists(d -> d.data.target = r.data.target AND d.at >= r.at, delivered), refused) AS unmended,
    multiIf(
        posting IN ('waiting', 'late', 'missing'), arrayFilter(r -> r.data.target = 'erp', unmended)[-1].data.failure,
        subscription IN ('waiting', 'late', 'missing'), arrayFilter(r -> r.data.target = 'billing', unmended)[-1].data.failure, NULL) AS failure
FROM breaks AS v LEFT JOIN billing AS b ON b.key = v.key
WHERE kind NOT IN ('summary', 'index', 'receipt');

-- Cases of what others tell: a batch of the documents that name it and its journal, a pair of companies.
CREATE TABLE shared ENGINE = Memory AS
WITH {as_of:Int64} AS now
SELECT
    key, facts, map() AS hops,
    multiIf(kind = 'pair', 'intercompany', booked_minor = 0, 'missing_posting', 'summary_split') AS class,
    if(kind = 'pair', if(companies < 2, days(1), minutes(15)), if(booked_minor = 0 OR booked_minor > told_minor, days(1), minutes(15))) AS leeway,
    multiIf(told_minor = booked_minor, 'ok', now < last_at + leeway, 'pending', 'break') AS outcome,
    if(outcome = 'break', [class], []) AS classes,
    if(outcome = 'break', size(told_minor - booked_minor), 0) AS exposure_minor,
    CAST(NULL, 'Nullable(String)') AS failure
FROM (
    SELECT key, any(kind) AS kind, toInt64(sum(facts)) AS facts, toInt64(sum(told)) AS told_minor, toInt64(sum(booked)) AS booked_minor,
        max(at) AS last_at, uniqExactIf(company, told != 0) AS companies
    FROM (
        SELECT 'batch' AS kind, assumeNotNull(document.data.summary_key) AS key, 1 AS facts, total_minor AS told, 0 AS booked,
            document.booked_at AS at, company
        FROM documents WHERE has_document AND isNotNull(document.data.summary_key)
        UNION ALL
        SELECT 'batch', key, facts, 0, arraySum(arrayMap(p -> arraySum(arrayMap(l -> coalesce(l.amount_minor, l.base_minor, 0),
            arrayFilter(l -> l.role = 'receivable', p.data.lines))), journal)), arrayMax(arrayMap(p -> p.booked_at, journal)), company
        FROM cases WHERE kind = 'summary'
        UNION ALL
        SELECT 'pair', concat('index:', arrayStringConcat(arraySort([company, assumeNotNull(document.data.counterparty)]), '+'), ':intercompany:',
            assumeNotNull(document.data.number)), 1, if(document.data.direction = 'sales', total_minor, -total_minor), 0, document.booked_at, company
        FROM documents WHERE has_document AND isNotNull(document.data.counterparty)
    )
    GROUP BY key
);
