"""Close: whether a period ties out, by balance: how it rolled forward, each difference by name, and who signed it.

The address names the period: /close?entity=<entity>&ledger=<ledger>&period=<period>; without it the latest one is shown.
What is shown is a tie-out as it was last made (`tieout tie-out --save`); nothing is computed here.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from dashboard import queries
from dashboard.components import live, show, title, zone
from dashboard.markup import (
    NOTHING,
    Column,
    Html,
    case_link,
    chip,
    fill,
    href,
    join,
    link,
    moment,
    money,
    panel,
    several,
    state_chip,
    table,
    words,
)
from dashboard.store import Row, ask

MOST_PERIODS = 120
MOST_NAMED = 6  # documents of a line that are shown
STATES = {"tied_out": ("ok", "Ties out"), "explained": ("pending", "Explained"), "incomplete": ("break", "Incomplete")}
LINES = {
    "not_posted": "Not posted", "other_period": "In another period", "no_document": "No document", "amount": "Amount differs",
    "rounding": "Rounding", "duplicate": "Booked twice", "not_reversed": "Not reversed", "applied_not_posted": "Applied, not posted",
    "posted_not_applied": "Posted, not applied", "manual": "Manual journal", "revaluation": "Revaluation", "other_lines": "Other lines",
    "booked_after_report": "Booked after the report", "restated": "Restated since signed",
}  # fmt: skip
BEHIND_LEDGER = ("other_lines", "booked_after_report")
POSITIONS = {
    "receivable": "Receivables", "payable": "Payables", "deferred": "Deferred revenue", "tax": "Tax", "clearing": "Clearing",
    "unapplied": "Unapplied cash",
}  # fmt: skip


class Known(NamedTuple):
    periods: list[Row]
    chosen: Row | None
    balances: list[Row]
    movements: list[Row]
    lines: list[Row]
    accounts: list[Row]
    post_close: list[Row]


def load(named: dict[str, str]) -> Known:
    periods = ask(queries.PERIODS, most=MOST_PERIODS)
    chosen = next((row for row in periods if all(row[name] == value for name, value in named.items() if value)), None)
    if chosen is None:
        return Known(periods, None, [], [], [], [], [])
    of = {name: chosen[name] for name in ("entity", "ledger", "period")}
    return Known(
        periods, chosen, ask(queries.BALANCES_OF_PERIOD, **of), ask(queries.MOVEMENTS_OF_PERIOD, **of),
        ask(queries.LINES_OF_PERIOD, **of), ask(queries.ACCOUNTS_OF_PERIOD, **of), ask(queries.POST_CLOSE_OF_PERIOD, **of),
    )  # fmt: skip


def draw(known: Known) -> None:
    if known.chosen is None:
        show(nothing_yet(bool(known.periods)))
    left, right = st.columns([0.24, 0.76], gap="medium")
    with left:
        show(periods_panel(known.periods, known.chosen))
    with right:
        if known.chosen is not None:
            draw_period(known, known.chosen)


def draw_period(known: Known, chosen: Row) -> None:
    base = chosen["base_currency"]
    show(header(chosen))
    if chosen["lacking"]:
        lacking = join(fill("<p>{}</p>", each) for each in chosen["lacking"])
        show(panel("Missing from the books", fill('<div class="conflicts missing">{}</div>', lacking)))
    show(balances_panel(known, base))
    if known.post_close:
        show(post_close_panel(known.post_close, chosen))
    restated = [line for line in known.lines if line["name"] == "restated"]
    if restated:
        show(panel("Restated since it was signed", bridge_table([line_cells(line, base) for line in restated])))
    for balance in known.balances:
        show(balance_panel(balance, known, base))
    if chosen["not_kept"]:
        kept = ", ".join(POSITIONS[position].lower() for position in chosen["not_kept"])
        show(fill('<p class="quiet">This ledger keeps no account of: {}.</p>', kept))


def nothing_yet(has_others: bool) -> Html:
    what = "No tie-out of that period is kept." if has_others else "No period has been tied out yet."
    return fill(
        '<section class="welcome"><h2>{}</h2><p>A tie-out is made and kept by one command; this page shows it as soon as it is there.</p>'
        "<dl><dt>Tie out a period</dt><dd><code>tieout tie-out --entity acme --period 2024-02 --save</code></dd>"
        "<dt>Sign it</dt><dd><code>tieout close sign --entity acme --period 2024-02 --reviewer NAME</code></dd></dl></section>",
        what,
    )


def periods_panel(periods: Sequence[Row], chosen: Row | None) -> Html:
    rows = [
        (
            period_link(row, row is chosen),
            fill("{}<small>{}</small>", state_chip(STATES, row["state"]), signed_mark(row)),
        )
        for row in periods
    ]
    return panel("Periods", table((Column("Period"), Column("State", "wide")), rows, label="Periods"))


def period_link(row: Row, is_chosen: bool) -> Html:
    to = href("close", entity=row["entity"], ledger=row["ledger"], period=row["period"])
    text = fill("<b>{}</b>", row["period"]) if is_chosen else fill("{}", row["period"])
    return fill(
        '{}<small title="{}">{} · {}</small>',
        link(text, to, "case-link"),
        row["entity"],
        row["entity"][:12],
        row["ledger"],
    )


def signed_mark(row: Row) -> str:
    if row["signed_at"] is None:
        return "not signed"
    late = f", {row['post_close']:,} after" if row["post_close"] else ""
    return f"{row['signed_by']}{late}"


def header(chosen: Row) -> Html:
    kept = [
        ("Ledger", f"{chosen['ledger']}, in {chosen['base_currency']}"),
        ("Days", f"{chosen['starts']} to {chosen['ends']}"),
        ("As known", moment(chosen["known_until"] or chosen["made_at"], zone())),
        ("Named differences", chosen["lines"]),
        ("Missing", chosen["missing"] or NOTHING),
        ("Made", moment(chosen["made_at"], zone())),
        *signature(chosen),
    ]
    return fill(
        '<div class="case"><div class="title"><h1>{}</h1>{}{}<span class="note">{}</span></div><dl class="facts">{}</dl>{}</div>',
        chosen["period"],
        state_chip(STATES, chosen["state"]),
        chip("ok", "Signed", "●") if chosen["signed_at"] else chip("quiet", "Not signed"),
        chosen["entity"],
        join(fill("<div><dt>{}</dt><dd>{}</dd></div>", name, value) for name, value in kept),
        fill('<div class="conflicts"><p>{}</p></div>', chosen["signed_comment"]) if chosen["signed_comment"] else "",
    )


def signature(chosen: Row) -> list[tuple[str, object]]:
    if chosen["signed_at"] is None:
        return []
    return [
        ("Prepared by", chosen["signed_by"]),
        ("Checked by", chosen["reviewed_by"] or NOTHING),
        ("Signed", moment(chosen["signed_at"], zone())),
        ("On what was known", moment(chosen["signed_known_until"], zone())),
        ("Policy, code", f"{chosen['signed_policy'] or NOTHING}, {chosen['signed_code'] or NOTHING}"),
        ("Digest", chosen["signed_digest"] or NOTHING),
    ]


def balances_panel(known: Known, base: str) -> Html:
    """All balances on one sheet."""
    columns = (
        Column("Balance"), Column("Opening", "number"), Column("Documents", "number"), Column("Ledger", "number"),
        Column("Reported", "number"), Column("Residual", "number"), Column("Named", "number"), Column("State", "wide"),
    )  # fmt: skip
    rows = [
        (
            fill("<b>{}</b>", POSITIONS[row["position"]]),
            money(row["opening_minor"], base),
            money(row["documents_minor"], base),
            money(row["ledger_minor"], base),
            money(row["reported_minor"], base),
            money(row["residual_minor"], base),
            row["lines"],
            state_chip(STATES, row["state"]),
        )
        for row in known.balances
    ]
    return panel("Balances", table(columns, rows, label="Balances"), f"in {base}, natural sign")


def post_close_panel(rows: Sequence[Row], chosen: Row) -> Html:
    base = chosen["base_currency"]
    columns = (
        Column("Document"), Column("Balance"), Column("For"), Column("Known since", "number"), Column("Ledger", "number"),
        Column("Documents", "number"),
    )  # fmt: skip
    cells = [
        (
            fill("{}<small>{}</small>", case_link(row["documents"][0], row["case_key"]), named(row["documents"][1:])),
            POSITIONS[row["position"]],
            row["day"],
            moment(row["known_at"], zone(), seconds=False),
            money(row["ledger_minor"], base),
            money(row["documents_minor"], base),
        )
        for row in rows
    ]
    return panel(
        "After the close was signed",
        table(columns, cells, label="After the close"),
        several(len(rows), "post-close line"),
    )


def balance_panel(balance: Row, known: Known, base: str) -> Html:
    position = balance["position"]
    movements = [row for row in known.movements if row["position"] == position]
    lines = [row for row in known.lines if row["position"] == position and row["name"] != "restated"]
    accounts = [row for row in known.accounts if row["position"] == position]
    missing = join(fill("<p>{}</p>", lacking) for lacking in balance["missing"])
    body = join(
        [
            bridge_table(bridge(balance, lines, accounts, base)),
            fill('<div class="conflicts missing"><b>Missing</b>{}</div>', missing) if missing else "",
            fill("<details class=\"rolled\"><summary><b>Roll-forward</b> <span class=\"quiet\">{}</span></summary>{}</details>", currencies(movements), roll_forward(movements, base)),
        ]
    )  # fmt: skip
    return panel(POSITIONS[position], body, state_chip(STATES, balance["state"]))


def currencies(movements: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(row["currency"] for row in movements if row["currency"]))


def bridge(balance: Row, lines: Sequence[Row], accounts: Sequence[Row], base: str) -> list[tuple[object, ...]]:
    """From what documents say to what the ledger reports."""
    rows = [total("Documents", balance["documents_minor"], base)]
    rows += [line_cells(line, base) for line in lines if line["name"] not in BEHIND_LEDGER]
    rows.append(
        total("Ledger", balance["ledger_minor"], base, ", ".join(f"account {row['account']}" for row in accounts))
    )
    rows += [line_cells(line, base) for line in lines if line["name"] in BEHIND_LEDGER]
    if balance["reported_minor"] is None:
        rows.append((fill("<b>Reported</b>"), fill('<span class="quiet">not reported</span>'), "", ""))
    else:
        rows.append(total("Reported", balance["reported_minor"], base))
        rows.append(total("Residual", balance["residual_minor"], base))
    return rows


def total(name: str, amount_minor: int, base: str, note: str = "") -> tuple[object, ...]:
    return (
        fill("<b>{}</b>", name),
        fill("<b>{}</b>", money(amount_minor, base)),
        "",
        fill('<span class="quiet">{}</span>', note),
    )


def line_cells(line: Row, base: str) -> tuple[object, ...]:
    return (
        fill('<span class="step">{}</span>', LINES.get(line["name"], words(line["name"]))),
        money(line["amount_minor"], base),
        join(documents(line)),
        fill('<span class="clamp" title="{}">{}</span>', line["reason"], line["reason"]),
    )


def documents(line: Row) -> Iterable[Html]:
    """Each case once, under the name of its document; postings beside them as text."""
    names, keys = list(line["documents"]), list(line["cases"])
    shown = [case_link(name, key) for name, key in zip(names, keys, strict=False)][:MOST_NAMED]
    rest = names[len(keys) :] if len(keys) < MOST_NAMED else []
    for index, each in enumerate(shown):
        yield fill("{}{}", ", " if index else "", each)
    if rest[:MOST_NAMED]:
        yield fill("<small>{}</small>", named(rest[:MOST_NAMED]))
    if len(names) > MOST_NAMED:
        yield fill("<small>and {} more</small>", len(names) - MOST_NAMED)


def named(names: Sequence[str]) -> str:
    return ", ".join(names)


def bridge_table(rows: Sequence[tuple[object, ...]]) -> Html:
    columns = (
        Column("From documents to ledger"),
        Column("Amount", "number"),
        Column("Documents"),
        Column("Why", "wide"),
    )
    return table(columns, rows, label="Bridge")


def roll_forward(movements: Sequence[Row], base: str) -> Html:
    columns = (
        Column("Movement"), Column("Documents", "number"), Column("Ledger", "number"), Column(f"Documents, {base}", "number"),
        Column(f"Ledger, {base}", "number"), Column("Difference", "number"),
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    seen: Any = None
    shown = [row for row in movements if row["currency"]]
    for row in shown if len({row["currency"] for row in shown}) == 1 else movements:
        if row["currency"] != seen:
            seen = row["currency"]
            rows.append((fill("<b>{}</b>", seen or "All currencies"), "", "", "", "", ""))
        rows.append(movement_cells(row, base))
    return table(columns, rows, label="Roll-forward")


def movement_cells(row: Row, base: str) -> tuple[object, ...]:
    strong = "<b>{}</b>" if row["kind"] == "closing" else "{}"
    amounts = (
        money(row["documents_minor"], row["currency"]), money(row["ledger_minor"], row["currency"]),
        money(row["documents_base_minor"], base), money(row["ledger_base_minor"], base),
        money(row["difference_minor"] or None, base),
    )  # fmt: skip
    return (
        fill('<span class="step">{}</span>', fill(strong, words(row["kind"]))),
        *(fill(strong, amount) for amount in amounts),
    )


title("Close", "documents, ledger and what it reports, by period")
chosen = {name: st.query_params.get(name, "") for name in ("entity", "ledger", "period")}
live(f"close {chosen}", lambda: load(chosen), draw)
