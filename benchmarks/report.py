"""What a benchmark found: a table for people, JSON for machines; all benchmarks in the same shape.

`publish(name, settings, rows)` prints the rows and writes `.tieout/bench/<name>.json`: when, on which machine and how busy
it was, which versions and commit, the settings, the rows. A row is flat: what was measured in words first, then figures,
their unit in their name. Rows need not have the same columns.
"""

import argparse
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / ".tieout" / "bench"
_PACKAGES = (
    "tieout",
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "pydantic",
    "msgspec",
    "clickhouse-connect",
    "chdb",
)


def settings(doc: str, **numbers: int | tuple[int, ...]) -> argparse.Namespace:
    """The command line of a benchmark: its rules' first line, and a flag for each number, or for several."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, number in numbers.items():
        several = "+" if isinstance(number, tuple) else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, nargs=several, default=number, help=" ")
    return parser.parse_args()


def publish(name: str, given: argparse.Namespace | Row, rows: Sequence[Row]) -> None:
    told = dict(given if isinstance(given, Mapping) else vars(given))
    print(table(rows), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    place = RESULTS / f"{name}.json"
    found = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), **_where(), "settings": told, "rows": rows}  # fmt: skip
    place.write_text(json.dumps(found, indent=2, default=str) + "\n")
    print(f"-> {place.relative_to(ROOT)}", flush=True)


def table(rows: Sequence[Row]) -> str:
    """Words to the left, numbers to the right; empty where a row has nothing to say."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    texts = [[_text(row.get(column)) for column in columns] for row in rows]
    are_words = [any(isinstance(row.get(column), str) for row in rows) for column in columns]
    widths = [max(map(len, (column, *cells))) for column, cells in zip(columns, zip(*texts, strict=True), strict=True)]
    lines = [[column.replace("_", " ") for column in columns], *texts]
    return "\n".join("  ".join(map(_aligned, line, widths, are_words)).rstrip() for line in lines)


def _aligned(text: str, width: int, is_word: bool) -> str:
    return text.ljust(width) if is_word else text.rjust(width)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _where() -> dict[str, Any]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory_kb = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    machine = {
        "cpu": cpu[1] if cpu else platform.processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": int(memory_kb[1]) // 1024 if memory_kb else None,
        "system": platform.platform(),
        "load_1m": round(os.getloadavg()[0], 1),
    }
    kafka = re.search(r"kafka_\S+</artifactId>\s*<version>(.*?)<", (ROOT / "tests/kafka/pom.xml").read_text())
    versions = {"python": platform.python_version(), "kafka": kafka[1] if kafka else None}
    return {"machine": machine, "versions": versions | {name: version(name) for name in _PACKAGES}, "commit": _commit()}


def _commit() -> str:
    """The commit that was measured; with a plus where files differ from it."""
    try:
        told = [subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip() for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])]  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told[0] + ("+" if told[1] else "")
