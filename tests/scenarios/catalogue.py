"""docs/breaks.md from the registry, the docstrings and the scenario tables: `python -m tests.scenarios.catalogue`.

Each class is shown by the first row in which it fires, in the order of the tables' files.
"""

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from matching import catalogue
from matching.catalogue import Entry
from matching.findings import major
from matching.policy import load
from matching.verdict import Break, Verdict
from tests.scenarios.books import Row, verdict_of

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "breaks.md"
HEAD = """# Breaks

What each class of break means, an example, who owns it, how severe it is and what to do. Made of the controls' own
docstrings, the default policy and the scenario tables (tests/scenarios) by `python -m tests.scenarios.catalogue`; a test
fails when it is not true, and unless each class fires in at least two rows of the tables and passes in at least two.
Owner and severity are policy's defaults. An amount at risk counts each root cause once.
"""


def rows() -> Iterator[Row]:
    """Every row of every scenario table."""
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(f"tests.scenarios.{path.stem}")
        for table in vars(module).values():
            if isinstance(table, tuple):
                yield from (row for row in table if isinstance(row, Row))


@cache
def judged() -> list[tuple[Row, Verdict]]:
    return [(row, verdict_of(row)) for row in rows()]


def firing(class_: str) -> list[tuple[Row, Break]]:
    return [(row, found) for row, verdict in judged() for found in verdict.breaks if found.class_ == class_]


def passing(class_: str) -> list[Row]:
    """Rows in which the control of that name looked and found nothing."""
    return [row for row, verdict in judged() if any(c.name == class_ and c.result == "pass" for c in verdict.controls)]


def page() -> str:
    entries = catalogue.entries(load())
    return "\n".join([HEAD, *_table(entries), *(_section(entry) for entry in entries)])


def _table(entries: list[Entry]) -> Iterator[str]:
    yield "| class | owner | severity | cases that are asked |"
    yield "|---|---|---|---|"
    for entry in entries:
        kinds = ", ".join(f"**{kind}**" if kind in entry.mandatory else kind for kind in entry.kinds)
        yield f"| [{entry.class_}](#{entry.class_}) | {entry.owner} | {entry.severity} | {kinds} |"
    yield "\nA case in bold is not ok before the control was answered.\n"


def _section(entry: Entry) -> str:
    row, found = firing(entry.class_)[0]
    example = f"{row.what}: expected {found.expected}, found {found.actual}"
    if found.variance_minor:
        example += f", {major(found.variance_minor, found.currency)} apart"
    return (
        f"## {entry.class_}\n\n{entry.meaning}\n\n- Example: {example}.\n- To do: {entry.what_to_do}\n"
        f"- Owner {entry.owner}, severity {entry.severity}.\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
