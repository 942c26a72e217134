"""Which mails a member gets: the operation by which they choose."""

from __future__ import annotations

from collections.abc import Collection

from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import translate as _
from support import kinds as event_kinds
from support import mailed
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Member


@transactions.atomic
def choose_mails(member: Member, *, kinds: Collection[str], actor: Actor) -> None:
    """Choose the kinds of mails that a member gets: one's own, nobody's else.

    What concerns the own account is mailed whatever is chosen; what an organisation has to hear of goes to every owner
    while none of them wants it.

    Raises:
        InvalidInput: a kind that there is not.
        NotFound: another member.
    """
    roles.require(actor, "support.choose_mails", member.tenant)
    if actor.member is None or actor.member.pk != member.pk:
        raise NotFound
    if set(kinds) - event_kinds.KINDS.keys():
        raise InvalidInput(errors={"kinds": [_("Choose from %(names)s.", names=", ".join(event_kinds.KINDS))]})
    mailed.choose(member, kinds)
    unwanted = [name for kind, (name, _) in event_kinds.KINDS.items() if kind not in kinds]
    audit.record(
        "support.mails.chosen",
        tenant=member.tenant,
        actor=actor,
        target=member,
        email=member.user.email,
        unwanted=", ".join(unwanted) or "nothing",
    )
