"""The registry of sources: one entry an adapter, nothing else decides what a source is.

- `map` is pure: a record's bytes to its events or to one DeadLetter; no I/O, no clock, and it never raises, whatever the
  bytes. Every record gives at least one event or exactly one DeadLetter.
- `key` is the raw topic's key: the provider's document id, so that one document's records stay in order; empty where the
  record does not show one. It never raises.
- `read` turns files and folders into records (sources.records, joined, document_flow, bank_files: the only places with I/O).
- A traceparent that is not W3C's is dropped: it must not cost a record.

A new system is one new file and one line in SOURCES.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKeyError
from canonical.money import MoneyError
from canonical.structs import RecordError
from sources import (
    bank_files,
    business_central,
    canonical_events,
    chargebee,
    document_flow,
    hubspot_tables,
    joined,
    killbill,
    netsuite_tables,
    quickbooks,
    receivables_csv,
    records,
    salesforce_tables,
    sap_document_flow,
    sap_odata,
    shop_tables,
    stripe,
    xero_tables,
    zuora_tables,
)
from sources.bank import camt, mt940
from sources.fields import Refused

Mapping = Callable[[bytes, str | None], tuple[Event, ...] | DeadLetter]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Source(NamedTuple):
    name: str
    read: Callable[[Iterable[str]], Iterator[records.RawRecord]]
    map: Mapping
    key: Callable[[bytes], bytes]


def _guarded(name: str, mapping: Mapping) -> Mapping:
    def never_raising(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
        trace = traceparent if traceparent is not None and _TRACEPARENT.match(traceparent) else None
        try:
            return mapping(body, trace)
        except Refused as refused:
            return DeadLetter(refused.failure, refused.reason)
        except (MoneyError, CaseKeyError, RecordError) as error:
            return DeadLetter("mapping", f"{name}: {error}; correct it in the source")
        except Exception as error:  # noqa: BLE001 (no input may stop the stream; what it was stands in the reason)
            return DeadLetter("mapping", f"{name}: the adapter cannot read this shape ({type(error).__name__}: {error}); report it with this record")  # fmt: skip

    return never_raising


def _quiet(key: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def never_raising(body: bytes) -> bytes:
        try:
            return key(body)
        except Exception:  # noqa: BLE001 (a record without a key is still a record; map says what is wrong with it)
            return b""

    return never_raising


def _source(name: str, read: Callable[[Iterable[str]], Iterator[records.RawRecord]], mapping: Mapping, key: Callable[[bytes], bytes]) -> Source:  # fmt: skip
    return Source(name, read, _guarded(name, mapping), _quiet(key))


_hubspot = partial(joined.read_joined, layout=hubspot_tables.LAYOUT)
_salesforce = partial(joined.read_joined, layout=salesforce_tables.LAYOUT)
_netsuite = partial(joined.read_joined, layout=netsuite_tables.LAYOUT)
_zuora = partial(joined.read_joined, layout=zuora_tables.LAYOUT)
_shop_tables = partial(joined.read_joined, layout=shop_tables.LAYOUT)

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _source("canonical", records.read_json, canonical_events.map_record, canonical_events.key),
        _source("stripe", records.read_stripe, stripe.map_record, stripe.key),
        _source("xero_tables", records.read_xero_tables, xero_tables.map_record, xero_tables.key),
        _source("receivables_csv", records.read_receivables, receivables_csv.map_record, receivables_csv.key),
        _source("chargebee", records.read_chargebee, chargebee.map_record, chargebee.key),
        _source("quickbooks", records.read_json, quickbooks.map_record, quickbooks.key),
        _source("sap_odata", records.read_json, sap_odata.map_record, sap_odata.key),
        _source("killbill", records.read_json, killbill.map_record, killbill.key),
        _source("business_central", records.read_json, business_central.map_record, business_central.key),
        _source("camt", bank_files.read_camt, camt.map_record, camt.key),
        _source("mt940", bank_files.read_mt940, mt940.map_record, mt940.key),
        _source(
            "sap_document_flow", document_flow.read_document_flow, sap_document_flow.map_record, sap_document_flow.key
        ),
        _source("hubspot_tables", _hubspot, hubspot_tables.map_record, hubspot_tables.key),
        _source("salesforce_tables", _salesforce, salesforce_tables.map_record, salesforce_tables.key),
        _source("netsuite_tables", _netsuite, netsuite_tables.map_record, netsuite_tables.key),
        _source("zuora_tables", _zuora, zuora_tables.map_record, zuora_tables.key),
        _source("shop_tables", _shop_tables, shop_tables.map_record, shop_tables.key),
    )
}


def map_record(source: str, body: bytes, traceparent: str | None = None) -> tuple[Event, ...] | DeadLetter:
    """Events of one record of a registered source. Raises KeyError for an unknown source, nothing for the bytes."""
    return SOURCES[source].map(body, traceparent)
