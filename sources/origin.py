"""Who tells a record: the system, its entity and the trace it came with; builds events of it.

`source` of an event is `<system>/<entity>`, a fact's id `<system>:<document>:<transition>` (rule E5: how it was
delivered takes no part).
"""

from datetime import datetime
from typing import Any, NamedTuple

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
