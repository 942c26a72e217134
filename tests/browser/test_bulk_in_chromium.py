"""Bulk operations and our people in Chromium: by keyboard alone, on a phone and in the dark, without a fault."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser.test_every_page_in_chromium import Look, look
from browser.test_portal_in_chromium import chromium, page, pytestmark, said
from conftest import acting_staff
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from support import bulk_runs, seeding, services
from support.fleet import counting
from support.models import BulkOperation, FleetRow


@pytest.mark.slow
def test_a_bulk_operation_is_begun_by_keyboard_and_every_page_of_it_is_without_fault(
    look: Look, sam: User, browser_of: Callable[[User], Client], live_server: object
) -> None:
    seeding.seed(15, uses_each=0)
    page, fleet = look.page, reverse("admin:fleet")
    cookie = browser_of(sam).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": str(live_server)}])
    look.at(fleet)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(fleet)
    page.locator("td.pick input").first.focus()
    page.keyboard.press("Space")
    page.locator("button[name=kind][value=probe]").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/fleet/bulk/**")
    page.locator("input[name=reason]").focus()
    page.keyboard.type("AWS had a fault")
    page.keyboard.press("Enter")
    page.wait_for_url("**/bulkoperation/**")
    look.here("a bulk operation under way")
    assert bulk_runs.run_due() == 1
    page.reload()
    look.here("a finished one")
    for kind in ("test", "ask", "window", "suspend"):
        look.at(f"{reverse('admin:fleet_bulk')}?kind={kind}&all=1")
    look.at(f"{reverse('admin:fleet_bulk')}?kind=test")
    everybody = list(FleetRow.objects.values_list("pk", flat=True))
    waits = services.begin_bulk(kind="suspend", tenants=everybody, facts={}, reason="r" * 200, actor=acting_staff(sam))
    look.at(reverse("admin:support_bulkoperation_change", args=[waits.pk]))
    look.at(reverse("admin:support_bulkoperation_changelist"))
    counting.count()
    look.at(reverse("admin:index"))
    look.at(f"{reverse('admin:our_people')}?looks={sam.pk}")
    assert BulkOperation.objects.count() == 2
    assert not look.found, "\n".join(look.found)
