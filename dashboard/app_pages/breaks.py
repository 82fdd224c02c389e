"""Breaks: every open break, searched, filtered, sorted and paged by the store; the address carries all of it.

Parameters of the address: search, entity, class, owner, severity, currency (each may repeat), age, sort, page.
"""

from typing import Any, NamedTuple

import streamlit as st

from dashboard import queries
from dashboard.components import address, live, page_of_address, severity, show, title, turn_pages, zone
from dashboard.markup import (
    NOTHING,
    Column,
    Html,
    case_link,
    duration,
    fill,
    hop_words,
    href,
    moment,
    money,
    outcome_chip,
    panel,
    several,
    table,
    words,
)
from dashboard.store import Row, StoreUnavailable, ask

PAGE_ROWS = 25
OTHER_ROWS = 20
SEVERITIES = ("high", "medium", "low")
AGES_S = {
    "Any age": 0,
    "Over 1 hour": 3_600,
    "Over 1 day": 86_400,
    "Over 7 days": 7 * 86_400,
    "Over 30 days": 30 * 86_400,
}
FILTERS = (
    ("class", "Class", "classes"), ("entity", "Entity", "entities"), ("owner", "Owner", "owners"),
    ("severity", "Severity", "severities"), ("currency", "Currency", "currencies"), ("hop", "Late hop", "hops"),
)  # fmt: skip

SPOKEN = {"class": words, "owner": words, "severity": words, "hop": hop_words}
FILTER_NAMES = {"search", "age", *(name for name, _, _ in FILTERS)}


class Known(NamedTuple):
    total: Row
    breaks: list[Row]
    others: list[Row]


def load(filters: dict[str, Any], sort: str, page: int) -> Known:
    skip = (page - 1) * PAGE_ROWS
    search = filters["search"]
    return Known(
        ask(queries.BREAKS_CHOSEN_COUNT, most=PAGE_ROWS, **filters)[0],
        ask(queries.breaks_chosen(sort), most=PAGE_ROWS, skip=skip, **filters),
        ask(queries.OTHER_CASES_FOUND, search=search, most=OTHER_ROWS) if search else [],
    )


def draw(known: Known, filters: dict[str, Any]) -> None:
    found = f"{several(known.total['breaks'], 'break')} in {several(known.total['cases'], 'case')}"
    empty = (
        "No open break matches." if any(filters.values()) else "No open breaks: everything ties out or is in flight."
    )
    show(panel("Open breaks", table(columns(), map(cells, known.breaks), empty=empty, label="Open breaks"), found))
    if known.total["pages"] > 1:
        turn_pages(page, known.total["pages"])
    if filters["search"] and (known.others or not known.breaks):
        show(others_panel(known.others))


def columns() -> tuple[Column, ...]:
    """Titles that sort keep the other choices."""
    kept = {name: values for name, values in address().items() if name not in ("sort", "page")}

    def by(order: str) -> str:
        return href("breaks", **{**kept, "sort": order})

    def named(text: str, order: str, kind: str = "text") -> Column:
        return Column(text + (" ▾" if order == sort else ""), kind, by(order))

    return (
        named("Document", "document"), named("Class", "class"), named("Entity", "entity"), named("Variance", "largest", "number"),
        named("Owner", "owner"), named("Severity", "severity"), named("Age", "oldest", "number"),
        named("Judged", "newest", "number"), Column("What to do", "wide"),
    )  # fmt: skip


def cells(row: Row) -> tuple[object, ...]:
    return (
        fill(
            '{}<small title="{}">{}</small>',
            case_link(row["document"], row["case_key"]),
            row["customer"],
            row["customer"],
        ),
        words(row["class"]),
        row["entity"],
        money(row["variance_minor"], row["currency"]),
        words(row["owner"]),
        severity(row),
        duration(row["age_s"]),
        moment(row["judged_at"], zone(), seconds=False),
        fill('<span class="clamp" title="{}">{}</span>', row["reason"], row["reason"]),
    )


def others_panel(rows: list[Row]) -> Html:
    columns = (
        Column("Document"), Column("Outcome"), Column("Customer"), Column("Entity"), Column("Amount", "number"),
        Column("Last event", "number"), Column("Case", "wide"),
    )  # fmt: skip
    found = [
        (
            case_link(row["document"], row["case_key"]),
            outcome_chip(row["outcome"]),
            fill('<span class="clip">{}</span>', row["customer"] or NOTHING),
            row["entity"],
            money(row["amount_minor"], row["currency"]),
            moment(row["last_event_at"], zone(), seconds=False),
            fill('<span class="quiet">{}</span>', row["case_key"]),
        )
        for row in rows
    ]
    return panel(
        "Cases without a break that match", table(columns, found, empty="No other case matches.", label="Other cases")
    )


def choices() -> Row:
    """What can be chosen; with the store away only what the address already names."""
    try:
        return ask(queries.CHOICES_OF_BREAKS)[0]
    except StoreUnavailable:
        return {}


def filters_of_address() -> dict[str, list[str]]:
    """Sort and page are not filters: turning a page leaves these alone."""
    return {name: values for name, values in address().items() if name in FILTER_NAMES}


def take_from_address() -> None:
    """Fills the filters from the address where it is not what they last wrote into it: a deep link, or a step back."""
    if filters_of_address() == st.session_state.get("filters written") and "search" in st.session_state:
        return
    st.session_state["search"] = st.query_params.get("search", "")
    st.session_state["age"] = st.query_params.get("age") if st.query_params.get("age") in AGES_S else "Any age"
    for name, _, _ in FILTERS:
        st.session_state[name] = st.query_params.get_all(name)


def write_address(chosen: dict[str, Any]) -> None:
    """Puts the filters into the address; a changed choice starts at the first page."""
    wanted = {name: chosen[many] for name, _, many in FILTERS} | {"search": chosen["search"]}
    wanted["age"] = st.session_state["age"] if chosen["older_than_s"] else ""
    after = {name: [value] if isinstance(value, str) else value for name, value in wanted.items() if value}
    if after != filters_of_address():
        kept = {"sort": st.query_params["sort"]} if "sort" in st.query_params else {}
        st.query_params.from_dict({**after, **kept})
    st.session_state["filters written"] = after


def choose() -> dict[str, Any]:
    """The row of filters."""
    known = {**choices(), "severities": SEVERITIES, "hops": queries.HOPS}
    with st.container(key="filters", horizontal=True, vertical_alignment="bottom", gap="small"):
        search = st.text_input(
            "Search", key="search", type="search", max_chars=256, placeholder="Document, customer, any identifier"
        )
        chosen: dict[str, Any] = {"search": (search or "").strip()}
        for name, label, many in FILTERS:
            options = list(dict.fromkeys([*known.get(many, ()), *st.session_state[name]]))
            chosen[many] = st.multiselect(
                label, options, key=name, format_func=SPOKEN.get(name, str), placeholder="Any"
            )
        age = st.selectbox("Age", list(AGES_S), key="age")
    return {**chosen, "older_than_s": AGES_S[age or "Any age"]}


title("Breaks", "what does not tie out, why, and who mends it")
take_from_address()
filters = choose()
write_address(filters)
sort = st.query_params.get("sort", "newest")
page = page_of_address()
live(f"breaks {filters} {sort} {page}", lambda: load(filters, sort, page), lambda known: draw(known, filters))
