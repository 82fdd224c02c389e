"""A short fuzz: what `make fuzz` does with a million records."""

from pathlib import Path

import pytest

from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.integration import fuzz

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_every_damaged_record_is_a_fact_or_a_dead_letter_and_the_worker_stays_up(
    private_kafka: Kafka, store_process: StoreProcess, tmp_path: Path
) -> None:
    figures = fuzz.run(tmp_path, private_kafka, store_process, count=20_000, seed=3)
    assert figures["records"] == 20_000
    assert figures["facts"] > 1_000
    assert figures["dead_letters"] > 5_000
