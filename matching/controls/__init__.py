"""The registry of controls: which are asked of which kind of case, in the order a verdict lists them.

A control is one pure function of the view that answers pass, fail, not_applicable or not_assessed with its reason. A new
one is one function and one line here; policy says which are mandatory.
"""

from matching.controls import (
    accounts,
    amounts,
    bank,
    disputes,
    duplicates,
    governance,
    identification,
    intercompany,
    open_items,
    orders,
    parties,
    payments,
    payouts,
    periods,
    postings,
    proration,
    rebills,
    receipts,
    records,
    revenue,
    schedules,
    summaries,
    timing,
    usage,
)
from matching.findings import Control

_DOCUMENT: tuple[Control, ...] = (
    amounts.amount,
    amounts.rounding,
    amounts.balance,
    amounts.tax,
    amounts.currency,
    amounts.fx,
    parties.customer,
    parties.entity,
    postings.missing_posting,
    postings.missing_reversal,
    postings.orphan_posting,
    postings.duplicate_posting,
    accounts.account,
    open_items.open_item,
    revenue.revenue_schedule,
    proration.proration,
)
_INVOICE: tuple[Control, ...] = (
    postings.duplicate_invoice,
    payments.orphan_payment,
    payments.orphan_application,
    payments.missing_payment,
    payments.short_payment,
    payments.overpayment,
    payments.duplicate_payment,
    payments.missing_application,
    payments.unapplied_cash,
    payouts.payout,
    receipts.misapplied,
    receipts.reversed_after_application,
    receipts.refund_unmatched,
    disputes.chargeback,
    rebills.credit_rebill,
)
_RECORDS: tuple[Control, ...] = (records.conflict, governance.system_of_record, governance.contract)
_ANY_DOCUMENT: tuple[Control, ...] = (*_RECORDS, timing.cutoff, timing.sla)

CONTROLS: dict[str, tuple[Control, ...]] = {
    "order": (
        parties.customer,
        parties.entity,
        orders.missing_subscription,
        orders.quote_mismatch,
        duplicates.duplicate_period,
        schedules.missing_invoice,
        usage.usage,
        usage.unbilled_usage,
        proration.proration,
        *_RECORDS,
        timing.sla,
    ),
    "invoice": (*_DOCUMENT, *_INVOICE, *_ANY_DOCUMENT),
    "credit": (*_DOCUMENT, receipts.refund_unmatched, *_ANY_DOCUMENT),
    "receipt": (
        amounts.balance,
        accounts.account,
        parties.entity,
        payments.orphan_application,
        payments.unapplied_cash,
        identification.ambiguous_match,
        receipts.misapplied,
        receipts.reversed_after_application,
        receipts.refund_unmatched,
        disputes.chargeback,
        payouts.payout,
        payouts.fee,
        receipts.missing_posting,
        *_RECORDS,
        timing.sla,
    ),
    "payout": (
        amounts.balance,
        accounts.account,
        parties.entity,
        payouts.payout,
        payouts.fee,
        bank.bank,
        *_RECORDS,
        timing.sla,
    ),
    "summary": (
        amounts.balance,
        parties.entity,
        postings.missing_posting,
        summaries.summary_split,
        accounts.account,
        bank.bank,
        identification.ambiguous_match,
        *_RECORDS,
    ),
    "index": (
        periods.closed_period,
        postings.duplicate_invoice,
        parties.customer,
        intercompany.intercompany,
        bank.bank,
        governance.system_of_record,
        governance.contract,
    ),
}

# Asked of every case: what they say depends on more than the case's situation (`matching.assessment`).
LOOKS_INTO_RECORDS: frozenset[Control] = frozenset(
    (
        accounts.account,
        amounts.balance,
        amounts.tax,
        duplicates.duplicate_period,
        governance.contract,
        governance.system_of_record,
        orders.quote_mismatch,
        parties.customer,
        parties.entity,
        proration.proration,
        rebills.credit_rebill,
        receipts.misapplied,
        revenue.revenue_schedule,
        schedules.missing_invoice,
        timing.cutoff,
        usage.unbilled_usage,
        usage.usage,
    )
)

NAMES: dict[str, tuple[str, ...]] = {
    kind: tuple(control.__name__ for control in controls) for kind, controls in CONTROLS.items()
}
