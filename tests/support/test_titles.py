"""Titles, crumbs and links of the back office name things as people do: no id stands in them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from architecture.test_query_budgets import world_of
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from byokportal import clock
from keys.models import (
    Canary,
    Closing,
    DriftResolution,
    Incident,
    KeyRegistration,
    RestoreHold,
    RevocationDrill,
    ServiceRolePolicy,
)
from support.models import BulkOperation, OnCallMessage
from tenants import audit, services
from tenants.models import Member, OwnerRecovery

ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII)
NAMED = re.compile(
    r"<title>.*?</title>|<h1.*?</h1>|<h2.*?</h2>|<div class=\"breadcrumbs\">.*?</div>|<th class=\"field.*?</th>",
    re.DOTALL,
)


@pytest.fixture
def one_of_each(alice: Member, sam: User) -> None:
    """Rows of every model that the back office lists."""
    tenant = alice.tenant
    world_of(alice)
    role, facts = tenant.service_role, {"requested_by": f"kore:{sam.email}", "reason": "r"}
    incident = Incident.objects.create(service_role=role, why="AWS refuses")
    page = {"channel": "pagerduty", "action": "trigger", "dedup_key": "d", "why": "w"}
    OnCallMessage.objects.create(incident=incident, last_at=clock.now(), **page)
    ours = services.create_canary_tenant(role, region="eu-central-1", actor=audit.COMMAND)
    Canary.objects.create(tenant=ours, service_role=role, region="eu-central-1")
    policy, _ = ServiceRolePolicy.objects.get_or_create(service_role=role, slot=0)
    DriftResolution.objects.create(policy=policy, choice="take_ours", found_digest="", difference=[], **facts)
    Closing.objects.create(tenant=tenant, due_at=None, **facts)
    RestoreHold.objects.create(tenant=tenant)
    OwnerRecovery.objects.create(tenant=tenant, kind="new_owner", email="a@b.example", reason="r", requested_by=sam)
    BulkOperation.objects.create(kind="test", reason="r", requested_by=sam, total=1)


def test_no_title_crumb_or_link_of_the_back_office_is_an_id(
    one_of_each: None, sam: User, browser_of: Callable[..., Client]
) -> None:
    browser, found = browser_of(sam), list[str]()
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.order_by("pk").first()
        assert row is not None, f"no row of {name}: add one above"
        for path in (reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])):
            page = browser.get(path)
            assert page.status_code == 200, path
            found += [f"{path}: {ID.sub('ID', one)}" for one in _named(page.content.decode()) if ID.search(one)]
    assert not found, "\n".join(found)


def _named(page: str) -> list[str]:
    """Return what names something, without the addresses that links lead to."""
    return [re.sub(r"<[^>]*>", "", one) for one in NAMED.findall(page)]


def test_a_key_and_its_test_are_named_by_organisation_region_and_end(active: KeyRegistration) -> None:
    assert str(active) == f"Acme Bank, eu-central-1, key …{active.key_arn[-8:]}, active"
    test = active.tests.get()
    assert str(test) == f"Test of Acme Bank, {test.created_at:%Y-%m-%d %H:%M} UTC"
    assert str(KeyRegistration(tenant=active.tenant)) == "Acme Bank, draft"
    drill = RevocationDrill(tenant=active.tenant, started_at=test.created_at)
    assert str(drill) == f"Drill of Acme Bank, {test.created_at:%Y-%m-%d %H:%M} UTC"
