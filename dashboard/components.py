"""What every page is made of: the frame, and sections that keep themselves fresh.

- `live(load, draw)`: the store is asked every REFRESH_S in a fragment, never by reloading the page. While the store does
  not answer, a banner says so above what was last known, and the next round tries again.
- No stack trace reaches a reader: what is unexpected goes to the log, the page says that it did.
- A link (`<a href="case?key=...">`) loads a page, in a session of its own. Never switch pages within a session: Streamlit
  then clears the tree of elements by comparing page hashes that may be out of date, a section's next refresh writes to a
  place that is gone ("Bad delta path index"), and the reader sees a white page.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import streamlit as st

from dashboard import markup, queries, theme
from dashboard.markup import Html, fill
from dashboard.store import Row, StoreUnavailable, ask

REFRESH_S = 2
PAGES = {
    "": "app_pages/overview.py",
    "breaks": "app_pages/breaks.py",
    "case": "app_pages/case.py",
    "close": "app_pages/close.py",
    "operations": "app_pages/operations.py",
}
WINDOWS_S = {"24 h": 86_400, "7 days": 7 * 86_400, "30 days": 30 * 86_400, "All": 0}

Known = TypeVar("Known")
_log = logging.getLogger("tieout.dashboard")


def frame(current: str) -> None:
    """Style and the bar on top. Called once a run, before the page."""
    st.html(f"<style>{theme.css()}</style>")
    with st.container(key="topbar", horizontal=True, vertical_alignment="center", gap="medium"):
        _tabs(current)
        _freshness()


def _tabs(current: str) -> None:
    shown = "breaks" if current == "case" else current
    names = (("", "Overview"), ("breaks", "Breaks"), ("close", "Close"), ("operations", "Operations"))
    tabs = markup.join(
        fill(
            '<a href="{}" class="{}">{}</a>',
            path or "./",
            "tab current" if path == shown else "tab",
            name,
        )
        for path, name in names
    )
    show(fill('<nav class="tabs"><a href="./" class="brand"><b>tie</b>out</a>{}</nav>', tabs))


@st.fragment(run_every=REFRESH_S)
def _freshness() -> None:
    """Says how old the newest verdict is, or that nobody knows."""
    try:
        fresh = ask(queries.HOW_FRESH)[0]
    except StoreUnavailable:
        show(fill('<p class="fresh down"><i></i>store not reached</p>'))
        return
    if not fresh["verdicts"]:
        show(fill('<p class="fresh idle"><i></i>no verdicts yet</p>'))
        return
    lag = fill(" · {} records behind", markup.count(fresh["lag"])) if fresh["lag"] else ""
    age = markup.age_text(fresh["newest_verdict_age_s"])
    show(
        fill(
            '<p class="fresh"><i></i>newest verdict {} ago{}<span class="zone">times in {}</span></p>', age, lag, zone()
        )
    )


def live(name: str, load: Callable[[], Known], draw: Callable[[Known], None]) -> None:
    """A section that is loaded and drawn anew every REFRESH_S. `name` is unique to it and its filters."""
    waiting = st.empty()
    if st.session_state.get("known", ("",))[0] != name:
        waiting.html(fill('<div class="loading" role="status">Asking the store …</div>'))
    _live(name, load, draw)
    waiting.empty()


@st.fragment(run_every=REFRESH_S)
def _live(name: str, load: Callable[[], Any], draw: Callable[[Any], None]) -> None:
    try:
        known = _known(name, load)
        if known is not None:
            draw(known)
    except Exception:  # noqa: BLE001 - the edge: the reader gets a sentence, the log the trace
        _log.exception("section %s failed", name)
        show(banner("This section could not be drawn.", "The reason is in the dashboard's log."))


def _known(name: str, load: Callable[[], Any]) -> Any:
    """What the store says; where it does not answer, what it last said here, or None, under a banner."""
    try:
        known = load()
    except StoreUnavailable as problem:
        if st.session_state.get("problem") != str(problem):  # logged once, not at every round
            _log.warning("%s", problem)
            st.session_state["problem"] = str(problem)
        of, known, at = st.session_state.get("known", (None, None, None))
        since = fill("Below is what was known at {}.", markup.moment(at, zone())) if of == name else ""
        show(banner(problem.title, problem.advice, since))
        return known if of == name else None
    st.session_state["known"] = (name, known, datetime.now(UTC))
    return known


def show(html: Html) -> None:
    st.html(html)


def zone() -> str:
    """The reader's time zone."""
    return markup.zone_of(st.context.timezone)[0]


def turn_pages(page: int, pages: int) -> None:
    """Within the live section: a turn goes into the address, and the page is drawn anew for it."""
    chosen = st.pagination(pages, default=min(page, pages), key=f"page of {page}")
    if chosen != page:
        st.query_params["page"] = str(chosen)
        st.rerun()


def page_of_address() -> int:
    shown = st.query_params.get("page", "1")
    return max(1, int(shown)) if shown.isdecimal() and len(shown) < 8 else 1


def address() -> dict[str, list[str]]:
    """The address's parameters, each with all its values."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def banner(title: str, advice: str, more: object = "") -> Html:
    """`advice` may name commands between backticks."""
    told = markup.join(
        fill("<code>{}</code>", part) if index % 2 else part for index, part in enumerate(advice.split("`"))
    )
    return fill(
        '<div class="banner" role="alert"><b>{}</b> <span>{}</span> <span class="more">{}</span></div>',
        title,
        told,
        more,
    )


def title(text: object, note: object = "") -> None:
    show(fill('<div class="title"><h1>{}</h1><span class="note">{}</span></div>', text, note))


def no_events_yet() -> Html:
    return fill(
        '<section class="welcome"><h2>No events yet</h2>'
        "<p>The store is ready and empty. As soon as an event arrives its case is judged and appears here, without a reload.</p>"
        "<dl><dt>Send what a system wrote</dt><dd><code>tieout send stripe ./webhooks</code></dd>"
        "<dt>Watch a made-up company</dt><dd><code>tieout demo</code></dd>"
        "<dt>Something should be here?</dt><dd><code>tieout doctor</code></dd></dl></section>"
    )


def break_link(class_: str, **filters: object) -> Html:
    return markup.link(markup.words(class_), markup.href("breaks", **{"class": class_, **filters}))


def severity(row: Row) -> Html:
    return markup.severity_chip(row["severity"])
