"""Whether two of our leads are two: one of them alone must not be able to make the other."""

from __future__ import annotations

import json

from django.contrib.auth.models import User
from django.db.models import QuerySet

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
CARRIED = "tenants.staff.carried"  # the same, of an account whose line goes to the archive


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
    last = _about(lead.user.pk).order_by("-pk").first()
    return last is not None and _by(last) == by.label


def carry_forward(lines: QuerySet[AuditEvent], *, actor: Actor) -> None:
    """Write again who let our people in, of whom only lines that go to the archive say so.

    Args:
        lines: those that go.
    """
    ours = lines.filter(tenant=None, name__in=(*LET_IN, CARRIED))
    newest = {json.loads(line.payload)["target"]: line for line in ours.order_by("pk")}
    for user in User.objects.filter(pk__in=newest, is_staff=True):
        line = newest[str(user.pk)]
        if not _about(user.pk).filter(pk__gt=line.pk).exists():
            facts = {"email": user.email, "by": _by(line), "since": line.at.isoformat()}
            audit.record("tenants.staff.carried", tenant=None, actor=actor, target=user, **facts)


def _about(pk: object) -> QuerySet[AuditEvent]:
    lines = AuditEvent.objects.filter(tenant=None, name__in=(*LET_IN, CARRIED))
    return lines.filter(payload__contains=f'"target":"{pk}"')


def _by(line: AuditEvent) -> str:
    return str(audit.data_of(line)["by"]) if line.name == CARRIED else audit.actor_of(line)
