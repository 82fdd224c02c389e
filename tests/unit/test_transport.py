"""The transport hands over every record once reading has begun, whatever a rebalance does meanwhile."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import faust
from faust.types import TP

from streams.ports import Contact
from streams.settings import Settings
from streams.transport import Batch, Consumer, Transport

HERE = TP("invoices", 0)


class Reader:
    """Of aiokafka's consumer in its thread: a position in a log of `end` offsets, of which `empty` hold no record."""

    def __init__(self, end: int, empty: frozenset[int] = frozenset()) -> None:
        self.end, self.empty = end, empty
        self.position = 0
        self.during_fetch: Any = None

    async def getmany(self, _active: Any, _timeout: float) -> dict[TP, list[Any]]:
        await asyncio.sleep(0)
        if self.during_fetch is not None:
            interrupt, self.during_fetch = self.during_fetch, None
            await interrupt()
        end = min(self.position + 3, self.end)
        offsets = [offset for offset in range(self.position, end) if offset not in self.empty]
        self.position = end
        return (
            {HERE: [SimpleNamespace(offset=offset, timestamp=0, timestamp_type=0) for offset in offsets]}
            if offsets
            else {}
        )

    def seek(self, _tp: TP, offset: int) -> None:
        self.position = offset

    def highwater(self, _tp: TP) -> int:
        return self.end

    def contacts(self, delivered: dict[TP, int]) -> dict[TP, Contact]:
        return {HERE: Contact(delivered.get(HERE, 0), self.position, self.end, datetime(2026, 3, 2, tzinfo=UTC))}


class Shell:
    """The hooks, and what was handed to them."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.contacts: list[Contact] = []

    def start_offsets(self) -> dict[TP, int]:
        return {HERE: 0}

    def too_early(self) -> set[TP]:
        return set()

    def heard(self, contacts: dict[TP, Contact], _generation: int) -> None:
        self.contacts.append(contacts[HERE])

    async def take(self, message: Any) -> None:
        batch: Batch = message.value
        self.offsets += [record.offset for record in batch.records]


async def drained(reader: Reader, interrupted: bool = False) -> Shell:
    shell = Shell()
    app = faust.App("test", broker="kafka://127.0.0.1:1", autodiscover=False)
    app.tieout, app.tieout_hooks = Settings(bootstrap="127.0.0.1:1"), shell
    transport = Transport(app.conf.broker_consumer, app)
    consumer: Any = Consumer(
        transport, shell.take, on_partitions_revoked=None, on_partitions_assigned=None, loop=asyncio.get_running_loop()
    )
    consumer._thread = reader
    consumer._active_partitions = {HERE}

    async def rebalance() -> None:
        """Ends with the fetch that it began in: the records come after the seek and before reading goes on."""
        consumer.stop_flow()
        await consumer.perform_seek()
        asyncio.get_running_loop().call_later(0.02, consumer.resume_flow)

    consumer._delivered = {}
    await consumer.perform_seek()
    consumer.resume_flow()
    reader.during_fetch = rebalance if interrupted else None
    fetcher = SimpleNamespace(_stopped=asyncio.Event())
    draining = asyncio.ensure_future(consumer._drain_messages(fetcher))
    for _ in range(100):
        await asyncio.sleep(0.01)
        if shell.offsets and shell.contacts and shell.contacts[-1].position == reader.end:
            break
    fetcher._stopped.set()
    await draining
    return shell


def test_records_fetched_across_a_rebalance_are_not_lost() -> None:
    shell = asyncio.run(drained(Reader(10), interrupted=True))
    assert shell.offsets == list(range(10))
    assert all(contact.position == contact.delivered for contact in shell.contacts if contact.delivered)


def test_nothing_is_passed_over_that_was_not_handed_over() -> None:
    shell = asyncio.run(drained(Reader(3), interrupted=True))
    assert shell.offsets == [0, 1, 2]
    assert shell.contacts[0].delivered == 3


def test_a_log_that_ends_without_a_record_is_told() -> None:
    shell = asyncio.run(drained(Reader(10, empty=frozenset((7, 8, 9)))))
    assert shell.offsets == list(range(7))
    assert (shell.contacts[-1].delivered, shell.contacts[-1].position) == (7, 10)


def test_while_records_come_the_broker_is_listened_to_a_few_times_a_second() -> None:
    """What it said goes through all inputs: with every batch that would be most of the work."""
    batches = 1_000
    shell = asyncio.run(drained(Reader(3 * batches)))
    assert len(shell.offsets) == 3 * batches
    assert 1 <= sum(contact.delivered < 3 * batches for contact in shell.contacts) < batches // 4
