"""What every test run shares: the fixtures of the broker and of the store, and the order, quick tests first."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures_kafka", "tests.fixtures_store", "tests.fixtures_worker"]

# A mistake in a pure function is told in seconds, before any broker or browser has started.
ORDER = ("unit", "property", "scenarios", "sources", "simulation", "conformance", "integration", "dashboard", "oracle")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, int]:
    """Slow tests last, then by folder; within a folder as collected, because sort is stable."""
    return item.get_closest_marker("slow") is not None, ORDER.index(item.path.relative_to(TESTS).parts[0])
