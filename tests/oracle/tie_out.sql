-- Movements of Xero books by month, out of the table extracts alone: what tie-out says is held against this.
-- Written from docs/tie-out.md and the tables, by account code: 610 is receivables, 800 payables.
WITH
    invoices AS
    (
        SELECT
            invoice_id, if(type = 'ACCREC', 'receivable', 'payable') AS position, currency_code AS currency, status,
            toDate(date) AS day, toDate(substring(updated_date_utc, 1, 10)) AS updated,
            toDate(if(fully_paid_on_date = '', substring(updated_date_utc, 1, 10), fully_paid_on_date)) AS paid_on,
            toDecimal128(total, 2) AS total, toDecimal128(amount_paid, 2) AS paid, toDecimal128(total_tax, 2) AS tax,
            toDecimal256(currency_rate, 12) AS rate
        FROM file('FOLDER/invoices.csv', CSVWithNames,
            'invoice_id String, date String, updated_date_utc String, fully_paid_on_date String, amount_paid String,
             total String, total_tax String, currency_code String, currency_rate String, status String, type String')
        WHERE status IN ('AUTHORISED', 'PAID', 'VOIDED')
    ),
    told AS
    (
        SELECT day, position, 'invoices' AS kind, currency, total AS amount, rate FROM invoices
        UNION ALL
        SELECT updated, position, 'voids', currency, -total, rate FROM invoices WHERE status = 'VOIDED'
        UNION ALL
        SELECT paid_on, position, 'applications', currency, -paid, rate FROM invoices WHERE status != 'VOIDED' AND paid != 0
        UNION ALL
        SELECT day, 'tax', 'invoices', currency, if(position = 'receivable', tax, -tax), rate FROM invoices WHERE tax != 0
        UNION ALL
        SELECT updated, 'tax', 'voids', currency, if(position = 'receivable', -tax, tax), rate FROM invoices
        WHERE status = 'VOIDED' AND tax != 0
    ),
    documents AS
    (
        SELECT
            toYYYYMM(day) AS month, position, 'documents' AS side, kind, currency,
            sum(toInt64(amount * 100)) AS amount_minor,
            sum(toInt64(round(toDecimal256(amount, 20) * 100 / rate, 0))) AS base_minor
        FROM told GROUP BY ALL
    ),
    ledger AS
    (
        SELECT
            toYYYYMM(toDate(journal_date)) AS month, if(account_code = '610', 'receivable', 'payable') AS position,
            'ledger' AS side,
            multiIf(source_type IN ('ACCREC', 'ACCPAY'), 'invoices', endsWith(source_type, 'PAYMENT'), 'applications',
                source_type = '', 'manual', 'other') AS kind,
            '' AS currency, toInt64(0) AS amount_minor,
            sum(toInt64(toDecimal128(net_amount, 2) * if(account_code = '610', 100, -100))) AS base_minor
        FROM file('FOLDER/journal_lines.csv', CSVWithNames, 'journal_id String, account_code String, net_amount String') AS line
        INNER JOIN file('FOLDER/journals.csv', CSVWithNames,
            'journal_id String, journal_date String, source_type String') AS journal USING (journal_id)
        WHERE account_code IN ('610', '800')
        GROUP BY ALL
    )
SELECT * FROM documents UNION ALL SELECT * FROM ledger ORDER BY ALL
