"""The conventions that no other tool knows, held by a test.

- Arrows: canonical imports nothing of ours; sources, matching, sinks and company import canonical at the most, and so
  does dashboard; streams imports those below it; tieout.py anything; nothing that ships imports tests or benchmarks.
- canonical, sources and matching are pure: no clock, no file, no network, no environment, no thread, no chance.
- A function is 70 lines at the most, and the median of all is under 10.
- Every module says its rules first; no module is called utils, helpers or manager.
- What is tracked names no path of one machine and no host of a package registry.
"""

import ast
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

MAY_IMPORT = {
    "canonical": set(),
    "sources": {"canonical"},
    "matching": {"canonical"},
    "sinks": {"canonical"},
    "company": {"canonical"},
    "dashboard": {"canonical"},
    "streams": {"canonical", "sources", "matching", "sinks"},
    "gateway": {"canonical", "sources", "matching", "sinks"},
}
OURS = {*MAY_IMPORT, "tieout", "tests", "benchmarks"}
SHIPPED = [*MAY_IMPORT, "tieout.py"]
PURE = ("canonical", "sources", "matching")

# What a pure package may import of the standard library and of others. All else is a clock, chance or the outside.
PURE_IMPORTS = {
    *("__future__", "abc", "base64", "binascii", "bisect", "calendar", "collections", "contextlib", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "keyword"),
    *("math", "operator", "re", "string", "struct", "textwrap", "tomllib", "types", "typing", "typing_extensions"),
    *(
        "unicodedata",
        "urllib.parse",
        "xml.parsers",
        "zoneinfo",
        "annotated_types",
        "msgspec",
        "pydantic",
        "pydantic_core",
    ),
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_ATTRIBUTES = {
    *("urandom", "environ", "getenv"),
    *("read_text", "read_bytes", "write_text", "write_bytes", "stdin", "stdout", "stderr"),
}
CLOCKS = {"now", "utcnow", "today"}  # where called; `view.now` is a value that was handed in
# The places that touch a file, each for one reason.
PURE_EXCEPT = {
    # Readers of the provider's files, and of what belongs together in a folder of them.
    "sources/joined.py": {"sqlite3", "pathlib"},
    "sources/document_flow.py": {"sqlite3", "pathlib"},
    "sources/bank_files.py": {"pathlib", "read_bytes"},
    "sources/records.py": {"csv", "gzip", "sqlite3", "zlib", "io", "os", "pathlib", "open", "read_bytes", "read_text"},
    # The default policy ships with the code, and is as constant as the code.
    "matching/policy.py": {"importlib", "read_text"},
}

LONGEST_LINES = 70
MEDIAN_LINES = 10
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
# Written with a bar, or this file would be the first to break its own rule.
FORBIDDEN_WORDS = [
    word.replace("|", "")
    for word in (
        *("/wo|rk/", "/tmp/la|b", "/ro|ot/", "/ho|me/", "pypi.|org", "pythonhosted.|org", "repo1.|maven"),
        *("repo.|maven", "registry.|npmjs", "crates.|io", "proxy.|golang", "deb.|debian", "archive.|ubuntu"),
    )
]


def tracked() -> list[str]:
    """What is in git or about to be; where there is no git, as in an unpacked archive, every file that is not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))


TRACKED = tracked()
PYTHON = [name for name in TRACKED if name.endswith(".py")]
SHIPPED_PYTHON = [name for name in PYTHON if name.split("/")[0] in SHIPPED]
PURE_PYTHON = [name for name in PYTHON if name.split("/")[0] in PURE]


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every absolute import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, lines from `def` to its last) of every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def wrong_arrows(name: str, tree: ast.AST) -> list[str]:
    package = name.split("/")[0]
    allowed = OURS - {"tests", "benchmarks"} if package == "tieout.py" else MAY_IMPORT[package] | {package}
    return [
        f"{name}:{line} imports {module}"
        for line, module in imports(tree)
        if (top := module.split(".")[0]) in OURS and top not in allowed
    ]


def impurities(name: str, tree: ast.AST) -> list[str]:
    allowed = PURE_EXCEPT.get(name, set())
    found = [(line, f"imports {module}") for line, module in imports(tree) if not _is_pure_import(module, allowed)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS - allowed:
            found.append((node.lineno, f"calls {node.func.id}"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            found.append((node.lineno, f"calls .{node.func.attr}"))
        elif isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES - allowed:
            found.append((node.lineno, f"uses .{node.attr}"))
    return [f"{name}:{line} {what}" for line, what in sorted(found)]


def _is_pure_import(module: str, allowed: set[str]) -> bool:
    top = module.split(".")[0]
    return top in OURS or top in PURE_IMPORTS | allowed or module in PURE_IMPORTS


def test_packages_import_only_what_is_below_them() -> None:
    assert SHIPPED_PYTHON
    assert [wrong for name in SHIPPED_PYTHON for wrong in wrong_arrows(name, parsed(name))] == []


def test_pure_packages_have_no_clock_no_files_and_no_network() -> None:
    assert PURE_PYTHON
    assert [wrong for name in PURE_PYTHON for wrong in impurities(name, parsed(name))] == []


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = [
        f"{name}: {function} has {lines} lines"
        for name in PYTHON
        for function, lines in functions(parsed(name))
        if lines > LONGEST_LINES
    ]
    assert too_long == []


def test_most_functions_are_short(record_property: Callable[[str, object], None]) -> None:
    lengths = [lines for name in SHIPPED_PYTHON for _, lines in functions(parsed(name))]
    record_property("median_function_lines", statistics.median(lengths))
    assert statistics.median(lengths) < MEDIAN_LINES


def test_every_module_says_its_rules_first() -> None:
    silent = [name for name in PYTHON if (tree := parsed(name)).body and ast.get_docstring(tree) is None]
    assert silent == []


def test_module_names_say_what_is_in_them() -> None:
    assert [name for name in PYTHON if Path(name).stem in NAMES_THAT_SAY_NOTHING] == []


def test_tracked_files_name_no_machine_and_no_registry() -> None:
    found = [
        f"{name} says {word}"
        for name in TRACKED
        for word in FORBIDDEN_WORDS
        if word.encode() in (ROOT / name).read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "import socket",
        "import asyncio",
        "import requests",
        "import random",
        "from os import environ",
        "import urllib.request",
        "from datetime import datetime\ndef f(): return datetime.now()",
        "def f():\n    import threading",
        "open('facts')",
        "from datetime import date\ndate.today()",
    ],
)
def test_a_clock_or_a_file_in_a_pure_package_would_be_seen(code: str) -> None:
    assert impurities("matching/judge.py", ast.parse(code))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("canonical/money.py", "import matching"),
        ("matching/judge.py", "from sources.registry import SOURCES"),
        ("dashboard/queries.py", "from sinks import client"),
        ("company/world.py", "def f():\n    from sources import stripe"),
        ("streams/join.py", "import tests.fixtures_store"),
        ("tieout.py", "import benchmarks"),
    ],
)
def test_an_arrow_the_wrong_way_would_be_seen(name: str, code: str) -> None:
    assert wrong_arrows(name, ast.parse(code))


if __name__ == "__main__":  # the figures, for docs
    sizes = [(lines, name, function) for name in SHIPPED_PYTHON for function, lines in functions(parsed(name))]
    sys.stdout.write(f"{len(sizes)} functions, median {statistics.median(s[0] for s in sizes)}, longest {max(sizes)}\n")
