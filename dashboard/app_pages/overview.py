"""Overview: how much money is in flight, tied out and in break, how the legs do against their targets, what broke last."""

from typing import NamedTuple

import streamlit as st

from dashboard import queries
from dashboard.components import WINDOWS_S, break_link, live, no_events_yet, show, title
from dashboard.markup import (
    NOTHING,
    Column,
    Html,
    amount_text,
    bar,
    case_link,
    count,
    duration,
    duration_text,
    fill,
    hop_words,
    href,
    join,
    link,
    money,
    panel,
    share,
    table,
    target_text,
    utc_text,
    words,
)
from dashboard.store import Row, ask

NEWEST = 14


class Known(NamedTuple):
    verdicts: int
    money: list[Row]
    hops: list[Row]
    by_class: list[Row]
    by_owner: list[Row]
    newest: list[Row]
    dead_letters: list[Row]


def load(window_s: int) -> Known:
    return Known(
        ask(queries.HOW_FRESH)[0]["verdicts"],
        ask(queries.MONEY_BY_ENTITY_AND_CURRENCY, window_s=window_s),
        ask(queries.HOPS_AGAINST_TARGET, window_s=window_s),
        ask(queries.BREAKS_BY_CLASS),
        ask(queries.BREAKS_BY_OWNER),
        ask(queries.NEWEST_BREAKS, most=NEWEST),
        ask(queries.DEAD_LETTERS_BY_CLASS),
    )


def draw(known: Known) -> None:
    if not known.verdicts:
        show(no_events_yet() if not known.dead_letters else join((dead_letter_note(known), no_events_yet())))
        return
    show(headline(known))
    left, right = st.columns([0.58, 0.42], gap="medium")
    with left:
        show(join((hops_panel(known.hops), money_panel(known.money), classes_panel(known.by_class, known.by_owner))))
    with right:
        show(newest_panel(known.newest))


def headline(known: Known) -> Html:
    """Four figures; the money below each, one line a currency."""
    total = next(row for row in known.money if row["all_currencies"])
    currencies = [row for row in known.money if row["all_entities"] and not row["all_currencies"]]
    refused = sum(row["records"] for row in known.dead_letters)
    cards = (
        figure(
            "break",
            "▲ In break",
            count(total["break_cases"]),
            "cases, exposed:",
            currencies,
            "exposure_minor",
            href("breaks"),
        ),
        figure(
            "pending", "◐ In flight", count(total["pending_cases"]), "cases, on the way:", currencies, "pending_minor"
        ),
        figure(
            "ok",
            "● Tied out",
            count(total["ok_cases"]),
            fill("cases, {} of all:", share(total["ok_share"])),
            currencies,
            "ok_minor",
        ),
        fill(
            '<a class="figure {}" href="operations"><span class="label">Dead letters</span>'
            '<span class="number">{}</span><span class="note">{}</span><ul>{}</ul></a>',
            "break" if refused else "quiet",
            count(refused),
            "refused, bytes kept:" if refused else "every record was read",
            join(
                fill("<li><span>{}</span><b>{}</b></li>", words(row["class"]), count(row["records"]))
                for row in known.dead_letters
            ),
        ),
    )
    return fill('<div class="figures">{}</div>', join(cards))


def figure(tone: str, label: str, number: Html, note: object, rows: list[Row], field: str, to: str = "") -> Html:
    lines = join(
        fill("<li><span>{}</span><b>{}</b></li>", row["currency"] or NOTHING, amount_text(row[field], row["currency"]))
        for row in rows
        if row[field]
    )
    tag = ('<a href="{to}" class="figure {tone}">', "</a>") if to else ('<div class="figure {tone}">', "</div>")
    return fill(
        tag[0] + '<span class="label">{label}</span><span class="number">{number}</span><span class="note">{note}</span>'
        "<ul>{lines}</ul>" + tag[1],
        to=to, tone=tone, label=label, number=number, note=note, lines=lines,
    )  # fmt: skip


def dead_letter_note(known: Known) -> Html:
    refused = sum(row["records"] for row in known.dead_letters)
    return fill('<p class="note">{} refused records: {}</p>', count(refused), link("see Operations", "operations"))


def money_panel(rows: list[Row]) -> Html:
    columns = (
        Column("Entity"), Column("Cases", "number"), Column("Tied out", "number"), Column("In flight", "number"),
        Column("In break", "number"), Column("Exposed", "number"), Column("", "currency"), Column("Tie-out rate", "number"),
    )  # fmt: skip
    cells = [
        (
            link(row["entity"] or NOTHING, href("breaks", entity=row["entity"])),
            count(row["cases"]),
            *(
                amount_or_none(row[f"{outcome}_minor"], row["currency"])
                for outcome in ("ok", "pending", "break", "exposure")
            ),
            row["currency"] or NOTHING,
            join((bar(row["ok_share"], "ok"), share(row["ok_share"]))),
        )
        for row in rows
        if not row["all_entities"]
    ]
    return panel(
        "Money by entity and currency",
        table(columns, cells, label="Money by entity and currency"),
        "currencies are never added",
    )


def amount_or_none(amount_minor: int, currency: str) -> Html:
    return (
        fill("{}", amount_text(amount_minor, currency))
        if amount_minor
        else fill('<span class="quiet">{}</span>', NOTHING)
    )


def hops_panel(rows: list[Row]) -> Html:
    columns = (
        Column("Hop"), Column("Target", "number"), Column("p50", "number"), Column("p95", "number"), Column("p99", "number"),
        Column("Waiting", "number"), Column("Late", "number"), Column("Missing", "number"), Column("Within target", "number"),
    )  # fmt: skip
    cells = [
        (
            hop_words(row["name"]),
            target(row),
            *(duration(value) if row["measured"] else NOTHING for value in row["percentiles_s"]),
            count(row["waiting"]),
            alarm(row["late"]),
            alarm(row["missing"]),
            join((bar(row["within_share"] or 0, "ok"), share(row["within_share"]))),
        )
        for row in rows
    ]
    empty = "No hop has been measured in this period."
    return panel(
        "Hops against their SLA targets",
        table(columns, cells, empty=empty, label="Hops against their SLA targets"),
        "event time, from start to end",
    )


def target(row: Row) -> str:
    """One target, or from the least to the most where entities or terms differ."""
    texts = dict.fromkeys((target_text(row["least_target_s"]), target_text(row["most_target_s"])))
    return " – ".join(texts)


def alarm(number: int) -> Html:
    return fill('<b class="bad">{}</b>', count(number)) if number else count(number)


def newest_panel(rows: list[Row]) -> Html:
    columns = (Column("Case"), Column("Break"), Column("Variance", "number"), Column("Age", "number"))
    cells = [
        (
            fill(
                '{}<small title="{}">{}</small>',
                case_link(row["document"], row["case_key"]),
                row["customer"],
                row["customer"] or row["entity"],
            ),
            join((break_link(row["class"]), fill("<small>{}</small>", row["entity"]))),
            money(row["variance_minor"], row["currency"]),
            fill('<span title="judged {}">{}</span>', utc_text(row["judged_at"]), duration_text(row["judged_age_s"])),
        )
        for row in rows
    ]
    return panel(
        "Newest breaks",
        table(columns, cells, empty="No open breaks.", label="Newest breaks"),
        link("all breaks", "breaks"),
    )


def classes_panel(rows: list[Row], owners: list[Row]) -> Html:
    columns = (
        Column("Class", "wide"),
        Column("Owner"),
        Column("", "text"),
        Column("Breaks", "number"),
        Column("Oldest", "number"),
    )
    cells = [
        (
            break_link(row["class"], owner=row["owner"]),
            words(row["owner"]),
            bar(row["share_of_most"], "break"),
            count(row["breaks"]),
            duration(row["oldest_s"]),
        )
        for row in rows
    ]
    by_owner = join(
        fill(
            '<a class="owner" href="{}">{} <b>{}</b></a>',
            href("breaks", owner=row["owner"]),
            words(row["owner"]),
            count(row["breaks"]),
        )
        for row in owners
    )
    body = table(columns, cells, empty="No open breaks.", label="Breaks by class and owner")
    return panel("Breaks by class and owner", body, fill('<span class="owners">{}</span>', by_owner))


with st.container(key="heading", horizontal=True, vertical_alignment="center"):
    title("Overview", "what is open counts whenever it began; what tied out counts for the period")
    chosen = st.segmented_control(
        "Period",
        list(WINDOWS_S),
        default="30 days",
        required=True,
        key="period",
        bind="query-params",
        label_visibility="collapsed",
    )
period = WINDOWS_S[chosen or "30 days"]
live(f"overview {period}", lambda: load(period), draw)
