"""A short chaos run: what `make chaos` does for half an hour, in two minutes."""

from pathlib import Path

import pytest

from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.integration import chaos

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_nothing_is_lost_doubled_or_judged_wrong_whatever_dies(
    private_kafka: Kafka, store_process: StoreProcess, tmp_path: Path
) -> None:
    outcome = chaos.run(tmp_path, private_kafka, store_process, cases=6_000, faults=15, seed=7, workers=2)
    assert sum(outcome.faults.values()) == 15
    assert outcome.is_exact, "\n".join([str(outcome), *outcome.differences[:10], *outcome.broken[:2]])
