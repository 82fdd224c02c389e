"""On which line of a policy file each key is written: what the TOML reader does not tell.

Read by lines: headers `[a.b]` and `[[a]]` (the n-th one is `a.<n>`, from 0), keys `a.b = ...`, bare or quoted, and arrays
or texts over several lines. A key inside an inline table has the line of that table. The text is TOML already.
"""

import re
from collections.abc import Iterator, Sequence

Lines = dict[tuple[str, ...], int]

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(.*)$"""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_QUIET = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\])*"|'[^']*'|\#.*|[\[\]{}]''')


def lines_of(text: str) -> Lines:
    """Of every table and key, from 1."""
    found: Lines = {}
    table: tuple[str, ...] = ()
    count: dict[tuple[str, ...], int] = {}
    for number, line in _statements(text):
        if header := _HEADER.match(line):
            table = _inside(_parts(header[2]), count)
            if header[1] == "[[":
                count[table] = count.get(table, -1) + 1
                table = (*table, str(count[table]))
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def line_of(path: Sequence[str], lines: Lines) -> int | None:
    """The line of the key, or else of the innermost table around it that is written."""
    for length in range(len(path), 0, -1):
        line = lines.get(tuple(path[:length]))
        if line is not None:
            return line
    return None


def _inside(path: tuple[str, ...], count: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    """A table below an array of tables is in its last one."""
    if path[:1] in count and len(path) > 1:
        return (path[0], str(count[path[:1]]), *path[1:])
    return path


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines on which a statement begins: not those inside an array, a table or a text that is still open."""
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not depth and not quote:
            yield number, line
        for match in _QUIET.finditer(line):
            token = match[0]
            if token in ('"""', "'''"):
                quote = "" if quote == token else quote or token
            elif not quote and token in "[{":
                depth += 1
            elif not quote and token in "]}":
                depth -= 1
