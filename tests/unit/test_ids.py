"""Case keys and fact ids: the same document gives the same key anywhere, different documents never share one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical import ids

_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def test_billing_and_erp_arrive_at_the_same_case() -> None:
    assert ids.case_key("invoice", "acme us", "billing", "INV-1001") == "invoice:acme%20us:billing:INV-1001"


@given(_texts, _texts, _texts)
def test_a_case_key_gives_back_its_parts(entity: str, system: str, ident: str) -> None:
    key = ids.case_key("order", entity, system, ident)
    assert ids.parts(key) == ("order", entity, system, ident)
    assert ids.is_case_key(key)
    assert ids.kind_of(key) == "order"


@given(st.lists(_texts, min_size=1, max_size=4), st.lists(_texts, min_size=1, max_size=4))
def test_different_documents_never_share_a_fact_id(one: list[str], other: list[str]) -> None:
    assert (ids.fact_id("s", *one) == ids.fact_id("s", *other)) == (one == other)


@pytest.mark.parametrize("parts", [("", "s", "1"), ("e", "", "1"), ("e", "s", "")])
def test_a_case_key_without_a_part_is_refused(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ids.CaseKeyError, match="needs entity, system and id"):
        ids.case_key("invoice", *parts)


def test_a_case_key_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ids.CaseKeyError, match="limit 256"):
        ids.case_key("invoice", "e", "s", "x" * 300)


@pytest.mark.parametrize(
    "key",
    ["", "invoice", "invoice:", "INVOICE:a:b:c", "bill:a:b:c", "invoice:a b", 'invoice:a"', "invoice:ä", "invoice:a\n",
     "invoice:a\x7f", "invoice:" + "a" * 256],
)  # fmt: skip
def test_what_would_need_an_escape_is_no_case_key(key: str) -> None:
    assert not ids.is_case_key(key)


def test_a_lone_surrogate_in_an_id_is_refused_as_a_bad_key_and_nothing_else() -> None:
    with pytest.raises(ids.CaseKeyError):
        ids.case_key("invoice", "e", "s", "\ud800")
    with pytest.raises(ids.CaseKeyError):
        ids.fact_id("s", "\ud800")
