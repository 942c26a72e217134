"""Looks once a day at what a directory says of itself, and writes down what changed. The row is the job.

Endpoints, and the certificates of metadata that stands at an address, are taken over and mailed to the owners: an
owner connected that address. Where the issuer is another one nothing is taken over, and the owners hear of that too.
So they do before the last certificate ends.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F

from byokportal import clock
from byokportal.errors import AddressRefused, AddressUnreachable
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import audit, oidc, saml_metadata, transactions
from tenants.audit import SYSTEM
from tenants.errors import DirectoryUnfit
from tenants.models import SignOnConnection, Tenant

A_DAY = timedelta(days=1)
CLAIM_LASTS = timedelta(seconds=90)
# Days before the last certificate ends at which the owners hear of it.
WARNED = (30, 7, 0)
Protocol = SignOnConnection.Protocol
CALLED = {
    "certificates": lazy("its certificates"),
    "sso_url": lazy("its address for sign-in"),
    "authorization_endpoint": lazy("its address for sign-in"),
    "jwks_uri": lazy("the address of its keys"),
    "token_endpoint": lazy("its address for tokens"),
    "userinfo_endpoint": lazy("its address for what it knows of a person"),
    "auth_methods": lazy("how it wants us to prove who we are"),
}


def look(pk: str) -> None:
    """Look once at a connection that is due; of two workers one does."""
    now = clock.now()
    due = SignOnConnection.objects.present().filter(pk=pk, next_look_at__lte=now)
    if not due.update(next_look_at=now + CLAIM_LASTS):
        return
    connection = SignOnConnection.objects.get(pk=pk)
    problem, said = "", dict(connection.provider)
    try:
        said = _described(connection)
    except (AddressRefused, AddressUnreachable, DirectoryUnfit) as error:
        problem = str(error)[:300]
    _note(connection, said, problem)


def due() -> list[str]:
    """Return connections whose look is due, the longest waiting first."""
    rows = SignOnConnection.objects.present().filter(next_look_at__lte=clock.now())
    return [str(pk) for pk in rows.order_by(F("next_look_at")).values_list("pk", flat=True)[:200]]


def _described(connection: SignOnConnection) -> dict[str, Any]:
    """Return what the directory says of itself now.

    Raises:
        DirectoryUnfit: it calls itself otherwise, among others.
        AddressRefused, AddressUnreachable
    """
    whose = str(connection.tenant_id)
    if connection.protocol == Protocol.OIDC:
        return oidc.discover(connection.issuer, whose=whose)
    address = connection.provider.get("metadata_url")
    if not address:
        return dict(connection.provider)
    issuer, said = saml_metadata.fetched(address, whose=whose)
    if issuer != connection.issuer:
        raise DirectoryUnfit(why=_("The metadata at its address is that of another directory now."))
    return said


@transactions.atomic
def _note(connection: SignOnConnection, said: dict[str, Any], problem: str) -> None:
    """Write down what a look found, unless an owner changed the connection meanwhile."""
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=connection.tenant_id)
    held = SignOnConnection.objects.present().filter(pk=connection.pk).first()
    if held is None or held.provider != connection.provider:
        return
    facts: dict[str, Any] = {"tenant": tenant, "actor": SYSTEM, "target": held, "issuer": held.issuer}
    changed = sorted(name for name in {*said, *held.provider} if said.get(name) != held.provider.get(name))
    if changed:
        what = ", ".join(CALLED.get(name, name) for name in changed)
        marks = [one.fingerprint for one in saml_metadata.certificates_of(said)]
        addresses = {name: value for name, value in said.items() if name != "certificates"}
        audit.record("tenants.sign_on.directory_changed", **facts, what=what, certificates=marks, after=addresses)
    if problem and problem != held.look_problem:
        audit.record("tenants.sign_on.look_failed", **facts, problem=problem)
    held.provider, held.look_problem = said, problem
    _warn(held, facts)
    held.looked_at = clock.now()
    held.next_look_at = held.looked_at + A_DAY
    held.save(update_fields=["provider", "look_problem", "warned_days", "looked_at", "next_look_at"])


def _warn(connection: SignOnConnection, facts: dict[str, Any]) -> None:
    """Let the owners hear of it, three times, before nobody can sign in any more."""
    certificates = saml_metadata.certificates_of(connection.provider)
    if not certificates:
        return
    last = certificates[-1]
    left = last.ends_at - clock.now()
    reached = [days for days in WARNED if left <= timedelta(days=days)]
    now = reached[-1] if reached else None
    if now is not None and (connection.warned_days is None or now < connection.warned_days):
        on = last.ends_at.strftime("%d %B %Y, %H:%M UTC")
        audit.record("tenants.sign_on.certificate_ends", **facts, on=on)
    connection.warned_days = now
