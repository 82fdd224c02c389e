"""Canonical events: what happened to money, in one vocabulary for every system.

- One event is one CloudEvents 1.0 record in structured mode, one line of JSON. `id` is the fact's identity (rule E5),
  `source` is `<system>/<instance>`, `subject` the document's number, `time` when it happened, `correlationid` its one
  home case, `dataschema` the contract and its version (`urn:tieout:invoice.issued:1`).
- Amounts are unsigned minor units; the event's type says the direction. Only lines are signed: document lines because
  discounts exist, posting lines because they are debit-positive.
- Models are frozen and strict: a missing or ill-typed field, an unknown type or currency is refused. Unknown fields are
  kept. An optional field that was not given is absent; a null means the same and is kept as it came.
- `data.recorded_at` is when the system booked it and `data.accounting_date` the entity's date, where they differ.

Behind the door the hot path decodes the same records with typed structs derived from these models (canonical.structs);
both accept and refuse the same records.
"""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from canonical.ids import ID_PATTERN, KEY_PATTERN, MAX_KEY_CHARS
from canonical.money import EXPONENTS, MAX_MINOR

Stream = Literal["orders", "invoices", "postings", "payments", "settlements", "controls", "decisions"]
STREAMS: tuple[Stream, ...] = ("orders", "invoices", "postings", "payments", "settlements", "controls", "decisions")

NAME_PATTERN = r"^[^\x00-\x1f\x7f]+$"
TEXT_PATTERN = r"^[^\x00]*$"

# A clock outside this range is broken: no system tieout reads existed before, and no document is due after.
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with Z, microseconds only where there are any: one text for one instant."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def parse_time(value: Any) -> datetime:
    """An RFC 3339 text (or an aware datetime) in UTC. Raises ValueError otherwise, also for a text without a zone."""
    moment: datetime = msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=True)])
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"time {moment.isoformat()} lies outside the calendar in UTC") from None


def check_clock(moment: datetime) -> datetime:
    """Refuses a time that only a broken clock tells. Raises ValueError."""
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"time {moment.isoformat()} is outside {EARLIEST:%Y} to {LATEST:%Y}: a clock is wrong")
    return moment


def parse_date(value: Any) -> date:
    """An ISO 8601 calendar date. Raises ValueError otherwise."""
    day: date = msgspec.convert(value, date)
    return day


Time = Annotated[datetime, BeforeValidator(parse_time), PlainSerializer(format_time, return_type=str)]
Moment = Annotated[Time, AfterValidator(check_clock)]
Date = Annotated[date, BeforeValidator(parse_date)]
Id = Annotated[str, Field(pattern=ID_PATTERN, max_length=MAX_KEY_CHARS)]
CaseKey = Annotated[str, Field(pattern=KEY_PATTERN, max_length=MAX_KEY_CHARS)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=200)]
Text = Annotated[str, Field(pattern=TEXT_PATTERN, max_length=4000)]
Decimal_ = Annotated[str, Field(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,12})?$", max_length=32)]
Minor = Annotated[int, Field(ge=0, le=MAX_MINOR)]
SignedMinor = Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR)]
Count = Annotated[int, Field(ge=0, le=MAX_MINOR)]
if TYPE_CHECKING:
    Currency = str
else:
    Currency = Literal[tuple(sorted(EXPONENTS))]
Direction = Literal["sales", "purchase"]
RateDirection = Literal["document_per_base", "base_per_document"]
Failure = Literal["transient", "mapping", "master_data", "policy"]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow")


class Ref(Model):
    """Another name of the same document: its id or number in a system."""

    kind: Name
    system: Name
    value: Name


class Parties(Model):
    """Who the document is about, in the ids of the system that sent it."""

    sold_to: Name | None = None
    bill_to: Name | None = None
    payer: Name | None = None


class Period(Model):
    """Service period, both days included."""

    start: Date
    end: Date


class TaxLine(Model):
    """`rate` is in per cent; `base_minor` net of tax, or what contains it where the tax is inclusive."""

    amount_minor: SignedMinor
    code: Name | None = None
    jurisdiction: Name | None = None
    rate: Decimal_ | None = None
    base_minor: SignedMinor | None = None
    inclusive: bool | None = None


BillReason = Literal["recurring", "proration", "usage", "rebill", "one_off", "other"]


class Proration(Model):
    """How a line was prorated, as its provider declares: `price_minor` is of the whole `period`, of which the line is a part.

    `daily`: by days. `monthly`: each month of the period costs the same, a part of one by its days. `seconds`: `seconds` of
    the `of_seconds` that the whole period has.
    """

    price_minor: SignedMinor
    method: Literal["daily", "monthly", "seconds"] | None = None
    period: Period | None = None
    seconds: Count | None = None
    of_seconds: Count | None = None


class Line(Model):
    """`reason` where it is not the document's: usage or proration on a recurring bill."""

    amount_minor: SignedMinor
    description: Text | None = None
    product: Name | None = None
    quantity: Decimal_ | None = None
    tax_code: Name | None = None
    period: Period | None = None
    reason: BillReason | None = None
    proration: Proration | None = None


AccountRole = Literal[
    "receivable", "payable", "revenue", "deferred", "tax", "cash", "clearing", "fx", "fee", "expense", "write_off",
    "unapplied", "rounding", "equity", "asset", "liability", "other",
]  # fmt: skip


class PostingLine(Model):
    """Debit-positive, in the document's currency (`amount_minor`), the ledger's (`base_minor`), or both."""

    role: AccountRole
    account: Name | None = None
    amount_minor: SignedMinor | None = None
    base_minor: SignedMinor | None = None
    tax_code: Name | None = None


class Document(Model):
    """What every business document carries. `version` orders versions of one document: the higher one holds."""

    entity: Name
    document_id: Name
    number: Name | None = None
    version: Count | None = None
    recorded_at: Moment | None = None
    accounting_date: Date | None = None
    customer: Parties | None = None
    refs: tuple[Ref, ...] | None = None


class Priced(Document):
    """A document with one total. `rate` converts it to the entity's base currency in the direction stated."""

    currency: Currency
    total_minor: Minor
    tax_minor: Minor | None = None
    base_currency: Currency | None = None
    base_total_minor: Minor | None = None
    rate: Decimal_ | None = None
    rate_direction: RateDirection | None = None


class Allocation(Model):
    """A part of a payment, and the case of the document that it pays; what it settles there, if in another currency."""

    target: CaseKey
    amount_minor: Minor
    settled_minor: Minor | None = None
    settled_currency: Currency | None = None


class OrderData(Priced):
    """A quote's total is of one billing period, or of the whole term; `period` is the term."""

    subscription_id: Name | None = None
    plan: Name | None = None
    period: Period | None = None


class SubscriptionData(Document):
    currency: Currency | None = None
    total_minor: Minor | None = None  # of one billing period
    plan: Name | None = None
    quantity: Decimal_ | None = None
    quote_id: Name | None = None
    period: Period | None = None  # its term; of a pause, how long it lasts


class ScheduledBill(Model):
    """Before tax: `period` is what it is for, where that is not told by the days on which bills are due."""

    due_on: Date
    total_minor: Minor
    period: Period | None = None


class BillingScheduleData(Document):
    currency: Currency
    bills: tuple[ScheduledBill, ...]


class UsageData(Document):
    """Rated usage of one period; `order_key` is the case of the subscription that it is billed to."""

    currency: Currency
    total_minor: Minor
    subscription_id: Name | None = None
    quantity: Decimal_ | None = None
    period: Period | None = None
    order_key: CaseKey | None = None


class RecordedData(Document):
    """A document that moves no money itself (a sales order, a delivery, a goods issue); `refs` are what it follows."""

    kind: Name
    currency: Currency | None = None
    value_minor: SignedMinor | None = None


class CustomerData(Document):
    """`refs` names the customer in other systems; `merged_into` the one that survives."""

    name: Text | None = None
    merged_into: Name | None = None


class InvoiceData(Priced):
    """`order_key` is the case of the subscription it bills, `summary_key` of the batch that posts it, where stated.

    `counterparty` is the entity of one's own group on the other side. A rebill names the document that it `replaces`, and
    the case of that where it is another one.
    """

    direction: Direction
    order_key: CaseKey | None = None
    summary_key: CaseKey | None = None
    counterparty: Name | None = None
    due_date: Date | None = None
    subscription_id: Name | None = None
    reason: BillReason | None = None
    service_period: Period | None = None
    lines: tuple[Line, ...] | None = None
    tax_lines: tuple[TaxLine, ...] | None = None
    replaces: Name | None = None
    replaces_key: CaseKey | None = None


class VoidData(Document):
    """The document as a whole no longer stands.

    `summary_key` is the batch that takes it back in the ledger, by `total_minor`, where that is not the one that booked it.
    """

    reason: Text | None = None
    summary_key: CaseKey | None = None
    direction: Direction | None = None
    currency: Currency | None = None
    total_minor: Minor | None = None


class CreditMemoData(Priced):
    """`invoice_key` is the case of the invoice that it reduces, where that is another one; `order_key` and `counterparty` as an
    invoice's.
    """

    direction: Direction
    counterparty: Name | None = None
    invoice_id: Name | None = None
    invoice_key: CaseKey | None = None
    order_key: CaseKey | None = None
    summary_key: CaseKey | None = None
    lines: tuple[Line, ...] | None = None
    tax_lines: tuple[TaxLine, ...] | None = None


class PostingData(Document):
    """One journal entry. Its lines sum to zero; a reversal carries its own (opposite) lines.

    `members`: how many documents a summary posting says it books.
    """

    ledger: Name
    document_type: Literal["invoice", "credit", "payment", "refund", "void", "application", "fee", "payout", "other"]
    posting_kind: Literal["document", "summary", "revaluation", "manual", "release"]
    direction: Direction | None = None
    currency: Currency | None = None
    base_currency: Currency
    lines: tuple[PostingLine, ...]
    reverses: Name | None = None
    members: Count | None = None


class RevenueScheduleData(Document):
    """When the revenue of a document (or of one obligation of it) is to be recognised: net of tax, summing to the total."""

    ledger: Name
    currency: Currency
    total_minor: Minor
    bills: tuple[ScheduledBill, ...]


class RevenueData(Document):
    """A part of a schedule, recognised in the period (else in the month of its accounting date)."""

    ledger: Name
    currency: Currency
    amount_minor: Minor
    period: Period | None = None


class ApplicationData(Document):
    """Cash (or a credit, write-off ...) applied to an invoice: `amount_minor` is what the invoice is reduced by.

    `from_base_minor` is what was taken in `base_currency` at the rate of the day it came in; `realised_fx_minor` the gain
    (a loss is negative). Told in the invoice's case, `payment_key` is the case of the payment it takes from; told in the payment's,
    `invoice_key` that of the invoice.
    """

    from_kind: Literal["payment", "credit", "deposit", "write_off", "withholding", "fee"]
    currency: Currency
    amount_minor: Minor
    payment_id: Name | None = None
    invoice_id: Name | None = None
    payment_key: CaseKey | None = None
    invoice_key: CaseKey | None = None
    from_currency: Currency | None = None
    from_amount_minor: Minor | None = None
    base_currency: Currency | None = None
    from_base_minor: Minor | None = None
    realised_fx_minor: SignedMinor | None = None


class PeriodData(Document):
    """Its case is the period's (`canonical.ids.period_key`): what was booked late into the period is told there."""

    ledger: Name
    period: Period


class PaymentData(Document):
    """One movement of a payment. `reason` says why it failed or was returned, in the provider's words.

    `allocations`: what it pays, where that lies in other cases; their amounts are in its own currency.
    """

    currency: Currency
    amount_minor: Minor
    direction: Direction | None = None
    method: Name | None = None
    invoice_id: Name | None = None
    fee_minor: Minor | None = None
    reference: Text | None = None
    attempt: Count | None = None
    reason: Text | None = None
    allocations: tuple[Allocation, ...] | None = None


class RefundData(PaymentData):
    payment_id: Name | None = None


class DisputeData(PaymentData):
    payment_id: Name | None = None
    stage: Name | None = None


class MandateData(Document):
    method: Name | None = None
    state: Name


class DunningData(Document):
    invoice_id: Name | None = None
    state: Name
    attempt: Count | None = None


class SettlementData(Document):
    """A line of a payout; `payment_key` is the case of the payment that it settles, `payout_key` that of the payout.

    Each is named where the line is told in another case. `rate` turns its currency into the payout's, by multiplication.
    """

    payout_id: Name | None = None
    payment_id: Name | None = None
    kind: Name
    currency: Currency
    gross_minor: SignedMinor
    fee_minor: SignedMinor
    net_minor: SignedMinor
    rate: Decimal_ | None = None
    payment_key: CaseKey | None = None
    payout_key: CaseKey | None = None


class StatementData(Document):
    """Its lines lie in its case; what it opens and closes with is told to that of the account (`canonical.ids.account_key`)."""

    account: Name
    currency: Currency
    sequence: Count | None = None
    opening_minor: SignedMinor
    closing_minor: SignedMinor


class BankLineData(Document):
    """Signed: what came in is positive. `payout_key` is the case of the payout that it is, `statement_id` where it stands.

    Without `statement_id` it is what a report or notification says before the statement says it again. `charges_minor`
    are the bank's, for information; `code` is its kind; lines of one batch booking share a `batch_id`.
    """

    account: Name
    currency: Currency
    amount_minor: SignedMinor
    reference: Text | None = None
    counterparty: Text | None = None
    statement_id: Name | None = None
    payout_key: CaseKey | None = None
    value_date: Date | None = None
    is_reversal: bool | None = None
    charges_minor: Minor | None = None
    code: Name | None = None
    batch_id: Name | None = None


class ReportedTotalData(Document):
    """What a source says it sent, so that completeness can be proven against it."""

    system: Name
    type: Name
    period: Period
    count: Count
    currency: Currency | None = None
    total_minor: SignedMinor | None = None


class BalanceData(Document):
    ledger: Name
    account: Name
    currency: Currency
    balance_minor: SignedMinor
    as_of: Date


class HeartbeatData(Document):
    system: Name


class DeliveryData(Document):
    """An integration tried to hand a document to `target`; where it failed, `failure` says whose it is."""

    target: Name
    operation: Name
    failure: Failure | None = None
    reason: Text | None = None
    attempt: Count | None = None


class LinkData(Document):
    """`alias` is another key under which events of this case may come in."""

    alias: CaseKey


AllocationKind = Literal["payment", "application", "applied_from", "credit", "bill", "usage", "member", "settled", "bank", "customer", "booked", "intercompany", "reduction", "opening", "closing", "rebill", "natural_key", "alias"]  # fmt: skip


class AllocationData(Document):
    """What the case `home` means for the one it is told to (rule E6): tieout's own, made by matching.effects.

    `document_id` is that of the fact it follows from; `version` is the revision, the highest holds; 0 takes it back. A bill
    says beside its total how much of it is tax, usage (of which period) and proration, why it was made and what it replaces;
    a line of a payout its `rate`.
    """

    home: CaseKey
    kind: AllocationKind
    currency: Currency | None = None  # an alias has none
    amount_minor: SignedMinor
    direction: Direction | None = None
    period: Period | None = None
    sequence: Count | None = None
    rate: Decimal_ | None = None
    tax_minor: SignedMinor | None = None
    usage_minor: SignedMinor | None = None
    usage_period: Period | None = None
    proration_minor: SignedMinor | None = None
    reason: Name | None = None
    replaces: Name | None = None


class TouchedData(Document):
    reason: Text | None = None


class DecisionData(Document):
    """A person's decision, bound to the fingerprint of the break it was made on."""

    action: Name
    break_class: Name
    fingerprint: Id
    actor: Name
    role: Name
    reason_code: Name
    comment: Text | None = None


class MatchData(Document):
    """What a payment of its case pays, as somebody chose: `actor` is a person, or tieout (rule E7).

    `digest` is of the candidates as they were, `policy` its hash, `compared` what agreed. No allocations: it is to stay on account.
    """

    actor: Name
    rule: Name
    payment_id: Name
    invoice_ids: tuple[Name, ...]
    digest: Id | None = None
    allocations: tuple[Allocation, ...] | None = None
    policy: Id | None = None
    compared: Text | None = None


class RefusedMatchData(Document):
    """Several open items fit a payment alike, so that none was chosen; `version` is the revision."""

    rule: Name
    payment_id: Name
    reason: Text
    candidates: tuple[CaseKey, ...]
    digest: Id
    policy: Id


class CloseTotal(Model):
    """One balance as it was signed, in its natural sign: what documents and ledger say, and what the ledger reported."""

    position: AccountRole
    currency: Currency
    opening_minor: SignedMinor
    documents_minor: SignedMinor
    ledger_minor: SignedMinor
    reported_minor: SignedMinor | None = None
    residual_minor: SignedMinor
    lines: Count


class LogPosition(Model):
    """Up to which record of the log facts were in the store."""

    topic: Name
    partition: Count
    offset: Count


class CloseData(Document):
    """A period's tie-out as it was signed; its case is the period's (`canonical.ids.period_key`).

    Frozen are the cut-off (the first moment after the period), what was known (`known_until`), how far the log was read,
    policy, code, and the totals; `digest` is that of the whole tie-out. `actor` prepared it, `reviewer` is who checked it.
    """

    ledger: Name
    period: Period
    actor: Name
    cutoff: Moment
    policy: Id | None = None
    reviewer: Name | None = None
    known_until: Moment | None = None
    code: Name | None = None
    state: Literal["tied_out", "explained", "incomplete"] | None = None
    digest: Id | None = None
    totals: tuple[CloseTotal, ...] | None = None
    positions: tuple[LogPosition, ...] | None = None
    comment: Text | None = None


class Event(Model):
    """The envelope. Concrete events below narrow `type` and `data`; `stream` is the topic they are written to."""

    stream: ClassVar[Stream]

    specversion: Literal["1.0"]
    id: Id
    source: Id
    type: str
    subject: Name
    time: Moment
    dataschema: Annotated[str, Field(pattern=r"^urn:tieout:[a-z_]+\.[a-z_]+:[0-9]{1,4}$", max_length=80)]
    correlationid: CaseKey
    traceparent: Annotated[str, Field(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", max_length=55)] | None = None  # fmt: skip
    data: Document


class OpportunityWon(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["opportunity.won"]
    data: OrderData


class QuoteApproved(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["quote.approved"]
    data: OrderData


class SubscriptionActivated(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.activated"]
    data: SubscriptionData


class SubscriptionAmended(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.amended"]
    data: SubscriptionData


class SubscriptionRenewed(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.renewed"]
    data: SubscriptionData


class SubscriptionPaused(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.paused"]
    data: SubscriptionData


class SubscriptionResumed(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.resumed"]
    data: SubscriptionData


class SubscriptionCancelled(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["subscription.cancelled"]
    data: SubscriptionData


class BillingScheduleSet(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["billing_schedule.set"]
    data: BillingScheduleData


class UsageRated(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["usage.rated"]
    data: UsageData


class DocumentRecorded(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["document.recorded"]
    data: RecordedData


class CustomerChanged(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["customer.changed"]
    data: CustomerData


class CustomerLinked(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["customer.linked"]
    data: CustomerData


class CustomerMerged(Event):
    stream: ClassVar[Stream] = "orders"
    type: Literal["customer.merged"]
    data: CustomerData


class InvoiceIssued(Event):
    stream: ClassVar[Stream] = "invoices"
    type: Literal["invoice.issued"]
    data: InvoiceData


class InvoiceAmended(Event):
    stream: ClassVar[Stream] = "invoices"
    type: Literal["invoice.amended"]
    data: InvoiceData


class InvoiceVoided(Event):
    stream: ClassVar[Stream] = "invoices"
    type: Literal["invoice.voided"]
    data: VoidData


class CreditMemoIssued(Event):
    stream: ClassVar[Stream] = "invoices"
    type: Literal["credit_memo.issued"]
    data: CreditMemoData


class CreditMemoVoided(Event):
    stream: ClassVar[Stream] = "invoices"
    type: Literal["credit_memo.voided"]
    data: VoidData


class PostingRecorded(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["posting.recorded"]
    data: PostingData


class PostingReversed(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["posting.reversed"]
    data: PostingData


class RevenueScheduleSet(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["revenue_schedule.set"]
    data: RevenueScheduleData


class RevenueRecognised(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["revenue.recognised"]
    data: RevenueData


class CashApplied(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["cash.applied"]
    data: ApplicationData


class CashUnapplied(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["cash.unapplied"]
    data: ApplicationData


class PeriodClosed(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["period.closed"]
    data: PeriodData


class PeriodReopened(Event):
    stream: ClassVar[Stream] = "postings"
    type: Literal["period.reopened"]
    data: PeriodData


class PaymentInitiated(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["payment.initiated"]
    data: PaymentData


class PaymentReceived(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["payment.received"]
    data: PaymentData


class PaymentFailed(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["payment.failed"]
    data: PaymentData


class PaymentReturned(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["payment.returned"]
    data: PaymentData


class RefundIssued(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["refund.issued"]
    data: RefundData


class RefundFailed(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["refund.failed"]
    data: RefundData


class DisputeOpened(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["dispute.opened"]
    data: DisputeData


class DisputeWon(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["dispute.won"]
    data: DisputeData


class DisputeLost(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["dispute.lost"]
    data: DisputeData


class MandateChanged(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["mandate.changed"]
    data: MandateData


class DunningChanged(Event):
    stream: ClassVar[Stream] = "payments"
    type: Literal["dunning.changed"]
    data: DunningData


class SettlementLine(Event):
    stream: ClassVar[Stream] = "settlements"
    type: Literal["settlement.line"]
    data: SettlementData


class PayoutPaid(Event):
    stream: ClassVar[Stream] = "settlements"
    type: Literal["payout.paid"]
    data: PaymentData


class PayoutFailed(Event):
    stream: ClassVar[Stream] = "settlements"
    type: Literal["payout.failed"]
    data: PaymentData


class BankStatement(Event):
    stream: ClassVar[Stream] = "settlements"
    type: Literal["bank.statement"]
    data: StatementData


class BankLine(Event):
    stream: ClassVar[Stream] = "settlements"
    type: Literal["bank.line"]
    data: BankLineData


class SourceTotalReported(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["source.total_reported"]
    data: ReportedTotalData


class BalanceReported(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["balance.reported"]
    data: BalanceData


class SourceHeartbeat(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["source.heartbeat"]
    data: HeartbeatData


class DeliveryFailed(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["delivery.failed"]
    data: DeliveryData


class DeliverySucceeded(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["delivery.succeeded"]
    data: DeliveryData


class CaseLinked(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["case.linked"]
    data: LinkData


class AllocationSet(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["allocation.set"]
    data: AllocationData


class CaseTouched(Event):
    stream: ClassVar[Stream] = "controls"
    type: Literal["case.touched"]
    data: TouchedData


class DecisionMade(Event):
    stream: ClassVar[Stream] = "decisions"
    type: Literal["decision.made"]
    data: DecisionData


class MatchMade(Event):
    stream: ClassVar[Stream] = "decisions"
    type: Literal["match.made"]
    data: MatchData


class MatchRefused(Event):
    stream: ClassVar[Stream] = "decisions"
    type: Literal["match.refused"]
    data: RefusedMatchData


class CloseSigned(Event):
    stream: ClassVar[Stream] = "decisions"
    type: Literal["close.signed"]
    data: CloseData


CanonicalEvent = Annotated[
    OpportunityWon
    | QuoteApproved
    | SubscriptionActivated
    | SubscriptionAmended
    | SubscriptionRenewed
    | SubscriptionPaused
    | SubscriptionResumed
    | SubscriptionCancelled
    | BillingScheduleSet
    | UsageRated
    | DocumentRecorded
    | CustomerChanged
    | CustomerLinked
    | CustomerMerged
    | InvoiceIssued
    | InvoiceAmended
    | InvoiceVoided
    | CreditMemoIssued
    | CreditMemoVoided
    | PostingRecorded
    | PostingReversed
    | RevenueScheduleSet
    | RevenueRecognised
    | CashApplied
    | CashUnapplied
    | PeriodClosed
    | PeriodReopened
    | PaymentInitiated
    | PaymentReceived
    | PaymentFailed
    | PaymentReturned
    | RefundIssued
    | RefundFailed
    | DisputeOpened
    | DisputeWon
    | DisputeLost
    | MandateChanged
    | DunningChanged
    | SettlementLine
    | PayoutPaid
    | PayoutFailed
    | BankStatement
    | BankLine
    | SourceTotalReported
    | BalanceReported
    | SourceHeartbeat
    | DeliveryFailed
    | DeliverySucceeded
    | CaseLinked
    | AllocationSet
    | CaseTouched
    | DecisionMade
    | MatchMade
    | MatchRefused
    | CloseSigned,
    Field(discriminator="type"),
]

EVENTS: dict[str, type[Event]] = {
    get_args(event.model_fields["type"].annotation)[0]: event for event in Event.__subclasses__()
}
