"""The peers' programs for one job: the three-way join of benchmarks/drain.py, each the way its own documents teach it.

- A program reads invoices, postings and payments, keeps what it has of each case, and produces the case's result to
  RESULTS whenever a part has come. It is durable as far as its framework makes it so, at least once.
- `three_way` is the job itself, for those that call Python; `runs` measures one; `outcome` checks every one's end state.
- Each program runs in an environment of its own, with the exact versions in the file beside it.
"""
