"""Who tells a record: the system, its entity and the trace it came with; builds events of it.

`source` of an event is `<system>/<entity>`, a fact's id `<system>:<document>:<transition>` (rule E5: how it was
delivered takes no part).
"""

from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from canonical.events import Event
from canonical.ids import CaseKind, case_key, fact_id
from canonical.records import make


class Origin(NamedTuple):
    system: str
    entity: str
    traceparent: str | None = None

    def case(self, kind: CaseKind, ident: str) -> str:
        return case_key(kind, self.entity, self.system, ident)

    def tell(self, event_type: str, *transition: str, document: str, case: str, time: datetime, subject: str | None = None, data: dict[str, Any]) -> Event:  # fmt: skip
        """One event. Without a transition the type's own word is taken, as in `issued` of invoice.issued."""
        return make(
            event_type,
            id=fact_id(self.system, document, *(transition or (event_type.partition(".")[2],))),
            source=f"{self.system}/{self.entity}",
            subject=subject or document,
            time=time,
            correlationid=case,
            data={"entity": self.entity, "document_id": document} | data,
            traceparent=self.traceparent,
        )

    def customer(self, ident: str, data: dict[str, Any], time: datetime) -> Event:
        """customer.changed in the customer's index case.

        A customer's state has no transition or version of its own, so the fact's identity is what it says: the same name
        and numbers are the same fact, whether by webhook, retry, poll or extract.
        """
        digest = blake2b(msgspec.json.encode(data), digest_size=8).hexdigest()
        return self.tell("customer.changed", "changed", digest, document=ident, case=self.case("index", ident), time=time, data=data)  # fmt: skip
