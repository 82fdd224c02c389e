"""Movements of Xero books by month, in SQL over the table extracts: `python -m tests.oracle.tie_out FOLDER`, one JSON a line.

[month, balance, side, kind, currency, amount in minor units, base amount]; the ledger's have no currency but the base's.
"""

import sys
from pathlib import Path

import chdb

SQL = Path(__file__).with_suffix(".sql")


def main(folder: str) -> None:
    sql = SQL.read_text(encoding="utf-8").replace("FOLDER", folder)
    sys.stdout.write(str(chdb.query(sql, "JSONCompactEachRow")))


if __name__ == "__main__":
    main(sys.argv[1])
