"""What production runs is compiled (setup.py): it must say of every case what the source says.

Built here as `make compiled` builds it. The tests that look at the judge from outside are run against it in a process of their
own; those that reach into a module's inside, or read docstrings, run on the source alone.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMPILED = ROOT / ".tieout" / "compiled"
HOT = ("matching.judge", "matching.view", "matching.controls.amounts", "streams.join", "streams.memory", "sinks.native")
ASKED = (
    "tests/scenarios", "tests/property/test_judge.py", "tests/property/test_every_event.py", "tests/property/test_money_moved.py",
    "tests/unit/test_case.py", "tests/unit/test_memory.py", "tests/simulation/test_company_truth.py",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    subprocess.run([ROOT / "scripts" / "compiled.sh"], check=True, timeout=900)
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join((str(COMPILED), str(ROOT)))}


def test_what_is_hot_is_compiled(environment: dict[str, str]) -> None:
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {HOT}))"
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    files = said.stdout.split()
    assert len(files) == len(HOT)
    assert all(file.startswith(str(COMPILED)) and file.endswith(".so") for file in files), files


def test_the_compiled_judge_says_what_the_source_says(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-o", "pythonpath=", "-p", "no:cacheprovider"]
    command += ["--ignore=tests/scenarios/test_catalogue.py", *ASKED]
    told = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=1_500
    )
    assert told.returncode == 0, told.stdout[-3_000:] + told.stderr[-1_000:]
