"""What one ledger holds of a document, and the one reason why it differs.

- Postings and reversals net over the control account (receivable for sales, payable for purchases, sign-flipped; the
  other way round for credit memos), so that the net of what is booked right equals the document's total.
- An edit is a reversal and a new posting: both are in the net. What was taken back cancels itself whatever its currency.
- `cause` names the single root cause of a difference. Each control speaks up for its own cause and refers to it for the
  others, so that one mistake is one break.
- Where the ledger holds base amounts alone, the net is compared with the converted total.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from canonical import money
from matching.documents import moment

Cause = Literal[
    "agrees", "nothing_posted", "currency", "no_control_line", "no_rate", "unreversed", "reversed", "duplicate",
    "waiting", "rounding", "tax", "amount", "fx",
]  # fmt: skip


class Ledger:
    """Net of one ledger's postings for one document. Amounts in minor units, positive as the document has them."""

    __slots__ = (
        "base_currency", "base_minor", "base_tax_minor", "control_lines", "is_other_currency", "name", "net_minor",
        "postings", "role", "sign", "tax_lines", "tax_minor",
    )  # fmt: skip

    def __init__(self, name: str, postings: Sequence[Any], role: str, sign: int, currency: str | None) -> None:
        self.name = name
        self.postings = postings
        self.role, self.sign = role, sign
        self.base_currency: str = postings[0].data.base_currency
        control: list[tuple[int | None, int | None]] = []
        tax: list[tuple[int | None, int | None]] = []
        for posting in postings:
            self._take(posting.data, currency, control, tax)
        other = [posting for posting in postings if self._is_other(posting.data, currency)]
        self.is_other_currency = bool(other) and not self._cancel(other)
        self.control_lines, self.tax_lines = len(control), len(tax)
        self.net_minor, self.base_minor = _net(control, sign)
        self.tax_minor, self.base_tax_minor = _net(tax, -sign)

    def _is_other(self, posting: Any, currency: str | None) -> bool:
        return posting.base_currency != self.base_currency or posting.currency not in (None, currency)

    def _cancel(self, postings: Sequence[Any]) -> bool:
        """Whether what they booked, in each currency by itself, was taken back."""
        rests: dict[tuple[str | None, str], list[int]] = {}
        for posting in postings:
            key = (posting.data.currency, posting.data.base_currency)
            rests.setdefault(key, []).append(self._net_of(posting))
        return all(len(rest) > 1 and sum(rest) == 0 for rest in rests.values())

    def _take(self, posting: Any, currency: str | None, control: list[Any], tax: list[Any]) -> None:
        """Its lines on the control account and its tax lines, as (amount, base amount)."""
        in_base = posting.base_currency == currency
        own_role = self.role
        for line in posting.lines:
            role = line.role
            if role == own_role or role == "tax":
                base, amount = line.base_minor, line.amount_minor
                both = (base if amount is None and in_base else amount, base)
                if role == own_role:
                    control.append(both)
                else:
                    tax.append(both)

    @property
    def stands_at_minor(self) -> int:
        """The net in whichever amounts the ledger holds."""
        net = self.net_minor if self.net_minor is not None else self.base_minor
        return net or 0

    @property
    def is_cleared(self) -> bool:
        """Whether what was booked has been taken back; not known where no line is marked as the control account."""
        return self.control_lines > 0 and self.stands_at_minor == 0

    @property
    def shown_currency(self) -> str:
        posting = self.postings[0].data
        return (self.net_minor is not None and posting.currency) or self.base_currency

    def standing_postings(self) -> list[Any]:
        """Postings that no reversal names, in order of booking; for a document with an amount, those that carry it."""
        if len(self.postings) == 1:
            return [posting for posting in self.postings if posting.type == "posting.recorded"]
        undone = {posting.data.reverses for posting in self.postings}
        return sorted(
            (p for p in self.postings if p.type == "posting.recorded" and p.data.document_id not in undone),
            key=moment,
        )

    def books(self, posting: Any) -> bool:
        """Whether the posting puts the document into the ledger, rather than takes it back."""
        return posting.type == "posting.recorded" and self._net_of(posting) > 0

    def _net_of(self, posting: Any) -> int:
        amounts = (line.base_minor if line.amount_minor is None else line.amount_minor for line in posting.data.lines if line.role == self.role)  # fmt: skip
        return sum(self.sign * (amount or 0) for amount in amounts)

    def last_booked_at(self) -> datetime:
        return max(moment(posting) for posting in self.postings)

    def last_reversed_at(self) -> datetime | None:
        """When something was last taken back, by a reversal or by a posting the other way round."""
        return max((moment(p) for p in self.postings if p.type == "posting.reversed" or p.data.reverses), default=None)


def _net(lines: Sequence[tuple[int | None, int | None]], sign: int) -> tuple[int | None, int | None]:
    """Sums of amounts and of base amounts; not known where a line has none."""
    if len(lines) == 1:
        amount, base = lines[0]
        return (None if amount is None else sign * amount), (None if base is None else sign * base)
    if not lines:
        return 0, 0
    amounts = [amount for amount, _ in lines if amount is not None]
    bases = [base for _, base in lines if base is not None]
    known = len(lines)
    return (
        sign * sum(amounts) if len(amounts) == known else None,
        sign * sum(bases) if len(bases) == known else None,
    )


class Conversion:
    """A document's total in a ledger's base currency, and how far rounding alone may take a posting from it.

    The tolerance is one minor unit (policy) plus what the printed rate leaves open: base x half a unit in the rate's
    last place / rate. A six-decimal rate would otherwise fail above about 15,000.
    """

    __slots__ = ("_per_base", "_rate", "_stated_minor", "_ulp_share", "base_currency", "currency")

    def __init__(self, document: Any, base_currency: str) -> None:
        self.currency: str = document.currency
        self.base_currency = base_currency
        self._rate = Decimal(document.rate) if document.rate else Decimal(0)
        self._per_base = document.rate_direction != "base_per_document"
        self._stated_minor: int | None = document.base_total_minor
        exponent = self._rate.as_tuple().exponent
        ulp = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)
        self._ulp_share = ulp / 2 / self._rate if self._rate > 0 else Decimal(0)

    @property
    def is_known(self) -> bool:
        return self._rate > 0

    def total(self, total_minor: int) -> Decimal | None:
        """The document's total in base currency: by its rate, else as stated; None where neither is given."""
        if self._rate > 0 or not total_minor:
            return self.base(total_minor) if total_minor else Decimal(0)
        return None if self._stated_minor is None else Decimal(self._stated_minor)

    def base(self, amount_minor: int) -> Decimal:
        return money.convert(amount_minor, self.currency, self.base_currency, self._rate, per_base=self._per_base)

    def tolerance(self, base: Decimal, tolerance_minor: int) -> Decimal:
        return tolerance_minor + abs(base) * self._ulp_share
