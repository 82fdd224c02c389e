"""Is it the same customer and the same company on both sides?"""

from typing import Any

from matching.case import ALLOCATION
from matching.findings import Answer, Failure, failed, not_applicable, not_assessed, passed
from matching.view import View

_CUSTOMER_PASS = passed("customer", "every side that names a customer names the same one")
_CUSTOMER_NO_DOCUMENT = not_applicable("customer", "no document in this case to compare with")
_CUSTOMER_ALONE = not_assessed("customer", "nothing beside the document names a customer")
_CUSTOMER_NOT_NAMED = not_assessed("customer", "the document names no customer")


def customer(view: View) -> Answer:
    """Postings and payments are on the document's customer: any of its roles, under any name it has.

    Its names are those on the document, its aliases (`refs`), and what the crosswalk joins to them: customer.linked and
    customer.merged in the case, or sent on to it by the customer's own, which lists the ids that are one customer. A failure
    puts the amount on someone else's account, who will be reminded of what they never bought.
    """
    if view.document is None:
        return _own_names(view) if view.kind == "index" else _CUSTOMER_NO_DOCUMENT
    parties = view.document.data.customer
    if parties is None or not (parties.sold_to or parties.bill_to or parties.payer):
        parties = None
        if not names_of(view.document):
            return _CUSTOMER_NOT_NAMED
    answer: Answer = _CUSTOMER_ALONE
    for side in (*view.postings, *view.settlement.payments, *view.of("subscription.activated")):
        data = side.data
        if side.type == ALLOCATION:
            continue  # a receipt's case decided that it pays this: see misapplied
        if data.refs is None:
            if data.customer is None:
                continue
            if data.customer == parties:
                answer = _CUSTOMER_PASS
                continue
        names, theirs = names_of(view.document), names_of(side)
        if theirs and names.isdisjoint(theirs) and joined(view, names).isdisjoint(theirs):
            return _another_customer(view, side, names, theirs)
        if theirs:
            answer = _CUSTOMER_PASS
    return answer


def _own_names(view: View) -> Answer:
    """Of a customer's own case."""
    others = sorted(joined(view, {view.ident}) - {view.ident})
    if not others:
        return _CUSTOMER_NO_DOCUMENT
    return passed("customer", f"the crosswalk joins {view.ident} to {', '.join(others)}"[:1000])


def names_of(event: Any) -> set[str]:
    parties, refs = event.data.customer, event.data.refs
    names = set() if parties is None else {parties.sold_to, parties.bill_to, parties.payer}
    names.discard(None)
    if refs:
        names.update(ref.value for ref in refs if ref.kind == "customer")
    return names


def joined(view: View, names: set[str]) -> set[str]:
    """The names and all that the crosswalk joins to them, however many steps away."""
    groups = []
    for told in (*view.standing("customer.linked"), *view.standing("customer.merged")):
        data = told.data
        group = {data.document_id, data.merged_into, *(ref.value for ref in data.refs or ())}
        group.discard(None)
        groups.append(group)
    joined, known = set(names), -1
    while known != len(joined):
        known = len(joined)
        for group in groups:
            if not group.isdisjoint(joined):
                joined |= group
    return joined


def _another_customer(view: View, side: Any, names: set[str], theirs: set[str]) -> Failure:
    ours, other = ", ".join(sorted(names)), ", ".join(sorted(theirs))
    return failed(
        view, "customer", "customer", f"{side.subject} is on customer {other}; move it or link the two ids",
        expected=ours, actual=other, amounts=(ours, other), exposure_minor=view.document.data.total_minor or 0,
        evidence=(view.document, side),
    )  # fmt: skip


_ENTITY_PASS = passed("entity", "every record is of the case's entity")


def entity(view: View) -> Answer:
    """Everything of one case belongs to one company of the group; otherwise one books what is another's."""
    own = view.entity
    for fact in view.facts:
        if fact.data.entity != own and fact.type != ALLOCATION:  # those are of their home's company
            return _another_entity(view, fact)
    return _ENTITY_PASS


def _another_entity(view: View, fact: Any) -> Failure:
    exposure = view.document.data.total_minor if view.document is not None else None
    return failed(
        view, "entity", "entity", f"{fact.subject} was recorded in {fact.data.entity}; book it where it belongs",
        expected=view.entity, actual=fact.data.entity, amounts=(view.entity, fact.data.entity),
        exposure_minor=exposure or 0, evidence=(fact,),
    )  # fmt: skip
