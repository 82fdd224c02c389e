"""Tie-out agrees with plain SQL over the events of generated companies, and a rule that is changed there is found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SQL = Path(__file__).with_name("tie_out_events.sql")
MISTAKES = {
    "voids change nothing": ("i.currency, -i.total,", "i.currency, 0 * i.total,"),
    "reversals do not count": ("('posting.recorded', 'posting.reversed')", "('posting.recorded')"),
    "the accounting date is not looked at": ("JSONExtractString(data, 'accounting_date') = ''", "true"),
    "every rate is divided by": ("!= 'base_per_document'", "!= 'nothing'"),
}


def compare(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: one has room for one embedded database."""
    command = [sys.executable, "-m", "tests.oracle.tie_out_events", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--seed", "1"), ("--seed", "2", "--turmoil")], ids=["business", "turmoil"])
def test_sql_over_the_events_says_the_same_to_the_last_minor_unit(arguments: tuple[str, ...]) -> None:
    done = compare("--cases", "1500", *arguments)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert " 0 differ" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_the_comparison_finds_a_rule_that_is_wrong(name: str, tmp_path: Path) -> None:
    right, wrong = MISTAKES[name]
    text = SQL.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "changed.sql").write_text(text.replace(right, wrong), encoding="utf-8")
    done = compare("--cases", "600", "--turmoil", "--sql", str(tmp_path / "changed.sql"))
    assert done.returncode == 1, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert re.search(r" [1-9]\d* differ", done.stdout)
