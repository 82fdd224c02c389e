"""The short benchmarks, one after the other: `make bench`. Each is a command of its own with longer settings."""

from benchmarks import drain, latency
from benchmarks.report import publish

if __name__ == "__main__":
    rows = [
        {"benchmark": "latency"} | latency.measure(rate=2_000, seconds=20),
        {"benchmark": "drain, tieout"} | drain.tieout(cases=60_000),
        {"benchmark": "drain, stock Faust"} | drain.stock(cases=5_000),
    ]
    publish("short", {}, rows)
