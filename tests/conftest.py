"""What every test run shares: the fixtures of the broker and of the store, and the order of the tests.

Quick tests come first, so that a mistake in a pure function is told in seconds. Over several cores (`make test`) a file stays on
one of them; what starts brokers, stores and browsers runs one after the other, begun at once, for it takes longest.
"""

from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures_kafka", "tests.fixtures_store", "tests.fixtures_worker"]

ORDER = ("unit", "property", "scenarios", "sources", "simulation", "conformance", "integration", "dashboard", "oracle")
WITH_PROCESSES = frozenset(("conformance", "integration", "dashboard"))
TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before the names of tests are told to other processes
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    if hasattr(config, "workerinput"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group("processes" if _folder(item) in WITH_PROCESSES else item.path.name))
        items.sort(key=lambda item: _folder(item) not in WITH_PROCESSES)


def _place(item: pytest.Item) -> tuple[bool, int]:
    """Slow tests last, then by folder; within a folder as collected, because sort is stable."""
    return item.get_closest_marker("slow") is not None, ORDER.index(_folder(item))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]
