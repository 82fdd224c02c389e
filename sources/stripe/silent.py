"""Stripe objects that make no event, each with why. An object that is in none of these lists is unknown: mapping."""

from typing import Any, NoReturn

from sources.fields import Fields, shown

# The same money is told by another record; mapping it twice would count it twice.
_TOLD_ELSEWHERE = {
    "checkout.session": "its payment intent, subscription or invoice",
    "customer_balance_transaction": "the invoice or credit note that uses the balance",
    "customer_cash_balance_transaction": "the payment intent that it funds",
    "line_item": "its invoice",
    "invoiceitem": "the invoice that it goes on",
    "credit_note_line_item": "its credit note",
    "item": "its checkout session's payment",
    "payment_record": "its invoice",
    "payment_attempt_record": "its charge",
    "setup_attempt": "its setup intent, which moves no money",
    "source_transaction": "its charge",
    "payment_link": "the payment made through it",
    "order": "its payment intent",
}

# Money moves, but not between a customer's invoice, its payment and the bank.
_OUT_OF_SCOPE = {
    "application_fee", "fee_refund", "platform_tax_fee", "reserve_transaction", "reserve.hold", "reserve.plan",
    "reserve.release", "tax_deducted_at_source", "topup", "transfer", "transfer_reversal", "terminal.refund",
}  # fmt: skip
_OUT_OF_SCOPE_PREFIXES = ("issuing.", "treasury.", "capital.", "climate.", "crypto.", "financial_connections.", "v2.")

# Objects that hold others, each of which has its own case, time and reason.
_PAGES = {"list", "search_result"}

_MOVES_NOTHING = {
    "account", "account_link", "account_session", "active_entitlement_summary", "apple_pay_domain", "application",
    "balance", "balance_settings", "bank_account", "capability", "card", "cash_balance", "confirmation_token",
    "connect_collection_transfer", "country_spec", "coupon", "customer_session", "discount", "ephemeral_key",
    "exchange_rate", "external_account", "file", "file_link", "funding_instructions", "invoice_rendering_template",
    "login_link", "mandate", "payment_intent_amount_details_line_item", "payment_method",
    "payment_method_configuration", "payment_method_domain", "payment_source", "person", "plan", "price", "product",
    "product_feature", "promotion_code", "recipient", "review", "scheduled_query_run", "setup_intent",
    "shipping_rate", "source", "source_mandate_notification", "subscription_item", "subscription_schedule", "tax_code",
    "tax_id", "tax_rate", "token", "usage_record", "usage_record_summary", "webhook_endpoint",
    # of older versions
    "alipay_account", "bitcoin_receiver", "bitcoin_transaction", "file_upload", "issuer_fraud_record", "order_return",
    "sku", "subscription_schedule_revision", "three_d_secure",
}  # fmt: skip
_MOVES_NOTHING_PREFIXES = (
    "apps.", "billing.", "billing_portal.", "entitlements.", "forwarding.", "identity.", "privacy.", "product_catalog.",
    "radar.", "reporting.", "sigma.", "tax.", "terminal.", "test_helpers.", "three_d_secure.",
)  # fmt: skip


def dismiss(document: Fields, kind: Any, event_type: str | None) -> NoReturn:
    name = event_type or kind
    advice = "; remove it from the webhook's event list to silence this" if event_type is not None else ""
    if not isinstance(kind, str):
        document.refuse(f"no Stripe object: `object` is {shown(kind)}")
    if kind in _PAGES:
        document.refuse("it is a page of objects; send each as a record of its own")
    if kind in _TOLD_ELSEWHERE:
        document.refuse(f"stripe {name} is told by {_TOLD_ELSEWHERE[kind]}{advice}", "policy")
    if kind in _OUT_OF_SCOPE or kind.startswith(_OUT_OF_SCOPE_PREFIXES):
        document.refuse(f"stripe {name} is outside quote-to-cash, which is what tieout reconciles{advice}", "policy")
    if kind in _MOVES_NOTHING or kind.startswith(_MOVES_NOTHING_PREFIXES):
        document.refuse(f"stripe {name} moves no money that tieout reconciles{advice}", "policy")
    document.refuse(f"object {shown(kind)} is unknown to this adapter; report it with this record")
