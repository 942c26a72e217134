"""Whether two of our leads are two: one of them alone must not be able to make the other."""

from __future__ import annotations

from django.contrib.auth.models import User

from byokportal.errors import NotAllowed
from tenants import audit, roles
from tenants.audit import Actor
from tenants.models import AuditEvent

# What decides who an account of ours belongs to.
LET_IN = (
    "tenants.staff.created",
    "tenants.staff.regrouped",
    "tenants.account.switched_on",
    "tenants.second_factor.reset",
)


def acting_person(actor: Actor, operation: str) -> User:
    """Return who of ours acts; what is kept under a person's name is no operation of a command or a worker.

    Raises:
        NotAllowed: nobody of ours acts.
    """
    if not isinstance(actor.user, User):
        raise NotAllowed(permission=operation)
    return actor.user


def is_second(asked: User, actor: Actor, operation: str) -> bool:
    """Tell whether an actor may approve what somebody of ours asked for: another person, who asked may still do it,
    and neither let the other one in.

    Args:
        operation: a row of `tenants.roles.OPERATIONS`; whether the actor may do it is asked by the caller.
    """
    first = Actor.staff(asked)
    if actor.user is None or actor.user.pk == asked.pk or not roles.allowed(first, operation):
        return False
    return not (_let_in(first, by=actor) or _let_in(actor, by=first))


def _let_in(lead: Actor, *, by: Actor) -> bool:
    """Tell whether the last one who made an account, gave it its groups,
    switched it on or reset its second factor is that lead."""
    assert lead.user is not None
    about = AuditEvent.objects.filter(tenant=None, name__in=LET_IN, payload__contains=f'"target":"{lead.user.pk}"')
    last = about.order_by("-pk").first()
    return last is not None and audit.actor_of(last) == by.label
