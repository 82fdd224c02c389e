"""Markup made safely, and how amounts, times and durations are written. No figure is computed here, only its text.

- `Html` is text that is already markup. `fill` escapes every value that is not, so nothing from the store can be markup.
- Amounts are written with exactly the decimals ISO 4217 gives their currency, digits grouped, the currency beside them.
- Times are shown in the reader's zone with UTC as their title; `zone` is an IANA name.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from typing import NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from canonical.money import MoneyError, exponent

NOTHING = "–"
OUTCOMES = {"ok": ("●", "Tied out"), "pending": ("◐", "In flight"), "break": ("▲", "In break")}
HOP_STATES = {
    "met": ("ok", "Met"), "met_late": ("pending", "Met late"), "waiting": ("pending", "Waiting"), "late": ("break", "Late"),
    "missing": ("break", "Missing"), "unproven": ("quiet", "Unproven"), "not_expected": ("quiet", "Not expected"),
}  # fmt: skip
RESULTS = {
    "pass": ("ok", "Pass"), "fail": ("break", "Fail"), "not_applicable": ("quiet", "Not applicable"),
    "not_assessed": ("pending", "Not assessed"),
}  # fmt: skip
SEVERITIES = {"high": "break", "medium": "pending", "low": "quiet"}
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+|"', re.DOTALL)
_INITIALS = {"sla": "SLA", "fx": "FX", "crm": "CRM", "erp": "ERP"}


class Html(str):
    """Text that is already markup."""


class Column(NamedTuple):
    """`kind`: text, number (right-aligned, tabular) or wide (takes what room is left)."""

    title: str
    kind: str = "text"
    link: str = ""  # a title that sorts


def fill(template: str, *values: object, **named: object) -> Html:
    """`template` with each value escaped unless it is Html."""
    return Html(template.format(*map(_safe, values), **{name: _safe(value) for name, value in named.items()}))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(map(_safe, parts)))


def _safe(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value), quote=True)


def words(name: str) -> str:
    """A code name as a reader would say it: missing_posting is "Missing posting", sla is "SLA"."""
    first, *rest = name.replace("_", " ").split() or [NOTHING]
    return " ".join(
        [_INITIALS.get(first, first[:1].upper() + first[1:]), *(_INITIALS.get(word, word) for word in rest)]
    )


def hop_words(name: str) -> str:
    start, _, end = name.partition("_to_")
    return f"{words(start)} → {words(end).lower()}" if end else words(name)


@cache
def decimals(currency: str) -> int | None:
    """Of a currency; None where ISO 4217 does not list it."""
    try:
        return exponent(currency)
    except MoneyError:
        return None


def amount_text(amount_minor: int, currency: str) -> str:
    """Digits only, grouped: 123450 USD is "1,234.50". Of an unknown currency the minor units as they are."""
    places = decimals(currency) or 0
    whole, part = divmod(abs(amount_minor), 10**places)
    sign = "−" if amount_minor < 0 else ""
    return f"{sign}{whole:,}" + (f".{part:0{places}}" if places else "")


def money(amount_minor: int | None, currency: str | None) -> Html:
    """The amount and, beside it in a column of its own width, its currency."""
    if amount_minor is None or not currency:
        return fill('<span class="quiet">{}</span>', NOTHING)
    note = "" if decimals(currency) is not None else " minor"
    return fill(
        '<span class="money">{}<span class="currency">{}{}</span></span>',
        amount_text(amount_minor, currency),
        currency,
        note,
    )


def count(number: int | None) -> Html:
    return fill("{}", NOTHING if number is None else f"{number:,}")


def share(part: float | None) -> Html:
    """A share of one as a percentage that never rounds up to 100 or down to 0."""
    if part is None:
        return fill('<span class="quiet">{}</span>', NOTHING)
    shown = f"{min(max(part * 100, 0.1), 99.9):.1f}" if 0 < part < 1 else f"{part * 100:.0f}"
    return fill("{} %", shown)


def duration_text(seconds: float | None) -> str:
    """Two significant figures or so: 0.35 s, 95 s, 22 min, 4.2 h, 3.1 d."""
    if seconds is None:
        return NOTHING
    size = abs(seconds)
    for least, unit, length in ((172_800, "d", 86_400), (7_200, "h", 3_600), (120, "min", 60), (1, "s", 1)):
        if size >= least:
            value = seconds / length
            return f"{value:.0f} {unit}" if abs(value) >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms" if size else "0 s"


def duration(seconds: float | None) -> Html:
    title = "" if seconds is None else f"{seconds:,.3f} s"
    return fill('<span title="{}">{}</span>', title, duration_text(seconds))


def target_text(seconds: float | None) -> str:
    """A target of no seconds is a document due on its own day."""
    return "same day" if seconds == 0 else duration_text(seconds)


def age_text(seconds: float) -> str:
    """As duration_text, but tenths of a second below ten: a figure that ticks keeps its width."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 10 else duration_text(seconds)


@cache
def zone_of(name: str | None) -> tuple[str, ZoneInfo | None]:
    """(name, zone) of the reader; UTC where the browser says none or one that this machine does not know."""
    try:
        return (name, ZoneInfo(name)) if name else ("UTC", None)
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC", None


def moment(at: datetime | None, zone: str | None, *, seconds: bool = True) -> Html:
    """A time in the reader's zone; its title is the same in UTC."""
    if at is None:
        return fill('<span class="quiet">{}</span>', NOTHING)
    local = at.astimezone(zone_of(zone)[1] or UTC)
    year = f" {local:%Y}" if local.year != datetime.now(UTC).year else ""
    clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    return fill('<time title="{}">{} {}</time>', utc_text(at), f"{local.day} {local:%b}{year}", clock)


def time_of(text: str | None) -> datetime | None:
    """A verdict's RFC 3339 time."""
    return datetime.fromisoformat(text) if text else None


def clock_text(at: datetime, zone: str | None) -> str:
    return f"{at.astimezone(zone_of(zone)[1] or UTC):%H:%M}"


def several(number: int, thing: str) -> str:
    """1 case, 2 cases, 1,204 cases."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def indented(record: str) -> str:
    """A JSON record over several lines. Its tokens stay exactly as they came: no number is read, no key reordered."""
    lines, depth = [""], 0
    for token in _TOKENS.findall(record):
        if token in "]}" and depth:
            depth -= 1
            lines.append("  " * depth) if lines[-1].strip() else None
        lines[-1] += token + (" " if token == ":" else "")
        if token in "[{":
            depth += 1
        if token in "[{,":
            lines.append("  " * depth)
    return "\n".join(lines)


def utc_text(at: datetime) -> str:
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'milliseconds')} UTC"


def chip(tone: str, text: str, shape: str = "") -> Html:
    """A word on a tint. Tones: ok, pending, break, quiet."""
    return fill(
        '<span class="chip {}">{}{}</span>', tone, fill('<span class="shape">{}</span>', shape) if shape else "", text
    )


def outcome_chip(outcome: str) -> Html:
    shape, text = OUTCOMES.get(outcome, ("○", words(outcome)))
    return chip(outcome if outcome in OUTCOMES else "quiet", text, shape)


def state_chip(states: dict[str, tuple[str, str]], state: str) -> Html:
    tone, text = states.get(state, ("quiet", words(state)))
    return chip(tone, text)


def severity_chip(severity: str) -> Html:
    return chip(SEVERITIES.get(severity, "quiet"), words(severity))


def href(page: str, **parameters: object) -> str:
    """Where a page of ours is; parameters that are empty are left out."""
    chosen = [(name, value) for name, value in parameters.items() if value not in (None, "", [])]
    return page + (f"?{urlencode(chosen, doseq=True)}" if chosen else "")


def link(text: object, to: str, class_: str = "") -> Html:
    """A link within the dashboard. Relative, so that it works behind a proxy that serves us under a path."""
    return fill('<a class="{}" href="{}">{}</a>', class_, to or "./", text)


def case_link(text: str, key: str) -> Html:
    return link(text or key, href("case", key=key), "case-link")


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, empty: str = "Nothing here.", label: str = ""
) -> Html:
    """A table; the cells are Html or plain text."""
    heads = join(
        fill(
            '<th scope="col" class="{}">{}</th>',
            column.kind,
            link(column.title, column.link) if column.link else column.title,
        )
        for column in columns
    )
    body = [
        fill(
            "<tr>{}</tr>",
            join(fill('<td class="{}">{}</td>', column.kind, cell) for column, cell in zip(columns, row, strict=True)),
        )
        for row in rows
    ]
    if not body:
        return fill('<p class="nothing">{}</p>', empty)
    return fill(
        '<div class="scroll"><table aria-label="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        label,
        heads,
        join(body),
    )


def panel(title: str, body: object, note: object = "") -> Html:
    """A titled sheet. `note` stands to the right of the title."""
    return fill(
        '<section class="panel"><header><h2>{}</h2><span class="note">{}</span></header>{}</section>', title, note, body
    )


def bar(part: float, tone: str = "accent") -> Html:
    """A bar whose length is `part` of one."""
    return fill('<span class="bar {}"><i style="width:{}%"></i></span>', tone, f"{part * 100:.1f}")
