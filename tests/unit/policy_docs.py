"""docs/policy.md and docs/policy.schema.json, made of the model and of the default policy: `python -m tests.unit.policy_docs`.

What a section means is said once, in the comments of matching/default_policy.toml; the page shows them with the defaults
and the type of every key.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matching.policy_schema import keys, schema, type_of

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE, SCHEMA = DOCS / "policy.md", DOCS / "policy.schema.json"
DEFAULTS = DOCS.parent / "matching" / "default_policy.toml"
HEAD = """# Policy

What is expected, by when, how exactly, and who owns what is not as it should be: one TOML file, laid over the defaults below,
so that it says only what differs. It is given with `--policy FILE` to `worker`, `reconcile`, `replay` and the others. This page
is made of the model and of the comments in `matching/default_policy.toml` by `python -m tests.unit.policy_docs`; a test fails
when it is not true.

- **Strict.** An unknown key, a wrong type, a feed or calendar that nobody describes: `tieout policy check FILE` says each mistake
  with its key and line, and nothing starts with one.
- **In an editor.** [policy.schema.json](policy.schema.json) completes and checks while writing; with Taplo or Even Better TOML
  the first line of the file is `#:schema` and where the schema lies. `tieout policy schema` prints it.
- **Explained.** `tieout policy explain KEY [EVENTS...]` says which table and line a verdict came from; `--hop NAME --entity NAME
  --ledger NAME` says what holds for a leg.
- **Hash.** 16 hex over the whole policy with its defaults; each verdict carries it. Open cases that were judged under another
  are judged again when a worker starts with it, in the background.
- **Tables merge key by key, lists replace.** `[expect.<system>]` lies over `[expect.default]`.

## From a day on: `[[version]]`

Sections that hold from a moment on, for cases that start then ([decision 8](decisions/0008-policy-from-a-day-on.md)). Each is laid
over the one before it. `feeds`, `limits`, `identity`, `identification` and `door` hold for all time and cannot be in one.

```toml
[[version]]
valid_from = 2026-07-01 # its beginning in UTC; or a moment: 2026-07-01T00:00:00+02:00

[version.hops.invoice_to_posting]
target_s = 3_600
```
"""


def page() -> str:
    parts = [HEAD]
    section = ""
    for comment, code in _blocks(DEFAULTS.read_text(encoding="utf-8")):
        name = re.match(r"\[([a-z_]+)", code)
        if name and name[1] != section:
            section = name[1]
            parts.append(f"\n## `[{section}]`\n")
        parts += [f"\n{text}\n" for text in comment] + ([f"\n```toml\n{code}\n```\n"] if code else [])
    parts.append(
        "\n## Every key\n\n`<name>` is the file's own: an entity, a ledger, a system, a feed, a calendar, a class of break.\n\n"
    )
    parts.append("| key | type |\n|---|---|\n")
    whole = schema()
    return "".join([*parts, *(f"| `{key}` | {type_of(key, whole)} |\n" for key in _once(keys()))])


def _once(found: Iterator[str]) -> Iterator[str]:
    """The seven hops have the same keys but for the days of the one that has a due date."""
    return iter(dict.fromkeys(re.sub(r"^hops\.[a-z_]+", "hops.<hop>", key) for key in found))


def _blocks(text: str) -> Iterator[tuple[list[str], str]]:
    """Comments and the TOML below them."""
    comment: list[str] = []
    code: list[str] = []
    for line in [*text.splitlines(), "#"]:
        if line.startswith("#"):
            if code:
                yield list(_paragraphs(comment)), "\n".join(code).strip()
                comment, code = [], []
            comment.append(line.removeprefix("#").removeprefix(" "))
        elif line or code:
            code.append(line)


def _paragraphs(comment: list[str]) -> Iterator[str]:
    """Lines that are indented are an example."""
    is_example = False
    found: list[str] = []
    for line in [*comment, ""]:
        if found and (line.startswith("  ") != is_example or not line):
            yield "```toml\n" + "\n".join(found) + "\n```" if is_example else "\n".join(found)
            found = []
        is_example = line.startswith("  ")
        if line:
            found.append(line.removeprefix("  "))


def schema_text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def main() -> None:
    written: dict[Path, Any] = {PAGE: page(), SCHEMA: schema_text()}
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
