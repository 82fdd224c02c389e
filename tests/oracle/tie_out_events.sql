-- Movements of balances out of canonical events, for one entity, ledger and base currency: what tie-out says is held against this.
-- Written from docs/tie-out.md. One row a month, balance, side, kind: base amounts in natural sign.
WITH
    'ENTITY' AS of_entity, 'LEDGER' AS of_ledger, 'BASE' AS base_code,
    c -> transform(c, ['JPY', 'KRW', 'KWD', 'BHD'], [0, 0, 3, 3], 2) AS decimals,
    facts AS
    (
        SELECT DISTINCT
            JSONExtractString(line, 'id') AS id, JSONExtractString(line, 'type') AS type, JSONExtractString(line, 'correlationid') AS key,
            JSONExtractRaw(line, 'data') AS data,
            JSONExtractString(data, 'document_id') AS document_id,
            JSON_VALUE(data, '$.recorded_at') AS recorded_at,
            min(JSONExtractString(line, 'time')) OVER (PARTITION BY id, data) AS time,
            toDate(if(JSONExtractString(data, 'accounting_date') = '', substring(time, 1, 10), JSONExtractString(data, 'accounting_date'))) AS day,
            if(JSONHas(data, 'version'), JSONExtractInt(data, 'version'), -1) AS version,
            JSONExtractString(data, 'currency') AS currency
        FROM file('FILE', LineAsString, 'line String')
        WHERE JSONExtractString(data, 'entity') = of_entity
    ),
    -- the version of each document that holds
    held AS
    (
        SELECT family, key, document_id, argMax(tuple(data, day, currency, type), (version, time)) AS holds
        FROM (SELECT *, if(type = 'invoice.amended', 'invoice.issued', type) AS family FROM facts)
        GROUP BY family, key, document_id
    ),
    told AS
    (
        SELECT family, key, document_id, holds.1 AS data, holds.2 AS day, holds.3 AS currency,
            JSONExtractString(data, 'direction') AS direction,
            if(direction = 'purchase', 'payable', 'receivable') AS position,
            JSONExtractInt(data, 'total_minor') AS total, JSONExtractInt(data, 'tax_minor') AS tax,
            toDecimal256OrZero(JSONExtractString(data, 'rate'), 12) AS rate,
            JSONExtractString(data, 'rate_direction') != 'base_per_document' AS per_base
        FROM held
    ),
    invoices AS (SELECT * FROM told WHERE family = 'invoice.issued'),
    moved AS
    (
        SELECT key, day, position, 'invoices' AS kind, currency, total AS amount, rate, per_base FROM invoices
        UNION ALL
        SELECT key, day, 'tax', 'invoices', currency, if(position = 'receivable', tax, -tax), rate, per_base FROM invoices
        UNION ALL
        SELECT v.key, v.day, i.position, 'voids', i.currency, -i.total, i.rate, i.per_base
        FROM told AS v INNER JOIN invoices AS i ON v.key = i.key AND v.document_id = i.document_id WHERE v.family = 'invoice.voided'
        UNION ALL
        SELECT v.key, v.day, 'tax', 'voids', i.currency, if(i.position = 'receivable', -i.tax, i.tax), i.rate, i.per_base
        FROM told AS v INNER JOIN invoices AS i ON v.key = i.key AND v.document_id = i.document_id WHERE v.family = 'invoice.voided'
        UNION ALL
        SELECT a.key, a.day, i.position, if(JSONExtractString(a.data, 'from_kind') = 'write_off', 'write_offs', 'applications'), a.currency,
            if(a.family = 'cash.applied', -1, 1) * JSONExtractInt(a.data, 'amount_minor'), i.rate, i.per_base
        FROM told AS a INNER JOIN (SELECT key, any(position) AS position, any(rate) AS rate, any(per_base) AS per_base FROM invoices GROUP BY key) AS i
            ON a.key = i.key
        WHERE a.family IN ('cash.applied', 'cash.unapplied') AND JSONExtractString(a.data, 'from_kind') != 'credit'
    ),
    documents AS
    (
        SELECT toYYYYMM(day) AS month, position, 'documents' AS side, kind,
            sum(toInt64(multiIf(
                currency = base_code, toDecimal256(amount, 0),
                rate = 0, toDecimal256(0, 0),
                per_base, round(toDecimal256(amount, 20) * exp10(decimals(base_code) - decimals(currency) + 3)::Int64 / 1000 / rate, 0),
                round(toDecimal256(amount, 20) * exp10(decimals(base_code) - decimals(currency) + 3)::Int64 / 1000 * rate, 0)))) AS base
        FROM moved GROUP BY ALL
    ),
    ledger AS
    (
        SELECT toYYYYMM(day) AS month, role AS position, 'ledger' AS side, '' AS kind,
            sum(if(role IN ('receivable', 'clearing'), 1, -1) * multiIf(
                kept = base_code AND JSONHas(line, 'base_minor'), JSONExtractInt(line, 'base_minor'),
                if(currency = '', kept, currency) = base_code, JSONExtractInt(line, 'amount_minor'), 0)) AS base
        FROM
        (
            SELECT day, currency, JSONExtractString(data, 'base_currency') AS kept,
                arrayJoin(JSONExtractArrayRaw(data, 'lines')) AS line, JSONExtractString(line, 'role') AS role
            FROM told
            WHERE family IN ('posting.recorded', 'posting.reversed') AND JSONExtractString(data, 'ledger') = of_ledger
        )
        WHERE role IN ('receivable', 'payable', 'tax', 'deferred')
        GROUP BY ALL
    )
SELECT month, position, side, kind, base FROM documents WHERE base != 0
UNION ALL
SELECT month, position, side, kind, base FROM ledger WHERE base != 0
