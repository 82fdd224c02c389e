"""How amounts, times and names are written, and that text from the store stays text."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import markup
from dashboard.markup import Column, Html


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (123450, "USD", "1,234.50"),
        (5, "USD", "0.05"),
        (0, "EUR", "0.00"),
        (1980000, "JPY", "1,980,000"),
        (5750250, "KWD", "5,750.250"),
        (-100, "GBP", "−1.00"),
        (10000, "XXX", "10,000"),  # not in ISO 4217: the minor units as they are
        (2**63 - 1, "USD", "92,233,720,368,547,758.07"),
    ],
)
def test_amounts_have_their_currencys_decimals(amount_minor: int, currency: str, text: str) -> None:
    assert markup.amount_text(amount_minor, currency) == text


def test_minor_units_of_an_unknown_currency_are_called_so() -> None:
    assert "XXX minor" in markup.money(10000, "XXX")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0, "0 s"), (0.35, "350 ms"), (1, "1 s"), (1.25, "1.2 s"), (95, "95 s"), (150, "2.5 min"), (900, "15 min"),
        (14_400, "4 h"), (15_300, "4.2 h"), (2_592_000, "30 d"), (-120, "-2 min"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert markup.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [(0, "0 %"), (1, "100 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %"), (0.625, "62.5 %"), (None, "–")],
)
def test_a_share_that_is_not_whole_never_reads_100_or_0(part: float | None, text: str) -> None:
    assert text in markup.share(part)


@given(st.text())
def test_whatever_the_store_holds_can_not_become_markup(text: str) -> None:
    shown = markup.table([Column(text)], [[text], [markup.case_link(text, text)]], label=text, empty=text)
    bare = markup.table([Column("x")], [["x"], [markup.case_link("x", "x")]], label="x", empty="x")
    for sign in '<>"':
        assert shown.count(sign) == bare.count(sign)


def test_markup_of_ours_is_not_escaped_twice() -> None:
    assert markup.fill("{}{}", Html("<b>"), "<b>") == "<b>&lt;b&gt;"


def test_a_time_is_shown_in_the_readers_zone_and_in_utc_on_hover() -> None:
    at = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert markup.moment(at, "Europe/Berlin").endswith("01:30:00</time>")
    assert markup.moment(at.replace(hour=1), "Europe/Berlin").endswith("03:30:00</time>")  # the clocks went forward
    assert 'title="2026-03-29 00:30:00.000 UTC"' in markup.moment(at, "Europe/Berlin")


@pytest.mark.parametrize("zone", [None, "", "Nowhere/Land", "../../etc/passwd"])
def test_an_unknown_zone_is_utc(zone: str | None) -> None:
    assert markup.zone_of(zone)[0] == "UTC"


def test_a_record_is_indented_without_touching_what_it_says() -> None:
    raw = '{"a":1.10,"b":[1e3,{"c":"x, \\"y\\": {z}"},[]],"b":9007199254740993,"d":{}}'
    shown = markup.indented(raw)
    assert len(shown.splitlines()) > 5
    assert shown.replace("\n", "").replace("  ", "").replace('": ', '":') == raw.replace('": {z}', '":{z}')


@given(st.text())
def test_a_record_that_is_no_json_is_still_shown_whole(raw: str) -> None:
    assert "".join(markup.indented(raw).split()) == "".join(raw.split())


def test_code_names_read_as_words() -> None:
    assert [markup.words(name) for name in ("missing_posting", "sla", "fx", "")] == [
        "Missing posting",
        "SLA",
        "FX",
        "–",
    ]
    assert markup.hop_words("invoice_to_posting") == "Invoice → posting"


def test_a_link_leaves_out_what_is_not_chosen() -> None:
    assert markup.href("breaks", search="", entity=["a b", "c"], owner=None) == "breaks?entity=a+b&entity=c"
