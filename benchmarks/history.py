"""How fast a historical load is, how fast its cases are judged, and how fast all verdicts are rebuilt afterwards.

    python -m benchmarks.history [--cases 100000] [--json FILE]

The command's figures are of the whole process: reading its input twice (once for its name), mapping, inserting, telling the
owners. `records_per_cpu_s` is what one core does where nobody shares it. The end state is checked: every record a fact,
every fact in a verdict, every wrong amount a break, and the rebuild the same bytes.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.cluster import cluster, start, wait_for

PARTITIONS = 8
PATIENCE_S = 1_800


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=100_000)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    figures = measure(given.cases)
    print(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))


def measure(cases: int) -> dict[str, Any]:
    expected = load.expected(cases)
    with cluster(PARTITIONS) as found:
        history = found.folder / "history.jsonl"
        with history.open("wb") as file:
            file.writelines(message.value + b"\n" for message in load.messages(cases))
        address = ["--bootstrap", found.kafka.bootstrap, "--store", found.store.url]
        loaded = _run(["backfill", "canonical", str(history), *address], found.folder / "backfill.log")
        client = found.client()
        assert client.query("SELECT count() FROM facts").first_row[0] == expected.events
        began_s = time.monotonic()
        worker = start([sys.executable, "-m", "tieout", "worker", *address, "--metrics-port", "0"], found.folder / "worker.log")  # fmt: skip
        try:
            distinct = expected.events - cases // 1_000 * 5
            judged = "SELECT sum(facts) FROM verdicts FINAL"
            wait_for(lambda: client.query(judged).first_row[0] == distinct, "every fact judged", PATIENCE_S)
            judged_s = time.monotonic() - began_s
        finally:
            worker.terminate()
            worker.wait(60)
        wrong = client.query("SELECT count() FROM verdicts FINAL WHERE has(break_classes, 'amount')").first_row[0]
        assert wrong == expected.wrong_amount, f"{wrong} breaks, {expected.wrong_amount} planted"
        rebuilt = _run(["replay", *address], found.folder / "replay.log")
        from_log = _run(["replay", "--from-log", *address], found.folder / "replay-log.log")
    return {
        "records": expected.events, "cases": cases, "backfill": _rates(loaded, expected.events, "records"),
        "judged_cases_per_s": round(cases / judged_s), "replay": _rates(rebuilt, cases, "cases"),
        "replay_from_log": _rates(from_log, cases, "cases"),
    }  # fmt: skip


def _run(command: list[str], log: Path) -> dict[str, float]:
    began_s = time.monotonic()
    process = start([sys.executable, "-m", "tieout", *command], log)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"tieout {command[0]} ended with {process.returncode}: {log.read_text()[-3_000:]}")
    return {"wall_s": time.monotonic() - began_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}  # fmt: skip


def _rates(ran: dict[str, float], count: int, unit: str) -> dict[str, int]:
    return {
        f"{unit}_per_s": round(count / ran["wall_s"]),
        f"{unit}_per_cpu_s": round(count / ran["cpu_s"]),
        "peak_mb": round(ran["peak_mb"]),
    }


if __name__ == "__main__":
    main()
