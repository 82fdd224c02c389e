"""What goes wrong in the company, and how often.

A rate of the first group is the fraction of invoices (of orders, where it says so) that have this fault and no other.
The last group disturbs delivery only: what happened stays the same, and so must the verdicts.
"""

from dataclasses import dataclass, fields, replace

INVOICE_FAULTS = (
    "missing_posting", "late_posting", "rejected_posting", "api_failure", "api_recovered", "wrong_amount", "wrong_tax",
    "wrong_customer", "wrong_currency", "wrong_fx", "wrong_entity", "unbalanced_posting", "conflicting_invoice", "duplicate_invoice", "duplicate_posting",
    "orphan_posting", "void_not_reversed", "missing_payment", "short_payment", "overpayment", "duplicate_payment",
    "orphan_payment", "missing_application", "late_application", "unapplied_remainder",
)  # fmt: skip
ORDER_FAULTS = ("missing_subscription", "late_subscription", "subscription_api_failure")
# Of orders that are billed by a schedule (company.subscriptions). None unless asked for.
BILLING_FAULTS = (
    "never_billed",
    "billed_twice",
    "billed_short",
    "unbilled_usage",
    "usage_differs",
    "misprorated",
    "misprorated_credit",
    "downgrade_ignored",
)
BILLING_TURNS = ("billed_monthly", "paused", "upgraded", "metered", "downgraded", "downgraded_on_next_bill")
ORDERS = (*ORDER_FAULTS, *BILLING_FAULTS, *BILLING_TURNS)
# Ordinary events of a business that a toy would take for faults: they tie out.
INVOICE_TURNS = ("edited_posting", "voided", "withholding", "instalments", "declined_first", "free")
# Of the wider ledger: batches, revenue over time, exchange gains, the group. None unless asked for; `LIVING` asks.
LEDGER_FAULTS = ("misscheduled", "unrecognised", "wrong_gain")
LEDGER_TURNS = ("batched", "scheduled", "realised_gain")
GROUP_FAULTS = ("unbooked_counterpart", "counterpart_differs")
GROUP_TURNS = ("between_companies",)
# Of cash that comes back, comes short, or is put on another invoice. None unless asked for.
CASH_FAULTS = (
    "returned_payment", "bounced_payment", "returned_in_part", "returned_for_good", "unbooked_charges", "wrong_invoice",
    "wrong_customer_paid",
)  # fmt: skip
CASH_TURNS = ("paid_again", "bank_charges", "moved_to_its_invoice", "moved_to_its_customer")
# Of a transfer that pays two invoices (company.transfers). None unless asked for.
TRANSFER_FAULTS = ("transfer_overstretched", "transfer_for_another", "transfer_rest")
TRANSFER_TURNS = ("one_transfer",)
# Of card payments through a processor, beside the invoices; of the payouts that list them.
MONEY_FAULTS = ("over_refunded", "disputed", "lost_dispute", "other_fee_kept")
MONEY_TURNS = ("charged", "refunded", "won_dispute", "charged_abroad", "self_settled")
PAYOUT_FAULTS = ("line_left_out", "short_transfer", "lost_bank_line", "wrong_rate", "line_not_netted", "fee_misbooked")
PAYOUT_TURNS = ("booked_payout",)
PAYOUTS = (*PAYOUT_FAULTS, *PAYOUT_TURNS)
# Of what is credited and billed again (company.credits). None unless asked for.
CREDIT_FAULTS = (
    "unposted_credit", "wrong_credit", "over_credited", "rebilled_beside", "rebilled_short", "credited_untaxed", "payment_left",
)  # fmt: skip
CREDIT_TURNS = ("credited_in_part", "rebilled", "payment_moved")
# Of what is given up of an invoice (company.write_offs). None unless asked for.
WRITE_OFF_FAULTS = (
    "write_off_unbooked", "write_off_proposed", "write_off_alone", "write_off_withdrawn", "write_off_lapsed", "write_off_misbooked", "write_off_beyond",
)  # fmt: skip
WRITE_OFF_TURNS = ("written_off", "rest_written_off")
BATCH_FAULTS = ("short_batch", "forgotten_member", "member_twice", "unposted_batch")

# What an invoice, or a card payment in its place, can be drawn to be.
INVOICES = (
    *INVOICE_FAULTS, *INVOICE_TURNS, *LEDGER_FAULTS, *LEDGER_TURNS, *GROUP_FAULTS, *GROUP_TURNS, *MONEY_FAULTS, *MONEY_TURNS,
    *CREDIT_FAULTS, *CREDIT_TURNS, *WRITE_OFF_FAULTS, *WRITE_OFF_TURNS,
    *CASH_FAULTS, *CASH_TURNS, *TRANSFER_FAULTS, *TRANSFER_TURNS,
)  # fmt: skip


@dataclass(frozen=True)
class FaultRates:
    missing_posting: float = 0.005
    late_posting: float = 0.008
    rejected_posting: float = 0.002
    api_failure: float = 0.006
    api_recovered: float = 0.008
    wrong_amount: float = 0.006
    wrong_tax: float = 0.004
    wrong_customer: float = 0.003
    wrong_currency: float = 0.002
    wrong_fx: float = 0.003
    wrong_entity: float = 0.002
    unbalanced_posting: float = 0.002
    conflicting_invoice: float = 0.002
    duplicate_invoice: float = 0.003
    duplicate_posting: float = 0.004
    orphan_posting: float = 0.003
    void_not_reversed: float = 0.003
    missing_payment: float = 0.006
    short_payment: float = 0.004
    overpayment: float = 0.003
    duplicate_payment: float = 0.003
    orphan_payment: float = 0.003
    missing_application: float = 0.005
    late_application: float = 0.006
    unapplied_remainder: float = 0.003
    # of orders
    missing_subscription: float = 0.01
    late_subscription: float = 0.015
    subscription_api_failure: float = 0.01
    # of orders that are billed by a schedule
    never_billed: float = 0.0
    billed_twice: float = 0.0
    billed_short: float = 0.0
    unbilled_usage: float = 0.0
    usage_differs: float = 0.0
    misprorated: float = 0.0
    misprorated_credit: float = 0.0
    downgrade_ignored: float = 0.0
    billed_monthly: float = 0.0
    paused: float = 0.0
    upgraded: float = 0.0
    metered: float = 0.0
    downgraded: float = 0.0
    downgraded_on_next_bill: float = 0.0
    # of invoices; no faults
    edited_posting: float = 0.02
    voided: float = 0.01
    withholding: float = 0.01
    instalments: float = 0.015
    declined_first: float = 0.03
    free: float = 0.005
    # of invoices in the wider ledger; of batches
    misscheduled: float = 0.0
    unrecognised: float = 0.0
    wrong_gain: float = 0.0
    batched: float = 0.0
    scheduled: float = 0.0
    realised_gain: float = 0.0
    unbooked_counterpart: float = 0.0
    counterpart_differs: float = 0.0
    between_companies: float = 0.0
    short_batch: float = 0.0
    forgotten_member: float = 0.0
    member_twice: float = 0.0
    unposted_batch: float = 0.0
    # of invoices that are credited or billed again
    unposted_credit: float = 0.0
    wrong_credit: float = 0.0
    over_credited: float = 0.0
    rebilled_beside: float = 0.0
    rebilled_short: float = 0.0
    credited_untaxed: float = 0.0
    payment_left: float = 0.0
    credited_in_part: float = 0.0
    rebilled: float = 0.0
    payment_moved: float = 0.0
    # of invoices of which something is given up
    write_off_unbooked: float = 0.0
    write_off_proposed: float = 0.0
    write_off_alone: float = 0.0
    write_off_withdrawn: float = 0.0
    write_off_lapsed: float = 0.0
    write_off_misbooked: float = 0.0
    write_off_beyond: float = 0.0
    written_off: float = 0.0
    rest_written_off: float = 0.0
    # of invoices whose cash comes back, comes short or is put elsewhere
    returned_payment: float = 0.0
    bounced_payment: float = 0.0
    returned_in_part: float = 0.0
    returned_for_good: float = 0.0
    unbooked_charges: float = 0.0
    wrong_invoice: float = 0.0
    wrong_customer_paid: float = 0.0
    paid_again: float = 0.0
    bank_charges: float = 0.0
    moved_to_its_invoice: float = 0.0
    moved_to_its_customer: float = 0.0
    transfer_overstretched: float = 0.0
    transfer_for_another: float = 0.0
    transfer_rest: float = 0.0
    one_transfer: float = 0.0
    # card payments, in place of invoices; of payouts
    over_refunded: float = 0.0
    disputed: float = 0.0
    lost_dispute: float = 0.0
    charged: float = 0.0
    refunded: float = 0.0
    won_dispute: float = 0.0
    other_fee_kept: float = 0.0
    charged_abroad: float = 0.0
    self_settled: float = 0.0
    line_left_out: float = 0.0
    short_transfer: float = 0.0
    lost_bank_line: float = 0.0
    wrong_rate: float = 0.0
    line_not_netted: float = 0.0
    fee_misbooked: float = 0.0
    booked_payout: float = 0.0
    # of invoices with a fault or turn in the ledger: another one with the money
    coincidence: float = 0.05
    # of records
    delivered_twice: float = 0.02
    out_of_order: float = 0.02
    malformed: float = 0.005
    clock_ahead: float = 0.0  # refused by the live intake alone: a file does not say when its records arrived

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise ValueError(f"rate {name} is {rate}, not between 0 and 1")
        of_documents = (
            ("invoices", INVOICES),
            ("orders", ORDERS),
            ("batches", BATCH_FAULTS),
            ("payouts", PAYOUTS),
        )
        for kind, names in of_documents:
            if sum(getattr(self, name) for name in names) > 1:
                raise ValueError(f"the rates of {kind} add up to more than 1")

    @classmethod
    def none(cls) -> "FaultRates":
        """A business in which nothing goes wrong."""
        return cls(**{field.name: 0.0 for field in fields(cls)})

    @classmethod
    def only(cls, **rates: float) -> "FaultRates":
        """Nothing but these."""
        return replace(cls.none(), **rates)


LIVING = FaultRates(
    misscheduled=0.003, unrecognised=0.003, wrong_gain=0.003, batched=0.1, scheduled=0.1, realised_gain=0.05,
    unbooked_counterpart=0.003, counterpart_differs=0.003, between_companies=0.03,
    short_batch=0.05, forgotten_member=0.05, member_twice=0.05, unposted_batch=0.05,
    over_refunded=0.003, disputed=0.003, lost_dispute=0.003, charged=0.1, refunded=0.02, won_dispute=0.003,
    other_fee_kept=0.003, charged_abroad=0.03, self_settled=0.03,
    line_left_out=0.05, short_transfer=0.05, lost_bank_line=0.05, wrong_rate=0.05, line_not_netted=0.05, fee_misbooked=0.05,
    booked_payout=0.2,
    unposted_credit=0.003, wrong_credit=0.003, over_credited=0.003, rebilled_beside=0.003, rebilled_short=0.003, credited_untaxed=0.003,
    payment_left=0.003, credited_in_part=0.01, rebilled=0.01, payment_moved=0.01,
    write_off_unbooked=0.003, write_off_proposed=0.003, write_off_alone=0.003, write_off_withdrawn=0.003, write_off_lapsed=0.003, write_off_misbooked=0.003,
    write_off_beyond=0.003, written_off=0.005, rest_written_off=0.005,
    never_billed=0.02, billed_twice=0.02, billed_short=0.02, unbilled_usage=0.02, usage_differs=0.02, misprorated=0.02,
    returned_payment=0.003, bounced_payment=0.003, returned_in_part=0.003, returned_for_good=0.003, unbooked_charges=0.003,
    wrong_invoice=0.003, wrong_customer_paid=0.003, paid_again=0.01, bank_charges=0.02, moved_to_its_invoice=0.005,
    moved_to_its_customer=0.005, transfer_overstretched=0.003, transfer_for_another=0.003, transfer_rest=0.003, one_transfer=0.02,
    billed_monthly=0.1, paused=0.03, upgraded=0.03, metered=0.03,
    misprorated_credit=0.02, downgrade_ignored=0.02, downgraded=0.03, downgraded_on_next_bill=0.03,
)  # fmt: skip
