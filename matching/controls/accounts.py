"""Is every line of an entry on an account that policy allows for it?"""

from typing import Any

from matching.findings import Answer, Failure, failed, major, not_applicable, passed
from matching.view import View

_PASS = passed("account", "every line is on an account that policy allows for it")
_NONE = not_applicable("account", "no posting of which policy says what accounts it may touch")


def account(view: View) -> Answer:
    """The lines of an entry are on accounts (by their role) that policy allows for what is booked.

    An invoice booked against cash hides a receivable, a payment booked as revenue counts it twice: the totals agree and
    the statements do not. Manual journals may touch any account. Policy: `[accounts]`, by type of document.
    """
    accounts = view.policy.terms.accounts
    answer = _NONE
    for posting in view.postings:
        data = posting.data
        kind = data.posting_kind
        allowed = accounts.get(kind if kind == "revaluation" else data.document_type)
        if allowed is None or kind == "manual":
            continue
        answer = _PASS
        for line in data.lines:
            if line.role not in allowed:
                return _on_another_account(view, posting, line)
    return answer


def _on_another_account(view: View, posting: Any, line: Any) -> Failure:
    data = posting.data
    of_document = line.amount_minor is not None and data.currency is not None
    amount_minor, currency = (
        (line.amount_minor, data.currency) if of_document else (line.base_minor or 0, data.base_currency)
    )
    where = f"{line.role} ({line.account})" if line.account else line.role
    document = () if view.document is None else (view.document,)
    exposure_minor = amount_minor if currency == view.currency else view.total_minor
    return failed(
        view, "account", "account", f"posting {posting.subject} books a line of its {data.document_type} to {line.role}; move it",
        expected=f"accounts that policy allows for {data.document_type}", actual=f"{major(amount_minor, currency)} on {where}"[:1000],
        amounts=(line.role, line.account or "", amount_minor), variance_minor=amount_minor, currency=currency,
        exposure_minor=abs(exposure_minor), evidence=(*document, posting),
    )  # fmt: skip
