"""Answers of a directory that speaks SAML: they come by a post from another site, without the browser's cookies.

What came right is kept, and the browser that brought it gets a secret for it. It counts once that same browser shows
the cookie of the sign-in that it answers: else somebody could begin a sign-in, lead another person's browser through
the directory, and go on as that person.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta

from byokportal import clock
from byokportal.translation import translate as _
from tenants import tokens, transactions
from tenants.asserted import Asserted
from tenants.errors import SignOnOver, SignOnRefused
from tenants.models import SignOnAssertion, SignOnAttempt, SignOnConnection
from tenants.services import sign_ons

# Longer than an assertion can be taken after it was made (`tenants.saml.LASTS`).
KEPT = timedelta(hours=1)


def request_id_of(attempt: SignOnAttempt) -> str:
    """Return the id of the request that a browser takes to the directory; an id in XML begins with no digit."""
    return f"_{attempt.state}"


def attempt_for(request_id: str, *, tenant_id: uuid.UUID) -> SignOnAttempt:
    """Return the sign-in that an answer says it belongs to.

    Raises:
        SignOnOver: there is none at this tenant's address that waits for an answer.
    """
    waiting = SignOnAttempt.objects.filter(
        state=request_id.removeprefix("_"),
        connection__tenant=tenant_id,
        connection__protocol=SignOnConnection.Protocol.SAML,
        connection__removed_at=None,
        answered_at=None,
        finished_at=None,
        expires_at__gt=clock.now(),
    )
    found = waiting.select_related("connection__tenant").first()
    if found is None:
        raise SignOnOver
    return found


@transactions.atomic
def deliver_answer(attempt: SignOnAttempt, *, asserted: Asserted, assertion_id: str) -> str:
    """Keep what a directory said, once it was found right, and return the secret for the browser that brought it.

    Raises:
        SignOnOver: the sign-in was answered before.
        SignOnRefused: the assertion was used before.
    """
    digest = hashlib.sha256(assertion_id.encode()).hexdigest()
    _row, is_new = SignOnAssertion.objects.get_or_create(
        connection=attempt.connection, digest=digest, defaults={"expires_at": clock.now() + KEPT}
    )
    if not is_new:
        raise SignOnRefused(why=_("Your organisation's sign-on sent an answer that was used before. Begin again."))
    raw = tokens.new_secret()
    waiting = SignOnAttempt.objects.filter(pk=attempt.pk, answered_at=None, finished_at=None)
    if not waiting.update(answered_at=clock.now(), delivered=asserted.as_json(), delivered_to=tokens.digest(raw)):
        raise SignOnOver
    return raw


@transactions.atomic
def take_delivery(raw: str, *, brought: str) -> SignOnAttempt:
    """Let an answer count, in the browser that began the sign-in and brought the answer.

    Args:
        raw: what this browser keeps of the sign-in that it began.
        brought: what it was given for the answer.

    Raises:
        SignOnOver: the two do not belong together, or it was taken before.
        SignOnRefused: the address is not one that this connection may assert.
    """
    attempt = sign_ons.attempt_of(raw)
    mine = SignOnAttempt.objects.filter(pk=attempt.pk, delivered_to=tokens.digest(brought), delivered__isnull=False)
    if not mine.update(delivered_to="", delivered=None):
        raise SignOnOver
    sign_ons.note_answer(attempt, asserted=Asserted.of_json(attempt.delivered or {}))
    return attempt
