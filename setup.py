"""Compiles the hot path with mypyc where TIEOUT_COMPILED=1 is set; everything else of the build is in pyproject.toml.

What is compiled is the same source: annotated Python becomes C, and judging and joining take about half the time (docs/benchmarks.md).
Modules that define pydantic models or msgspec structs stay as they are, for mypyc would make plain classes of them; so do
those that no event waits for.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

HOT = (
    "canonical/ids.py", "canonical/money.py", "canonical/plain.py", "matching/*.py", "matching/controls/*.py", "streams/hop_counts.py", "streams/join.py", "streams/memory.py",
    "streams/partitioner.py", "streams/batch.py", "sinks/native.py",
)  # fmt: skip
AS_THEY_ARE = {
    f"matching/{name}.py"
    for name in (
        "__init__", "catalogue", "compare", "explain", "identify", "parallel", "policy", "policy_lines", "policy_schema", "terms",
        "verdict",
    )
}  # fmt: skip


def compiled() -> list[object]:
    if os.environ.get("TIEOUT_COMPILED") != "1" or "dist_info" in sys.argv:  # asked for metadata alone
        return []
    from mypyc.build import mypycify

    found = {str(path) for pattern in HOT for path in Path().glob(pattern)}
    return list(mypycify(sorted(found - AS_THEY_ARE), opt_level="2", debug_level="0"))


setup(ext_modules=compiled())
