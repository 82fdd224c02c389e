"""The dashboard that finance, support and on-call read: ClickHouse in, pages out, nothing decided here.

- It reads the store only; every count, sum, share and age is SQL in queries.py, named by what it answers.
- Amounts are minor units until markup.py writes them with their currency's decimals; two currencies are never added.
- Text from the store is untrusted: it reaches a page only through markup.fill, which escapes it.
"""
