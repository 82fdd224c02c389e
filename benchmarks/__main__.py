"""The short benchmarks, one after the other: `make bench`. Each is a command of its own with longer settings."""

from benchmarks import drain, latency

if __name__ == "__main__":
    print(f"{'latency':12} {latency.measure(rate=2_000, seconds=20)}", flush=True)
    print(f"{'drain':12} {drain.tieout(cases=60_000)}", flush=True)
    print(f"{'stock Faust':12} {drain.stock(cases=5_000)}", flush=True)
