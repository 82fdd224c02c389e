"""Bank statements: ISO 20022 (sources.bank.camt) and SWIFT (sources.bank.mt940) into the same events.

- A statement is one case, `summary:main:bank:<account>/<statement>`: bank.statement (opening, closing, sequence) and its
  bank.lines, so that opening + lines = closing can be judged from the case alone. A page of a statement that has its own
  balances is a statement of its own.
- A line is signed: what came in is positive. A reversal's sign is that of the booking, not of what it takes back.
- Intraday reports and notifications (camt.052, camt.054, MT942) say before the statement what the statement says again:
  their lines lie in the report's own case and have no `statement_id`, and neither has an entry that is pending. Whoever
  adds lines up takes those that have one.
- A batch entry whose details add up to it is told by its details, all with the entry as `batch_id`; otherwise it is one
  line.
- The entity is "main": a statement names an account and not whose books it is in.
"""
