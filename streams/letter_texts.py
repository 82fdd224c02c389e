"""Dead letters in words and as JSON, for `tieout dlq`. Nothing is asked or changed here.

- Bytes are text where they are UTF-8, otherwise {"base64": ...} in JSON and backslash escapes in text.
- A line is a line: reasons are cut at LINE_CHARS, bytes in text at SHOWN_BYTES. JSON leaves out nothing.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sinks.rows import LetterActionRow
from streams.letters import Acted, Content, Letter, Taken, is_last_replay

LINE_CHARS = 200
SHOWN_BYTES = 4_096
DID = {"replay": "replayed", "park": "parked", "discard": "discarded"}


def letter_json(letter: Letter) -> dict[str, Any]:
    told = {"id": str(letter.place), **letter._asdict(), "class": letter.failure}
    del told["failure"]
    if not letter.actor:
        told["acted_at"] = None
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}


def whole_json(letter: Letter, content: Content, audit: Sequence[LetterActionRow]) -> dict[str, Any]:
    rows = [
        row._asdict() | {"at": row.at.isoformat(), "body": _bytes_json(row.body), "detail": json.loads(row.detail)}
        for row in audit
    ]
    return letter_json(letter) | {
        "key": _bytes_json(content.key),
        "headers": [[name, _bytes_json(value)] for name, value in content.headers],
        "original": _bytes_json(content.original),
        "audit": rows,
    }


def act_json(act: str, found: Taken, acted: Acted | None) -> dict[str, Any]:
    failed = {item.letter.place: item.reason for item in acted.failed} if acted else {}
    return {
        "act": act,
        "dry_run": acted is None,
        "batch": acted.batch if acted else None,
        "total": found.total,
        "letters": [
            letter_json(letter) | {"to": letter.target, "failed": failed.get(letter.place)} for letter in found.taken
        ],
        "left": [letter_json(letter) for letter in found.left],
    }


def letter_line(letter: Letter) -> str:
    count = f"replayed {letter.replay_count}×" if letter.replay_count else ""
    return f"{letter.state:<9} {letter.failure:<11} {letter.place!s:<28} {_at(letter.last_failed_at)}  {count:<11} {_line(letter.reason)}"  # fmt: skip


def whole_lines(letter: Letter, content: Content, audit: Sequence[LetterActionRow]) -> Iterator[str]:
    yield f"{letter.place}  {letter.state}, {letter.failure}: {letter.reason}"
    yield f"refused at {letter.stage}, source {letter.source or '–'}, replays go to {letter.target}"
    yield f"first failed {_at(letter.first_failed_at)}, last {_at(letter.last_failed_at)}, replayed {letter.replay_count}×"
    yield from (f"went to case {case}" for case in letter.cases)
    yield ""
    yield from (f"{_at(row.at)}  {row.action:<9} by {row.actor}: {_line(row.reason)}" for row in audit)
    yield f"\nkey {_escaped(content.key) or '–'}"
    yield from (f"{name}: {'–' if value is None else _escaped(value)}" for name, value in content.headers)
    yield f"\n{_escaped(content.original[:SHOWN_BYTES])}"
    if len(content.original) > SHOWN_BYTES:
        yield f"... the first {SHOWN_BYTES:,} of {len(content.original):,} bytes; --body gives all of them, untouched"


def act_lines(act: str, found: Taken, mended: bytes | None) -> Iterator[str]:
    """What is done, or would be, with each letter."""
    for letter in found.taken:
        yield f"{letter.place} → {_replay_line(letter, mended)}" if act == "replay" else str(letter.place)


def act_notes(act: str, found: Taken, acted: Acted | None) -> Iterator[str]:
    """What a person should know besides."""
    yield from (f"{letter.place} is {letter.state}: left as it is" for letter in found.left)
    for item in acted.failed if acted else ():
        yield f"{item.letter.place} was not taken by the broker: {item.reason}"
    if acted:
        yield f"{DID[act]} {len(acted.done)} of {found.total} dead letters as batch {acted.batch}"
    elif found.taken:
        yield f"would have {DID[act]} {len(found.taken)} of {found.total} dead letters: nothing is done without --yes"
    else:
        yield f"no dead letter to be {DID[act]}"


def _replay_line(letter: Letter, mended: bytes | None) -> str:
    size = f"{letter.original_bytes:,} bytes" if mended is None else f"{len(mended):,} mended bytes"
    last = ", parked if it is refused again" if is_last_replay(letter) else ""
    return f"{letter.target}, {size}, replay {letter.replay_count + 1}{last}"


def _bytes_json(value: bytes | None) -> str | dict[str, str] | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value or b"").decode()}


def _escaped(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _line(text: str) -> str:
    return " ".join(text.split())[:LINE_CHARS]


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
