"""sap_document_flow: SAP's table VBFA, one row a link between an item of a document and an item of what follows it.

Columns: VBELV, POSNV, VBTYP_V (what goes before: document, item, category), VBELN, POSNN, VBTYP_N (what follows it), RFWRT in WAERS (what
the link is worth), ERDAT and ERZET (when the following document was created). The reader (sources.document_flow) gathers
the rows of each document into one record; a document is a number with its category, because number ranges overlap.

Every document has a case of its own. Links are told as `refs` of the document that follows and never join cases:
following all links makes one "case" of what has nothing to do with each other.
- invoice (M), debit memo (P), intercompany invoice (5) -> invoice.issued in `invoice:main:sap_flow:<VBELN>`; `order_key`
  where exactly one order or contract goes before it
- credit memo (O), intercompany credit (6), an invoice that comes to less than nothing -> credit_memo.issued in
  `credit:...`, with `invoice_key` where exactly one invoice goes before it
- cancellation (N, S) -> invoice.voided or credit_memo.voided in the case of what it cancels. VBFA need not say which that
  is: it is the only document created before it, of the same items at the same values, that no earlier cancellation took.
  Where there is none or more than one, nobody guesses: the cancellation of an invoice is told as a credit memo in its own
  case, that of a credit memo is a dead letter.
- all else moves no money -> document.recorded: sales documents (order C, contract G, quotation B ...) in `order:...`,
  others (delivery J, goods movement R, transfer order Q ...) in `index:main:sap_flow:<category>/<VBELN>`

Numbers are texts: leading zeros and spaces within them are part of them. The null date is 0 or 00000000. A document that
only goes before others was created at the latest when the first of those was; nothing else is known of it.

Money: SAP stores every amount with two decimals, whatever its currency has (1000 yen as 10.00, 1.234 dinars as 12.34), so
that a stored amount times a hundred is minor units. An invoice's total is the sum over its items: net of tax, as VBFA
knows no tax. An item is linked to its order and to its delivery at the same worth; where the two differ, or an invoice is in two
currencies, the document is a dead letter.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.fields import Fields, check_columns, known_currency, parse, shown
from sources.origin import Origin

SYSTEM, ENTITY = "sap_flow", "main"

CANCELS = {"N": ("M", "P", "5"), "S": ("O", "6")}
_INVOICES, _CREDITS, _ORDERS = set(CANCELS["N"]), set(CANCELS["S"]), {"C", "G"}
_SALES = {
    "A": "inquiry", "B": "quotation", "C": "order", "D": "item proposal", "E": "scheduling agreement",
    "F": "scheduling agreement", "G": "contract", "H": "returns", "I": "order without charge",
    "K": "credit memo request", "L": "debit memo request", "0": "master contract",
}  # fmt: skip
_OTHERS = {
    "J": "delivery", "M": "invoice", "N": "cancellation", "O": "credit memo", "P": "debit memo", "Q": "transfer order",
    "R": "goods movement", "S": "cancellation", "T": "returns delivery", "U": "pro forma invoice", "V": "purchase order",
    "W": "requirements plan", "X": "handling unit", "1": "sales activity", "2": "external transaction",
    "3": "invoice list", "4": "credit memo list", "5": "intercompany invoice", "6": "intercompany credit memo",
    "7": "shipping notification", "8": "shipment", "a": "shipment costs", "b": "opportunity", "c": "unverified delivery",
    "d": "trading contract", "e": "allocation table", "f": "additional billing document", "g": "rough goods receipt",
    "h": "cancelled goods issue", "i": "goods receipt", "j": "just-in-time call",
}  # fmt: skip
# source: SAP's domain VBTYP
_KINDS = _SALES | _OTHERS
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?-?\Z")
_NULL_DATES = {"", "0", "00000000"}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "sap_document_flow")
    check_columns(whole)
    if not whole.has("document"):
        whole.refuse("the row names no following document (VBELN)")
    ident, category = whole.text("document"), whole.text_or_none("category") or " "
    whole.label = f"sap {_KINDS.get(category, shown(category))} {shown(ident)}"
    if category.strip() and category not in _KINDS:
        whole.refuse(f"document category {shown(category)} is unknown to this adapter")
    document = _Document(whole, ident, category, Origin(SYSTEM, ENTITY, traceparent))
    return tuple(document.events())


def key(body: bytes) -> bytes:
    return str(parse(body)["document"]).encode()


class _Document:
    def __init__(self, whole: Fields, ident: str, category: str, origin: Origin) -> None:
        self.whole, self.ident, self.category, self.origin = whole, ident, category, origin
        self.links = list(whole.items("links"))
        for link in self.links:
            link.label = whole.label

    def events(self) -> Iterator[Event]:
        if self.category in CANCELS:
            yield self._cancellation()
        elif self.category in _INVOICES | _CREDITS:
            yield self._billed(is_credit=self.category in _CREDITS)
        else:
            yield self._recorded()

    def _recorded(self) -> Event:
        worth = self._worth() if self.links else None
        is_sales = self.category in _SALES
        case = self.origin.case("order", self.ident) if is_sales else self.origin.case("index", f"{self.category.strip() or '-'}/{self.ident}")  # fmt: skip
        data: dict[str, Any] = {"kind": _KINDS.get(self.category, "unknown"), "refs": self._refs()}
        if worth is not None and worth[0]:
            data |= {"value_minor": worth[0], "currency": worth[1]}
        return self.origin.tell("document.recorded", self.category, document=self.ident, case=case, time=self._created(), data=data)  # fmt: skip

    def _billed(self, *, is_credit: bool) -> Event:
        total_minor, currency = self._worth() or self.whole.refuse("no link says in which currency it is")
        if is_credit and self.category in _CREDITS:
            total_minor = abs(total_minor)
        if total_minor < 0 or is_credit:
            return self._credit_memo(abs(total_minor), currency)
        orders = self._before(_ORDERS)
        data = {
            "number": self.ident,
            "direction": "sales",
            "currency": currency,
            "total_minor": total_minor,
            "order_key": self.origin.case("order", orders[0]) if len(orders) == 1 else None,
            "refs": self._refs(),
        }
        return self.origin.tell("invoice.issued", document=self.ident, case=self.origin.case("invoice", self.ident), time=self._created(), data=data)  # fmt: skip

    def _credit_memo(self, total_minor: int, currency: str) -> Event:
        invoices = self._before(_INVOICES)
        only = invoices[0] if len(invoices) == 1 else None
        data = {
            "number": self.ident,
            "direction": "sales",
            "currency": currency,
            "total_minor": total_minor,
            "invoice_id": only,
            "invoice_key": None if only is None else self.origin.case("invoice", only),
            "refs": self._refs(),
        }
        return self.origin.tell("credit_memo.issued", document=self.ident, case=self.origin.case("credit", self.ident), time=self._created(), data=data)  # fmt: skip

    def _cancellation(self) -> Event:
        cancelled = self._cancelled()
        if cancelled is None:
            if self.category != "N":
                self.whole.refuse("it is not told which credit memo it cancels: none, or more than one, of its items at its values came before it")  # fmt: skip
            return self._billed(is_credit=True)
        kind, event_type = self._kind_of(cancelled)
        data = {
            "reason": f"cancelled by {self.ident}",
            "refs": [{"kind": "cancellation", "system": SYSTEM, "value": self.ident}, *self._refs()],
        }
        return self.origin.tell(event_type, "cancelled", self.ident, document=cancelled, case=self.origin.case(kind, cancelled), time=self._created(), data=data)  # fmt: skip

    def _kind_of(self, cancelled: str) -> tuple[Any, str]:
        """(case, type): what a negative invoice was told as is a credit."""
        worth = self._worth()
        is_credit = self.category == "S" or (worth is not None and worth[0] < 0)
        return ("credit", "credit_memo.voided") if is_credit else ("invoice", "invoice.voided")

    def _cancelled(self) -> str | None:
        """The only one it can be; named by a link of its own where VBFA has that."""
        named = self._before(set(CANCELS[self.category]))
        if named:
            return named[0] if len(named) == 1 else None
        rivals: dict[tuple[str, str], list[Fields]] = {}
        for row in self.whole.items("rivals"):
            row.label = self.whole.label
            rivals.setdefault((row.text("vbeln"), row.text("vbtyp_n")), []).append(row)
        rivals[self.ident, self.category] = self.links
        items, standing = _items(self.links), list[str]()
        for (ident, category), rows in sorted(rivals.items(), key=lambda rival: (_stamp(rival[1]), rival[0])):
            if _items(rows) != items:
                continue
            if category != self.category:
                standing.append(ident)
            elif ident == self.ident:
                return standing[0] if len(standing) == 1 else None
            elif len(standing) == 1:
                standing.clear()
        return None

    # --- What the links say -------------------------------------------------------------------------------------------

    def _worth(self) -> tuple[int, str] | None:
        """(minor units, currency) over its items; None where no link states a currency."""
        by_item: dict[str, dict[str, Counter[str]]] = {}
        for link in self.links:
            code = link.text_or_none("waers")
            if code is not None:
                known_currency(code, link.label)
                told = by_item.setdefault(link.text("posnn"), {}).setdefault(link.text_or_none("vbtyp_v") or "", Counter())  # fmt: skip
                told[code] += self._minor(link)
        totals: Counter[str] = Counter()
        for item, categories in by_item.items():
            stated = {tuple(sorted(told.items())) for told in categories.values()}
            if len(stated) > 1:
                self.whole.refuse(f"item {item} is worth one thing by its {' and another by its '.join(sorted(_KINDS.get(category, shown(category)) for category in categories))}")  # fmt: skip
            for code, minor in stated.pop():
                totals[code] += minor
        if len(totals) > 1 and self.category in _INVOICES | _CREDITS | CANCELS.keys():
            self.whole.refuse(f"its items are in {' and '.join(sorted(totals))}: an invoice has one currency")
        return next(((minor, code) for code, minor in totals.items()), None) if len(totals) == 1 else None

    def _minor(self, link: Fields) -> int:
        text = link.text_or_none("rfwrt") or "0"
        if not _AMOUNT.match(text):
            link.refuse(f"RFWRT is {shown(text)}, expected a decimal amount")
        stored = Decimal(text.removesuffix("-")) * (-100 if text.endswith("-") else 100)
        if stored != stored.to_integral_value():
            link.refuse(f"RFWRT is {shown(text)}: SAP stores two decimals")
        return int(stored)

    def _before(self, categories: set[str]) -> list[str]:
        return list(dict.fromkeys(link.text("vbelv") for link in self.links if link.has("vbelv") and link.text_or_none("vbtyp_v") in categories))  # fmt: skip

    def _refs(self) -> list[dict[str, str]]:
        """One a document that goes before it; its kind is the category in words."""
        before = dict.fromkeys((link.text_or_none("vbtyp_v") or " ", link.text("vbelv")) for link in self.links if link.has("vbelv"))  # fmt: skip
        return [{"kind": _KINDS.get(category, "unknown"), "system": SYSTEM, "value": ident} for category, ident in before]  # fmt: skip

    def _created(self) -> datetime:
        stamps = [stamp for link in self.links if (stamp := _stamp([link]))]
        text = min(stamps) if stamps else self.whole.text_or_none("followed_at")
        if not text:
            self.whole.refuse("no link says when it was created")
        try:
            return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            self.whole.refuse(f"ERDAT and ERZET are {shown(text)}, no time YYYYMMDDHHMMSS")


def _stamp(links: Sequence[Fields]) -> str:
    """When the document was created, as SAP writes it; empty where no link says so."""
    stamps = [f"{day}{link.text_or_none('erzet') or '000000'}" for link in links if (day := link.text_or_none("erdat") or "") not in _NULL_DATES]  # fmt: skip
    return min(stamps, default="")


def _items(links: Iterable[Fields]) -> Counter[tuple[str, ...]]:
    """What a document is made of: items before it, and what each is worth."""
    names = ("vbelv", "posnv", "vbtyp_v", "rfwrt", "waers")
    return Counter(tuple(link.text_or_none(name) or "" for name in names) for link in links)
