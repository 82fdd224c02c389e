"""The verdict of one case: what `tieout reconcile` prints; the store keeps it in two parts, `raw` and `controls`.

- Times are UTC, amounts integer minor units of the `currency` beside them.
- `variance_minor` is unsigned: `expected` and `actual` say the direction. Texts give amounts in major units.
- A verdict holds no ages and no clock, so it is the same bytes from one deadline to the next.
- `exposure_minor` counts each root cause once: the most that any one break of the case puts at risk.
- Hop states: `waiting` inside its target; `late` past it and still open; `missing` past the missing deadline; `met`;
  `met_late` arrived after its target (history: nobody can mend it); `not_expected` where policy expects no such leg or
  what starts it has not happened; `unproven` past its target while the awaited source is itself behind.
- `awaiting` is there only where a source was behind: what the verdict waits for beside its `next_deadline`.
"""

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

import msgspec

Outcome = Literal["ok", "pending", "break"]
Result = Literal["pass", "fail", "not_applicable", "not_assessed"]
HopState = Literal["waiting", "late", "missing", "met", "met_late", "not_expected", "unproven"]
HopName = Literal[
    "quote_to_subscription", "subscription_to_invoice", "invoice_to_posting", "invoice_to_payment",
    "payment_to_application", "payment_to_payout", "payout_to_bank",
]  # fmt: skip
Owner = Literal["finance", "platform", "integration", "crm"]
Severity = Literal["high", "medium", "low"]
BreakClass = Literal[
    "missing_invoice", "missing_posting", "missing_reversal", "missing_payment", "missing_application",
    "missing_subscription", "orphan_posting", "orphan_payment", "orphan_application", "summary_split", "amount",
    "rounding", "fee", "tax", "currency", "fx", "customer", "entity", "account", "duplicate_invoice",
    "duplicate_posting", "duplicate_payment", "duplicate_period", "ambiguous_match", "conflict", "short_payment",
    "overpayment", "unapplied_cash", "misapplied", "payout", "bank", "credit_rebill", "proration", "usage",
    "unbilled_usage", "quote_mismatch", "revenue_schedule", "cutoff", "closed_period", "refund_unmatched",
    "chargeback", "reversed_after_application", "system_of_record", "contract", "sla", "intercompany",
]  # fmt: skip


class ControlResult(msgspec.Struct, frozen=True, gc=False):
    name: str
    result: Result
    reason: str


class Controls(tuple[ControlResult, ...]):
    """Results that many verdicts share, written once: most of a verdict's bytes. `digest` stands for them in `raw`."""

    json: bytes
    digest: str

    @staticmethod
    @lru_cache(maxsize=2_000)
    def shared(results: tuple[ControlResult, ...]) -> "Controls":
        controls = Controls(results)
        controls.json = msgspec.json.encode(controls)
        controls.digest = blake2b(controls.json, digest_size=8).hexdigest()
        return controls


class Break(msgspec.Struct, frozen=True, gc=False, rename={"class_": "class"}):
    class_: BreakClass
    control: str
    expected: str
    actual: str
    variance_minor: int
    currency: str | None
    evidence: tuple[str, ...]
    reason: str
    owner: Owner
    severity: Severity
    fingerprint: str


class Hop(msgspec.Struct, frozen=True, gc=False):
    name: HopName
    started_at: datetime | None
    ended_at: datetime | None
    latency_s: float | None
    target_s: int | None
    late_s: float
    state: HopState
    due_at: datetime | None


class Awaited(msgspec.Struct, frozen=True, gc=False):
    """The verdict can change once `source` is complete up to `until`."""

    source: str
    until: datetime


class Verdict(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    correlation_id: str
    kind: str
    entity: str
    document: str
    customer: str | None
    outcome: Outcome
    currency: str | None
    amount_minor: int
    exposure_minor: int
    controls: tuple[ControlResult, ...]
    breaks: tuple[Break, ...]
    hops: tuple[Hop, ...]
    facts: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    next_deadline: datetime | None
    wait_for: str | None
    failure: str | None
    conflicts: tuple[str, ...]
    policy: str
    awaiting: tuple[Awaited, ...] = ()


class _Breaks(msgspec.Struct, frozen=True, gc=False):
    breaks: tuple[Break, ...]


_replace = msgspec.structs.replace
_encoder = msgspec.json.Encoder()
_breaks_decoder = msgspec.json.Decoder(_Breaks)
_decoder = msgspec.json.Decoder(Verdict)


def encode(verdict: Verdict) -> bytes:
    """One line of compact JSON, the same bytes for equal verdicts."""
    if type(verdict.controls) is Controls:
        verdict = _replace(verdict, controls=msgspec.Raw(verdict.controls.json))
    return _encoder.encode(verdict)


def parts(verdict: Verdict) -> tuple[bytes, bytes]:
    """As stored: the verdict's JSON with the digest of its controls in their place, and the controls' JSON."""
    controls = verdict.controls if type(verdict.controls) is Controls else Controls.shared(verdict.controls)
    return _encoder.encode(_replace(verdict, controls=controls.digest)), controls.json


def whole(raw: bytes, controls: bytes) -> bytes:
    """The verdict as `encode` wrote it, from its stored parts. Raises ValueError where they are not of one verdict."""
    digest = b'"controls":"%b"' % blake2b(controls, digest_size=8).hexdigest().encode()
    before, found, after = raw.partition(digest)
    if not found:
        raise ValueError(f"the controls stored with {raw[:80]!r} are not its own")
    return b'%b"controls":%b%b' % (before, controls, after)


def open_breaks(raw: bytes) -> frozenset[tuple[str, str]]:
    """(class, fingerprint) of each break of a stored verdict."""
    return frozenset((found.class_, found.fingerprint) for found in _breaks_decoder.decode(raw).breaks)


def decode(raw: bytes) -> Verdict:
    return _decoder.decode(raw)


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """The verdict as its JSON object."""
    shown: dict[str, Any] = msgspec.json.decode(encode(verdict))
    return shown
