"""The second opinion on verdicts: SQL over the records, written from docs/verdicts.md."""
