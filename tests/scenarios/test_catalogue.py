"""docs/breaks.md is true, and every class of break is shown to fire and not to fire."""

import pytest

from matching import catalogue
from matching.catalogue import CLASSES, WHAT_TO_DO
from matching.policy import load
from tests.scenarios.catalogue import PAGE, firing, page, passing

BUILT = [entry.class_ for entry in catalogue.entries(load())]


def test_a_control_raises_every_class() -> None:
    assert tuple(BUILT) == CLASSES


def test_docs_show_the_catalogue_as_it_is() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.scenarios.catalogue"


def test_somebody_knows_what_to_do_about_every_class() -> None:
    assert set(WHAT_TO_DO) == set(CLASSES)
    assert all(text.endswith(".") for text in WHAT_TO_DO.values())


@pytest.mark.parametrize("class_", BUILT)
def test_a_class_says_what_it_means_and_is_seen_to_fire_and_not_to_fire(class_: str) -> None:
    meaning = {entry.class_: entry.meaning for entry in catalogue.entries(load())}
    assert len(meaning[class_]) > 60
    assert len({row.what for row, _ in firing(class_)}) >= 2, f"{class_} fires in fewer than two rows"
    assert len({row.what for row in passing(class_)}) >= 2, f"{class_} passes in fewer than two rows"
