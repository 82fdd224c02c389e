"""One case: what it is, what is wrong with it, its life across the systems, and the events as they came.

The address names it: /case?key=<case key>. Texts of the verdict are shown as judged; nothing is judged again here.
"""

import json
from typing import Any, NamedTuple

import streamlit as st

from dashboard import queries
from dashboard.components import live, show, zone
from dashboard.markup import (
    HOP_STATES,
    NOTHING,
    RESULTS,
    Column,
    Html,
    chip,
    duration,
    fill,
    hop_words,
    indented,
    join,
    link,
    moment,
    money,
    outcome_chip,
    panel,
    several,
    severity_chip,
    state_chip,
    table,
    target_text,
    time_of,
    words,
)
from dashboard.store import Row, ask

MOST_FACTS = 300
MOST_VERDICTS = 50
MOST_EVIDENCE = 25
MOST_LETTERS = 20


class Known(NamedTuple):
    case: Row | None
    facts: list[Row]
    verdicts: list[Row]
    letters: list[Row]


def load(key: str) -> Known:
    found = ask(queries.CASE_BY_KEY, key=key)
    return Known(
        found[0] if found else None,
        ask(queries.FACTS_OF_CASE, key=key, most=MOST_FACTS),
        ask(queries.VERDICTS_OF_CASE, key=key, most=MOST_VERDICTS),
        ask(queries.DEAD_LETTERS_INTO_CASE, key=key, most=MOST_LETTERS),
    )


def draw(known: Known) -> None:
    """Each part is an element of its own, so that an opened event stays open until its part changes."""
    if known.case is None:
        show(not_found())
        return
    verdict: dict[str, Any] = json.loads(known.case["raw"])
    controls = json.loads(known.case["controls"])
    show(header(known.case, verdict))
    left, right = st.columns([0.58, 0.42], gap="medium")
    with left:
        for item in verdict["breaks"]:
            show(break_panel(item, known.facts))
        show(timeline(known.facts, known.case["facts"]))
        if known.letters:
            show(letters_panel(known.letters))
    with right:
        show(hops_panel(verdict["hops"]))
        show(controls_panel(controls))
        show(history_panel(known.verdicts))


def not_found() -> Html:
    return fill(
        '<section class="welcome"><h2>No such case</h2><p>No verdict is stored for <code>{}</code>. It may not have arrived yet: '
        "this page shows it as soon as it does.</p>{}</section>",
        key or "an empty key",
        link("Search the breaks", "breaks"),
    )


def header(case: Row, verdict: dict[str, Any]) -> Html:
    kept = [
        ("Customer", case["customer"] or NOTHING),
        ("Entity", case["entity"] or NOTHING),
        ("Amount", money(case["amount_minor"], case["currency"])),
        ("Exposed", money(case["exposure_minor"], case["currency"])),
        ("Owner", ", ".join(dict.fromkeys(map(words, case["owners"]))) or NOTHING),
        ("Age", duration(case["age_s"])),
        ("First event", moment(case["first_event_at"], zone())),
        ("Last event", moment(case["last_event_at"], zone())),
        ("Judged", moment(case["judged_at"], zone())),
        ("Next deadline", moment(case["next_deadline"], zone())),
        ("Waits for", words(verdict["wait_for"]) if verdict["wait_for"] else NOTHING),
        ("Failure", words(verdict["failure"]) if verdict["failure"] else NOTHING),
    ]
    conflicts = join(fill("<p>Conflict: {}</p>", text) for text in verdict["conflicts"])
    return fill(
        '<div class="case"><p class="crumbs">{} / {}</p><div class="title"><h1>{}</h1>{}<span class="note">{}</span></div>'
        '<dl class="facts">{}</dl>{}</div>',
        link("Breaks", "breaks"),
        fill("<code>{}</code>", case["case_key"]),
        case["document"] or case["case_key"],
        outcome_chip(case["outcome"]),
        words(case["kind"]),
        join(fill("<div><dt>{}</dt><dd>{}</dd></div>", name, value) for name, value in kept),
        fill('<div class="conflicts">{}</div>', conflicts) if conflicts else "",
    )


def break_panel(item: dict[str, Any], facts: list[Row]) -> Html:
    by_id = {fact["fact_id"]: fact for fact in reversed(facts)}
    shown = item["evidence"][:MOST_EVIDENCE]
    evidence = join(
        event(by_id[fact_id]) if fact_id in by_id else fill("<li><code>{}</code></li>", fact_id) for fact_id in shown
    )
    hidden = len(item["evidence"]) - len(shown)
    return fill(
        '<section class="panel break"><header><h2>{shape} {name}</h2><span class="note">{owner} {severity}</span></header>'
        '<p class="reason">{reason}</p><dl class="sides"><div><dt>Expected</dt><dd>{expected}</dd></div>'
        "<div><dt>Actual</dt><dd>{actual}</dd></div><div><dt>Variance</dt><dd>{variance}</dd></div></dl>"
        '<h3>Evidence</h3><ol class="evidence">{evidence}{more}</ol><p class="finger">control {control} · fingerprint {fingerprint}</p>'
        "</section>",
        shape="▲",
        name=words(item["class"]),
        owner=fill("{} mends it", words(item["owner"])),
        severity=severity_chip(item["severity"]),
        reason=item["reason"],
        expected=item["expected"],
        actual=item["actual"],
        variance=money(item["variance_minor"], item["currency"]),
        evidence=evidence or fill('<li class="quiet">none</li>'),
        more=fill('<li class="quiet">and {} more</li>', hidden) if hidden else "",
        control=item["control"],
        fingerprint=item["fingerprint"],
    )


def event(fact: Row) -> Html:
    """One event: what, where from, when, how much; its record opens below."""
    return fill(
        '<li><details><summary><span class="told"><b>{what}</b> {subject} <span class="quiet">{source}</span></span>'
        '<span class="right">{amount}</span></summary>{record}</details></li>',
        what=words(fact["type"].replace(".", " ")),
        subject=fact["subject"],
        source=fact["source"],
        amount=money(fact["amount_minor"] or None, fact["currency"]),
        record=record(fact),
    )


def record(fact: Row) -> Html:
    return fill(
        '<p class="position">{}/{} at offset {} · received {}</p><pre>{}</pre>',
        fact["topic"],
        fact["partition"],
        fact["offset"],
        moment(fact["received_at"], zone()),
        indented(fact["raw"]),
    )


def timeline(facts: list[Row], total: int) -> Html:
    note = (
        several(total, "fact")
        if len(facts) <= total
        else f"{several(len(facts), 'record')} of {several(total, 'fact')}"
    )
    if len(facts) == MOST_FACTS:
        note = f"the first {MOST_FACTS} of {several(total, 'fact')}"
    body = (
        fill('<ol class="timeline">{}</ol>', join(map(step, facts)))
        if facts
        else fill('<p class="nothing">No facts are kept.</p>')
    )
    return panel("Timeline across the systems", body, note)


def step(fact: Row) -> Html:
    since = fill("+{}", duration(fact["since_previous_s"])) if fact["since_previous_s"] is not None else ""
    again = chip("quiet", f"delivery {fact['delivery']}") if fact["delivery"] > 1 else ""
    return fill(
        '<li><span class="when">{when}<small>{since}</small></span><div>{event}<small class="why">{reason}</small>{again}</div></li>',
        when=moment(fact["time"], zone()),
        since=since,
        event=fill('<ul class="bare">{}</ul>', event(fact)),
        reason=fact["reason"],
        again=again,
    )


def hops_panel(hops: list[dict[str, Any]]) -> Html:
    columns = (
        Column("Hop"),
        Column("State"),
        Column("Took", "number"),
        Column("Target", "number"),
    )
    cells = [
        (
            hop_words(hop["name"]),
            join((state_chip(HOP_STATES, hop["state"]), fill("<small>{}</small>", hop_clock(hop)))),
            duration(hop["latency_s"]),
            target_text(hop["target_s"]),
        )
        for hop in hops
    ]
    return panel("Hops against targets", table(columns, cells, empty="This kind of case has no hops.", label="Hops"))


def hop_clock(hop: dict[str, Any]) -> Html | str:
    """When it ended, or by when it must."""
    if hop["state"] == "not_expected" or not (hop["ended_at"] or hop["due_at"]):
        return ""
    word = "ended" if hop["ended_at"] else "due"
    return fill("{} {}", word, moment(time_of(hop["ended_at"] or hop["due_at"]), zone(), seconds=False))


def controls_panel(controls: list[dict[str, str]]) -> Html:
    columns = (Column("Control"), Column("Result"), Column("Reason", "wide"))
    worst = {"fail": 0, "not_assessed": 1, "pass": 2, "not_applicable": 3}
    shown = sorted(controls, key=lambda control: worst.get(control["result"], 4))
    cells = [
        (words(row["name"]), state_chip(RESULTS, row["result"]), fill("<small>{}</small>", row["reason"]))
        for row in shown
    ]
    return panel(
        "Controls",
        table(columns, cells, empty="No control was run.", label="Controls"),
        several(len(controls), "control"),
    )


def history_panel(verdicts: list[Row]) -> Html:
    columns = (
        Column("Judged"),
        Column("Outcome"),
        Column("Breaks", "wide"),
        Column("Exposed", "number"),
    )
    cells = [
        (
            fill(
                '<span title="epoch {}, seq {}, policy {}">{}</span>',
                row["epoch"],
                row["seq"],
                row["policy"],
                moment(row["judged_at"], zone()),
            ),
            outcome_chip(row["outcome"]),
            ", ".join(map(words, row["break_classes"])) or NOTHING,
            money(row["exposure_minor"] or None, row["currency"]),
        )
        for row in verdicts
    ]
    return panel("How the verdict changed", table(columns, cells, label="How the verdict changed"), "newest first")


def letters_panel(letters: list[Row]) -> Html:
    columns = (Column("Resolved"), Column("Was refused for", "wide"), Column("Replayed by", "wide"))
    cells = [
        (
            moment(row["resolved_at"], zone()),
            join((row["reason"], fill("<small>{}/{}/{}</small>", row["topic"], row["partition"], row["offset"]))),
            join((row["actor"] or NOTHING, fill("<small>{}</small>", row["why"]))),
        )
        for row in letters
    ]
    note = several(len(letters), "letter")
    return panel("Dead letters replayed into this case", table(columns, cells, label="Dead letters"), note)


key = st.query_params.get("key", "")
live(f"case {key}", lambda: load(key), draw)
