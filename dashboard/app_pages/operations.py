"""Operations: how far behind, how fast, and what was refused; for those who run it."""

from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple

import streamlit as st

from dashboard import queries
from dashboard.components import live, page_of_address, show, title, turn_pages, zone
from dashboard.markup import (
    NOTHING,
    Column,
    Html,
    age_text,
    case_link,
    clock_text,
    count,
    duration,
    fill,
    join,
    moment,
    panel,
    several,
    state_chip,
    table,
    words,
)
from dashboard.store import Row, ask

LATENCY_WINDOW_S = 900
MINUTES = 60
LETTERS_A_PAGE = 20
SHOWN_BYTES = 4_096
LETTER_STATES = {
    "open": ("break", "Open"), "replayed": ("pending", "Replayed"), "resolved": ("ok", "Resolved"), "parked": ("quiet", "Parked"),
    "discarded": ("quiet", "Discarded"),
}  # fmt: skip
SOURCE_STATES = {
    "current": ("ok", "Current"), "behind": ("pending", "Behind"), "not_read": ("break", "Not read"), "lost": ("break", "Records lost"),
}  # fmt: skip
STEPS = {"event": "Event happened → visible", "first_seen": "Case first seen → visible", "judged": "Judged → visible"}


class Known(NamedTuple):
    fast: list[Row]
    minutes: list[Row]
    sources: list[Row]
    positions: list[Row]
    pages: int
    letter_classes: list[Row]
    letters: list[Row]


def load(page: int) -> Known:
    classes = ask(queries.DEAD_LETTERS_BY_CLASS)
    return Known(
        ask(queries.HOW_FAST, window_s=LATENCY_WINDOW_S),
        ask(queries.VERDICTS_PER_MINUTE, minutes=MINUTES),
        ask(queries.SOURCES),
        ask(queries.POSITIONS),
        -(-sum(row["records"] for row in classes) // LETTERS_A_PAGE),
        classes,
        ask(
            queries.DEAD_LETTERS_CHOSEN,
            classes=[],
            most=LETTERS_A_PAGE,
            skip=(page - 1) * LETTERS_A_PAGE,
            shown_bytes=SHOWN_BYTES,
        ),
    )


def draw(known: Known) -> None:
    left, right = st.columns([0.5, 0.5], gap="medium")
    with left:
        show(latency_panel(known.fast))
        show(minutes_panel(known.minutes))
    with right:
        show(sources_panel(known.sources))
        show(positions_panel(known.positions))
    show(letters_panel(known.letter_classes, known.letters))
    if known.pages > 1:
        turn_pages(page, known.pages)


def latency_panel(rows: list[Row]) -> Html:
    columns = (
        Column("Step", "wide"), Column("p50", "number"), Column("p95", "number"), Column("p99", "number"),
        Column("Worst", "number"), Column("Verdicts", "number"),
    )  # fmt: skip
    cells = [
        (
            STEPS.get(row["step"], row["step"]),
            *map(duration, row["percentiles_s"]),
            duration(row["worst_s"]),
            count(row["verdicts"]),
        )
        for row in rows
    ]
    empty = "No verdict changed in the last 15 minutes."
    return panel(
        "Verdict latency",
        table(columns, cells, empty=empty, label="Verdict latency"),
        "verdicts of the last 15 minutes",
    )


def minutes_panel(rows: list[Row]) -> Html:
    bars = join(
        fill(
            '<i style="height:{}%" title="{}: {} verdicts"></i>',
            f"{row['share_of_most'] * 100:.1f}",
            clock(row),
            row["verdicts"],
        )
        for row in rows
    )
    ends = (clock(rows[0]), clock(rows[-1])) if rows else (NOTHING, NOTHING)
    body = fill('<div class="minutes">{}</div><p class="ends"><span>{}</span><span>{}</span></p>', bars, *ends)
    newest = rows[-1]["verdicts"] if rows else 0
    return panel("Changed verdicts a minute", body, fill("{} in this minute", count(newest)))


def clock(row: Row) -> str:
    return clock_text(row["minute"], zone())


def sources_panel(rows: list[Row]) -> Html:
    """Idle is told from stopped by the last record: a source with marks has one at least every `heartbeat_s`."""
    columns = (Column("Source"), Column("State"), Column("Complete up to", "number"), Column("Last record", "number"))
    cells = [
        (
            row["source"],
            state_chip(SOURCE_STATES, row["state"]),
            fill('<span title="{} offsets behind, {} lost">{} ago</span>', count(row["lag"]), count(row["lost_offsets"]), age_text(row["behind_s"])),
            NOTHING if row["silent_s"] is None else f"{age_text(row['silent_s'])} ago",
        )
        for row in rows
    ]  # fmt: skip
    body = table(columns, cells, empty="No worker has read a source yet.", label="Sources")
    return panel("Sources", body, "what each has sent has been read")


def positions_panel(rows: list[Row]) -> Html:
    """A row a topic, so that all of them are seen at once; the rest of a partition is told on hover."""
    columns = (
        Column("Topic"),
        Column("Next offset, by partition", "wide"),
        Column("Lag", "number"),
        Column("Flushed", "number"),
    )
    cells = [
        (
            row["topic"],
            fill('<div class="offsets">{}</div>', join(offset(*place) for place in row["partitions"])),
            fill('<b class="bad">{}</b>', count(row["lag"])) if row["lag"] else count(0),
            f"{age_text(row['longest_since_flushed_s'])} ago",
        )
        for row in rows
    ]
    note = several(sum(len(row["partitions"]) for row in rows), "partition")
    body = table(columns, cells, empty="No worker has flushed yet.", label="Positions")
    return panel("Positions", body, f"{several(len(rows), 'topic')}, {note}")


def offset(partition: int, next_offset: int, lag: int, age_s: float, epoch: int, worker: str) -> Html:
    told = (
        f"partition {partition}: lag {lag:,}, flushed {age_text(age_s)} ago, epoch {epoch}, worker {worker or NOTHING}"
    )
    tone = "bad" if lag else ""
    return fill('<span title="{}"><i>{}</i><b class="{}">{}</b></span>', told, partition, tone, count(next_offset))


def letters_panel(classes: list[Row], letters: list[Row]) -> Html:
    note = ", ".join(f"{words(row['class'])} {row['records']:,}" for row in classes)
    body = (
        fill('<ol class="letters">{}</ol>', join(map(letter, letters)))
        if letters
        else fill('<p class="nothing">No record was refused.</p>')
    )
    return panel("Dead letters", body, note)


def letter(row: Row) -> Html:
    cases = row["cases"] or [row["correlation_id"]] * bool(row["correlation_id"])
    shown_cases = fill(" · case {}", join_words(case_link(case, case) for case in cases)) if cases else ""
    return fill(
        '<li><details><summary>{state} <span class="chip quiet">{kind}</span> <b>{reason}</b>'
        '<span class="right">{at}</span></summary>{done}<p class="position">{topic}/{partition}/{offset} · refused at {stage} · '
        "source {source} · key {key} · headers {headers}{cases}</p><pre>{original}</pre><p class=\"position\">{cut}</p></details></li>",
        state=state_chip(LETTER_STATES, row["state"]), kind=words(row["class"]), reason=row["reason"],
        at=moment(row["last_failed_at"], zone()), done=what_was_done(row), topic=row["topic"],
        partition=row["partition"], offset=row["offset"], stage=row["stage"], source=row["source"] or NOTHING,
        key=row["key"] or NOTHING, headers=row["headers"] or NOTHING, cases=shown_cases,
        original=bytes_text(b64decode(row["original_base64"])),
        cut=several(row["original_bytes"], "byte") + (f", the first {SHOWN_BYTES:,} shown" if row["original_bytes"] > SHOWN_BYTES else ""),
    )  # fmt: skip


def what_was_done(row: Row) -> Html | str:
    """How often it was sent again, and the last thing that a person did: who, when and why."""
    parts: list[object] = []
    if row["replay_count"]:
        parts.append(fill("replayed {}, first failed {}", times(row["replay_count"]), moment(row["first_failed_at"], zone())))  # fmt: skip
    if row["actor"]:
        parts.append(fill("{} on {}: {}", row["actor"], moment(row["acted_at"], zone()), row["why"]))
    return fill('<p class="position">{}</p>', join_words(parts, " · ")) if parts else ""


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def join_words(parts: Iterable[object], between: str = ", ") -> Html:
    listed = list(parts)
    return join(part for index, one in enumerate(listed) for part in ((between, one) if index else (one,)))


def bytes_text(original: bytes) -> str:
    """As text where it is text; otherwise sixteen bytes a line, in hex and in what can be printed."""
    try:
        text = original.decode()
        if all(char.isprintable() or char in "\r\n\t" for char in text):
            return text
    except UnicodeDecodeError:
        pass
    lines = (original[start : start + 16] for start in range(0, len(original), 16))
    return "\n".join(
        f"{line.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}" for line in lines
    )


title("Operations", "lag, speed and what was refused")
page = page_of_address()
live(f"operations {page}", lambda: load(page), draw)
