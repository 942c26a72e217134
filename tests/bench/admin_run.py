"""Seeds a fleet unless there is one, and measures the pages of the back office; prints one JSON object."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import django

RUNS = 5
EMPTY = "/admin/tenants/ownerrecovery/"


def main(tenants: int) -> None:
    django.setup()
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from byokportal import clock
    from support import seeding
    from support.models import FleetRow
    from tenants import fresh
    from tenants.models import AuditEvent, Tenant

    if tenants:
        call_command("migrate", verbosity=0)
        seeding.seed(tenants)
    user, _ = User.objects.get_or_create(username="bench@kore.example", defaults={"email": "bench@kore.example"})
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    client = Client()
    client.force_login(User.objects.get(pk=user.pk), backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session[fresh.KEY] = {"user": str(user.pk), "at": clock.now().timestamp()}
    session.save()
    row = FleetRow.objects.filter(state="needs_change").order_by("name")[100]
    active = FleetRow.objects.filter(state="active").order_by("name")[1_000]
    event = AuditEvent.objects.of(active.tenant).earliest("pk")
    registration = active.tenant.registrations.get()
    check = active.tenant.check_results.earliest("pk")
    fleet = "/admin/fleet/"
    pages = {
        "desk": "/admin/",
        "fleet": fleet,
        "fleet, far down": f"{fleet}?after={active.pk}",
        "fleet by step": f"{fleet}?step=2",
        "fleet by whom it waits for": f"{fleet}?turn=kore",
        "fleet by state": f"{fleet}?state=needs_change",
        "fleet by cause": f"{fleet}?cause=trust-policy",
        "fleet by age": f"{fleet}?age=30d",
        "fleet by Region": f"{fleet}?region=ap-south-1",
        "fleet by account": f"{fleet}?account={active.account}",
        "fleet by service role": f"{fleet}?role={active.service_role.name}",
        "fleet by last test": f"{fleet}?test=fail",
        "fleet by deletion": f"{fleet}?deleted=1",
        "search by a name": f"{fleet}?q=Tailspin+Re",
        "search by a common name": f"{fleet}?q=Bank",
        "search by id": f"{fleet}?q={active.pk}",
        "search by ARN": f"{fleet}?q={registration.role_arn}",
        "search by key id": f"{fleet}?q={active.key_id}",
        "search by mail": f"{fleet}?q={active.tenant.members.get().user.email}",
        "search by our request id": f"{fleet}?q={event.request_id}",
        "search by AWS's request id": f"{fleet}?q={check.evidence['request_id']}",
        "search for nothing": f"{fleet}?q=nobody+is+called+so",
        "tenant that needs a change": f"/admin/tenants/tenant/{row.pk}/change/",
        "tenant in service": f"/admin/tenants/tenant/{active.pk}/change/",
        "list of registrations by ARN": f"/admin/keys/keyregistration/?q={registration.role_arn}",
        "list of tests by name": f"/admin/keys/encryptiontest/?q={active.name}",
        "tickets": "/admin/tickets/",
        "our people": "/admin/people/",
        "list of bulk operations": "/admin/support/bulkoperation/",
        "list of incidents": "/admin/keys/incident/",
        "form of a bulk operation on a filter": "/admin/fleet/bulk/?kind=test&all=1&state=needs_change",
        "form of a service account": "/admin/tenants/serviceaccount/operations/create/",
    }

    def look(path: str) -> tuple[int, float]:
        """Return the queries of a page, and the median of its time, milliseconds."""
        client.get(path)
        asked: list[str] = []

        def noted(execute: Any, sql: str, *rest: Any) -> Any:
            asked.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(noted):
            answer = client.get(path)
        assert answer.status_code in {200, 302}, (path, answer.status_code)
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            client.get(path)
            times.append(1_000 * (time.perf_counter() - began))
        return len(asked), statistics.median(times)

    _, empty = look(EMPTY)
    found = {}
    for name, path in pages.items():
        queries, milliseconds = look(path)
        found[name] = (queries, milliseconds / empty, milliseconds)
    print(json.dumps({"tenants": Tenant.objects.count(), "empty": empty, "pages": found}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
