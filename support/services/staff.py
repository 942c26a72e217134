"""Operations around our own people: take a list of them for a review, and write down that it is done."""

from __future__ import annotations

from support import staff
from support.models import StaffReview
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.services import acting_person, reason_of


def record_staff_export(*, count: int, actor: Actor) -> None:
    """Write into our log that somebody took the list of our people with them."""
    audit.record("support.staff.exported", tenant=None, actor=actor, count=count)


@transactions.atomic
def record_review(*, reason: str, actor: Actor) -> StaffReview:
    """Write down that somebody has looked at who of us may do what; the next is due a quarter later.

    Args:
        reason: what they found, and what they changed because of it.
    """
    roles.require(actor, "support.review_staff")
    people = staff.people()
    review = StaffReview.objects.create(
        reviewed_by=acting_person(actor, "support.review_staff"), people=len(people), found=reason_of(reason)
    )
    audit.record(
        "support.staff.reviewed", tenant=None, actor=actor, target=review, count=review.people, reason=review.found
    )
    return review
